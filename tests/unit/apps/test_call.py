# SPDX-License-Identifier: Apache-2.0
"""From ports and arguments to calls: the order of values, names, surplus, types, encodings, paths."""

import base64
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dill
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.apps.call import build_call
from penstock.apps.python import PyFuncApp
from penstock.drops.file import FileDrop
from penstock.drops.memory import MemoryDrop
from penstock.drops.null import NullDrop
from penstock.errors import EncodingFailed, ParameterInvalid
from penstock.testing.solo import SoloSite


def argument(value: Any = "", **more: Any) -> dict[str, Any]:
    return {"value": value, "type": "Object", "usage": "NoPort", **more}


def port(encoding: str | None = "pickle", **more: Any) -> dict[str, Any]:
    return argument(usage="InputPort", encoding=encoding, **more)


class World:
    """One app with its inputs."""

    def __init__(self, site: SoloSite, arguments: dict[str, Any] | None = None, **fields: Any) -> None:
        self.site = site
        self.app = site.add(PyFuncApp, "app", applicationArgs=arguments or {}, **fields)

    def input(self, name: str, content: bytes | str | None, uid: str = "", kind: type = MemoryDrop) -> Any:
        drop = self.site.add(kind, uid or f"in{len(self.site._drops)}")
        self.site.link(drop, self.app, name)
        if content is not None:
            self.site.fill(drop, content)
        return drop

    def call(self, function: Callable[..., Any]) -> Any:
        call = build_call(self.app, function)
        return function(*call.args, **call.kwargs)


def both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return args, kwargs


def pair(a: Any, b: Any = "default") -> tuple[Any, Any]:
    return a, b


def test_a_port_wins_over_an_argument_and_that_over_the_signature(site: SoloSite) -> None:
    world = World(site, {"a": port(value="argument"), "b": argument("argument")})
    assert world.call(pair) == ("argument", "argument")
    world.input("a", pickle.dumps("port"))
    assert world.call(pair) == ("port", "argument")
    assert World(SoloSite(site.directory), {"a": argument("x"), "b": argument("")}).call(pair) == (
        "x",
        "default",
    )


def test_func_defaults_stand_between_arguments_and_signature(site: SoloSite) -> None:
    world = World(site, {"a": argument("x")}, func_defaults={"a": "y", "b": "z"})
    assert world.call(pair) == ("x", "z")


@pytest.mark.parametrize(
    "defaults",
    [
        {"a": 1, "b": 2},
        '{"a": 1, "b": 2}',
        "{'a': 1, 'b': 2}",
        {"kwargs": {"a": 1, "b": 2}},
        {"kwargs": {"b": 2}, "args": [1]},
        {"a": base64.b64encode(dill.dumps(1)).decode(), "b": 2},
        json.dumps({"kwargs": {"b": 2, "a": base64.b64encode(dill.dumps(1)).decode()}}),
    ],
)
def test_func_defaults_in_all_spellings(site: SoloSite, defaults: Any) -> None:
    assert World(site, func_defaults=defaults).call(pair) == (1, 2)


def test_func_defaults_of_another_kind_are_refused(site: SoloSite) -> None:
    with pytest.raises(ParameterInvalid, match="func_defaults"):
        World(site, func_defaults="[1, 2]").call(pair)


def test_zero_and_false_are_values_but_empty_is_none(site: SoloSite) -> None:
    assert World(site, {"a": argument(0), "b": argument(value=False)}).call(pair) == (0, False)


def test_an_argument_described_but_empty_is_none(site: SoloSite) -> None:
    assert World(site, {"a": port()}).call(pair) == (None, "default")


def test_a_missing_argument_is_named_with_what_is_linked(site: SoloSite) -> None:
    world = World(site)
    world.input("other", pickle.dumps(1))
    with pytest.raises(ParameterInvalid, match=r"'a' of pair has no value.*linked: other"):
        world.call(pair)


