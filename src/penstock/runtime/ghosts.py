# SPDX-License-Identifier: Apache-2.0
"""Rows of a session's table that stand for drops of other nodes, and whose content must come from there.

A ghost is never run or completed by this node's own doing; its home tells how it ended. Data that is written on
one node and lives on another, or is read there, is fetched before it completes: see `exchange.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from penstock.drops.data import DataDrop
from penstock.graph.links import APP
from penstock.graph.shares import STREAMED
from penstock.runtime.build import Prepared

__all__ = ["NO_GHOSTS", "Ghosts", "find_ghosts", "pass_over"]


@dataclass(frozen=True)
class Ghosts:
    """What of a graph lives elsewhere.

    Attributes:
        homes: index of each ghost to the node where it lives.
        fetched: data whose content comes, in part or whole, from other nodes before it completes here.
        forwarded: ghosts that apps here write piece by piece to their home, because somebody takes the pieces.
    """

    homes: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    fetched: frozenset[int] = frozenset()
    forwarded: frozenset[int] = frozenset()


NO_GHOSTS = Ghosts()


def pass_over(prepared: Prepared, homes: Mapping[str, str]) -> Prepared:
    """Return the graph so that users' classes of apps that run on other nodes only need not be known here."""
    index = prepared.graph.index
    ghosts = {index[uid] for uid in homes if uid in index}
    needed = {number for i, number in enumerate(prepared.class_of) if i not in ghosts}
    foreign = [number for number in prepared.foreign if number in needed or prepared.names[number][1] != APP]
    return replace(prepared, foreign=foreign)


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
    forwarded = frozenset(_forwarded(prepared, ghosts))
    streaming = {
        **prepared.wiring.streaming,
        **dict.fromkeys(forwarded - prepared.wiring.streaming.keys(), ()),
    }
    wiring = prepared.wiring._replace(streaming=streaming)
    found = Ghosts(MappingProxyType(ghosts), fetched, forwarded)
    return replace(prepared, wiring=wiring, settling=settling, ends=ends), found


def _forwarded(prepared: Prepared, ghosts: Mapping[int, str]) -> Iterator[int]:
    if not prepared.graph.may_hold(STREAMED):
        return
    before = prepared.wiring.before
    for index, (is_streamed,) in enumerate(prepared.graph.columns(STREAMED)):
        if is_streamed and index in ghosts and any(i not in ghosts for i in before[index]):
            yield index


def _is_fetched(prepared: Prepared, ghosts: Mapping[int, str], index: int) -> bool:
    wiring = prepared.wiring
    cls = prepared.classes[prepared.class_of[index]]
    if wiring.kinds[index] == APP or not issubclass(cls, DataDrop) or not cls.moves:
        return False
    if index not in ghosts:
        return any(i in ghosts for i in wiring.before[index])
    return any(i not in ghosts for i in wiring.after[index])
