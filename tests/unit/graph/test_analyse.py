"""Order, roots, leaves, cycles, the critical path, and the check that brings all together."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given

from penstock.graph.analyse import check, critical_path, cycles, leaves, order, roots, weights
from penstock.graph.links import Wiring, wire
from penstock.graph.load import read
from tests.unit.graph.making import Edge, app, data, made, plain_drops, shapes

Shape = tuple[list[bool], list[Edge]]


def wired(*drops: dict[str, object]) -> Wiring:
    return wire(made(*drops))[0]


def ring(*uids: str) -> list[dict[str, object]]:
    """Return drops in a circle, data and apps in turn."""
    drops = []
    for k, uid in enumerate(uids):
        following = uids[(k + 1) % len(uids)]
        drops.append(app(uid, outputs=[following]) if k % 2 else data(uid, consumers=[following]))
    return drops


def test_roots_have_nothing_before_and_leaves_nothing_after() -> None:
    wiring = wired(data("d", consumers=["a"]), app("a", inputs=["d"]), data("alone"))
    assert roots(wiring) == [0, 2]
    assert leaves(wiring) == [1, 2]


@given(shapes())
def test_order_is_topological_and_complete(shape: Shape) -> None:
    wiring = wired(*plain_drops(*shape))
    found = order(wiring)
    place = {i: k for k, i in enumerate(found)}
    assert sorted(found) == list(range(len(shape[0])))
    assert all(place[i] < place[j] for i, j in shape[1])


@given(shapes(acyclic=False))
def test_order_leaves_out_exactly_what_is_in_or_behind_a_cycle(shape: Shape) -> None:
    wiring = wired(*plain_drops(*shape))
    stuck = _stuck(len(shape[0]), shape[1])
    assert set(order(wiring)) == set(range(len(shape[0]))) - stuck


@given(shapes(acyclic=False))
def test_each_cycle_told_is_a_way_round(shape: Shape) -> None:
    wiring = wired(*plain_drops(*shape))
    found = cycles(wiring)
    for cycle in found:
        assert len(set(cycle)) == len(cycle)
        assert all(j in wiring.after[i] for i, j in pairwise([*cycle, cycle[0]]))
    assert bool(found) == (len(order(wiring)) < len(shape[0]))
    told = [i for cycle in found for i in cycle]
    assert len(set(told)) == len(told)  # one per knot


def _stuck(size: int, edges: Sequence[Edge]) -> set[int]:
    """Return what can never run, by the slow and obvious way."""
    left = set(range(size))
    while free := {j for j in left if not any(i in left for i, k in edges if k == j)}:
        left -= free
    return left


def test_a_cycle_is_told_drop_by_drop() -> None:
    findings = check(made(data("start", consumers=["a1"]), *ring("d0", "a1", "d2", "a3"), data("end")))
    (problem,) = [problem for problem in findings.problems if problem.code == "PS303"]
    assert "d0 -> a1 -> d2 -> a3 -> d0" in problem.message
    assert (problem.uid, problem.path) == ("d0", "/1")
    assert problem.is_error


def test_each_knot_is_told_once() -> None:
    findings = check(made(*ring("d0", "a1", "d2", "a3"), *ring("e0", "b1")))
    assert [problem.uid for problem in findings.problems] == ["d0", "e0"]


def test_the_shortest_way_round_is_told() -> None:
    drops = ring("d0", "a1", "d2", "a3", "d4", "a5")
    drops[1]["outputs"] = ["d2", "d0"]
    assert cycles(wired(*drops)) == [[0, 1]]


def test_a_cycle_of_ten_thousand_drops_needs_no_recursion() -> None:
    drops = ring(*(f"u{k}" for k in range(10_000)))
    assert len(cycles(wired(*drops))[0]) == 10_000


@given(shapes())
def test_the_critical_path_is_a_heaviest_way(shape: Shape) -> None:
    is_app, edges = shape
    drops = plain_drops(*shape)
    for k, drop in enumerate(drops):
        drop["execution_time"] = k % 4
    graph = made(*drops)
    wiring = wire(graph)[0]
    path = critical_path(graph, wiring)
    cost = [k % 4 if is_app[k] else 0 for k in range(len(drops))]
    best = [0] * len(drops)
    for j in range(len(drops)):  # places are in topological order
        best[j] = cost[j] + max((best[i] for i, k in edges if k == j), default=0)
    assert path.weight == max(best)
    assert sum(cost[i] for i in path.drops) == path.weight
    assert path.apps == sum(is_app[i] for i in path.drops)
    assert all(j in wiring.after[i] for i, j in pairwise(path.drops))


@pytest.mark.parametrize(
    ("fields", "weight"),
    [
        ({}, 1.0),
        ({"weight": 5}, 5.0),
        ({"weight": 5, "execution_time": "2.5"}, 2.5),
        ({"weight": 5, "execution_time": "soon"}, 5.0),
        ({"weight": None, "execution_time": []}, 1.0),
        ({"execution_time": -3}, 0.0),
        ({"execution_time": "nan", "weight": "inf"}, 1.0),
        ({"execution_time": 10**400}, 1.0),
    ],
)
def test_an_app_weighs_its_time_else_its_weight_else_one(fields: dict[str, object], weight: float) -> None:
    graph = made(app("a", **fields), data("d", weight=7))
    assert weights(graph, wire(graph)[0]) == [weight, 0.0]


def test_a_graph_of_cycles_only_has_no_critical_path() -> None:
    graph = made(*ring("d0", "a1"))
    assert critical_path(graph, wire(graph)[0]) == ([], 0.0, 0)


def test_a_good_graph_has_no_problems() -> None:
    assert check(made(data("d", consumers=["a"]), app("a", inputs=["d"]))).problems == []


def test_an_app_without_class_is_told_and_data_without_class_is_not() -> None:
    drops = [{"oid": "a", "categoryType": "Application"}, {"oid": "d", "categoryType": "data"}]
    (problem,) = check(made(*drops)).problems
    assert (problem.code, problem.uid, problem.path) == ("PS205", "a", "/0/dropclass")


@pytest.mark.parametrize("key", ["dropclass", "app", "appclass", "Application"])
def test_old_keys_of_the_class_count(key: str) -> None:
    assert check(made({"oid": "a", "type": "app", key: "dfms.apps.CopyApp"})).problems == []


def test_all_problems_are_told_at_once() -> None:
    graph = read(
        b'[{"oid": "a", "categoryType": "Application", "outputs": ["d", "gone"], "n_tries": 0},'
        b' {"oid": "d", "categoryType": "Dat", "consumers": ["a", "d"]},'
        b' {"oid": "e", "type": "plain"}, {"oid": "e", "type": "plain"}, 5]'
    )
    assert graph.graph is not None
    found = [problem.code for problem in graph.problems + check(graph.graph).problems]
    assert sorted(found) == ["PS201", "PS203", "PS204", "PS205", "PS301", "PS302", "PS303", "PS401"]
