# SPDX-License-Identifier: Apache-2.0
"""The short way to a call, for apps of whose arguments a graph says nothing, leads where the long one does."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.apps import call as calls
from penstock.apps.python import PyFuncApp
from penstock.drops.file import FileDrop
from penstock.drops.memory import MemoryDrop
from penstock.errors import DropError
from penstock.testing.solo import SoloSite


def nothing() -> None: ...
def one(a: Any) -> Any: ...
def two(a: Any, b: Any = "default") -> Any: ...
def keyword(a: Any, *, b: Any = "default") -> Any: ...
def positions(a: Any, *rest: Any) -> Any: ...
def names(a: Any = 0, **more: Any) -> Any: ...
def both(*a: Any, **b: Any) -> Any: ...
def of_graphs(name: Any = "n", uid: Any = "u", inputs: Any = "i") -> Any: ...
def of_settings(func_name: Any = "n", num_cpus: Any = 0) -> Any: ...


FUNCTIONS = [nothing, one, two, keyword, positions, names, both, of_graphs, of_settings]
PORTS = st.sampled_from(["", "", "a", "b", "rest", "more", "name", "func_name", "zzz"])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("an app"),
        "func_name": st.just("m.f"),
        "num_cpus": st.just(3),
        "a": st.just("own key"),
        "Arg01": st.just("b=5"),
        "input_parser": st.just("pickle"),
        "func_defaults": st.just({"b": 7}),
        "applicationArgs": st.just({}),
    },
)


def called(app: PyFuncApp, function: Callable[..., Any]) -> object:
    try:
        call = calls.build_call(app, function)
    except DropError as exc:
        return str(exc)
    return call.args, call.kwargs, list(call.named.items()), call.written, call.outputs


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    function=st.sampled_from(FUNCTIONS),
    fields=FIELDS,
    inputs=st.lists(PORTS, max_size=4),
    outputs=st.lists(st.tuples(PORTS, st.sampled_from([MemoryDrop, FileDrop])), max_size=2),
)
def test_both_ways_lead_to_the_same_call(
    tmp_path: Path, function: Any, fields: dict[str, Any], inputs: list[str], outputs: list[tuple[str, Any]]
) -> None:
    site = SoloSite(tmp_path)
    app = site.add(PyFuncApp, "app", **fields)
    for number, name in enumerate(inputs):
        drop = site.add(MemoryDrop, f"in{number}")
        site.link(drop, app, name)
        site.fill(drop, pickle.dumps(number) if number != 1 else b"")
    for number, (name, kind) in enumerate(outputs):
        site.link(app, site.add(kind, f"out{number}"), name)
    short = called(app, function)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "_is_bare", lambda app, names: False)
        assert called(app, function) == short


def test_most_simple_apps_take_the_short_way(site: SoloSite) -> None:
    app = site.add(PyFuncApp, "app", func_name="m.f", inputs=["a"], outputs=["b"], dropclass="c", name="n")
    assert calls._is_bare(app, ("x",))
    assert not calls._is_bare(app, ("func_name",))


@pytest.mark.parametrize(
    "field",
    ["applicationArgs", "func_defaults", "func_arg_mapping", "input_parser", "pickle", "Arg01", "x", "func"],
)
def test_who_says_more_of_arguments_takes_the_long_way(site: SoloSite, field: str) -> None:
    assert not calls._is_bare(site.add(PyFuncApp, "app", **{field: ""}), ("x",))
