# SPDX-License-Identifier: Apache-2.0
"""From rows of indices back to linked drop objects, with the port names that authors gave.

An author may name a port at the drop's own end of a link, in its list `ports`, or only at the other end. A
neighbour linked through several ports is listed once for each.
"""

from collections.abc import Callable

from penstock.drops.base import Drop, Linked, Side
from penstock.graph.links import APP, port_names
from penstock.graph.spec import DropSpec, LinkText
from penstock.runtime.build import Prepared

__all__ = ["linked"]

_MANY = 32
"""Links of one drop from which on they are not searched for each neighbour, but read once."""


def linked(prepared: Prepared, index: int, side: Side, drop: Callable[[int], Drop]) -> tuple[Linked, ...]:
    """Return the neighbours of a drop on one side, in the order of the graph.

    Args:
        drop: gives the object of an index.
    """
    wiring = prepared.wiring
    if side is Side.CHILDREN:
        return tuple(Linked("", drop(i)) for i in wiring.children.get(index, ()))
    row = (wiring.before if side is Side.BEFORE else wiring.after)[index]
    names = _own_names(prepared, index, side)
    is_app = wiring.kinds[index] == APP
    found = []
    for i in row:
        data, app = (i, index) if is_app else (index, i)
        streaming = app in wiring.streaming.get(data, ()) and (side is Side.BEFORE) == is_app
        ports = names.get(i) or [_name_at_other_end(prepared, index, i, side)]
        found += [Linked(port, drop(i), streaming) for port in ports]
    return tuple(found)


def _own_names(prepared: Prepared, index: int, side: Side) -> dict[int, list[str]]:
    graph = prepared.graph
    names: dict[int, list[str]] = {}
    for links in _links(graph.drops[index], side, is_app=prepared.wiring.kinds[index] == APP):
        for uid, port in port_names(links):
            i = graph.index.get(uid)
            if i is not None and port and port not in names.setdefault(i, []):
                names[i].append(port)
    return names


def _name_at_other_end(prepared: Prepared, index: int, other: int, side: Side) -> str:
    spec = prepared.graph.drops[other]
    back = Side.AFTER if side is Side.BEFORE else Side.BEFORE
    rows = _links(spec, back, is_app=prepared.wiring.kinds[other] == APP)
    if sum(len(links) for links in rows if links) > _MANY:
        names = prepared.wide.get((other, back))
        if names is None:  # threads may both make it; the result is the same
            names = prepared.wide[other, back] = _names_of(prepared, rows)
        return names.get(index, "")
    for links in rows:
        for uid, port in port_names(links):
            if port and prepared.graph.index.get(uid) == index:
                return port
    return ""


def _names_of(prepared: Prepared, rows: tuple[tuple[LinkText, ...] | None, ...]) -> dict[int, str]:
    names: dict[int, str] = {}
    for links in rows:
        for uid, port in port_names(links):
            i = prepared.graph.index.get(uid)
            if port and i is not None:
                names.setdefault(i, port)
    return names


def _links(spec: DropSpec, side: Side, *, is_app: bool) -> tuple[tuple[LinkText, ...] | None, ...]:
    if is_app:
        return (spec.inputs, spec.streaming_inputs) if side is Side.BEFORE else (spec.outputs,)
    return (spec.producers,) if side is Side.BEFORE else (spec.consumers, spec.streaming_consumers)
