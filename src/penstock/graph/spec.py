# SPDX-License-Identifier: Apache-2.0
"""The values: one drop's specification, and a graph.

`DropSpec` holds what the engine and the checks need of each drop, for a million drops at once; everything
else that an author wrote about a drop stays text until somebody asks for it (`Graph.fields`).

Rule 1: tuples, never lists, in what exists per drop: the garbage collector forgets tuples of atoms, lists
cost it more than the rest of a run.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import Any

import msgspec

from penstock.graph.cutting import TURN, holds, pieces, turns

__all__ = ["DropSpec", "Graph", "LinkText"]

LinkText = str | dict[str, str | None]
"""A link as the text has it: a uid, or {uid: name of the port}."""

_Number = int | float | str | bool | None  # numbers come as text too; `rules.py` reads them


_KEYS = {
    "category_type": "categoryType",
    "streaming_consumers": "streamingConsumers",
    "streaming_inputs": "streamingInputs",
    "expire_after_use": "expireAfterUse",
    "expected_size": "expectedSize",
    "execution_mode": "executionMode",
    "application_args": "applicationArgs",
    "component_params": "componentParams",
}
"""Attributes here whose key in a graph is another word."""


class RuleArgument(msgspec.Struct, frozen=True, gc=False):
    """A rule as a described argument: only its value counts."""

    value: Any = None  # Any: JSON as the author wrote it


_Described = RuleArgument | int | float | str | bool | None


class DescribedRules(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename=_KEYS.get,
):
    """The rules among a drop's described arguments, named as in `DropSpec`; all others are passed over."""

    n_effective_inputs: _Described = None
    input_error_threshold: _Described = None
    n_tries: _Described = None
    block_skip: _Described = None
    time_limit_s: _Described = None
    lifespan: _Described = None
    expire_after_use: _Described = None
    expected_size: _Described = None
    execution_mode: _Described = None


NO_RULES = DescribedRules()


class DropSpec(
    msgspec.Struct,
    frozen=True,
    gc=False,
    kw_only=True,
    rename=_KEYS.get,
):
    """What the engine needs of one drop. Field names are ours, keys the ecosystem's of today.

    Old spellings of `categoryType` and `dropclass` end in `load.py`.

    Every field here costs each drop of each graph; what only some commands want is read by `Graph.columns`.

    Source: the physical graph format; `uid` is "" where the text gives none, and may be where it equals `oid`.
    """

    oid: str = ""
    uid: str = ""
    category_type: str = ""
    dropclass: str | None = None
    storage: str | None = None
    consumers: tuple[LinkText, ...] | None = None
    producers: tuple[LinkText, ...] | None = None
    inputs: tuple[LinkText, ...] | None = None
    outputs: tuple[LinkText, ...] | None = None
    streaming_consumers: tuple[LinkText, ...] | None = None
    streaming_inputs: tuple[LinkText, ...] | None = None
    children: tuple[LinkText, ...] | None = None
    parent: LinkText | None = None
    n_effective_inputs: _Number = None
    input_error_threshold: _Number = None
    n_tries: _Number = None
    block_skip: _Number = None
    time_limit_s: _Number = None
    lifespan: _Number = None
    expire_after_use: _Number = None
    expected_size: _Number = None
    execution_mode: _Number = None
    application_args: DescribedRules | tuple[Any, ...] | str | None = NO_RULES
    component_params: DescribedRules | tuple[Any, ...] | str | None = NO_RULES
    rmode: msgspec.Raw = msgspec.Raw()

    @property
    def key(self) -> str:
        """The name under which links and results know this drop."""
        return self.uid or self.oid


EMPTY_SPEC = DropSpec()

_RAW_DECODER = msgspec.json.Decoder(tuple[msgspec.Raw, ...])


