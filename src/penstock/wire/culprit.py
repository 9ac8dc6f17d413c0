# SPDX-License-Identifier: Apache-2.0
"""Which part of a value is it that cannot be pickled? Runs only after pickling failed, so it may take its time.

It tries parts, then parts of the first part that fails, and so on; it is bounded in depth and in number of tries,
and names the deepest part that it found. User code runs in here (`__reduce_ex__`, `__repr__`) and may fail as it likes.
"""

import reprlib
from collections.abc import Callable, Iterator
from itertools import chain
from types import FunctionType, MethodType, ModuleType

__all__ = ["find_culprit"]

_MOST_TRIES = 2000
_MOST_DEEP = 20
_PLAIN = (bool, int, float, complex, str, bytes, bytearray, type(None))
_CONTAINERS = (dict, list, tuple, set, frozenset)

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60

Failing = Callable[[object], str | None]


def find_culprit(value: object, failing: Failing, root: str = "value") -> tuple[str, str]:
    """Return the path of the innermost part that fails, and why it does.

    Args:
        failing: tries one part; returns the reason if it cannot be pickled.
        root: how the path begins.
    """
    path, reason = root, failing(value) or "cannot be pickled"
    tries = _MOST_TRIES
    for _ in range(_MOST_DEEP):
        for name, part in _parts(value):
            if tries == 0:
                return path, reason
            tries -= 1
            found = failing(part)
            if found is not None:
                path, reason, value = path + name, found, part
                break
        else:
            break
    return path, reason


def _parts(value: object) -> Iterator[tuple[str, object]]:
    for name, part in _all_parts(value):
        if type(part) not in _PLAIN:
            yield name, part


def _all_parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((f"[{_short.repr(key)}]", part) for key, part in value.items())
        yield from ((f" key {_short.repr(key)}", key) for key in value)
    elif isinstance(value, tuple) and (names := getattr(value, "_fields", None)):
        yield from ((f".{name}", part) for name, part in zip(names, value, strict=False))
    elif isinstance(value, list | tuple):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from ((f" element {_short.repr(part)}", part) for part in value)
    if isinstance(value, FunctionType):
        yield from _used_by(value)
    elif isinstance(value, MethodType):
        yield ".__self__", value.__self__
    elif type(value) not in _CONTAINERS and not isinstance(value, type | ModuleType):
        yield from _reduced(value)


def _used_by(function: FunctionType) -> Iterator[tuple[str, object]]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    for name, cell in cells:
        try:
            yield f" variable {name!r}", cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f" variable {name!r}", function.__globals__[name]
    for index, part in enumerate(function.__defaults__ or ()):
        yield f" default {index}", part


def _reduced(value: object) -> Iterator[tuple[str, object]]:
    """Yield what pickling would take of an object; its attributes may hold more, or other things."""
    try:
        reduced = value.__reduce_ex__(5)
    except Exception:  # noqa: BLE001  user code; it is told as the reason of the whole value
        return
    if not isinstance(reduced, tuple) or len(reduced) < 2 or not isinstance(reduced[1], tuple):
        return
    for index, part in enumerate(reduced[1]):
        if part is not type(value):
            yield f" argument {index}", part
    state = reduced[2] if len(reduced) > 2 else None
    both = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    attributes = [part for part in both if isinstance(part, dict)]
    yield from ((f".{name}", part) for name, part in chain.from_iterable(each.items() for each in attributes))
    if state is not None and not attributes:
        yield " state", state
