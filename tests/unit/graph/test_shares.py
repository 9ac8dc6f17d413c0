"""Shares: complete, in order, and graphs of their own."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.graph.analyse import check
from penstock.graph.load import loads
from penstock.graph.shares import GHOST_APP, share_out

Drops = list[dict[str, Any]]


def diamond() -> Drops:
    return [
        {"oid": "a", "categoryType": "Data", "storage": "Memory", "consumers": [{"x": "in"}, "y"]},
        {"oid": "x", "categoryType": "App", "dropclass": "dlg.apps.simple.CopyApp", "n_effective_inputs": 1,
         "inputs": [{"a": "in"}], "outputs": ["b"]},
        {"oid": "y", "categoryType": "App", "dropclass": "dlg.apps.simple.CopyApp", "inputs": ["a"], "outputs": ["c"]},
        {"oid": "b", "categoryType": "Data", "storage": "Memory", "producers": ["x"]},
        {"oid": "c", "categoryType": "Data", "storage": "Memory", "producers": ["y"], "pydata": "kept"},
    ]  # fmt: skip


def shares(drops: Drops, homes: list[str]) -> dict[str, tuple[Drops, dict[str, str], list[int]]]:
    graph = loads(json.dumps(drops))
    found = share_out(graph, check(graph).wiring, homes, homes)
    return {name: (json.loads(s.text), s.homes, list(s.members)) for name, s in found.items()}


def test_a_share_holds_its_drops_as_written_and_its_neighbours_as_ghosts() -> None:
    found = shares(diamond(), ["n", "n", "m", "n", "m"])
    drops, homes, members = found["n"]
    assert [drop["oid"] for drop in drops] == ["a", "x", "y", "b"]
    assert homes == {"y": "m"}
    assert members == [0, 1, 2, 3]
    assert drops[0] == diamond()[0]
    assert drops[2]["dropclass"] == GHOST_APP
    assert drops[2]["inputs"] == ["a"]
    assert drops[2]["outputs"] == []
    assert found["m"][1] == {"a": "n"}
    assert found["m"][0][0]["consumers"] == ["y"]
    assert found["m"][0][2]["pydata"] == "kept"


def test_what_is_a_ghost_already_stays_one() -> None:
    graph = loads(json.dumps(diamond()))
    wiring = check(graph).wiring
    homes = ["far", "n", "m", "n", "m"]
    found = share_out(graph, wiring, ["", "n", "m", "n", "m"], homes)
    assert found["n"].homes == {"a": "far"}
    assert found["m"].homes == {"a": "far"}


def test_one_share_is_the_graph() -> None:
    drops, homes, members = shares(diamond(), ["n"] * 5)["n"]
    assert (drops, homes, members) == (diamond(), {}, [0, 1, 2, 3, 4])


@given(st.data())
def test_rows_of_own_drops_are_those_of_the_whole(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    plain: Drops = [{"oid": f"d{i}", "categoryType": "Data", "storage": "Memory"} for i in range(count)]
    drops = list(plain)
    for i in range(data.draw(st.integers(0, 8))):
        cut = data.draw(st.integers(0, count))  # no cycles
        before = data.draw(st.lists(st.sampled_from(range(count)), unique=True, max_size=4).map(sorted))
        before, after = [k for k in before if k < cut], [k for k in before if k >= cut]
        app: dict[str, Any] = {"oid": f"x{i}", "categoryType": "App", "dropclass": "dlg.apps.simple.CopyApp"}
        if data.draw(st.booleans()):
            app["inputs"] = [{f"d{k}": f"p{k}"} for k in before]
        else:
            for k in before:
                plain[k].setdefault("consumers", []).append(f"x{i}")
        app["outputs"] = [f"d{k}" for k in after]
        drops.insert(data.draw(st.integers(0, len(drops))), app)
    homes = [data.draw(st.sampled_from("nmk")) for _ in drops]
    graph = loads(json.dumps(drops))
    whole = check(graph).wiring
    for name, share in share_out(graph, whole, homes, homes).items():
        part = loads(share.text)
        found = check(part)
        assert not found.problems
        for local, index in enumerate(share.members):
            if homes[index] == name:
                for ours, theirs in ((found.wiring.before, whole.before), (found.wiring.after, whole.after)):
                    assert [share.members[k] for k in ours[local]] == list(theirs[index])
