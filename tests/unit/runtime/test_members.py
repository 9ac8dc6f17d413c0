"""What classes say of their drops before anything runs."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from penstock.drops.app import AppDrop
from penstock.drops.base import Drop
from penstock.drops.data import DataDrop
from penstock.drops.memory import MemoryDrop
from penstock.drops.parameters import ParameterSetDrop
from penstock.drops.ports import Parameter
from penstock.errors import ClassNotFound, ParameterInvalid
from penstock.runtime.members import Finding, Member, check_members, settling_members


class Plain(AppDrop):
    """Declares nothing but text, which is never wrong."""

    text = Parameter(str, "")


class Counts(AppDrop):
    number = Parameter(int, 1)
    flag = Parameter(bool, False)
    text = Parameter(str, "")


class Checks(AppDrop):
    """Has a look of its own at its drops."""

    number = Parameter(int, 1)
    error: ClassVar[Exception | None] = None

    @classmethod
    def check(cls, uid: str, fields: Mapping[str, Any]) -> None:
        if cls.error is not None:
            raise cls.error


class Odd(DataDrop):
    """Data whose completion takes work where its graph says so."""

    content_keys = ("odd",)

    @classmethod
    def needs_settling(cls, fields: Mapping[str, Any]) -> bool:
        if fields.get("odd") == "bad":
            raise ParameterInvalid("d", "odd", "must not be bad")
        return bool(fields.get("odd"))


def members(*fields: Mapping[str, Any]) -> list[Member]:
    return [Member(10 + k, f"m{k}", lambda given=given: given) for k, given in enumerate(fields)]  # type: ignore[misc]


def anything(name: str) -> bool:
    return True


def found(
    cls: type[Drop], *fields: Mapping[str, Any], may_hold: Callable[[str], bool] = anything
) -> list[Finding]:
    return list(check_members(cls, members(*fields), may_hold))


def unasked() -> Mapping[str, Any]:
    raise AssertionError("nobody needs the fields")


def test_good_values_are_no_finding() -> None:
    assert (
        found(Counts, {}, {"number": 3}, {"number": "4", "flag": "yes"}, {"number": "", "flag": None}) == []
    )


def test_a_value_that_cannot_be_of_its_type_is_told_with_its_field() -> None:
    (finding,) = found(Counts, {"number": 1}, {"number": "many"})
    assert (finding.drop, finding.code, finding.field) == (11, "PS403", "number")
    assert "'many'" in finding.reason


@pytest.mark.parametrize("group", ["applicationArgs", "componentParams"])
def test_described_values_are_looked_at(group: str) -> None:
    entry = {"name": "number", "value": "many"}
    (finding,) = found(Counts, {group: {"number": entry}})
    assert (finding.code, finding.field) == ("PS403", "number")
    assert found(Counts, {group: {"number": {**entry, "usage": "InputPort"}}}) == []
    assert found(Counts, {"number": 1, group: {"number": entry}}) == []


def test_the_first_mistake_of_each_drop_is_told() -> None:
    told = found(Counts, {"number": "x", "flag": "perhaps"}, {"flag": "perhaps"}, {"number": []})
    assert [(finding.drop, finding.field) for finding in told] == [
        (10, "number"),
        (11, "flag"),
        (12, "number"),
    ]


def test_text_is_never_wrong_and_not_looked_at() -> None:
    assert list(check_members(Plain, [Member(0, "m", unasked)], anything)) == []


def test_what_the_graph_does_not_hold_is_not_looked_for() -> None:
    assert list(check_members(Counts, [Member(0, "m", unasked)], lambda name: False)) == []
    asked: list[str] = []
    assert found(Counts, {"number": "x"}, may_hold=lambda name: bool(asked.append(name))) == []
    assert sorted(asked) == ["flag", "number"]


def test_rules_of_every_drop_are_not_looked_at_here() -> None:
    assert found(Counts, {"n_tries": "x"}) == []
    assert found(MemoryDrop, {"lifespan": "x", "expectedSize": "y"}) == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ParameterInvalid("m0", "size", "must be small"),
            ("PS403", "parameter 'size' must be small", "size"),
        ),
        (
            ClassNotFound("m0", "m.f", "no such function"),
            ("PS206", ClassNotFound("m0", "m.f", "no such function").reason, ""),
        ),
        (TypeError("odd"), ("PS403", "its fields cannot be read: TypeError: odd", "")),
        (KeyError("k"), ("PS403", "its fields cannot be read: KeyError: 'k'", "")),
        (RecursionError(), ("PS403", "its fields cannot be read: RecursionError: ", "")),
    ],
)
def test_what_a_class_finds_by_itself(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: tuple[str, str, str]
) -> None:
    monkeypatch.setattr(Checks, "error", error)
    (finding,) = found(Checks, {}, may_hold=lambda name: False)
    assert finding == (10, *expected)


def test_a_class_that_finds_nothing_says_nothing() -> None:
    assert found(Checks, {}, {"number": 2}) == []


def test_fields_that_cannot_be_read_are_told() -> None:
    def broken() -> Mapping[str, Any]:
        raise ValueError("no JSON")

    (finding,) = check_members(Counts, [Member(3, "m", broken)], anything)
    assert finding == Finding(3, "PS403", "its fields cannot be read: ValueError: no JSON")


def test_a_description_that_is_none_is_told_with_its_name() -> None:
    (finding,) = found(Counts, {"applicationArgs": {"x": {"name": ["x"]}}})
    assert (finding.code, finding.field) == ("PS403", "x")
    assert "described wrongly" in finding.reason


# Settling


def test_a_class_that_always_settles_is_not_asked_for_each_drop() -> None:
    assert settling_members(ParameterSetDrop, [Member(5, "m", unasked)], anything) == ([5], [])


def test_a_class_that_never_settles_is_not_asked_either() -> None:
    assert settling_members(DataDrop, [Member(5, "m", unasked)], anything) == ([], [])


def test_single_drops_settle() -> None:
    assert settling_members(Odd, members({}, {"odd": 1}, {"odd": 0}), anything) == ([11], [])
    assert settling_members(MemoryDrop, members({"pydata": "x"}, {}), anything) == ([10], [])


def test_drops_are_not_asked_where_the_graph_gives_no_content() -> None:
    assert settling_members(Odd, [Member(5, "m", unasked)], lambda name: False) == ([], [])


def test_a_drop_that_cannot_tell_is_told_and_the_others_settle() -> None:
    settling, findings = settling_members(Odd, members({"odd": "bad"}, {"odd": 1}), anything)
    assert settling == [11]
    assert findings == [Finding(10, "PS403", "parameter 'odd' must not be bad")]
