"""Where drops run: what drops, runs and classes say, and what is wrong with it."""

from collections.abc import Mapping
from typing import Any

import pytest

from penstock.errors import GraphInvalid
from penstock.graph.problems import Problem
from penstock.runtime.build import prepare
from penstock.runtime.isolation import Isolation, Placement, own_values, place

COPY = "dlg.apps.simple.CopyApp"
FUNCTION = "dlg.apps.pyfunc.PyFuncApp"
SHELL = "dlg.apps.bash_shell_app.BashShellApp"
MEMORY = "dlg.data.drops.memory.InMemoryDROP"
USERS = "tests.integration.worker_apps.Quick"

Fields = dict[str, Any]


def app(uid: str, cls: str = COPY, **fields: Any) -> Fields:
    return {"oid": uid, "categoryType": "Application", "dropclass": cls, **fields}


def data(uid: str, cls: str = MEMORY, **fields: Any) -> Fields:
    return {"oid": uid, "categoryType": "Data", "dropclass": cls, **fields}


def function(uid: str, name: str = "math.sqrt", **fields: Any) -> Fields:
    return app(uid, FUNCTION, func_name=name, **fields)


def described(group: str, **values: Any) -> Fields:
    return {group: {name: {"name": name, "value": value} for name, value in values.items()}}


def placement(
    *drops: Fields, wanted: Isolation | None = None, own: Mapping[int, str] | None = None
) -> Placement | None:
    return place(prepare(drops, import_users=False), wanted, own or {})


def away(*drops: Fields, wanted: Isolation | None = None, own: Mapping[int, str] | None = None) -> list[int]:
    """Return per drop 1 where it runs in a worker, nothing at all where none does."""
    found = placement(*drops, wanted=wanted, own=own)
    return [] if found is None else list(found.away)


def widths(*drops: Fields) -> dict[str, int]:
    found = placement(*drops, app("other", isolation="process"))
    assert found is not None
    return {str(drops[i]["oid"]): width for i, width in found.widths.items()}


def problems(*drops: Fields) -> list[Problem]:
    with pytest.raises(GraphInvalid) as caught:
        placement(*drops)
    found = caught.value.problems
    assert all(isinstance(problem, Problem) for problem in found)
    return [problem for problem in found if isinstance(problem, Problem)]


# Who decides


def test_the_class_decides_where_nobody_says_more() -> None:
    assert away(app("a"), function("b"), app("c", USERS), data("d")) == [0, 1, 1, 0]


def test_nothing_is_placed_where_all_runs_here() -> None:
    assert placement(app("a"), data("d")) is None
    assert placement(function("a"), wanted="thread") is None


@pytest.mark.parametrize(("wanted", "expected"), [("thread", []), ("process", [1, 1, 1])])
def test_the_run_beats_the_class(wanted: Isolation, expected: list[int]) -> None:
    assert away(app("a"), function("b"), app("c", USERS), wanted=wanted, own={2: "thread"}) == expected


def test_a_users_class_that_says_something_of_itself_is_heard() -> None:
    assert away(app("a", USERS), function("b"), own={0: "thread"}) == [0, 1]


@pytest.mark.parametrize("wanted", [None, "thread", "process"])
def test_the_drop_beats_all(wanted: Isolation | None) -> None:
    drops = [
        app("a", isolation="process"),
        function("b", isolation="thread"),
        app("c", USERS, isolation="thread"),
        app("d", SHELL, isolation="process", command="true"),
    ]
    assert away(*drops, wanted=wanted, own={2: "process"}) == [1, 0, 0, 1]


@pytest.mark.parametrize("group", ["applicationArgs", "componentParams"])
def test_a_described_argument_counts_as_the_drops_own(group: str) -> None:
    assert away(app("a", **described(group, isolation="process")), app("b")) == [1, 0]
    assert away(function("a", **{group: {"isolation": "thread"}}), function("b")) == [0, 1]


