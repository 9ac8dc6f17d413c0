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
Rule 7: an app of whose arguments the graph says nothing but links takes a short way (`_is_bare`) that leaves out
        what would find nothing. `tests/unit/apps/test_quick_calls.py` compares the two.
"""

from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
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
from penstock.apps.signatures import Parameters, parameters_of
from penstock.drops.app import AppDrop
from penstock.drops.base import Linked
from penstock.drops.encodings import DEFAULT_ENCODING
from penstock.errors import ParameterInvalid

__all__ = ["Call", "build_call", "described_encoding", "encoding_of"]


@dataclass(slots=True)
class Call:
    """One call of a function: what it gets, and which outputs it writes by itself.

    Attributes:
        named: the arguments by name, in the order of the signature; surplus ones behind them.
        written: indexes of output drops whose paths the function got.
        outputs: the outputs of the app, with those that the function writes.
    """

    args: tuple[Any, ...] = ()  # Any here and below: users' values
    kwargs: dict[str, Any] = field(default_factory=dict)
    named: dict[str, Any] = field(default_factory=dict)
    written: set[int] = field(default_factory=set)
    outputs: tuple[Linked, ...] = ()


def encoding_of(app: AppDrop, port: str, parser: str) -> str:
    """Return the encoding of a port: as described, else the app's old `parser` field, else dill."""
    return described_encoding(app, port, parser) or DEFAULT_ENCODING


def described_encoding(app: AppDrop, port: str, parser: str) -> str | None:
    """Return the encoding that the graph gives a port, or in an old field all ports; None if it gives none."""
    arguments, fields = app.arguments, app.fields
    if not arguments and parser not in fields and "pickle" not in fields:
        return None
    argument = arguments.get(port)
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
    parameters = parameters_of(function)
    if parameters is None:
        return _unsigned_call(app)
    names = parameters.names
    call = Call()
    if _is_bare(app, names):
        ports, surplus = _port_values(app, names, readable_links(app), ())
        _fill(call, app, function, parameters, {**ports, **_paths(app, names, call)}, surplus)
        return call
    numbered = numbered_values(app)
    links = _carriers(app)
    described = _described_values(app, names, numbered)
    ports, surplus = _port_values(app, names, links, described)
    values = {**default_values(app, list(names)), **described, **ports, **_paths(app, names, call)}
    surplus = _surplus(app, parameters, numbered, surplus)
    _fill(call, app, function, parameters, values, surplus)
    return call


_SILENT = (GRAPH_KEYS - {"applicationArgs", "componentParams"}) | {
    "appclass",
    "execution_time",
    "func_code",
    "func_name",
    "num_cpus",
}
"""Keys that say nothing of arguments, unless an argument has the name of a setting."""


def _is_bare(app: AppDrop, names: Sequence[str]) -> bool:
    """Whether the graph says of the app's arguments nothing but what is linked where."""
    return _SILENT.issuperset(app.fields) and APP_SETTINGS.isdisjoint(names)


def _fill(
    call: Call,
    app: AppDrop,
    function: Callable[..., Any],
    parameters: Parameters,
    values: Mapping[str, Any],
    surplus: list[tuple[str, Any]],
) -> None:
    """Put together `call` from the values of arguments by name, and what the signature does not name."""
    named = call.named
    for name in parameters.names:
        named[name] = values[name] if name in values else _unlinked(app, function, name, parameters.defaults)
    positional, keyword = _surplus_values(app, parameters, surplus) if surplus else ((), {})
    call.args = (*[named[name] for name in parameters.positional], *positional)
    if parameters.keyword or keyword:
        call.kwargs = {**{name: named[name] for name in parameters.keyword}, **keyword}
        named.update(call.kwargs)


def _unlinked(app: AppDrop, function: Any, name: str, defaults: Mapping[str, Any]) -> Any:
    if name in defaults:
        return defaults[name]
    if name in app.arguments:
        return None
    linked = ", ".join(sorted({link.port or link.drop.uid for link in app.input_links})) or "none"
    raise ParameterInvalid(
        app.uid,
        name,
        f"of {getattr(function, '__name__', function)} has no value: describe it, or link an input "
        f"port of that name (linked: {linked})",
    )


# Values from ports


def _carriers(app: AppDrop) -> list[Linked]:
    """Return the inputs that carry values, renamed by `func_arg_mapping`."""
    renamed = {str(target): name for name, target in mapping_field(app, "func_arg_mapping").items()}
    arguments = app.arguments
    if not renamed and not arguments:
        return readable_links(app)
    links = []
    for link in readable_links(app):
        described = arguments.get(link.port)
        if described is not None and described.type == "Event":
            continue
        links.append(_renamed(link, renamed) if renamed else link)
    return links


def _renamed(link: Linked, renamed: Mapping[str, str]) -> Linked:
    keys = (link.drop.uid, link.drop.oid, link.port, link.drop.name)
    name = next((renamed[key] for key in keys if key in renamed), None)
    return link if name is None else link._replace(port=name)