class Graph:
    """A physical graph, frozen: its text and the specifications in the order of the text.

    A drop's index is its place in `drops`; all tables of a session use it.

    Args:
        index: where each drop is by oid, where that is known and uids say nothing else.
    """

    __slots__ = ("_cuts", "_index", "_names_are_plain", "drops", "has_record", "places", "text")

    def __init__(
        self,
        text: bytes,
        drops: Sequence[DropSpec],
        *,
        has_record: bool,
        index: dict[str, int] | None = None,
    ) -> None:
        self.text = text
        self.drops = drops
        self.has_record = has_record
        self.places: tuple[int, ...] | None = None
        self._index = index
        self._names_are_plain = index is not None
        self._cuts: tuple[array[int], array[int]] | None = None

    def __len__(self) -> int:
        return len(self.drops)

    def __iter__(self) -> Iterator[DropSpec]:
        return iter(self.drops)

    def __repr__(self) -> str:
        return f"<Graph of {len(self)} drops>"

    def place(self, index: int) -> int:
        """Return which element of the author's list a drop is; they differ where elements could not be read."""
        return index if self.places is None else self.places[index]

    @property
    def index(self) -> Mapping[str, int]:
        """Where each drop is, by uid and by oid."""
        if self._index is None:
            self._index = self._make_index()
        return self._index

    def _make_index(self) -> dict[str, int]:
        index: dict[str, int] = {}
        done = 0
        are_same, are_none = True, True  # uids compared with oids
        for drops in turns(self.drops):
            oids = [spec.oid for spec in drops]
            uids = [spec.uid for spec in drops]
            index.update(zip(oids, range(done, done + len(drops)), strict=True))
            done += len(drops)
            are_same, are_none = are_same and oids == uids, are_none and not any(uids)
        self._names_are_plain = are_same or are_none
        if not self._names_are_plain:
            index.update((spec.uid, i) for i, spec in enumerate(self.drops) if spec.uid)
        return index

    @property
    def names_are_sound(self) -> bool:
        """Whether every drop has a name of its own; False where it takes a closer look to know."""
        # Where uids say nothing new, as many names as drops means that no name is there twice.
        return len(self.index) == len(self.drops) and self._names_are_plain and "" not in self.index

    def may_hold(self, name: str) -> bool:
        """Whether the text has a key of this name anywhere; a look that takes a tenth of what decoding does."""
        return holds(self.text, f'"{name}"'.encode())

    def columns(self, *names: str) -> Iterator[tuple[Any, ...]]:  # Any: JSON as the author wrote it
        """Yield the values that the drops have under `names`, None where one has none; a pass over the text."""
        fields = [(f"field{k}", Any, msgspec.field(name=name, default=None)) for k, name in enumerate(names)]
        columns = msgspec.defstruct("Columns", fields, gc=False)
        read = attrgetter(*(name for name, _, _ in fields))
        decoder = msgspec.json.Decoder(tuple[columns, ...])  # type: ignore[valid-type]
        rows = chain.from_iterable(part for _, part in pieces(self.text, decoder))
        for row in islice(rows, len(self.drops)):
            yield read(row) if len(names) > 1 else (read(row),)

    def pieces(self) -> Iterator[bytes]:
        """Yield the texts of all drops, in their order."""
        starts, ends = self._cut()
        return map(self.text.__getitem__, islice(map(slice, starts, ends), len(self.drops)))

    def raw(self, index: int) -> bytes:
        """Return the text of one drop, exactly as it was written."""
        starts, ends = self._cut()
        return self.text[starts[index] : ends[index]]

    def fields(self, index: int) -> dict[str, Any]:  # Any: JSON as the author wrote it
        """Return everything that was written about one drop; a new dict each time."""
        value: dict[str, Any] = msgspec.json.decode(self.raw(index))
        return value

    @property
    def record(self) -> bytes | None:
        """The text of the trailing reproducibility record, None where the graph has none."""
        return self.raw(-1) if self.has_record else None

    def clear(self) -> None:
        """Give back all memory, some drops at a time; nobody may use the graph any more."""
        index, drops = self._index or {}, self.drops
        self.text, self.drops, self._index, self._cuts = b"", (), {}, None
        while isinstance(drops, list) and drops:
            del drops[-TURN:]
        while index:
            index.popitem()

    def _cut(self) -> "tuple[array[int], array[int]]":
        """Return where the text of each drop begins and ends."""
        # A second pass over the text, made only when somebody wants more of a drop than its specification.
        if self._cuts is None:
            starts, ends = array("q"), array("q")
            for at, part in pieces(self.text, _RAW_DECODER):
                for raw in part:
                    begin = self.text.index(b"{", at)
                    at = begin + len(bytes(raw))
                    starts.append(begin)
                    ends.append(at)
            self._cuts = starts, ends
        return self._cuts
