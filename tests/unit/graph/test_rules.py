"""The rare rules: where they may stand, which values they take, which they refuse."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.graph.links import wire
from penstock.graph.problems import Problem
from penstock.graph.rules import Rules, is_true, read_rules
from tests.unit.graph.making import app, data, made


def rules_of(*drops: dict[str, Any]) -> tuple[Rules, list[Problem]]:
    graph = made(*drops)
    return read_rules(graph, wire(graph)[0])


def with_inputs(**fields: Any) -> list[dict[str, Any]]:
    """Return an app at place 0 with three inputs."""
    return [app("a", inputs=["x", "y", "z"], **fields), data("x"), data("y"), data("z")]


@pytest.mark.parametrize(
    ("key", "value", "table", "expected"),
    [
        ("n_effective_inputs", 2, "effective", {0: 2}),
        ("n_effective_inputs", "2", "effective", {0: 2}),
        ("n_effective_inputs", 3, "effective", {}),
        ("n_effective_inputs", -1, "effective", {}),
        ("n_effective_inputs", "", "effective", {}),
        ("input_error_threshold", 50, "threshold", {0: 50}),
        ("input_error_threshold", "100.0", "threshold", {0: 100}),
        ("input_error_threshold", 0, "threshold", {}),
        ("n_tries", 3, "tries", {0: 3}),
        ("n_tries", 1, "tries", {}),
        ("time_limit_s", 0.5, "time_limit_s", {0: 0.5}),
        ("block_skip", True, "block_skip", {0}),
        ("block_skip", "true", "block_skip", {0}),
        ("block_skip", "false", "block_skip", set()),
        ("executionMode", 1, "external", {0}),
        ("executionMode", "0", "external", set()),
    ],
)
def test_a_rule_is_read(key: str, value: object, table: str, expected: object) -> None:
    rules, problems = rules_of(*with_inputs(**{key: value}))
    assert problems == []
    assert getattr(rules, table) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_effective_inputs", 0),
        ("n_effective_inputs", 4),
        ("n_effective_inputs", 1.5),
        ("n_effective_inputs", "many"),
        ("input_error_threshold", 101),
        ("input_error_threshold", -1),
        ("n_tries", 0),
        ("n_tries", 2.5),
        ("time_limit_s", 0),
        ("time_limit_s", "nan"),
        ("time_limit_s", "inf"),
        ("executionMode", 2),
        ("lifespan", 0),
        ("lifespan", -2),
    ],
)
def test_a_number_out_of_range_is_told(key: str, value: object) -> None:
    rules, problems = rules_of(*with_inputs(**{key: value}))
    (problem,) = problems
    assert (problem.code, problem.uid, problem.path) == ("PS401", "a", f"/0/{key}")
    assert repr(value) in problem.message
    assert rules == Rules()


@pytest.mark.parametrize(("value", "is_good"), [(-1, True), (0, True), (10, True), (-2, False), (1.5, False)])
def test_expected_size_is_a_number_of_bytes(value: float, is_good: bool) -> None:
    _, problems = rules_of(data("d", expectedSize=value))
    assert ([problem.path for problem in problems] == []) == is_good


def test_rules_of_apps_are_not_looked_for_in_data() -> None:
    rules, problems = rules_of(data("d", n_tries=0, input_error_threshold=999))
    assert problems == []
    assert rules == Rules()


@pytest.mark.parametrize("group", ["applicationArgs", "componentParams"])
@pytest.mark.parametrize("argument", [{"value": "2"}, 2, "2"])
def test_a_rule_may_stand_among_the_described_arguments(group: str, argument: object) -> None:
    rules, problems = rules_of(app("a", **{group: {"n_tries": argument}}))
    assert problems == []
    assert rules.tries == {0: 2}


def test_the_key_wins_over_the_described_argument() -> None:
    rules, _ = rules_of(app("a", n_tries=3, applicationArgs={"n_tries": {"value": 2}}))
    assert rules.tries == {0: 3}


@pytest.mark.parametrize(
    "group", [["n_tries"], {"n_tries": None}, {"n_tries": {}}, {"other": "n_tries"}, None]
)
def test_described_arguments_of_other_forms_are_passed_over(group: object) -> None:
    rules, problems = rules_of(app("a", applicationArgs=group))
    assert problems == []
    assert rules == Rules()


def test_two_lifetimes_are_told() -> None:
    _, problems = rules_of(data("d", lifespan=5, expireAfterUse="yes"))
    assert [(problem.code, problem.path) for problem in problems] == [("PS402", "/0/lifespan")]


@pytest.mark.parametrize(
    "fields", [{"lifespan": -1, "expireAfterUse": True}, {"lifespan": 5, "expireAfterUse": False}]
)
def test_one_lifetime_is_fine(fields: dict[str, Any]) -> None:
    assert rules_of(data("d", **fields))[1] == []


@pytest.mark.parametrize("value", [True, 1, "TRUE", " yes ", "On", "t", 2.5])
def test_words_for_true(value: object) -> None:
    assert is_true(value)


@pytest.mark.parametrize("value", [False, 0, None, "", "no", "off", "maybe"])
def test_everything_else_is_false(value: object) -> None:
    assert not is_true(value)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["n_effective_inputs", "input_error_threshold", "n_tries", "time_limit_s", "executionMode"]
        ),
        SCALARS,
    )
)
def test_any_scalar_is_a_rule_or_a_problem_and_never_a_crash(fields: dict[str, Any]) -> None:
    rules, problems = rules_of(*with_inputs(**fields))
    assert all(problem.code == "PS401" for problem in problems)
    assert all(0 < count < 3 for count in rules.effective.values())
    assert all(0 <= percent <= 100 for percent in rules.threshold.values())
    assert all(tries > 1 for tries in rules.tries.values())
