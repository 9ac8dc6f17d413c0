# SPDX-License-Identifier: Apache-2.0
"""Declared parameters of drop classes, and the described arguments of drops in graphs.

A class declares what it takes:

    class Blur(AppDrop):
        width = Parameter(int, 3, "pixels on each side")

and reads `self.width`. The value comes from the drop's own key, else from its described argument of that
name, else it is the default; it is converted on first use and kept.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar, overload

import msgspec

from penstock.errors import ParameterInvalid

__all__ = [
    "PORT_USAGES",
    "Argument",
    "Parameter",
    "boolean",
    "declared_parameters",
    "integer",
    "parse_arguments",
]

T = TypeVar("T")


class _Owner(Protocol):
    """What a parameter needs of the drop that it is read from."""

    @property
    def uid(self) -> str: ...

    def field(self, name: str) -> Any: ...  # Any: JSON as the graph's author wrote it


PORT_USAGES = frozenset({"InputPort", "OutputPort", "InputOutput"})


class Argument(msgspec.Struct, frozen=True, rename="camel"):
    """One described parameter or port of a drop, as graph editors write it."""

    name: str
    value: Any = None  # Any: JSON as the graph's author wrote it
    default_value: Any = None
    type: str | None = "String"
    encoding: str | None = None
    usage: str | None = "NoPort"
    positional: Any = False  # Any: true, false, or either as text
    options: Any = None

    @property
    def is_port(self) -> bool:
        """Whether this is a place for data instead of a setting."""
        return self.usage in PORT_USAGES

    @property
    def is_input(self) -> bool:
        """Whether data comes in through it."""
        return self.usage in ("InputPort", "InputOutput")

    @property
    def is_output(self) -> bool:
        """Whether data goes out through it."""
        return self.usage in ("OutputPort", "InputOutput")


def parse_arguments(uid: str, fields: Mapping[str, Any]) -> dict[str, Argument]:
    """Return the described arguments of one drop by name, application arguments before component ones.

    Args:
        uid: for messages.
        fields: the drop's whole JSON object.
    Raises:
        ParameterInvalid: a description is not an object with a name.
    """
    arguments: dict[str, Argument] = {}
    for group in ("applicationArgs", "componentParams"):
        described = fields.get(group)
        if not described or not isinstance(described, Mapping):
            continue
        try:  # all at once, which is how editors write them: objects with names
            found = msgspec.convert(described, dict[str, Argument])
        except msgspec.ValidationError:
            _parse_each(uid, group, described, arguments)
        else:
            for name, argument in found.items():
                arguments.setdefault(name, argument)
    return arguments


def _parse_each(uid: str, group: str, described: Mapping[str, Any], arguments: dict[str, Argument]) -> None:
    for name, text in described.items():
        if name in arguments:
            continue
        raw = {"name": name, **text} if isinstance(text, Mapping) else {"name": name, "value": text}
        try:
            arguments[name] = msgspec.convert(raw, Argument)
        except msgspec.ValidationError as exc:
            raise ParameterInvalid(uid, name, f"is described wrongly in {group}: {exc}") from exc


def boolean(value: object) -> bool:
    """Read a truth value as graphs write it: true, 1, "true", "yes", "on" and their opposites.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return bool(value)
    word = str(value).strip().lower()
    if word in ("true", "1", "yes", "y", "on", "t"):
        return True
    if word in ("false", "0", "no", "n", "off", "f", "", "none", "null"):
        return False
    raise ValueError(f"{value!r} is neither true nor false")


_NOT_WHOLE = "it is no whole number"


def integer(value: object) -> int:
    """Read a whole number, also from text or from a float without a fraction.

    Raises:
        ValueError: it is not a whole number.
    """
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    try:
        number = float(str(value))
        whole = int(number)
    except (ValueError, OverflowError) as exc:  # no number at all, inf, nan
        raise ValueError(_NOT_WHOLE) from exc
    if number != whole:
        raise ValueError(_NOT_WHOLE)
    return whole


_READERS: dict[object, Callable[[Any], Any]] = {bool: boolean, int: integer}


class Parameter(Generic[T]):
    """A typed parameter that a drop class declares.

    Args:
        kind: what turns the graph's value into ours; a type or any function of one value.
        default: the value where the graph gives none (absent, null, or empty text for a type other than str).
        doc: one line for people.
    """

    def __init__(self, kind: Callable[[Any], T], default: T, doc: str = "") -> None:
        self.kind = kind
        self.default = default
        self.doc = doc
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, drop: None, owner: type) -> "Parameter[T]": ...
    @overload
    def __get__(self, drop: _Owner, owner: type) -> T: ...
    def __get__(self, drop: _Owner | None, owner: type) -> "Parameter[T] | T":
        if drop is None:
            return self
        given = drop.field(self.name)
        value = self.default if given is None else self.convert(drop.uid, given)
        drop.__dict__[self.name] = value  # next time Python finds it there and does not come here
        return value

    def convert(self, uid: str, value: Any) -> T:
        """Return the graph's `value` in our type.

        Raises:
            ParameterInvalid: it cannot be.
        """
        if value is None or (value == "" and self.kind is not str):
            return self.default
        try:
            reader: Callable[[Any], T] = _READERS.get(self.kind, self.kind)
            return reader(value)
        except (TypeError, ValueError, OverflowError) as exc:
            raise ParameterInvalid(uid, self.name, f"cannot be {value!r}: {exc}") from exc


def declared_parameters(cls: type) -> Iterator[Parameter[Any]]:
    """Yield the parameters that a drop class and its bases declare, each name once."""
    seen: set[str] = set()
    for base in cls.__mro__:
        for name, value in vars(base).items():
            if isinstance(value, Parameter) and name not in seen:
                seen.add(name)
                yield value