def test_the_key_beats_the_described_argument_and_application_arguments_the_other_ones() -> None:
    both = {
        **described("applicationArgs", isolation="process"),
        **described("componentParams", isolation="thread"),
    }
    assert away(app("a", isolation="thread", **described("applicationArgs", isolation="process"))) == []
    assert away(app("a", **both)) == [1]


@pytest.mark.parametrize("value", [None, ""])
def test_what_is_empty_says_nothing(value: object) -> None:
    assert away(function("a", isolation=value), app("b", isolation=value)) == [1, 0]
    assert away(function("a", **described("applicationArgs", isolation=value, num_cpus=value))) == [1]


def test_data_never_asks_for_a_place() -> None:
    assert away(data("d", isolation="process"), app("a")) == []
    assert away(data("d", isolation="thread"), app("a", isolation="process")) == [0, 1]


def test_data_of_users_classes_goes_where_their_class_is() -> None:
    prepared = prepare([data("d", "tests.integration.making.StuckDrop"), app("a")], import_users=False)
    for wanted in (None, "process", "thread"):
        found = place(prepared, wanted)
        assert found is not None
        assert found.away[0] == 1


# What is wrong


@pytest.mark.parametrize(
    ("value", "hint"),
    [("proces", "'process'"), ("Thread", "'thread'"), ("xyz", ""), (5, ""), (["thread"], None)],
)
def test_an_isolation_that_does_not_exist_is_told_with_its_place(value: object, hint: str | None) -> None:
    (problem,) = problems(app("a"), app("b", isolation=value))
    assert (problem.code, problem.uid, problem.path) == ("PS403", "b", "/1/isolation")
    assert problem.message == f"isolation cannot be {value!r}"
    if hint is not None:
        assert hint in problem.hint


def test_all_that_is_wrong_comes_at_once() -> None:
    found = problems(
        app("a", isolation="x", num_cpus="x"), data("d", isolation="y"), function("c", num_cpus=[])
    )
    places = [(problem.uid, problem.path) for problem in found]
    assert places == [
        ("a", "/0/isolation"),
        ("d", "/1/isolation"),
        ("a", "/0/num_cpus"),
        ("c", "/2/num_cpus"),
    ]


@pytest.mark.parametrize("value", ["x", "1.5", 2.5, [2], {"value": 2}, "0x2", "inf", "nan"])
def test_a_number_of_slots_that_is_no_whole_number_is_told(value: object) -> None:
    (problem,) = problems(function("a", num_cpus=value))
    assert (problem.code, problem.path) == ("PS403", "/0/num_cpus")
    assert problem.message == f"num_cpus cannot be {value!r}"
    assert problem.hint == "give a whole number of slots"


# Slots


@pytest.mark.parametrize("value", [3, "3", 3.0, "3.0", " 3 "])
def test_spellings_of_a_number_of_slots(value: object) -> None:
    assert widths(function("a", num_cpus=value)) == {"a": 3}
    assert widths(function("a", **described("componentParams", num_cpus=value))) == {"a": 3}


@pytest.mark.parametrize("value", [0, 1, "1", -2, True, False, None, ""])
def test_one_slot_is_not_worth_a_word(value: object) -> None:
    assert widths(function("a", num_cpus=value)) == {}


def test_who_runs_here_takes_no_slots() -> None:
    assert widths(app("a", num_cpus=4), function("b", num_cpus=2), function("c")) == {"b": 2}


# Kinds


def test_drops_of_one_function_are_of_one_kind() -> None:
    found = placement(
        function("a"),
        data("d"),
        function("b", "math.exp"),
        function("c"),
        app("e", USERS),
        function("f", "math.exp"),
    )
    assert found is not None
    a, d, b, c, e, f = found.kinds
    assert (a, b) == (c, f)
    assert len({a, b, d, e}) == 4


