# SPDX-License-Identifier: Apache-2.0
"""The values of arguments as graphs write them: typed, with variables filled in, in old spellings too.

What is empty (absent, null, empty text) counts as not given.
"""

import ast
import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from penstock.drops.app import AppDrop
from penstock.drops.ports import Argument, boolean, integer
from penstock.errors import ParameterInvalid

__all__ = [
    "argument_value",
    "default_values",
    "expand",
    "is_given",
    "mapping_field",
    "numbered_values",
    "typed",
]

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_READERS: dict[str, Callable[[str], Any]] = {
    "integer": integer,
    "int": integer,
    "float": float,
    "boolean": boolean,
    "bool": boolean,
}
_NUMBERED = re.compile(r"Arg\d\d")


def is_given(value: object) -> bool:
    """Whether a graph gives this value at all."""
    return value is not None and not (isinstance(value, str) and not value)


def expand(value: Any, environment: Mapping[str, str]) -> Any:  # Any: JSON in, JSON out
    """Fill in `$NAME` and `${NAME}` where text begins with one, and `$DLG_...` anywhere in text.

    Names that the environment lacks stay as they are.
    """
    if not isinstance(value, str) or "$" not in value:
        return value

    def filled(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if match.start() > 0 and not name.startswith("DLG_") and not value.startswith("$"):
            return match[0]
        return environment.get(name, match[0])

    return _VARIABLE.sub(filled, value)


def typed(uid: str, name: str, value: Any, kind: str | None) -> Any:  # Any: JSON in, a Python value out
    """Return the value in the type that its description names; only text needs converting.

    Raises:
        ParameterInvalid: text that is no such number or truth value.
    """
    if not isinstance(value, str):
        return value
    kind = (kind or "").lower()
    if kind in _READERS:
        try:
            return _READERS[kind](value)
        except (ValueError, OverflowError) as exc:
            raise ParameterInvalid(uid, name, f"cannot be {value!r}: {exc}") from exc
    return literal(value) if kind in ("json", "complex", "eval") else value


def literal(text: str) -> Any:  # Any: whatever the text spells
    """Return what the text spells as JSON or as a Python literal, else the text itself."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return text


def argument_value(app: AppDrop, argument: Argument) -> Any:  # Any: JSON as the graph's author wrote it
    """Return the value of a described argument: the drop's own key of that name, else the description's."""
    value = app.fields.get(argument.name, argument.value)
    if not is_given(value):
        value = argument.value
    if not isinstance(value, str):
        return value
    return typed(app.uid, argument.name, expand(value, app.site.environment), argument.type)


def numbered_values(app: AppDrop) -> dict[str, Any]:  # Any: whatever the text spells
    """Return the arguments in the oldest spelling: fields Arg01, Arg02 ... that hold "name=value"."""
    values: dict[str, Any] = {}
    keys = (*app.fields, *app.arguments)
    if "\nArg" not in "\n".join(("", *keys)):  # one look at all, because most graphs have none
        return values
    for key in sorted({*keys}):
        if _NUMBERED.fullmatch(key) and isinstance(text := app.field(key), str):
            name, equals, value = text.partition("=")
            if equals and name.strip():
                values[name.strip()] = literal(expand(value.strip(), app.site.environment))
    return values


def mapping_field(app: AppDrop, name: str) -> dict[str, Any]:  # Any: JSON as the graph's author wrote it
    """Return a field that is an object, also one written as JSON or Python text; empty if not given.

    Raises:
        ParameterInvalid: it is something else.
    """
    value = app.field(name)
    if value is None:
        return {}
    if isinstance(value, str):
        value = literal(value) if value.strip() else None
    if not is_given(value):
        return {}
    if not isinstance(value, Mapping):
        raise ParameterInvalid(app.uid, name, f"must be an object, not {value!r}")
    return dict(value)


def default_values(app: AppDrop, parameters: list[str]) -> dict[str, Any]:  # Any: users' values
    """Return `func_defaults` by parameter name.

    Old spellings: {"kwargs": {...}, "args": [...]}, the latter in the order of `parameters`; any value may
    be base64 of a dill pickle.
    """
    defaults = mapping_field(app, "func_defaults")
    if not defaults:
        return defaults
    if isinstance(kwargs := defaults.get("kwargs"), Mapping) and set(defaults) <= {"kwargs", "args"}:
        positional = zip(parameters, defaults.get("args") or (), strict=False)
        defaults = {**dict(positional), **kwargs}
    return {name: _unpickled(value) for name, value in defaults.items()}


def _unpickled(value: Any) -> Any:  # Any: users' values
    if not isinstance(value, str):
        return value
    try:
        content = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return value
    if not (content.startswith(b"\x80") and content.endswith(b".")):
        return value
    import dill

    return dill.loads(content)  # noqa: S301  the graph's own code, in the process that runs its apps
