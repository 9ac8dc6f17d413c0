# SPDX-License-Identifier: Apache-2.0
"""From a graph's ports and arguments to the call of a Python function.

Rule 1: a value comes from the input port of the argument's name, else from the described argument (or the
        drop's own key, or an old ArgNN field), else from func_defaults, else from the signature.
Rule 2: `func_arg_mapping` {argument: uid or port} renames ports. A link without a port name fills the first
        argument that no port names.
Rule 3: ports and arguments that the signature does not name go into **kwargs, else *args, else nowhere.
Rule 4: an output port whose encoding is `path` and whose name is an argument gives the function the output's
        path; the function writes there, and nothing else is written to that output.
Rule 5: an argument that is described but empty, and has no default, is None, as the ecosystem's graphs
        expect; one that nobody describes is an error.
Rule 6: events (null drops, ports of type Event) and inputs that were skipped or failed carry no value.
"""

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.apps.arguments import (
    argument_value,
    default_values,
    is_given,
    mapping_field,
    numbered_values,
)
from penstock.apps.inputs import load_port, readable_links
from penstock.apps.settings import APP_SETTINGS, GRAPH_KEYS
from penstock.drops.app import AppDrop
from penstock.drops.base import Linked
from penstock.drops.encodings import DEFAULT_ENCODING
from penstock.errors import ParameterInvalid

__all__ = ["Call", "build_call", "described_encoding", "encoding_of"]

_NAMED = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)
_VAR_POSITIONAL, _VAR_KEYWORD = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


@dataclass
class Call:
    """One call of a function: what it gets, and which outputs it writes by itself.

    Attributes:
        named: the arguments by name, in the order of the signature; surplus ones behind them.
        written: indexes of output drops whose paths the function got.
    """

    args: tuple[Any, ...] = ()  # Any here and below: users' values
    kwargs: dict[str, Any] = field(default_factory=dict)
    named: dict[str, Any] = field(default_factory=dict)
    written: set[int] = field(default_factory=set)


def encoding_of(app: AppDrop, port: str, parser: str) -> str:
    """Return the encoding of a port: as described, else the app's old `parser` field, else dill."""
    return described_encoding(app, port, parser) or DEFAULT_ENCODING


def described_encoding(app: AppDrop, port: str, parser: str) -> str | None:
    """Return the encoding that the graph gives a port, or in an old field all ports; None if it gives none."""
    argument = app.arguments.get(port)
    if argument is not None and argument.encoding:
        return argument.encoding
    described = app.field(parser)
    if is_given(described):
        return str(described).lower().removeprefix("dropparser.")
    flag = app.field("pickle")  # older still: one truth value for both directions
    if is_given(flag):
        return "pickle" if str(flag).lower() in ("true", "1") else "eval"
    return None


def build_call(app: AppDrop, function: Callable[..., Any]) -> Call:
    """Return the call of `function` that the graph means.

    Raises:
        ParameterInvalid: an argument has no value, or one that cannot be of its type.
        EncodingFailed: a port's content is not in the port's encoding.
    """
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # functions written in C may not tell
        return _unsigned_call(app)
    names = [name for name, parameter in signature.parameters.items() if parameter.kind in _NAMED]
    call = Call()
    ports, surplus = _port_values(app, names)
    values = {
        **default_values(app, names),
        **_described_values(app, names),
        **ports,
        **_paths(app, names, call),
    }
    arguments: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in _NAMED:
            arguments[name] = _value(app, function, parameter, values)
    call.named = dict(arguments)
    _add_surplus(app, signature, arguments, surplus)
    bound = inspect.BoundArguments(signature, OrderedDict(arguments))
    call.args, call.kwargs = bound.args, dict(bound.kwargs)
    call.named.update(call.kwargs)
    return call


def _value(app: AppDrop, function: Any, parameter: inspect.Parameter, values: Mapping[str, Any]) -> Any:
    if parameter.name in values:
        return values[parameter.name]
    if parameter.default is not inspect.Parameter.empty:
        return parameter.default
    if parameter.name in app.arguments:
        return None
    linked = ", ".join(sorted({link.port or link.drop.uid for link in app.input_links})) or "none"
    raise ParameterInvalid(
        app.uid,
        parameter.name,
        f"of {getattr(function, '__name__', function)} has no value: describe it, or link an input "
        f"port of that name (linked: {linked})",
    )


# Values from ports


def _carriers(app: AppDrop) -> list[Linked]:
    """Return the inputs that carry values, renamed by `func_arg_mapping`."""
    renamed = {str(target): name for name, target in mapping_field(app, "func_arg_mapping").items()}
    links = []
    for link in readable_links(app):
        described = app.arguments.get(link.port)
        if described is not None and described.type == "Event":
            continue
        keys = (link.drop.uid, link.drop.oid, link.port, link.drop.name)
        name = next((renamed[key] for key in keys if key in renamed), None)
        links.append(link if name is None else link._replace(port=name))
    return links


