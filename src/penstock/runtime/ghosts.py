# SPDX-License-Identifier: Apache-2.0
"""Rows of a session's table that stand for drops of other nodes, and whose content must come from there.

A ghost is never run or completed by this node's own doing; its home tells how it ended. Data that is written on
one node and lives on another, or is read there, is fetched before it completes: see `exchange.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from penstock.drops.data import DataDrop
from penstock.graph.links import APP
from penstock.runtime.build import Prepared

__all__ = ["NO_GHOSTS", "Ghosts", "find_ghosts"]


@dataclass(frozen=True)
class Ghosts:
    """What of a graph lives elsewhere.

    Attributes:
        homes: index of each ghost to the node where it lives.
        fetched: data whose content comes, in part or whole, from other nodes before it completes here.
    """

    homes: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    fetched: frozenset[int] = frozenset()


NO_GHOSTS = Ghosts()


def find_ghosts(prepared: Prepared, homes: Mapping[str, str]) -> tuple[Prepared, Ghosts]:
    """Return the graph as this node runs it, and its ghosts.

    Args:
        homes: uid of each ghost to its node; those that the graph does not have are passed over.
    """
    index = prepared.graph.index
    ghosts = {index[uid]: home for uid, home in homes.items() if uid in index}
    if not ghosts:
        return prepared, NO_GHOSTS
    fetched = frozenset(i for i in range(len(prepared.class_of)) if _is_fetched(prepared, ghosts, i))
    settling = sorted({i for i in prepared.settling if i not in ghosts} | fetched)
    ends = [i for i in prepared.ends if i not in ghosts]
    return replace(prepared, settling=settling, ends=ends), Ghosts(MappingProxyType(ghosts), fetched)


def _is_fetched(prepared: Prepared, ghosts: Mapping[int, str], index: int) -> bool:
    wiring = prepared.wiring
    cls = prepared.classes[prepared.class_of[index]]
    if wiring.kinds[index] == APP or not issubclass(cls, DataDrop) or not cls.moves:
        return False
    if index not in ghosts:
        return any(i in ghosts for i in wiring.before[index])
    streams = wiring.streaming.get(index, ())
    return any(i not in ghosts and i not in streams for i in wiring.after[index])
