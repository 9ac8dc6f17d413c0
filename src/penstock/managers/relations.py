# SPDX-License-Identifier: Apache-2.0
"""Links to drops of other nodes, told as relations: how managers of the ecosystem wire up their nodes.

Such a manager sends a node its own drops and, apart from them, what each is to drops of other nodes. Here the other
ends become ghosts, as in a share that a manager of ours sends; of what they are only the kind is known, so data is
taken for bytes in memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from penstock.engine.states import LinkKind
from penstock.errors import DropUnknown, GraphInvalid
from penstock.graph.load import read
from penstock.graph.problems import Problem
from penstock.graph.shares import GHOST_APP
from penstock.graph.spec import Graph

__all__ = ["Relation", "check_kinds", "wired"]

Relation = tuple[str, int, str]
"""(left uid, number of a `LinkKind`, right uid): left is a kind of right; one of them lives elsewhere."""

_MEMORY = "dlg.data.drops.memory.InMemoryDROP"

_MEANINGS: dict[LinkKind, tuple[bool, str, str]] = {
    LinkKind.CONSUMER: (True, "inputs", "consumers"),
    LinkKind.STREAMING_CONSUMER: (True, "streamingInputs", "streamingConsumers"),
    LinkKind.PRODUCER: (True, "outputs", "producers"),
    LinkKind.INPUT: (False, "consumers", "inputs"),
    LinkKind.STREAMING_INPUT: (False, "streamingConsumers", "streamingInputs"),
    LinkKind.OUTPUT: (False, "producers", "outputs"),
}
"""Per kind: whether the left end is an app, the key at the left end, the key at the right end."""


def check_kinds(rows: Iterable[Relation]) -> list[Relation]:
    """Return relations whose kinds can be between nodes.

    Raises:
        GraphInvalid: with all that cannot.
    """
    checked = list(rows)
    wrong = [(left, number) for left, number, _ in checked if number not in {*_MEANINGS}]
    if wrong:
        text = "a relation of kind {} cannot be between nodes"
        raise GraphInvalid([Problem("PS301", text.format(number), left) for left, number in wrong])
    return checked


def wired(
    session_id: str, graph: Graph, relations: Mapping[str, Iterable[Relation]]
) -> tuple[Graph, dict[str, str]]:
    """Return the graph with a ghost for each drop of another node, and the nodes where they live.

    Args:
        relations: by node, of kinds that were checked.
    Raises:
        DropUnknown: a relation between drops that are both not here.
        GraphInvalid: relations that contradict each other.
    """
    ghosts: dict[str, dict[str, Any]] = {}  # Any: JSON of drops
    homes: dict[str, str] = {}
    for node, rows in relations.items():
        for left, number, right in rows:
            is_left_app, left_key, right_key = _MEANINGS[LinkKind(number)]
            if left in graph.index and right in graph.index:
                continue
            if right in graph.index:
                there, key, other, is_app = left, left_key, right, is_left_app
            elif left in graph.index:
                there, key, other, is_app = right, right_key, left, not is_left_app
            else:
                raise DropUnknown(session_id, [left, right])
            homes[there] = node
            _link(ghosts.setdefault(there, _ghost(there, is_app=is_app)), key, other)
    if not ghosts:
        return graph, {}
    texts: Sequence[bytes] = list(graph.pieces())
    texts = [*texts, *map(msgspec.json.encode, ghosts.values())]
    reading = read(b"[" + b",\n".join(texts) + b"]")
    if reading.graph is None or reading.problems:
        raise GraphInvalid(reading.problems)
    return reading.graph, homes


def _ghost(uid: str, *, is_app: bool) -> dict[str, Any]:  # Any: JSON of a drop
    return {
        "oid": uid,
        "categoryType": "Application" if is_app else "Data",
        "dropclass": GHOST_APP if is_app else _MEMORY,
    }


def _link(ghost: dict[str, Any], key: str, other: str) -> None:  # Any: JSON of a drop
    links = ghost.setdefault(key, [])
    if other not in links:
        links.append(other)