def test_without_functions_the_class_is_the_kind() -> None:
    prepared = prepare([app("a", USERS), app("b"), app("c", USERS)], import_users=False)
    found = place(prepared, None)
    assert found is not None
    assert found.kinds == prepared.class_of


def test_functions_in_code_are_told_apart_by_the_names_of_their_drops() -> None:
    code = "def double(x):\n    return 2 * x"
    drops = [app(f"a{i}", FUNCTION, func_code=code, name=name) for i, name in enumerate(("x", "y", "x"))]
    found = placement(*drops, function("b"))
    assert found is not None
    assert found.kinds[0] == found.kinds[2] != found.kinds[1]


# Bash apps that may open pickles


@pytest.mark.parametrize(
    ("command", "source", "expected"),
    [
        ("cat {a}", data("a"), [1]),
        ("echo %i0", data("a"), [1]),
        ("date", data("a"), []),
        ("cat {a}", data("a", "dlg.data.drops.memory.SharedMemoryDROP"), [1]),
        ("cat {a}", data("a", "dlg.data.drops.file.FileDROP"), []),
        ("cat {a}", data("a", "dlg.data.drops.data_base.NullDROP"), []),
    ],
)
def test_a_command_with_words_from_memory_runs_in_a_worker(
    command: str, source: Fields, expected: list[int]
) -> None:
    assert away(app("x", SHELL, command=command, inputs=["a"]), source) == [*expected, *[0] * len(expected)]


def test_a_command_that_only_writes_to_memory_runs_here() -> None:
    assert away(app("x", SHELL, command="date > {o}", outputs=["o"]), data("o")) == []


def test_a_described_command_is_looked_at_too() -> None:
    drops = [app("x", SHELL, inputs=["a"], **described("applicationArgs", command="cat {a}")), data("a")]
    assert away(*drops) == [1, 0]


@pytest.mark.parametrize(
    "name", ["command_line_arguments", "input_redirection", "output_redirection", "Arg00", "Arg09"]
)
def test_all_fields_that_become_part_of_a_command_are_looked_at(name: str) -> None:
    drop = app("x", SHELL, command="cat", inputs=["a"])
    assert away({**drop, name: "{a}"}, data("a")) == [1, 0]
    assert away({**drop, **described("componentParams", **{name: "%i0"})}, data("a")) == [1, 0]
    assert away({**drop, name: "-v"}, data("a")) == []


def test_arguments_that_go_behind_a_command_may_be_named_like_an_input() -> None:
    drop = app("x", SHELL, command="cat", inputs=["a"], argumentPrefix="--")
    assert away({**drop, **described("applicationArgs", a="1")}, data("a")) == [1, 0]
    port = {"applicationArgs": {"a": {"name": "a", "value": "1", "usage": "InputPort"}}}
    assert away({**drop, **port}, data("a")) == []
    assert away(drop, data("a")) == []


@pytest.mark.parametrize("inputs", [["f", "a"], ["a", "f"]])
def test_one_of_several_inputs_in_memory_is_enough(inputs: list[str]) -> None:
    drops = [app("x", SHELL, command="cat {f} {a}", inputs=inputs), data("a")]
    assert away(*drops, data("f", "dlg.data.drops.file.FileDROP")) == [1, 0, 0]


def test_whoever_wants_threads_gets_them_for_such_commands_too() -> None:
    drop = app("x", SHELL, command="cat {a}", inputs=["a"])
    assert away(drop, data("a"), wanted="thread") == []
    assert away({**drop, "isolation": "thread"}, data("a")) == []


# What drops say


def test_own_values_are_those_that_are_given() -> None:
    drops = [
        data("a", x=1),
        data("b"),
        data("c", x=""),
        data("d", x=0),
        data("e", **described("componentParams", x=2)),
    ]
    prepared = prepare(drops)
    assert own_values(prepared, "x") == {0: 1, 3: 0, 4: 2}
    assert own_values(prepared, "y") == {}
