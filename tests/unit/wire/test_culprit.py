"""The path to the part of a value that cannot be pickled."""

import pickle
import threading
from collections import namedtuple
from dataclasses import dataclass

import pytest

from penstock.wire.culprit import find_culprit

Pair = namedtuple("Pair", "left right")
LOCK = threading.Lock()


@dataclass
class Holder:
    handle: object


@dataclass(slots=True)
class Slotted:
    handle: object


class Careful:
    """Leaves its lock at home, but not what it was given."""

    def __init__(self, given: object) -> None:
        self.lock = threading.Lock()
        self.given = given

    def __getstate__(self) -> dict[str, object]:
        return {"given": self.given}


class Broken:
    def __reduce_ex__(self, protocol: int) -> str:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Odd:
    def __reduce__(self) -> tuple[object, ...]:
        return Holder, (LOCK,), ["state"]


def failing(part: object) -> str | None:
    try:
        pickle.dumps(part)
    except Exception as exc:
        return str(exc)
    return None


def uses() -> object:
    return LOCK


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (LOCK, "value"),
        ({"models": [0, 1, 2, Holder(LOCK)]}, "value['models'][3].handle"),
        ({"a": {"b": (1, LOCK)}}, "value['a']['b'][1]"),
        (Pair(1, LOCK), "value.right"),
        (Slotted(LOCK), "value.handle"),
        (Careful([LOCK]), "value.given[0]"),
        (ValueError("x", LOCK), "value argument 1"),
        ({LOCK: 1}, f"value key {LOCK!r}"[:14]),
        ({LOCK}, "value element"),
        (Odd(), "value argument 0"),
        (Holder(LOCK).__eq__, "value.__self__.handle"),
        ([Broken()], "value[0]"),
        ({1: {Broken()}}, "value[1] element <Broken instance"),
    ],
)
def test_the_innermost_part_is_named(value: object, path: str):
    found, reason = find_culprit(value, failing)
    assert found.startswith(path)
    assert reason in ("cannot pickle '_thread.lock' object", "no")


def test_a_function_is_looked_into_for_what_it_uses():
    inner = LOCK

    def closure(default: object = (LOCK,)) -> object:
        return inner, later

    unused = find_culprit(closure, lambda part: "no" if part is LOCK or part is closure else None)
    assert unused == ("value variable 'inner'", "no")
    assert (
        find_culprit(uses, lambda part: "no" if part is LOCK or part is uses else None)[0]
        == "value variable 'LOCK'"
    )
    defaults = find_culprit(closure, lambda part: "no" if part == (LOCK,) or part is closure else None)
    assert defaults[0] == "value default 0"
    later = 1


def test_a_variable_without_a_value_is_passed_over():
    def closure() -> object:
        return later

    assert find_culprit(closure, lambda part: "no" if part is closure else None) == ("value", "no")
    if closure is None:
        later = 1


def test_the_search_has_an_end():
    endless: list[object] = []
    endless.append(endless)
    path, _ = find_culprit(endless, lambda _: "no")
    assert path == "value" + "[0]" * 20
    tries: list[object] = []
    find_culprit([[index] for index in range(100_000)], lambda part: tries.append(part) if tries else "no")
    assert len(tries) < 10_000


def test_a_value_without_a_culprit_is_the_culprit():
    assert find_culprit([1], lambda _: None, "function") == ("function", "cannot be pickled")
