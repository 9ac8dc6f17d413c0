# SPDX-License-Identifier: Apache-2.0
"""What a Python function takes: names, kinds, defaults.

`inspect.signature` costs more than all else of a short call. A plain function tells the same by its code
object; what is asked of other callables is kept as long as they live.
"""

import inspect
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

__all__ = ["Parameters", "parameters_of"]

Function = Callable[..., Any]  # Any: users' functions take and give anything


class Parameters(NamedTuple):
    """What a function takes.

    Attributes:
        names: the arguments that have a name of their own, in the order of the signature.
        positional: those that go by position.
        keyword: those that go by name.
        star: the name behind `*` that takes further positions, "" if there is none.
        double_star: the name behind `**` that takes further names, "" if there is none.
        defaults: of arguments that have one.
    """

    names: tuple[str, ...]
    positional: tuple[str, ...]
    keyword: tuple[str, ...]
    star: str
    double_star: str
    defaults: Mapping[str, Any]  # Any here and below: users' values


_STARS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS

_known: "WeakKeyDictionary[Any, Parameters]" = WeakKeyDictionary()  # Any: whatever can be called


def parameters_of(function: Function) -> Parameters | None:
    """Return what `function` takes; None where it cannot tell, as some functions written in C."""
    # Attributes of a function may say that it is not what its code says (__wrapped__, __signature__).
    if type(function) is FunctionType and not function.__dict__:
        return _of_plain(function)
    try:
        if not _is_itself(function):
            return _of_signature(inspect.signature(function))
        found = _known.get(function)
        if found is None:
            found = _known[function] = _of_signature(inspect.signature(function))
    except (ValueError, TypeError):
        return None
    return found


def _is_itself(function: Function) -> bool:
    """Whether a callable is equal to itself only, and may be referred to weakly."""
    kind: object = type(function)
    return kind in (FunctionType, BuiltinFunctionType, type)


def _of_plain(function: FunctionType) -> Parameters:
    code = function.__code__
    count, end = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    variables, star, double_star = code.co_varnames, "", ""
    defaults: dict[str, Any] = {}
    if function.__defaults__:
        values = function.__defaults__
        defaults = dict(zip(variables[count - len(values) : count], values, strict=True))
    if function.__kwdefaults__:
        defaults.update(function.__kwdefaults__)
    if code.co_flags & _STARS:
        behind = end
        if code.co_flags & inspect.CO_VARARGS:
            star = variables[behind]
            behind += 1
        if code.co_flags & inspect.CO_VARKEYWORDS:
            double_star = variables[behind]
    return Parameters(variables[:end], variables[:count], variables[count:end], star, double_star, defaults)


def _of_signature(signature: inspect.Signature) -> Parameters:
    kinds: dict[Any, list[str]] = {}
    for name, parameter in signature.parameters.items():
        kinds.setdefault(parameter.kind, []).append(name)
    positional = (
        *kinds.get(inspect.Parameter.POSITIONAL_ONLY, ()),
        *kinds.get(inspect.Parameter.POSITIONAL_OR_KEYWORD, ()),
    )
    keyword = tuple(kinds.get(inspect.Parameter.KEYWORD_ONLY, ()))
    return Parameters(
        positional + keyword,
        positional,
        keyword,
        "".join(kinds.get(inspect.Parameter.VAR_POSITIONAL, ())),
        "".join(kinds.get(inspect.Parameter.VAR_KEYWORD, ())),
        {
            name: parameter.default
            for name, parameter in signature.parameters.items()
            if parameter.default is not inspect.Parameter.empty
        },
    )
