# SPDX-License-Identifier: Apache-2.0
"""One graph, several shares: a graph of its own for each manager below, complete with what it is linked to.

A share holds the drops that live there and, as *ghosts*, their neighbours that live elsewhere, all in the
order of the whole graph. So the order of inputs and outputs and the names of ports are those of the graph,
wherever drops live. A ghost is a drop with only those links that stay inside the share; a ghost app has
nothing of its own but its names and links, as it never runs there. A share can be shared out again.
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from penstock.graph.links import APP, Wiring
from penstock.graph.spec import Graph

__all__ = ["GHOST_APP", "STREAMED", "Share", "share_out"]

STREAMED = "streamed"
"""The key of a ghost that marks data whose pieces somebody takes while they are written."""

GHOST_APP = "dlg.apps.simple.NullBarrierApp"
"""The class that stands for all apps of other nodes."""

_LINK_KEYS = (
    "consumers", "producers", "inputs", "outputs", "streamingConsumers", "streamingInputs", "children",
)  # fmt: skip
_KEPT_OF_APPS = ("oid", "uid", "name", "categoryType", *_LINK_KEYS)


class Share(NamedTuple):
    """What one manager below is given of a graph.

    Attributes:
        text: the graph of the share, as JSON.
        homes: uid of each ghost to the node where it lives.
        members: per drop of the share its index in the whole graph, ascending; ghosts too.
    """

    text: bytes
    homes: dict[str, str]
    members: "array[int]"


def share_out(graph: Graph, wiring: Wiring, groups: Sequence[str], homes: Sequence[str]) -> dict[str, Share]:
    """Divide a graph.

    Args:
        groups: per drop the manager below that is given it; "" for what is a ghost already.
        homes: per drop the node where it lives.
    Returns:
        A share for each group, in the order of first mention.
    """
    own: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        if group:
            own.setdefault(group, []).append(i)
    ghosts: dict[str, set[int]] = {group: set() for group in own}
    for rows in (wiring.after, wiring.children):
        for i, row in rows.items() if isinstance(rows, Mapping) else enumerate(rows):
            for j in row:
                if groups[i] != groups[j]:
                    for here, there in ((i, j), (j, i)):
                        if groups[here]:
                            ghosts[groups[here]].add(there)
    return {group: _share(graph, wiring, indices, ghosts[group], homes) for group, indices in own.items()}


def _share(
    graph: Graph,
    wiring: Wiring,
    own: Sequence[int],
    ghosts: set[int],
    homes: Sequence[str],
) -> Share:
    members = sorted([*own, *ghosts]) if ghosts else own
    if ghosts:
        names = {name for i in members for name in (graph.drops[i].oid, graph.drops[i].key)}
        texts = [
            msgspec.json.encode(_ghost(graph, wiring, i, names)) if i in ghosts else graph.raw(i)
            for i in members
        ]
    else:
        texts = [graph.raw(i) for i in members]
    text = b"[" + b",\n".join(texts) + b"]"
    return Share(text, {graph.drops[i].key: homes[i] for i in sorted(ghosts)}, array("i", members))


def _ghost(
    graph: Graph, wiring: Wiring, index: int, names: set[str]
) -> dict[str, Any]:  # Any: the drop's JSON
    fields, is_app = graph.fields(index), wiring.kinds[index] == APP
    ghost = {key: fields[key] for key in _KEPT_OF_APPS if key in fields} if is_app else dict(fields)
    if is_app:
        ghost.setdefault("categoryType", "Application")
        ghost["dropclass"] = GHOST_APP
    for key in _LINK_KEYS:
        if links := ghost.pop(key, None):
            ghost[key] = [link for link in links if _names_one(link, names)]
    if index in wiring.streaming:
        ghost[STREAMED] = True
    if not _names_one(ghost.get("parent"), names):
        ghost.pop("parent", None)
    return ghost


def _names_one(link: object, names: set[str]) -> bool:
    return (
        link if isinstance(link, str) else next(iter(link), "") if isinstance(link, dict) else ""
    ) in names
