# SPDX-License-Identifier: Apache-2.0
"""What functions take, compared with `inspect.signature`."""

import functools
import glob
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.apps.signatures import Parameters, parameters_of

KINDS = ("positional_only", "either", "star", "keyword", "double_star")


def as_inspected(function: Callable[..., Any]) -> Parameters:
    parameters = inspect.signature(function).parameters.values()

    def named(*kinds: Any) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)

    positional = named(inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    keyword = named(inspect.Parameter.KEYWORD_ONLY)
    return Parameters(
        positional + keyword,
        positional,
        keyword,
        *("".join(named(k)) for k in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)),
        {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty},
    )


@st.composite
def functions(draw: st.DrawFn) -> Callable[..., Any]:
    """A function with any kinds of arguments, some with defaults, and a variable of its own."""
    only, either, defaults = (draw(st.integers(0, 3)) for _ in range(3))
    names = [f"p{i}" for i in range(only + either)]
    texts = [f"{name}={i}" if i >= len(names) - defaults else name for i, name in enumerate(names)]
    if only:
        texts.insert(only, "/")
    keyword = [f"k{i}" + draw(st.sampled_from(["", "='d'"])) for i in range(draw(st.integers(0, 2)))]
    star = draw(st.booleans())
    texts += ["*rest"] if star else ["*"] if keyword else []
    texts += keyword + (["**more"] if draw(st.booleans()) else [])
    scope: dict[str, Any] = {}
    exec(f"def f({', '.join(texts)}):\n    variable = 1\n    return variable", scope)
    function: Callable[..., Any] = scope["f"]
    return function


@given(function=functions())
def test_plain_functions_tell_by_their_code(function: Callable[..., Any]) -> None:
    assert parameters_of(function) == as_inspected(function)


class Box:
    def __init__(self, x: int, *, y: int = 2) -> None: ...

    def get(self, default: object = None) -> object:
        return default

    def __call__(self, z: int) -> int:
        return z


def pair(a: object, b: object = 1) -> tuple[object, object]:
    return a, b


@functools.wraps(pair)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    return pair(*args, **kwargs)


def with_signature(*args: Any) -> None: ...


with_signature.__signature__ = inspect.signature(pair)  # type: ignore[attr-defined]  # how decorators tell


@pytest.mark.parametrize(
    "function",
    [
        Box,
        Box.get,
        Box(1).get,
        Box(1),
        wrapped,
        with_signature,
        functools.partial(pair, 5),
        len,
        glob.glob,
        np.sum,
    ],
    ids=str,
)
def test_other_callables_tell_by_inspection(function: Callable[..., Any]) -> None:
    for _ in range(2):  # the second time some are known
        assert parameters_of(function) == as_inspected(function)


def test_a_function_that_changes_its_mind_is_asked_again() -> None:
    def function(a: int = 1) -> int:
        return a

    assert parameters_of(function) == (("a",), ("a",), (), "", "", {"a": 1})
    function.__defaults__ = (2,)
    assert parameters_of(function) == (("a",), ("a",), (), "", "", {"a": 2})


def test_functions_that_cannot_tell() -> None:
    assert parameters_of(max) is None
    assert parameters_of(type) is None


def test_callables_that_cannot_be_kept_in_a_table() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]  # which is how Python spells it

        def __call__(self, a: int) -> int:
            return a

    found = parameters_of(Unhashable())
    assert found is not None
    assert found.names == ("a",)
