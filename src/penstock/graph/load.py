# SPDX-License-Identifier: Apache-2.0
"""Text to values: read a physical graph, or say everything that is wrong with its text.

The text is decoded in one pass straight into specifications. Only when that fails is it decoded a second
time into plain objects and looked at drop by drop, so that all mistakes are found and good graphs pay nothing.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import force_setattr

from penstock.errors import GraphInvalid
from penstock.graph.cutting import decoded
from penstock.graph.problems import Problem, did_you_mean
from penstock.graph.spec import EMPTY_SPEC, DropSpec, Graph

__all__ = ["Reading", "encode", "loads", "read"]

_DECODER = msgspec.json.Decoder(tuple[DropSpec, ...])
_BYTE_OFFSET = re.compile(r"\(byte (\d+)\)")
_LOGICAL_KEYS = frozenset({"nodeDataArray", "linkDataArray", "modelData"})
_MANDATORY = ("oid", "categoryType")
_OLD_CLASS_KEYS = ("app", "appclass", "Application", "dataclass", "container")


class Reading(NamedTuple):
    """What a text turned out to be.

    Attributes:
        graph: the drops that could be read, without what was wrong with them; None where nothing could be.
        problems: what is wrong with the form. Links, rules and classes are not looked at here.
    """

    graph: Graph | None
    problems: list[Problem]


def loads(text: bytes | str) -> Graph:
    """Read a physical graph from JSON text (UTF-8).

    Raises:
        GraphInvalid: with every problem of the text's form.
    """
    graph, problems = read(text)
    if problems or graph is None:
        raise GraphInvalid(problems)
    return graph


def read(text: bytes | str) -> Reading:
    """Read as much of a physical graph as can be read, and tell what cannot."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    data = data.removeprefix(b"\xef\xbb\xbf")
    intake = _Intake()
    try:
        specs = decoded(data, _DECODER, intake.take)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _diagnose(data)
    has_record = bool(specs) and _is_record(specs[-1])
    if has_record:
        specs = _without_last(specs)
    if not specs:
        return Reading(
            None, [Problem("PS104", "the graph holds no drop", hint="add drops, or check the file")]
        )
    graph = Graph(data, specs, has_record=has_record, index=intake.index(specs))
    graph = _without_old_spellings(graph)
    return Reading(graph, _check_names(graph))


