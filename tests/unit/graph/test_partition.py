"""Parts by node and island, and the links between them."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.graph.links import wire
from penstock.graph.load import loads
from penstock.graph.partition import Attribute, Crossing, CrossingKind, partition
from tests.unit.graph.making import app, container, data, made, plain_drops, shapes


def test_a_graph_without_nodes_is_one_part_without_name_and_crossings() -> None:
    parted = partition(made(data("d", consumers=["a"]), app("a")), "node")
    assert parted.parts == {"": (0, 1)}
    assert parted.crossings == ()
    assert parted.unplaced == (0, 1)


def test_parts_keep_the_order_of_first_mention() -> None:
    parted = partition(made(data("a", node="n2"), data("b", node="n1"), data("c", node="n2")), "node")
    assert list(parted.parts.items()) == [("n2", (0, 2)), ("n1", (1,))]
    assert parted.part_of == ("n2", "n1", "n2")
    assert parted.unplaced == ()


@pytest.mark.parametrize("value", [None, "", "  ", 5, ["n"]])
def test_what_names_no_part_goes_to_the_part_without_name(value: Any) -> None:
    parted = partition(made(data("a", node=value), data("b", node=" n ")), "node")
    assert parted.parts == {"": (0,), "n": (1,)}


def test_each_kind_of_link_between_parts_is_told() -> None:
    graph = made(
        app("w", node="1", outputs=["d", "e"]),
        data("d", node="2", consumers=["r"], streamingConsumers=["s"]),
        app("r", node="3"),
        app("s", node="3"),
        data("e", node="1"),
        container("c", node="4", children=["d"]),
    )
    parted = partition(graph, "node")
    assert set(parted.crossings) == {
        Crossing(0, 1, CrossingKind.OUTPUT),
        Crossing(1, 2, CrossingKind.INPUT),
        Crossing(1, 3, CrossingKind.STREAM),
        Crossing(5, 1, CrossingKind.CHILD),
    }


def test_parts_are_frozen() -> None:
    parted = partition(made(data("a")), "node")
    with pytest.raises(TypeError):
        parted.parts["x"] = ()  # type: ignore[index]


@given(shapes(), st.data())
def test_parts_cover_all_drops_and_crossings_are_exactly_the_links_between_parts(
    shape: Any, choice: Any
) -> None:
    names = choice.draw(
        st.lists(st.sampled_from(["", "x", "y"]), min_size=len(shape[0]), max_size=len(shape[0]))
    )
    for attribute in get_args(Attribute):
        drops = plain_drops(*shape)
        for drop, name in zip(drops, names, strict=True):
            drop[attribute] = name
        graph = made(*drops)
        parted = partition(graph, attribute, wire(graph)[0])
        assert sorted(i for part in parted.parts.values() for i in part) == list(range(len(drops)))
        assert {(link.start, link.end) for link in parted.crossings} == {
            (i, j) for i, j in shape[1] if names[i] != names[j]
        }
        assert parted == partition(graph, attribute)


def test_real_mapped_graphs_are_parted_as_they_say(shared_graphs: Any) -> None:
    for path in sorted(shared_graphs.glob("*.2x2.pg.json")):
        drops = [drop for drop in json.loads(path.read_bytes()) if "oid" in drop]
        parted = partition(loads(path.read_bytes()), "island")
        assert {name: len(part) for name, part in parted.parts.items()} == {
            name: sum(drop["island"] == name for drop in drops) for name in {drop["island"] for drop in drops}
        }
