# SPDX-License-Identifier: Apache-2.0
"""From rows of indices back to linked drop objects, with the port names that authors gave.

An author may name a port at the drop's own end of a link, in its list `ports`, or only at the other end. A
neighbour linked through several ports is listed once for each.

Names are looked up by what the neighbour is called, not by its index: so a child process needs the
specifications of the drops that it touches and no table of all names.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from penstock.drops.base import Drop, Linked, Side
from penstock.graph.links import APP, Row
from penstock.graph.spec import DropSpec, LinkText

__all__ = ["Neighbours", "Rows"]

_MANY = 32
"""Links of one drop from which on they are not read for each neighbour, but once."""

_Links = tuple[LinkText, ...] | None
_Names = dict[str, list[str]]
_NO_NAMES: _Names = {}


class _RowTable(Protocol):
    def __getitem__(self, index: int, /) -> Row: ...


class Rows(Protocol):
    """Who is linked to whom; `penstock.graph.links.Wiring` meets it."""

    @property
    def kinds(self) -> Sequence[int]: ...
    @property
    def before(self) -> _RowTable: ...
    @property
    def after(self) -> _RowTable: ...
    @property
    def streaming(self) -> Mapping[int, Row]: ...
    @property
    def children(self) -> Mapping[int, Row]: ...


class Neighbours:
    """Finds the neighbours of drops. Threads may share one.

    Args:
        rows: of the whole graph.
        spec: gives the specification of a drop.
    """

    def __init__(self, rows: Rows, spec: Callable[[int], DropSpec]) -> None:
        self._rows = rows
        self._spec = spec
        self._wide: dict[tuple[int, bool], _Names] = {}

    def linked(self, index: int, side: Side, drop: Callable[[int], Drop]) -> tuple[Linked, ...]:
        """Return the neighbours of a drop on one side, in the order of the graph.

        Args:
            drop: gives the object of an index.
        """
        rows = self._rows
        if side is Side.CHILDREN:
            return tuple([Linked("", drop(i)) for i in rows.children.get(index, ())])
        is_before = side is Side.BEFORE
        row = (rows.before if is_before else rows.after)[index]
        if not row:
            return ()
        is_app = rows.kinds[index] == APP
        streams = self._streams(index, row, is_app=is_app) if rows.streaming and is_before == is_app else ()
        ports = self._named(index, row, is_before=is_before, is_app=is_app)
        return tuple([Linked(port, drop(i), i in streams) for port, i in ports])

    def inputs(self, app: int) -> list[tuple[str, int]]:
        """Return (port, index) of an app's inputs, in the order of the graph."""
        return self._named(app, self._rows.before[app], is_before=True, is_app=True)

    def port_at_data(self, app: int, data: int) -> str:
        """Return the port through which an input reaches an app that names none itself, "" for none."""
        return self._port_at_other_end(app, data, is_before=True, is_app=True)

    def _named(self, index: int, row: Row, *, is_before: bool, is_app: bool) -> list[tuple[str, int]]:
        names = self._names(index, is_before=is_before, is_app=is_app)
        found: list[tuple[str, int]] = []
        for i in row:
            ports = self._ports(names, i) if names else None
            if ports:
                found += [(port, i) for port in ports]
            else:
                found.append((self._port_at_other_end(index, i, is_before=is_before, is_app=is_app), i))
        return found

    def _streams(self, index: int, row: Row, *, is_app: bool) -> Row:
        """Return those neighbours that are linked by a stream."""
        streaming = self._rows.streaming
        if not is_app:
            return streaming.get(index, ())
        return tuple([i for i in row if index in streaming.get(i, ())])

    def _names(self, index: int, *, is_before: bool, is_app: bool) -> _Names:
        """Return the port names at a drop's own end, by what its neighbours are called."""
        spec = self._spec(index)
        if is_app:
            links = spec.inputs if is_before else spec.outputs
            streamed = spec.streaming_inputs if is_before else None
        else:
            links = spec.producers if is_before else spec.consumers
            streamed = None if is_before else spec.streaming_consumers
        if not streamed and (not links or (len(links) == 1 and type(links[0]) is str)):
            return _NO_NAMES  # most drops of large graphs have one link, which names no port
        if len(links or ()) + len(streamed or ()) <= _MANY:
            return _read(links, streamed)
        names = self._wide.get((index, is_before))
        if names is None:  # threads may both make it; the result is the same
            names = self._wide[index, is_before] = _read(links, streamed)
        return names

    def _ports(self, names: _Names, neighbour: int) -> Sequence[str] | None:
        spec = self._spec(neighbour)
        return names.get(spec.key) or names.get(spec.oid)

    def _port_at_other_end(self, index: int, other: int, *, is_before: bool, is_app: bool) -> str:
        names = self._names(other, is_before=not is_before, is_app=not is_app)
        ports = self._ports(names, index) if names else None
        return ports[0] if ports else ""


def _read(*rows: _Links) -> _Names:
    names = _NO_NAMES
    for links in rows:
        for link in links or ():
            if isinstance(link, str):  # a plain name of a neighbour names no port
                continue
            for uid, port in link.items():
                if port:
                    if names is _NO_NAMES:
                        names = {}
                    known = names.setdefault(uid, [])
                    if port not in known:
                        known.append(port)
    return names