def test_the_drops_own_key_wins_over_the_description(site: SoloSite) -> None:
    assert World(site, {"a": argument(4)}, a=6).call(pair) == (6, "default")
    assert World(SoloSite(site.directory), {"a": argument(4)}, a="").call(pair) == (4, "default")
    assert World(SoloSite(site.directory), a=6, b=7).call(pair) == (6, 7)


def test_keys_that_every_drop_has_are_no_arguments(site: SoloSite) -> None:
    world = World(site, node="host", name="drop")
    assert world.call(lambda node=None, name=None: (node, name)) == (None, None)


def test_component_parameters_are_arguments_too(site: SoloSite) -> None:
    assert World(site, componentParams={"a": argument(5)}).call(pair) == (5, "default")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("Integer", "5", 5),
        ("Integer", "5.0", 5),
        ("Float", "1e3", 1000.0),
        ("Boolean", "false", False),
        ("Boolean", "True", True),
        ("Json", '{"a": [1, null, true]}', {"a": [1, None, True]}),
        ("Json", "{'a': (1, None)}", {"a": (1, None)}),
        ("Complex", "[1, 2]", [1, 2]),
        ("eval", "{1, 2}", {1, 2}),
        ("Json", "no json", "no json"),
        ("eval", "__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("String", "5", "5"),
        ("Object", "[1]", "[1]"),
        ("Integer", 7, 7),
        (None, "5", "5"),
    ],
)
def test_values_have_the_type_of_their_description(site: SoloSite, kind: str, text: Any, value: Any) -> None:
    assert World(site, {"a": argument(text, type=kind)}).call(pair)[0] == value


@pytest.mark.parametrize(("kind", "text"), [("Integer", "five"), ("Float", "x"), ("Boolean", "maybe")])
def test_text_of_another_type_is_refused_by_name(site: SoloSite, kind: str, text: str) -> None:
    with pytest.raises(ParameterInvalid, match="'a'"):
        World(site, {"a": argument(text, type=kind)}).call(pair)


def test_variables_are_filled_in(site: SoloSite, tmp_path: Path) -> None:
    world = World(site, {"a": argument("$DLG_ROOT/x"), "b": argument("${DLG_ROOT} $NONE")})
    assert world.call(pair) == (f"{tmp_path}/x", f"{tmp_path} $NONE")


def test_the_oldest_spelling_of_arguments(site: SoloSite) -> None:
    world = World(
        site, {"Arg01": argument("a=5"), "Arg03": argument("extra=[1]")}, Arg02="b=some text", Arg04=""
    )
    assert world.call(pair) == (5, "some text")
    assert world.call(lambda a, **rest: rest) == {"b": "some text", "extra": [1]}


# Surplus


def test_surplus_goes_to_star_arguments(site: SoloSite) -> None:
    arguments = {
        "p": argument(1, positional=True),
        "q": argument(2, positional="true"),
        "k": argument(3),
        "empty": argument(""),
        "out": argument("x", usage="OutputPort"),
        "func_name": argument("f"),
        "event": argument("e", type="Event"),
        "in": port(),
    }
    world = World(site, arguments)
    world.input("in", pickle.dumps(4))
    world.input("more", dill.dumps(5))
    assert world.call(both) == ((1, 2), {"k": 3, "in": 4, "more": 5})
    assert world.call(lambda *args: args) == (1, 2, 3, 4, 5)
    assert world.call(lambda **kwargs: kwargs) == {"p": 1, "q": 2, "k": 3, "in": 4, "more": 5}
    assert world.call(lambda: "nothing") == "nothing"


def test_a_port_named_like_star_arguments_feeds_them(site: SoloSite) -> None:
    world = World(site)
    for value in (1, 2):
        world.input("args", pickle.dumps(value))
    world.input("kwargs", pickle.dumps({"x": 3}))
    assert world.call(both) == ((1, 2), {"x": 3})


