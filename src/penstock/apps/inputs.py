# SPDX-License-Identifier: Apache-2.0
"""Which inputs of an app can be read, and what stands on a named port.

An input may be unreadable although the app runs: it was skipped (`block_skip`), or it failed below the
app's error threshold. Such an input counts as not given.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from penstock.apps.plain import load_plain
from penstock.drops.app import AppDrop
from penstock.drops.base import Linked
from penstock.drops.data import DataDrop
from penstock.drops.encodings import encoding_named, load_value
from penstock.drops.null import NullDrop
from penstock.drops.ports import parse_arguments
from penstock.engine.states import DropState
from penstock.errors import EncodingFailed, ParameterInvalid

__all__ = [
    "check_encodings",
    "check_numbers",
    "load_port",
    "number_from_port",
    "port_link",
    "readable_drops",
    "readable_links",
]


def readable_links(app: AppDrop) -> list[Linked]:
    """Return the inputs that are COMPLETED and hold data; pure events hold none."""
    return [
        link
        for link in app.input_links
        if not isinstance(drop := link.drop, NullDrop) and drop.status == DropState.COMPLETED
    ]


def readable_drops(app: AppDrop) -> list[DataDrop]:
    """Return the drops of the readable inputs, in the order of the graph."""
    return [cast("DataDrop", link.drop) for link in readable_links(app)]


def port_link(app: AppDrop, name: str) -> Linked | None:
    """Return the first readable input on the port `name`; a loop may link several, of which one has run."""
    return next((link for link in readable_links(app) if link.port == name), None)


def number_from_port(app: AppDrop, name: str, kind: Callable[[float], float], default: float) -> float:
    """Return the number on the port `name`, else the app's own field of that name, else `default`.

    Content that is no single number gives `default`.
    """
    link = port_link(app, name)
    value = app.field(name) if link is None else load_plain(cast("DataDrop", link.drop))
    try:
        # numpy's single numbers pass through float() too, and so does text.
        return kind(float(value))  # type: ignore[arg-type]  # what is not a number raises TypeError
    except (TypeError, ValueError, OverflowError):
        return default


def check_numbers(uid: str, fields: Mapping[str, Any], *names: str) -> None:  # Any: the drop's JSON
    """Refuse settings that are given and are no numbers; what comes through ports is known later.

    Raises:
        ParameterInvalid: one is none.
    """
    arguments = parse_arguments(uid, fields)
    for name in names:
        argument = arguments.get(name)
        described = None if argument is None or argument.is_port else argument.value
        value = fields.get(name, described)
        if value is None or value == "" or (argument is not None and argument.is_port):
            continue
        try:
            float(value)
        except (TypeError, ValueError, OverflowError) as exc:
            raise ParameterInvalid(uid, name, f"cannot be {value!r}: it is no number") from exc


def check_encodings(uid: str, fields: Mapping[str, Any]) -> None:  # Any: the drop's JSON
    """Refuse ports with an encoding that does not exist; events carry no value and may have any.

    Raises:
        ParameterInvalid: a port has one.
    """
    for argument in parse_arguments(uid, fields).values():
        if not argument.is_port or argument.type == "Event":
            continue
        try:
            encoding_named(uid, argument.encoding)
        except EncodingFailed as exc:
            raise ParameterInvalid(uid, argument.name, f"has a wrong encoding: {exc.reason}") from exc


def load_port(app: AppDrop, link: Linked, encoding: str) -> object:
    """Return the value of the input that is linked through a port.

    Raises:
        EncodingFailed: the content is not of that kind; the message names the port and the place to mend.
    """
    drop = cast("DataDrop", link.drop)
    try:
        return _load_input(drop, encoding)
    except EncodingFailed as exc:
        port, place = "a port without a name", "input_parser"
        if link.port:
            port, place = f"its port {link.port!r}", f"applicationArgs.{link.port}.encoding"
        remedy = f'app {app.uid} reads it through {port}: set {place} of the app, for plain text to "utf-8"'
        raise EncodingFailed(drop.uid, f"{exc.reason}; {remedy}") from exc


def _load_input(drop: DataDrop, encoding: str) -> object:
    """Return the value of an input as `load_value` does, with two habits of the ecosystem's graphs.

    Empty content, which is how events look, is None where the encoding reads values; and a drop without a
    path, on a port that wants one, holds the path as text.

    Raises:
        EncodingFailed: the content is not of that kind.
    """
    name = encoding_named(drop.uid, encoding)
    if name in ("pickle", "dill", "eval"):
        if drop.size == 0 and not drop.buffer():
            return None
    elif name == "path" and getattr(drop, "path", None) is None:
        return load_value(drop, "utf-8")
    return load_value(drop, name)
