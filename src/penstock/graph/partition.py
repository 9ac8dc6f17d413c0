# SPDX-License-Identifier: Apache-2.0
"""One graph, several parts: which drops belong to which node or island, and which links lie between them.

A drop belongs to the part that its `node` or `island` names. Drops that name none form the part "": on one
node that is the whole graph and all is well; a composite manager must refuse it, so it is kept apart and
never guessed at.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from penstock.graph.links import APP, Wiring, wire
from penstock.graph.placement import Attribute, places
from penstock.graph.spec import Graph

__all__ = ["Attribute", "Crossing", "CrossingKind", "Partition", "partition"]


class CrossingKind(Enum):
    """What goes over a link between two parts."""

    INPUT = "input"  # from data to an app that waits for it
    STREAM = "stream"  # from data to an app that takes it piece by piece
    OUTPUT = "output"  # from an app to the data that it makes
    CHILD = "child"  # from a container to a member


class Crossing(NamedTuple):
    """A link between two parts, in the direction of the data; for children from container to member."""

    start: int
    end: int
    kind: CrossingKind


@dataclass(frozen=True)
class Partition:
    """The parts of one graph.

    Attributes:
        attribute: what the graph was divided by.
        parts: name to the indices of its drops, in the graph's order; in the order of first mention.
        part_of: per drop the name of its part.
        crossings: the links between parts, by start.
    """

    attribute: Attribute
    parts: MappingProxyType[str, tuple[int, ...]]
    part_of: tuple[str, ...]
    crossings: tuple[Crossing, ...]

    @property
    def unplaced(self) -> tuple[int, ...]:
        """The drops that name no part."""
        return self.parts.get("", ())


def partition(graph: Graph, attribute: Attribute, wiring: Wiring | None = None) -> Partition:
    """Divide a graph by what its drops say under `attribute`.

    Args:
        wiring: the links of the graph, where they are known already.
    """
    part_of = tuple(places(graph, attribute))
    members: dict[str, list[int]] = {}
    for i, name in enumerate(part_of):
        members.setdefault(name, []).append(i)
    parts = MappingProxyType({name: tuple(indices) for name, indices in members.items()})
    crossings: tuple[Crossing, ...] = ()
    if len(parts) > 1:
        links = wire(graph)[0] if wiring is None else wiring
        crossings = tuple(link for link in _links(links) if part_of[link.start] != part_of[link.end])
    return Partition(attribute, parts, part_of, crossings)


def _links(wiring: Wiring) -> Iterator[Crossing]:
    kinds, _, after, streaming, children = wiring
    for i, row in enumerate(after):
        streams = streaming.get(i, ())
        for j in row:
            if kinds[i] == APP:
                yield Crossing(i, j, CrossingKind.OUTPUT)
            else:
                yield Crossing(i, j, CrossingKind.STREAM if j in streams else CrossingKind.INPUT)
        for j in children.get(i, ()):
            yield Crossing(i, j, CrossingKind.CHILD)
