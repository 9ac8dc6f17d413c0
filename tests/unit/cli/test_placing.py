"""Where `penstock map` puts drops."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.exits import CommandError
from penstock.cli.placing import islands_of, placed
from penstock.graph.load import loads

NODES = [f"node{k}" for k in range(12)]
ISLANDS = [f"island{k}" for k in range(12)]


@given(st.integers(1, 12), st.integers(1, 12))
def test_islands_get_consecutive_nodes_about_as_many_each_and_one_at_least(nodes: int, islands: int) -> None:
    if islands > nodes:
        with pytest.raises(CommandError):
            islands_of(NODES[:nodes], ISLANDS[:islands])
        return
    found = list(islands_of(NODES[:nodes], ISLANDS[:islands]).values())
    counts = [found.count(name) for name in ISLANDS[:islands]]
    assert min(counts) >= 1
    assert max(counts) - min(counts) <= 1
    assert found == sorted(found, key=ISLANDS.index)


def test_without_islands_no_drop_gets_one() -> None:
    assert islands_of(NODES, []) == {}


def graph(*drops: dict[str, object]) -> bytes:
    return json.dumps([{"categoryType": "Data", "storage": "memory", **drop} for drop in drops]).encode()


def test_whatever_an_author_wrote_stays() -> None:
    text = graph({"oid": "a", "size": 1.50, "note": "ä"}, {"oid": "b", "node": "elsewhere", "island": "far"})
    drops = json.loads(placed(loads(text), ["x", "y"], {"x": "i", "y": "j"}, anew=False).text)
    assert drops[0] == {
        "oid": "a",
        "categoryType": "Data",
        "storage": "memory",
        "size": 1.5,
        "note": "ä",
        "node": "x",
        "island": "i",
    }
    assert (drops[1]["node"], drops[1]["island"]) == ("elsewhere", "far")


def test_the_island_follows_the_node_that_stays() -> None:
    drops = json.loads(
        placed(loads(graph({"oid": "a", "node": "y"})), ["x"], {"x": "i", "y": "j"}, anew=False).text
    )
    assert drops[0]["island"] == "j"


def test_the_reproducibility_record_stays_at_the_end() -> None:
    text = b'[{"oid": "a", "categoryType": "Data", "storage": "memory"}, {"rmode": "1"}]'
    assert json.loads(placed(loads(text), ["x"], {}, anew=True).text)[-1] == {"rmode": "1"}