def _load(app: AppDrop, link: Linked) -> Any:
    return load_port(app, link, encoding_of(app, link.port, "input_parser"))


def _port_values(app: AppDrop, names: list[str]) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Return the values of ports that are arguments, by name, and those that are not, in order.

    Of several drops on one port the first counts: in a loop it is the turn that happened.
    """
    values: dict[str, Any] = {}
    surplus: list[tuple[str, Any]] = []
    links = _carriers(app)
    described = _described_values(app, names)
    unlinked = [name for name in names if name not in {link.port for link in links}]
    free = iter(sorted(unlinked, key=lambda name: name in described))
    for link in links:
        name = link.port or next(free, "")
        if name not in names:
            surplus.append((name, _load(app, link)))
        elif name not in values:
            values[name] = _load(app, link)
    return values, surplus


def _paths(app: AppDrop, names: list[str], call: Call) -> dict[str, str]:
    """Return the paths of outputs that are arguments, and note in `call` who writes them."""
    paths: dict[str, str] = {}
    for link in app.output_links:
        path = getattr(link.drop, "path", None)
        if path is None or link.port not in names or encoding_of(app, link.port, "output_parser") != "path":
            continue
        paths.setdefault(link.port, str(path))
        if paths[link.port] == str(path):
            call.written.add(link.drop.index)
    return paths


# Values from descriptions


def _described_values(app: AppDrop, names: list[str]) -> dict[str, Any]:
    numbered = numbered_values(app)
    values: dict[str, Any] = {name: value for name, value in numbered.items() if name in names}
    for name in names:
        argument = app.arguments.get(name)
        value = argument_value(app, argument) if argument is not None else app.fields.get(name)
        if argument is None and name in GRAPH_KEYS:
            continue
        if is_given(value):
            values[name] = value
    return values


def _surplus_arguments(app: AppDrop, names: list[str]) -> dict[str, Any]:
    """Return the described application arguments that are no parameters of the function and have values."""
    described = app.fields.get("applicationArgs")
    own = described if isinstance(described, Mapping) else {}
    values: dict[str, Any] = {}
    for name in own:
        argument = app.arguments[name]
        if name in names or name in APP_SETTINGS or (argument.is_output and not argument.is_input):
            continue
        if argument.type != "Event" and is_given(value := argument_value(app, argument)):
            values[name] = value
    numbered = {name: value for name, value in numbered_values(app).items() if name not in names}
    return {name: value for name, value in {**numbered, **values}.items() if not _is_numbered(name)}


def _is_numbered(name: str) -> bool:
    return len(name) == 5 and name.startswith("Arg") and name[3:].isdigit()


def _add_surplus(
    app: AppDrop, signature: inspect.Signature, arguments: dict[str, Any], ports: list[tuple[str, Any]]
) -> None:
    kinds = {parameter.kind: name for name, parameter in signature.parameters.items()}
    star, double_star = kinds.get(_VAR_POSITIONAL), kinds.get(_VAR_KEYWORD)
    positional: list[Any] = []
    keyword: dict[str, Any] = {}
    described = _surplus_arguments(app, list(signature.parameters))
    for name, value in [*((n, v) for n, v in described.items() if n not in dict(ports)), *ports]:
        argument = app.arguments.get(name)
        wants_position = (
            not name or name == star or str(getattr(argument, "positional", False)).lower() == "true"
        )
        if name == double_star and isinstance(value, Mapping):
            keyword.update(value)
        elif double_star and name and not (wants_position and star):
            keyword.setdefault(name, value)
        elif star:
            positional.append(value)
    # In the order of the signature, because that is how the arguments are taken apart again.
    if star:
        arguments[star] = tuple(positional)
    if double_star:
        arguments[double_star] = keyword


def _unsigned_call(app: AppDrop) -> Call:
    """Return the call of a function without a signature: everything by position, as described."""
    ports: dict[str, Any] = {}
    unnamed: list[Any] = []
    for link in _carriers(app):
        if link.port and link.port not in ports:
            ports[link.port] = _load(app, link)
        elif not link.port:
            unnamed.append(_load(app, link))
    values = _surplus_arguments(app, [])
    described = [name for name in app.arguments if name in values or name in ports]
    order = [*described, *(name for name in (*values, *ports) if name not in described)]
    named = {name: ports.get(name, values.get(name)) for name in dict.fromkeys(order)}
    return Call(args=(*named.values(), *unnamed), named=named)
