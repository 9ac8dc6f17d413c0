# SPDX-License-Identifier: Apache-2.0
"""Values to text: a graph as JSON in stable order.

The drops stay in the graph's order. The keys of each drop come in groups, so that two files can be compared
line by line: who it is, what it is, where it runs, its links, then all other keys by name. Values are copied
as text, so that nothing an author wrote is lost or rounded; only the white space between them changes. The
trailing reproducibility record, where there is one, is copied as a whole.
"""

import msgspec

from penstock.graph.spec import Graph

__all__ = ["KEY_ORDER", "dumps"]

KEY_ORDER = (
    *("oid", "uid", "name", "humanReadableKey"),
    *(
        "categoryType",
        "type",
        "category",
        "dropclass",
        "app",
        "appclass",
        "Application",
        "dataclass",
        "container",
    ),
    *("storage", "node", "island"),
    *(
        "inputs",
        "streamingInputs",
        "outputs",
        "producers",
        "consumers",
        "streamingConsumers",
        "children",
        "parent",
    ),
)
"""The keys that come first, in this order; the others follow by name."""

_PLACES = {key: place for place, key in enumerate(KEY_ORDER)}


def dumps(graph: Graph, *, indent: int | None = None) -> bytes:
    """Return a graph as JSON text; the same bytes for the same drops, however they were written.

    Args:
        indent: spaces per level, over many lines; by default the text has one line per drop.
    """
    elements = [_ordered(graph.raw(i)) for i in range(len(graph))]
    if graph.record is not None:
        elements.append(graph.record)
    if indent is not None:
        return msgspec.json.format(b"[" + b",".join(elements) + b"]", indent=max(indent, 1)) + b"\n"
    return b"[\n" + b",\n".join(msgspec.json.format(element, indent=-1) for element in elements) + b"\n]\n"


def _ordered(drop: bytes) -> bytes:
    fields = msgspec.json.decode(drop, type=dict[str, msgspec.Raw])
    keys = sorted(fields, key=lambda key: (_PLACES.get(key, len(_PLACES)), key))
    return msgspec.json.encode({key: fields[key] for key in keys})
