"""Links: every spelling gives the same rows, both ends agree, and what is wrong is told with its place."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.graph import links
from penstock.graph.links import APP, CONTAINER, DATA, Wiring, kind_of, link_target, port_names, wire
from penstock.graph.problems import Problem
from tests.unit.graph.making import Edge, app, container, data, made, plain_drops, shapes, tangled_drops


def edges_of(wiring: Wiring) -> set[Edge]:
    return {(i, j) for i, row in enumerate(wiring.after) for j in row}


def back_edges_of(wiring: Wiring) -> set[Edge]:
    return {(i, j) for j, row in enumerate(wiring.before) for i in row}


def codes(problems: Sequence[Problem]) -> list[str]:
    return [problem.code for problem in problems]


@pytest.mark.parametrize(
    ("category", "kind"),
    [
        ("Data", DATA),
        ("data", DATA),
        ("plain", DATA),
        ("Application", APP),
        (" APP ", APP),
        ("Socket", APP),
        ("service", APP),
        ("Control", APP),
        ("Container", CONTAINER),
        ("Group", None),
        ("", None),
    ],
)
def test_categories_are_matched_without_case(category: str, kind: int | None) -> None:
    assert kind_of(category) == kind


def test_a_link_is_a_uid_or_a_dict_of_uid_and_port() -> None:
    assert link_target("a") == "a"
    assert link_target({"a": "port"}) == "a"
    assert link_target({}) == ""
    assert list(port_names(("a", {"b": "port"}, {"c": None}))) == [("a", ""), ("b", "port"), ("c", "")]
    assert list(port_names(None)) == []


def test_plain_links_at_both_ends_take_the_fast_road(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(links, "_Tangle")
    wiring, problems = wire(made(app("a", outputs=["d"]), data("d", producers=["a"])))
    assert problems == []
    assert wiring == Wiring(bytearray([APP, DATA]), [(), (0,)], [(1,), ()], {}, {})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"outputs": ["d"]}, {}),
        ({}, {"producers": ["a"]}),
        ({"outputs": [{"d": "x"}]}, {"producers": ["a"]}),
        ({"outputs": ["d", "d"]}, {"producers": ["a", "a"]}),
        ({"outputs": [{"d": "x"}, {"d": "y"}]}, {"producers": [{"a": "x"}]}),
        ({"outputs": [{"d": "x", "nothing": None}]}, {"producers": None}),
    ],
)
def test_an_edge_counts_once_however_it_is_written(
    first: dict[str, object], second: dict[str, object]
) -> None:
    wiring, problems = wire(made(app("a", **first), data("d", **second)))
    assert edges_of(wiring) == back_edges_of(wiring) == {(0, 1)}
    assert wiring.after == [(1,), ()]
    assert all(not problem.is_error for problem in problems)


def test_links_may_use_uid_or_oid() -> None:
    wiring, problems = wire(made(app("a", uid="A", outputs=["D"]), data("d", uid="D", producers=["a"])))
    assert problems == []
    assert edges_of(wiring) == {(0, 1)}


def test_own_links_come_before_those_that_only_others_tell() -> None:
    drops = [data("x", consumers=["a"]), app("a", inputs=["z", "y"]), data("y"), data("z")]
    wiring, _ = wire(made(*drops))
    assert wiring.before[1] == (3, 2, 0)


def test_a_link_to_an_unknown_uid_is_a_warning_with_a_suggestion() -> None:
    _, problems = wire(made(app("alpha", outputs=["dat"]), data("data", producers=["alpha"])))
    (problem,) = problems
    assert problem.code == "PS302"
    assert not problem.is_error
    assert (problem.uid, problem.path) == ("alpha", "/0/outputs/0")
    assert "'data'" in problem.hint


def test_suggestions_are_left_out_in_large_graphs() -> None:
    drops = [data(f"d{i}") for i in range(5001)]
    _, problems = wire(made(app("a", outputs=["d00000"]), *drops))
    assert codes(problems) == ["PS302"]
    assert problems[0].hint == ""


@pytest.mark.parametrize(
    ("drops", "path"),
    [
        ([app("a", outputs=["b"]), app("b")], "/0/outputs/0"),
        ([data("a", consumers=["b"]), data("b")], "/0/consumers/0"),
        ([app("a", consumers=["b"]), data("b")], "/0/consumers"),
        ([data("a", inputs=["b"]), app("b")], "/0/inputs"),
        ([data("a", producers=["a"])], "/0/producers/0"),
    ],
)
def test_links_between_the_wrong_kinds_are_errors(drops: list[dict[str, object]], path: str) -> None:
    wiring, problems = wire(made(*drops))
    assert codes(problems) == ["PS301"]
    assert problems[0].path == path
    assert edges_of(wiring) == set()


def test_wrong_keys_written_alike_at_both_ends_do_not_pass_the_fast_road() -> None:
    drops = [app("a", outputs=["b"]), app("b", inputs=["a"])]
    assert codes(wire(made(*drops))[1]) == ["PS301", "PS301"]


def test_a_container_does_not_pass_the_fast_road_but_is_data() -> None:
    drops = [app("a", outputs=["c"]), container("c", producers=["a"])]
    wiring, problems = wire(made(*drops))
    assert problems == []
    assert edges_of(wiring) == {(0, 1)}
    assert list(wiring.kinds) == [APP, CONTAINER]


@pytest.mark.parametrize(
    "drops",
    [
        [data("d", streamingConsumers=["a"]), app("a")],
        [data("d"), app("a", streamingInputs=[{"d": "p"}])],
        [data("d", streamingConsumers=["a", "a"]), app("a", streamingInputs=["d"])],
    ],
)
def test_streaming_links_are_links_and_marked(drops: list[dict[str, object]]) -> None:
    wiring, problems = wire(made(*drops))
    assert problems == []
    assert edges_of(wiring) == back_edges_of(wiring) == {(0, 1)}
    assert wiring.streaming == {0: (1,)}


@pytest.mark.parametrize("plain", [{"consumers": ["a"]}, {}])
def test_streaming_and_plain_at_once_is_an_error(plain: dict[str, object]) -> None:
    drops = [data("d", streamingConsumers=["a"], **plain), app("a", inputs=["d"])]
    assert codes(wire(made(*drops))[1]) == ["PS304"]


@pytest.mark.parametrize(
    "drops",
    [
        [container("c", children=["d"]), data("d")],
        [container("c"), data("d", parent="c")],
        [container("c", children=[{"d": "x"}]), data("d", parent={"c": "x"})],
    ],
)
def test_children_may_be_told_by_container_or_child(drops: list[dict[str, object]]) -> None:
    wiring, problems = wire(made(*drops))
    assert problems == []
    assert wiring.children == {0: (1,)}
    assert edges_of(wiring) == set()


@pytest.mark.parametrize(
    ("drops", "code"),
    [
        ([data("c", children=["d"]), data("d")], "PS301"),
        ([container("c", children=["a"]), app("a")], "PS301"),
        ([container("c", children=["nobody"])], "PS302"),
        ([data("d", parent={"nobody": None})], "PS302"),
    ],
)
def test_wrong_families_are_told(drops: list[dict[str, object]], code: str) -> None:
    wiring, problems = wire(made(*drops))
    assert codes(problems) == [code]
    assert wiring.children == {}


def test_an_unknown_category_is_told_and_guessed_from_the_links() -> None:
    drops = [
        {"oid": "a", "categoryType": "Aplication", "outputs": ["d"]},
        {"oid": "d", "categoryType": "Group"},
        {"oid": "e", "type": "plain"},
    ]
    wiring, problems = wire(made(*drops))
    assert codes(problems) == ["PS204", "PS204"]
    assert "'Application'" in problems[0].hint
    assert list(wiring.kinds) == [APP, DATA, DATA]


def test_a_drop_without_category_is_no_second_problem() -> None:
    from penstock.graph.load import read

    graph = read(b'[{"oid": "a"}]').graph
    assert graph is not None
    assert wire(graph)[1] == []


def test_wide_rows_are_compared_by_sets() -> None:
    drops = [app("a", outputs=[f"d{i}" for i in range(40)])]
    drops += [data(f"d{i}", producers=["a"]) for i in range(40)]
    drops += [app("b", inputs=["d0"]), data("x")]
    drops[1]["consumers"] = ["b"]
    wiring, problems = wire(made(*drops))
    assert problems == []
    assert len(wiring.after[0]) == 40


def test_a_wide_row_of_one_side_only_is_mended() -> None:
    drops = [app("a", inputs=[f"d{i}" for i in range(40)])]
    drops += [data(f"d{i}", consumers=["a"] if i else ["b"]) for i in range(40)]
    drops += [app("b", inputs=[])]
    wiring, _ = wire(made(*drops))
    assert edges_of(wiring) == back_edges_of(wiring)
    assert len(edges_of(wiring)) == 41


@given(shapes(acyclic=False))
def test_wiring_is_symmetric_and_the_edges_are_those_written(shape: tuple[list[bool], list[Edge]]) -> None:
    wiring, problems = wire(made(*plain_drops(*shape)))
    assert problems == []
    assert edges_of(wiring) == back_edges_of(wiring) == set(shape[1])
    assert list(wiring.kinds) == [APP if is_app else DATA for is_app in shape[0]]


@given(st.data())
def test_every_spelling_of_the_same_edges_gives_the_same_edges(choice: st.DataObject) -> None:
    is_app, edges = choice.draw(shapes(acyclic=False))
    wiring, problems = wire(made(*choice.draw(tangled_drops(is_app, edges))))
    assert problems == []
    assert edges_of(wiring) == back_edges_of(wiring) == set(edges)
    for row in [*wiring.before, *wiring.after]:
        assert len(set(row)) == len(row)


@given(shapes(acyclic=False))
def test_the_fast_road_agrees_with_the_slow_one(shape: tuple[list[bool], list[Edge]]) -> None:
    graph = made(*plain_drops(*shape))
    fast, _ = wire(graph)
    tangle = links._Tangle(graph, fast.kinds)
    assert tangle.wiring() == fast
    assert tangle.problems == []