def test_defaults_before_star_arguments_stay_in_their_places(site: SoloSite) -> None:
    world = World(site, {"more": argument(9, positional=True)})
    assert world.call(lambda a=1, b=2, *rest, c=3: (a, b, rest, c)) == (1, 2, (9,), 3)


def test_functions_without_signature_get_everything_by_position(site: SoloSite) -> None:
    world = World(site, {"a": port(), "b": argument(7), "func_name": argument("max")})
    world.input("a", pickle.dumps(3))
    world.input("", pickle.dumps(12))
    world.input("late", pickle.dumps(5))
    assert world.call(max) == 12
    assert build_call(world.app, max).args == (3, 7, 5, 12)


# Ports


def test_ports_without_names_fill_arguments_in_order(site: SoloSite) -> None:
    world = World(site, {"b": argument("described")})
    world.input("", pickle.dumps(1))
    world.input("", pickle.dumps(3))
    assert world.call(lambda a, b, c: (a, b, c)) == (1, "described", 3)


def test_ports_can_be_renamed_by_uid_or_name(site: SoloSite) -> None:
    for mapping in ({"a": "left", "b": "in2"}, '{"a": "left", "b": "in2"}'):
        world = World(SoloSite(site.directory), func_arg_mapping=mapping)
        world.input("left", pickle.dumps(1), "in1")
        world.input("x", pickle.dumps(2), "in2")
        assert world.call(pair) == (1, 2)


def test_of_several_drops_on_one_port_the_first_completed_counts(site: SoloSite) -> None:
    world = World(site)
    world.input("a", None).skip()
    world.input("a", pickle.dumps("second"))
    world.input("a", pickle.dumps("third"))
    assert world.call(pair)[0] == "second"


def test_events_carry_no_values(site: SoloSite) -> None:
    world = World(site, {"a": argument(1), "b": port(type="Event")})
    world.input("a", b"", kind=NullDrop)
    world.input("b", pickle.dumps(2))
    assert world.call(pair) == (1, "default")


def test_empty_content_is_none(site: SoloSite) -> None:
    world = World(site, {"a": port("pickle"), "b": port("utf-8")})
    world.input("a", b"")
    world.input("b", b"")
    assert world.call(pair) == (None, "")


@pytest.mark.parametrize(
    ("fields", "content", "value"),
    [
        ({"applicationArgs": {"a": port("utf-8")}}, "text", "text"),
        ({"applicationArgs": {"a": port("eval")}}, "[1]", [1]),
        ({"applicationArgs": {"a": port("raw")}}, b"\xff", b"\xff"),
        ({"applicationArgs": {"a": port("path")}}, "/some/path", "/some/path"),
        ({"input_parser": "eval"}, "[1]", [1]),
        ({"input_parser": "DropParser.PICKLE"}, pickle.dumps(2), 2),
        ({"applicationArgs": {"a": port(None)}, "input_parser": "utf-8"}, "text", "text"),
        ({"applicationArgs": {"pickle": argument(value=False)}}, "[1]", [1]),
        ({"applicationArgs": {"pickle": argument("true")}}, pickle.dumps(2), 2),
        ({}, dill.dumps(3), 3),
    ],
)
def test_encodings_are_the_ports_else_the_apps(site: SoloSite, fields: Any, content: Any, value: Any) -> None:
    world = World(site, fields.pop("applicationArgs", None), **fields)
    world.input("a", content)
    assert world.call(pair)[0] == value


def test_content_of_another_encoding_is_refused(site: SoloSite) -> None:
    world = World(site, {"a": port("npy")})
    world.input("a", b"no array")
    with pytest.raises(EncodingFailed):
        world.call(pair)


