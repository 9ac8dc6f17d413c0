# SPDX-License-Identifier: Apache-2.0
"""Streaming links between nodes: the same pieces in the same order as on one node, wherever drops live."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from penstock.assemble.managers import Assembled
from penstock.engine.states import SessionState
from penstock.managers.api import Level, Manager
from tests.conftest import PROVE

from .manager_making import (
    Fields,
    above_here,
    content,
    node_here,
    run_graph,
    states_of,
    text,
    wait_ended,
    wait_until,
)
from .test_workers_streams import APPS, streamed

COUNT = 50
EVERYWHERE = list(itertools.product(range(3), repeat=4))
SOME = EVERYWHERE if PROVE else [places for places in EVERYWHERE if places[0] == 0 and sum(places) % 2 == 0]


class Island(ExitStack):
    def start(self, factory: pytest.TempPathFactory) -> None:
        self.nodes: list[Assembled] = [
            self.enter_context(node_here(factory.mktemp("node"), workers=4)) for _ in range(3)
        ]
        self.manager: Manager = self.enter_context(above_here(Level.ISLAND, self.nodes)).manager

    def placed(self, graph: list[Fields], places: Sequence[int]) -> list[Fields]:
        return [{**drop, "node": str(self.nodes[k].address)} for drop, k in zip(graph, places, strict=True)]


@pytest.fixture(scope="module")
def island(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Island]:
    with Island() as made:
        made.start(tmp_path_factory)
        yield made


@pytest.mark.parametrize("places", SOME)
def test_pieces_come_in_order_wherever_drops_live(island: Island, places: Sequence[int]) -> None:
    graph = island.placed(streamed("Pieces", parts={"count": COUNT}), places)
    name = "-".join(map(str, places))
    assert run_graph(island.manager, name, graph) is SessionState.FINISHED, island.manager.session(
        name
    ).causes
    assert content(island.manager, name, "b") == b"".join(b"[%d]" % i for i in range(COUNT))
    assert content(island.manager, name, "a") == b"".join(b"%d" % i for i in range(COUNT))
    island.manager.destroy(name)


def test_several_takers_on_several_nodes_get_all_pieces(island: Island) -> None:
    graph: list[Any] = streamed("Pieces", parts={"count": COUNT})
    for k in range(3):
        graph += [
            {**graph[2], "oid": f"taker{k}", "outputs": [f"b{k}"], "streamingInputs": ["a"]},
            {**graph[3], "oid": f"b{k}"},
        ]
    graph[1] = {**graph[1], "streamingConsumers": ["taker", *(f"taker{k}" for k in range(3))]}
    places = [0, 1, 2, 2, 0, 0, 1, 1, 2, 2]
    assert run_graph(island.manager, "many", island.placed(graph, places)) is SessionState.FINISHED
    for uid in ("b", "b0", "b1", "b2"):
        assert content(island.manager, "many", uid) == b"".join(b"[%d]" % i for i in range(COUNT))
    island.manager.destroy("many")


@pytest.mark.parametrize("places", [(0, 0, 1, 1), (0, 1, 0, 0), (0, 1, 2, 2)])
def test_a_taker_that_fails_leaves_the_data_to_others(island: Island, places: Sequence[int]) -> None:
    graph = island.placed(streamed("Picky", parts={"count": 10}), places)
    assert run_graph(island.manager, "picky", graph) is SessionState.FAILED
    states = states_of(island.manager, "picky")
    assert states["taker"] == (3, 3)
    assert states["parts"] == (2, 2), island.manager.session("picky").causes
    assert content(island.manager, "picky", "a") == b"".join(b"%d" % i for i in range(10))
    island.manager.destroy("picky")


def test_a_writer_waits_for_a_slow_taker_and_a_cancel_frees_both(island: Island) -> None:
    graph = streamed("Slow", parts={"count": 100_000, "isolation": "process"})
    island.manager.create_session("slow")
    island.manager.add_graph("slow", text(island.placed(graph, (0, 1, 2, 2))))
    island.manager.deploy("slow")
    island.manager.trigger("slow")
    wait_until(lambda: states_of(island.manager, "slow")["taker"][1] == 1, "the taker begins")
    island.manager.cancel("slow")
    assert wait_ended(island.manager, "slow") is SessionState.CANCELLED
    island.manager.destroy("slow")
    assert APPS  # the module that workers import
