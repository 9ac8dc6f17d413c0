# SPDX-License-Identifier: Apache-2.0
"""A session's graph as one piece of shared memory, made once; children map it and read what they need of it.

Layout: five numbers (drops, lengths of the rows before and after, bytes of text, unused), then per drop its
kind (1 byte) and the number of its class, the ends of its rows, the rows, the ends of its text, the text. So a
graph of a million drops costs a child nothing but the drops that it runs.
"""

import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, Literal

import msgspec

from penstock.graph.links import Row
from penstock.graph.spec import DropSpec
from penstock.runtime.build import Prepared

__all__ = ["GraphImage", "image_parts"]

_Code = Literal["B", "I", "Q"]
_LONG_BYTES = 1 << 12
_LONG_KEPT = 100
_SPECS_KEPT = 1000
_HEAD = struct.Struct("<5Q")
_decode_fields = msgspec.json.Decoder().decode
_decode_spec = msgspec.json.Decoder(DropSpec).decode


def image_parts(prepared: Prepared) -> list[bytes]:
    """Return the pieces that make up the image of a graph, one behind the other."""
    wiring = prepared.wiring
    texts = list(prepared.graph.pieces())
    before, after = (_rows(rows) for rows in (wiring.before, wiring.after))
    text = b"".join(texts)
    size = len(wiring.kinds)
    head = _HEAD.pack(size, len(before[1]), len(after[1]), len(text), 0)
    ends = array("Q", accumulate(map(len, texts)))
    columns = [array("I", prepared.class_of), *before, *after]
    kinds = bytes(wiring.kinds) + bytes(-size % 8)
    numbers = b"".join(column.tobytes() for column in columns)
    return [head, kinds, ends.tobytes(), numbers, text]


def _rows(rows: Sequence[Row]) -> "tuple[array[int], array[int]]":
    return array("I", accumulate(map(len, rows))), array("I", chain.from_iterable(rows))


class _Rows:
    """Rows of neighbours, each read when it is asked for."""

    def __init__(self, ends: memoryview, members: memoryview) -> None:
        self._ends = ends
        self._members = members

    def __getitem__(self, index: int) -> Row:
        begin = self._ends[index - 1] if index else 0
        return tuple(self._members[begin : self._ends[index]])


class GraphImage:
    """A graph read from its image; the parts of `Graph` and `Wiring` that drops need.

    Attributes:
        kinds, before, after: as in `Wiring`.
        class_of: per drop the number of its class.
        streaming, children: as in `Wiring`; they are few, and come by another way.
    """

    def __init__(self, data: memoryview, streaming: Mapping[int, Row], children: Mapping[int, Row]) -> None:
        self.streaming = streaming
        self.children = children
        size, before, after, text, _ = _HEAD.unpack_from(data)
        columns = _cut(
            data[_HEAD.size :],
            (size, "B"), (-size % 8, "B"), (size, "Q"),
            (size, "I"), (size, "I"), (before, "I"), (size, "I"), (after, "I"), (text, "B"),
        )  # fmt: skip
        self.kinds, _, self._ends, self.class_of, *rows, self._text = columns
        self.before = _Rows(rows[0], rows[1])
        self.after = _Rows(rows[2], rows[3])
        self._specs: dict[int, DropSpec] = {}
        self._fields: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self.kinds)

    def raw(self, index: int) -> memoryview:
        """Return the text of one drop."""
        return self._text[self._ends[index - 1] if index else 0 : self._ends[index]]

    def fields(self, index: int) -> dict[str, Any]:  # Any: JSON as the author wrote it
        """Return everything that was written about one drop; long texts, of drops with many links, are read once."""
        raw = self.raw(index)
        if len(raw) < _LONG_BYTES:
            value: dict[str, Any] = _decode_fields(raw)
            return value
        kept = self._fields.get(index)
        if kept is None:
            if len(self._fields) >= _LONG_KEPT:
                self._fields.clear()
            kept = self._fields[index] = _decode_fields(raw)
        return dict(kept)

    def spec(self, index: int) -> DropSpec:
        """Return the specification of one drop; those asked for last are kept, some may have many links."""
        spec = self._specs.get(index)
        if spec is None:
            if len(self._specs) >= _SPECS_KEPT:
                self._specs.clear()
            spec = self._specs[index] = _decode_spec(self.raw(index))
        return spec


def _cut(data: memoryview, *columns: tuple[int, _Code]) -> Iterator[memoryview]:
    at = 0
    for count, code in columns:
        size = count * struct.calcsize(code)
        yield data[at : at + size].cast(code)
        at += size
