# SPDX-License-Identifier: Apache-2.0
"""The result of a session is the same on one, two and four nodes, wherever its drops live."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from penstock.assemble.managers import Assembled
from penstock.engine.states import DropState, SessionState
from penstock.managers.api import Level, Manager
from tests.conftest import PROVE

from .manager_graphs import RandomGraph
from .manager_making import above_here, content, node_here, states_of, text, wait_ended

SEEDS = range(1000 if PROVE else 20)

Result = tuple[SessionState, dict[str, tuple[int, int]], dict[str, str]]


class Clusters(ExitStack):
    """Islands over one, two and four nodes of this process; on real sockets."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        super().__init__()
        self._factory = factory
        self.islands: list[Assembled] = []
        self.absolute = factory.mktemp("absolute")

    def start(self) -> None:
        nodes = [self.enter_context(node_here(self._factory.mktemp(f"node{i}"), workers=2)) for i in range(4)]
        self.islands = [self.enter_context(above_here(Level.ISLAND, nodes[:count])) for count in (1, 2, 4)]


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    with Clusters(tmp_path_factory) as made:
        made.start()
        yield made


def run_placed(island: Assembled, seed: int, absolute: Path) -> Result:
    """Run a random graph on the nodes of an island; return how it and its drops ended, and what they hold."""
    manager: Manager = island.manager
    nodes = [info.address for info in manager.nodes()]
    folder = absolute / f"{seed}-{len(nodes)}"
    graph = RandomGraph(seed, folder)
    name = f"g{seed}-{len(nodes)}"
    manager.create_session(name)
    try:
        manager.add_graph(name, text(graph.placed(nodes, seed)))
        manager.deploy(name, graph.roots)
        state = wait_ended(manager, name)
        states = states_of(manager, name)
        contents = {
            uid: _digest(content(manager, name, uid), is_ordered=uid not in graph.unordered)
            for uid in graph.readable
            if states[uid][0] == DropState.COMPLETED
        }
        return state, states, contents
    finally:
        manager.destroy(name)


def _digest(data: bytes, *, is_ordered: bool) -> str:
    if not is_ordered:
        data = np.bincount(np.frombuffer(data, np.uint8), minlength=256).tobytes()
    return f"{len(data)} {hashlib.sha256(data).hexdigest()[:8]}"


def _differences(one: Mapping[str, object], other: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    return {key: (one.get(key), other.get(key)) for key in {*one, *other} if one.get(key) != other.get(key)}


@pytest.mark.parametrize("seed", SEEDS)
def test_states_and_contents_do_not_depend_on_places(clusters: Clusters, seed: int) -> None:
    (state, states, contents), *more = (
        run_placed(island, seed, clusters.absolute) for island in clusters.islands
    )
    for other_state, other_states, other_contents in more:
        assert _differences(states, other_states) == {}
        assert _differences(contents, other_contents) == {}
        assert other_state is state