def _load(app: AppDrop, link: Linked) -> Any:
    return load_port(app, link, encoding_of(app, link.port, "input_parser"))


def _port_values(
    app: AppDrop, names: Sequence[str], links: Sequence[Linked], described: Collection[str]
) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Return the values of ports that are arguments, by name, and those that are not, in order.

    Of several drops on one port the first counts: in a loop it is the turn that happened.
    """
    values: dict[str, Any] = {}
    surplus: list[tuple[str, Any]] = []
    free: Iterator[str] | None = None
    for link in links:
        name = link.port
        if not name:
            free = free or _free_names(names, links, described)
            name = next(free, "")
        if name not in names:
            surplus.append((name, _load(app, link)))
        elif name not in values:
            values[name] = _load(app, link)
    return values, surplus


def _free_names(names: Sequence[str], links: Sequence[Linked], described: Collection[str]) -> Iterator[str]:
    """Yield the arguments that no port names, those without a description first."""
    ports = {link.port for link in links}
    free = [name for name in names if name not in ports]
    return iter(sorted(free, key=lambda name: name in described) if described else free)


def _paths(app: AppDrop, names: Sequence[str], call: Call) -> dict[str, str]:
    """Return the paths of outputs that are arguments; note in `call` the outputs, and whom the function writes."""
    paths: dict[str, str] = {}
    call.outputs = app.output_links
    for link in call.outputs:
        path = getattr(link.drop, "path", None)
        if path is None or link.port not in names or encoding_of(app, link.port, "output_parser") != "path":
            continue
        paths.setdefault(link.port, str(path))
        if paths[link.port] == str(path):
            call.written.add(link.drop.index)
    return paths


# Values from descriptions


def _described_values(app: AppDrop, names: Sequence[str], numbered: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {name: value for name, value in numbered.items() if name in names}
    arguments, fields = app.arguments, app.fields
    for name in names:
        argument = arguments.get(name)
        if argument is not None:
            value = argument_value(app, argument)
        elif name in fields and name not in GRAPH_KEYS:
            value = fields[name]
        else:
            continue
        if is_given(value):
            values[name] = value
    return values


def _surplus_arguments(app: AppDrop, names: Container[str], numbered: Mapping[str, Any]) -> dict[str, Any]:
    """Return the described application arguments that are no parameters of the function and have values."""
    described = app.fields.get("applicationArgs")
    own = described if isinstance(described, Mapping) else {}
    if not own and not numbered:
        return {}
    values: dict[str, Any] = {}
    arguments = app.arguments
    for name in own:
        if name in names or name in APP_SETTINGS:
            continue
        argument = arguments[name]
        if argument.is_output and not argument.is_input:
            continue
        if argument.type != "Event" and is_given(value := argument_value(app, argument)):
            values[name] = value
    if not values and not numbered:
        return values
    surplus = {name: value for name, value in numbered.items() if name not in names}
    return {name: value for name, value in {**surplus, **values}.items() if not _is_numbered(name)}


def _is_numbered(name: str) -> bool:
    return len(name) == 5 and name.startswith("Arg") and name[3:].isdigit()


def _surplus(
    app: AppDrop, parameters: Parameters, numbered: Mapping[str, Any], ports: list[tuple[str, Any]]
) -> list[tuple[str, Any]]:
    """Return what the signature does not name: described arguments, then ports."""
    known = {*parameters.names, parameters.star, parameters.double_star}
    described = _surplus_arguments(app, known, numbered)
    if not described:
        return ports
    return [*((name, value) for name, value in described.items() if name not in dict(ports)), *ports]


def _surplus_values(
    app: AppDrop, parameters: Parameters, surplus: list[tuple[str, Any]]
) -> tuple[list[Any], dict[str, Any]]:
    """Return what goes to `*` and to `**` of the function, where it has them."""
    star, double_star = parameters.star, parameters.double_star
    positional: list[Any] = []
    keyword: dict[str, Any] = {}
    for name, value in surplus:
        argument = app.arguments.get(name)
        wants_position = (
            not name or name == star or str(getattr(argument, "positional", False)).lower() == "true"
        )
        if double_star and name == double_star and isinstance(value, Mapping):
            keyword.update(value)
        elif double_star and name and not (wants_position and star):
            keyword.setdefault(name, value)
        elif star:
            positional.append(value)
    return positional, keyword


def _unsigned_call(app: AppDrop) -> Call:
    """Return the call of a function without a signature: everything by position, as described."""
    ports: dict[str, Any] = {}
    unnamed: list[Any] = []
    for link in _carriers(app):
        if link.port and link.port not in ports:
            ports[link.port] = _load(app, link)
        elif not link.port:
            unnamed.append(_load(app, link))
    values = _surplus_arguments(app, (), numbered_values(app))
    described = [name for name in app.arguments if name in values or name in ports]
    order = [*described, *(name for name in (*values, *ports) if name not in described)]
    named = {name: ports.get(name, values.get(name)) for name in dict.fromkeys(order)}
    return Call(args=(*named.values(), *unnamed), named=named, outputs=app.output_links)
