# SPDX-License-Identifier: Apache-2.0
"""How the result of a function is spread over the outputs of its app.

Outputs with the same port name are copies of each other and count as one. With one port every output gets
the whole result. With several, in this order:

1. a mapping that has every port's name as a key (or a named tuple with such fields): each port its item;
2. a tuple or list with as many items as there are ports: by the order in which the app describes its output
   ports, else by the order of the links;
3. anything else: the whole result to each, as DALiuGE does.

Arrays, text, sets and generators are never taken apart.
"""

from collections.abc import Mapping
from typing import Any

from penstock.drops.app import AppDrop
from penstock.drops.base import Linked

__all__ = ["spread"]


def spread(app: AppDrop, links: list[Linked], result: Any) -> list[tuple[Linked, Any]]:  # Any: users' values
    """Return each output that is to be written, with what it gets.

    Args:
        app: for the order in which it describes its ports.
        links: its outputs without those that the function writes by itself.
        result: what the function returned.
    """
    if len(links) == 1:
        return [(links[0], result)]
    keys = {link: link.port or f"#{place}" for place, link in enumerate(links)}
    ports = list(dict.fromkeys(keys.values()))
    items = _items(app, ports, result) if len(ports) > 1 else None
    return [(link, result if items is None else items[keys[link]]) for link in links]


def _items(app: AppDrop, ports: list[str], result: Any) -> Mapping[str, Any] | None:
    fields = getattr(result, "_fields", ())
    if isinstance(result, tuple) and set(ports) <= set(fields):
        return dict(zip(fields, result, strict=True))
    if isinstance(result, Mapping):
        return result if all(port in result for port in ports) else None
    if isinstance(result, tuple | list) and len(result) == len(ports):
        described = [name for name in app.arguments if name in ports]
        order = described if len(described) == len(ports) else ports
        return dict(zip(order, result, strict=True))
    return None