def encode(drops: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a list of dicts as the text of a graph.

    Raises:
        GraphInvalid: a value that JSON cannot hold.
    """
    try:
        # Not msgspec, which would write bytes as base64 and NaN as null without a word.
        plain = [dict(drop) if hasattr(drop, "keys") else drop for drop in drops]
        return json.dumps(plain, allow_nan=False, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError) as exc:
        raise GraphInvalid([Problem("PS101", f"the drops hold a value that JSON cannot: {exc}")]) from exc


class _Intake:
    """What is done with each piece of a large graph while it is in the processor's cache.

    Words that many drops have alike are kept once, which is a fourth of what a graph takes in memory.
    """

    def __init__(self) -> None:
        self._known: dict[str | None, str | None] = {}
        self._index: dict[str, int] = {}
        self._count = 0
        self._are_plain = True

    def index(self, specs: Sequence[DropSpec]) -> dict[str, int] | None:
        """Return where each drop is by oid, None where that is not all that is to be known of names."""
        if not self._count or not self._are_plain:
            return None
        if self._count > len(specs):
            self._index.pop("", None)  # the record at the end has no name
        return self._index if len(self._index) == len(specs) else None

    def take(self, specs: tuple[DropSpec, ...]) -> None:
        """Let specifications that nobody else has yet hold words known from before, and note their names."""
        known = self._known.setdefault
        for spec in specs:
            if spec.uid == spec.oid:
                force_setattr(spec, "uid", "")
            if (word := known(spec.category_type, spec.category_type)) is not spec.category_type:
                force_setattr(spec, "category_type", word)
            if (word := known(spec.dropclass, spec.dropclass)) is not spec.dropclass:
                force_setattr(spec, "dropclass", word)
            if (word := known(spec.storage, spec.storage)) is not spec.storage:
                force_setattr(spec, "storage", word)
        self._index.update(zip([spec.oid for spec in specs], count(self._count), strict=False))
        self._count += len(specs)
        self._are_plain = self._are_plain and not any(spec.uid for spec in specs)


def _without_last(specs: Sequence[DropSpec]) -> Sequence[DropSpec]:
    if not isinstance(specs, list):
        return specs[:-1]
    specs.pop()  # as a copy would be a long call
    return specs


def _is_record(spec: DropSpec) -> bool:
    return not spec.oid and (bytes(spec.rmode) != b"" or spec == EMPTY_SPEC)


def _without_old_spellings(graph: Graph) -> Graph:
    """Put into `category_type` and `dropclass` what old graphs say under other keys."""
    if all(spec.dropclass and spec.category_type for spec in graph.drops):
        return graph
    rows = graph.columns("type", *_OLD_CLASS_KEYS)
    drops = tuple(_modern(spec, row) for spec, row in zip(graph.drops, rows, strict=True))
    return Graph(graph.text, drops, has_record=graph.has_record)


def _modern(spec: DropSpec, row: tuple[Any, ...]) -> DropSpec:
    kind, *classes = (value if isinstance(value, str) else "" for value in row)
    dropclass = spec.dropclass or next(filter(None, classes), None)
    return msgspec.structs.replace(spec, category_type=spec.category_type or kind, dropclass=dropclass)


def _check_names(graph: Graph) -> list[Problem]:
    if graph.names_are_sound and all(spec.category_type for spec in graph.drops):
        return []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for i, spec in enumerate(graph.drops):
        place = graph.place(i)
        missing = [
            name for name, value in zip(_MANDATORY, (spec.oid, spec.category_type), strict=True) if not value
        ]
        if missing:
            problems.append(_missing(place, graph.fields(i), missing))
        for name in {spec.oid, spec.key} - {""}:
            first = seen.setdefault(name, place)
            if first != place:
                text = f"elements {first} and {place} of the list have the same name"
                problems.append(Problem("PS203", text, name, f"/{place}/oid", "rename one of them"))
    return problems


def _missing(place: int, fields: Mapping[str, Any], names: Sequence[str]) -> Problem:
    hint = next((word for name in names if (word := did_you_mean(name, fields))), "")
    what = " and ".join(names)
    return Problem("PS202", f"the drop has no {what}", str(fields.get("oid") or ""), f"/{place}", hint)


def _diagnose(data: bytes) -> Reading:
    try:
        value = msgspec.json.decode(data)
    except RecursionError:
        return Reading(None, [Problem("PS105", "the text is nested too deeply to be a graph")])
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        return Reading(None, [_malformed(data, exc)])
    if isinstance(value, list):
        return _salvage(value)
    if isinstance(value, dict) and value.keys() & _LOGICAL_KEYS:
        hint = "translate it first: dlg fill | dlg unroll | dlg partition | dlg map (the DALiuGE translator)"
        return Reading(
            None, [Problem("PS103", "this is a logical graph, Penstock runs physical ones", hint=hint)]
        )
    text = f"a physical graph is a list of drops, this is {_json_name(value)}"
    return Reading(None, [Problem("PS102", text, hint="put the drops in [ ]")])


def _salvage(items: list[Any]) -> Reading:
    """Take out what is wrong, so that the rest can still be looked at and all is told at once."""
    problems: list[Problem] = []
    kept: list[dict[str, Any]] = []
    places: list[int] = []
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            problems.append(
                Problem("PS201", f"element {place} is {_json_name(item)}, no drop", path=f"/{place}")
            )
            continue
        wrong = dict(_wrong_fields(place, item))
        problems.extend(wrong.values())
        kept.append({key: field for key, field in item.items() if key not in wrong})
        places.append(place)
    if not kept:
        return Reading(None, problems)
    reading = read(msgspec.json.encode(kept))
    if reading.graph is not None:
        reading.graph.places = tuple(places)
        return Reading(reading.graph, problems + _check_names(reading.graph))
    return Reading(None, problems + reading.problems)


def _wrong_fields(place: int, item: dict[str, Any]) -> Iterator[tuple[str, Problem]]:
    uid = str(item.get("uid") or item.get("oid") or "")
    for key, value in item.items():
        try:
            msgspec.convert({key: value}, DropSpec)
        except msgspec.ValidationError as exc:
            yield key, Problem("PS207", f"field {key!r}: {_plain(exc)}", uid, _pointer(place, exc, key))


def _plain(error: msgspec.ValidationError) -> str:
    return str(error).split(" - at ")[0]


def _pointer(place: int, error: msgspec.ValidationError, key: str) -> str:
    match = re.search(r"\[(\d+)\]", str(error))
    return f"/{place}/{key}/{match.group(1)}" if match else f"/{place}/{key}"


def _malformed(data: bytes, error: Exception) -> Problem:
    if not data.strip():
        return Problem("PS101", "the text is empty")
    match = _BYTE_OFFSET.search(str(error))
    offset = int(match.group(1)) if match else len(data)
    reason = _BYTE_OFFSET.sub("", str(error)).removeprefix("JSON is malformed: ").strip()
    try:
        json.loads(
            data.decode()
        )  # the standard library knows the place better: msgspec's is a few letters late
    except UnicodeDecodeError as exc:
        reason, offset = "these bytes are not UTF-8", exc.start
    except json.JSONDecodeError as exc:
        reason, offset = exc.msg[:1].lower() + exc.msg[1:], len(exc.doc[: exc.pos].encode())
    except RecursionError:
        pass
    line = data.count(b"\n", 0, offset) + 1
    column = len(data[data.rfind(b"\n", 0, offset) + 1 : offset].decode("utf-8", "replace")) + 1
    return Problem("PS101", f"the text is not JSON: {reason} (line {line}, column {column})")


def _json_name(value: object) -> str:
    if value is None:
        return "null"
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "something else")
