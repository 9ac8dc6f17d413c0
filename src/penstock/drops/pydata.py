# SPDX-License-Identifier: Apache-2.0
"""The value that a graph's author typed into a memory drop (`pydata`), and the bytes that it becomes.

Rules, in the order of precedence:
 1. an entry named `pydata` in the list `fields`, then the key `pydata`, then the described argument;
 2. a key that is `{"value": .., "type": ..}` is a description; any other takes the type of the described
    argument, where there is one;
 3. text becomes UTF-8, everything else a pickle of the value, "None" and "" the pickle of `b""`;
 4. nothing is run or unpickled here: `eval` takes literals, `Object` takes base64 and keeps what it holds.

Source: contents that the ancestor's engine makes of each type, `graphs/expected`.
"""

import ast
import base64
import binascii
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.drops.ports import PORT_USAGES, boolean, integer
from penstock.errors import ParameterInvalid

__all__ = ["Described", "content_of", "find_pydata"]

NAME = "pydata"

_PICKLE_PROTOCOL = 4
_NOTHING = ("", "None")
_TEXT_TYPES = frozenset({"string", "str", "text"})


class Described(NamedTuple):
    """A value as the graph gives it, and the name of its type; "" where the graph names none."""

    value: Any  # Any: JSON as the graph's author wrote it
    type: str

    @property
    def is_text(self) -> bool:
        """Whether the value is plain text."""
        kind = self.type.lower()
        return kind in _TEXT_TYPES or (not kind and isinstance(self.value, str))

    @property
    def has_content(self) -> bool:
        """Whether any bytes come of it."""
        return not (self.is_text and (self.value is None or self.value in _NOTHING))


def find_pydata(fields: Mapping[str, Any]) -> Described | None:
    """Return what the drop's JSON object says of `pydata`, None where it says nothing.

    Raises:
        ParameterInvalid: the key `fields` is no list.
    """
    argument = _argument(fields)
    for entry in _entries(fields):
        if isinstance(entry, Mapping) and entry.get("name") == NAME and not _is_port(entry):
            return _described(entry)
    if NAME in fields:
        value = fields[NAME]
        if isinstance(value, Mapping) and "value" in value and ("type" in value or len(value) == 1):
            return _described(value)
        if argument is not None:
            return Described(value, str(argument.get("type") or ""))
        return None if value is None else Described(value, "")
    return None if argument is None or "value" not in argument else _described(argument)


def _entries(fields: Mapping[str, Any]) -> Sequence[Any]:
    entries = fields.get("fields")
    if entries and not isinstance(entries, list | tuple):
        uid = str(fields.get("uid") or fields.get("oid") or "")
        raise ParameterInvalid(uid, "fields", f"must be a list of objects, not {entries!r:.40}")
    return entries or ()


def _argument(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for group in ("applicationArgs", "componentParams"):
        described = fields.get(group)
        if isinstance(described, Mapping) and isinstance(found := described.get(NAME), Mapping):
            return None if _is_port(found) else found
    return None


def _is_port(entry: Mapping[str, Any]) -> bool:
    usage = entry.get("usage")
    return isinstance(usage, str) and usage in PORT_USAGES


def _described(entry: Mapping[str, Any]) -> Described:
    return Described(entry.get("value"), str(entry.get("type") or ""))


def content_of(uid: str, data: Described) -> bytes:
    """Return the bytes that a drop holds whose graph gives this value.

    Args:
        uid: for messages.
        data: as `find_pydata` found it.
    Raises:
        ParameterInvalid: the value is not of its type.
    """
    if isinstance(data.value, bytes | bytearray):  # graphs made in Python
        return bytes(data.value)
    if data.is_text:
        return _text(data.value)
    if isinstance(data.value, str) and data.value in _NOTHING:
        return pickle.dumps(b"", protocol=_PICKLE_PROTOCOL)
    kind = data.type.lower().partition(".")[0]
    if isinstance(data.value, str) and kind in ("object", "raw"):
        return _decoded(uid, data.value, pickled=kind == "object")
    try:
        value = _READERS.get(kind, _as_it_is)(data.value)
    except (TypeError, ValueError, OverflowError, SyntaxError, MemoryError, RecursionError) as exc:
        raise ParameterInvalid(uid, NAME, f"of type {data.type} cannot be {data.value!r}: {exc}") from exc
    return pickle.dumps(value, protocol=_PICKLE_PROTOCOL)


def _text(value: Any) -> bytes:
    if value is None or value == "None":
        return b""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def _decoded(uid: str, text: str, *, pickled: bool) -> bytes:
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        remedy = "an object is a pickle in base64; use the type Json or String for plain values"
        raise ParameterInvalid(uid, NAME, f"is no base64: {text[:40]!r} ({exc}); {remedy}") from exc
    # Every pickle ends in its stop code. Looking at that is safe, unpickling a graph's text is not.
    if pickled and not content.endswith(pickle.STOP):
        raise ParameterInvalid(uid, NAME, f"holds no pickle: {text[:40]!r}; use the type String for text")
    return content


def _as_it_is(value: Any) -> Any:
    return value


def _parsed_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _literal(value: Any) -> Any:
    return ast.literal_eval(value.strip()) if isinstance(value, str) else value


def _number(value: Any) -> int | None:
    return None if value is None else integer(value)


def _real(value: Any) -> float | None:
    return None if value is None else float(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "json": _parsed_json,
    "eval": _literal,
    "int": _number,
    "integer": _number,
    "float": _real,
    "double": _real,
    "bool": boolean,
    "boolean": boolean,
}