def test_paths_of_inputs_and_outputs(site: SoloSite, tmp_path: Path) -> None:
    path = {"usage": "InputOutput", "encoding": "path", "value": "ignored"}
    world = World(site, {"a": path, "b": {**path, "usage": "OutputPort"}})
    source = world.input("a", b"x", kind=FileDrop)
    assert world.call(pair) == (str(source.path), "ignored")
    target = site.add(FileDrop, "target", filepath="deep/target")
    site.link(world.app, target, "b")
    call = build_call(world.app, pair)
    assert call.args == (str(source.path), str(tmp_path / "deep" / "target"))
    assert call.written == {target.index}
    assert (tmp_path / "deep").is_dir()


def test_an_output_that_is_no_argument_is_written_for_the_function(site: SoloSite) -> None:
    world = World(site, {"result": {"usage": "OutputPort", "encoding": "pickle"}, "a": argument(1)})
    site.link(world.app, site.add(FileDrop, "target"), "result")
    assert build_call(world.app, pair).written == set()


# Against the rules of Python itself

values = st.integers(0, 99)


@st.composite
def signatures(draw: st.DrawFn) -> tuple[str, list[tuple[str, str, bool]], bool, bool]:
    """Source of a function that returns its arguments, and its parameters (name, kind, has default)."""
    counts = [draw(st.integers(0, 3)) for _ in range(3)]
    defaults_from = draw(st.integers(0, counts[0] + counts[1]))
    star, double = draw(st.booleans()), draw(st.booleans())
    parameters = []
    for place in range(counts[0] + counts[1]):
        kind = "only" if place < counts[0] else "either"
        parameters.append((f"p{place}", kind, place >= defaults_from))
    parameters += [(f"k{place}", "keyword", draw(st.booleans())) for place in range(counts[2])]
    parts: list[str] = []
    for name, kind, has_default in parameters:
        if kind == "keyword" and not any(part.startswith("*") for part in parts):
            parts.append("*rest" if star else "*")
        parts.append(f"{name}=-1" if has_default else name)
        if kind == "only" and name == f"p{counts[0] - 1}":
            parts.append("/")
    if star and not any(part.startswith("*") for part in parts):
        parts.append("*rest")
    if double:
        parts.append("**more")
    names = ", ".join(f"{name!r}: {name}" for name, _, _ in parameters)
    extra = f"{'rest' if star else '()'}, {'more' if double else '{}'}"
    return f"def f({', '.join(parts)}):\n    return {{{names}}}, {extra}", parameters, star, double


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(signature=signatures(), data=st.data())
def test_every_signature_gets_each_value_under_its_name(
    tmp_path: Path, signature: Any, data: st.DataObject
) -> None:
    source, parameters, star, double = signature
    scope: dict[str, Any] = {}
    exec(source, scope)
    arguments: dict[str, Any] = {}
    expected: dict[str, Any] = {}
    missing = []
    world_inputs = []
    for name, _, has_default in parameters:
        how = data.draw(st.sampled_from(["nothing", "argument", "port", "both"]))
        if how in ("argument", "both"):
            arguments[name] = argument(data.draw(values))
            expected[name] = arguments[name]["value"]
        if how in ("port", "both"):
            expected[name] = data.draw(values)
            world_inputs.append((name, expected[name]))
        if how == "nothing":
            expected[name] = -1
            missing += [] if has_default else [name]
    extra = data.draw(st.dictionaries(st.sampled_from(["x", "y", "z"]), values))
    for name, value in extra.items():
        arguments[name] = argument(value, positional=name == "x")
    world = World(SoloSite(tmp_path, environment={}), arguments)
    for name, value in data.draw(st.permutations(world_inputs)):
        world.input(name, dill.dumps(value))
    if missing:
        with pytest.raises(ParameterInvalid, match=missing[0]):
            world.call(scope["f"])
        return
    got, rest, more = world.call(scope["f"])
    by_place = [v for n, v in extra.items() if star and (n == "x" or not double)]
    by_name = {n: v for n, v in extra.items() if double and not (n == "x" and star)}
    assert (got, list(rest), more) == (expected, by_place, by_name)
