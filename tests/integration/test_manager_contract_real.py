# SPDX-License-Identifier: Apache-2.0
"""The contract of managers over real ones: node, island over two, master over two islands, and clients of each."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from penstock.assemble.managers import Assembled
from penstock.engine.states import DropState
from penstock.managers.api import Level, Manager
from penstock.rest.client import ManagerClient

from .manager_contract import CHAIN, Ear, ManagerContract, data, text
from .manager_making import above_here, node_here


class Managers(ExitStack):
    """All levels in this process, on real sockets; every node has a home of its own."""

    def start(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self.single = self.node()
        self.pair = [self.node(), self.node()]
        self.island = self.above(Level.ISLAND, self.pair)
        self.far = [self.node(), self.node()]
        self.islands = [self.above(Level.ISLAND, [node]) for node in self.far]
        self.master = self.above(Level.MASTER, self.islands)
        self.far_homes = [
            {"node": str(node.address), "island": str(island.address)}
            for node, island in zip(self.far, self.islands, strict=True)
        ]
        self._clients: dict[str, ManagerClient] = {}

    def node(self) -> Assembled:
        return self.enter_context(node_here(self._factory.mktemp("node")))

    def above(self, level: Level, below: list[Assembled]) -> Assembled:
        return self.enter_context(above_here(level, below))

    def client_of(self, made: Assembled) -> ManagerClient:
        client = self._clients.get(made.url)
        if client is None:
            client = self._clients[made.url] = self.enter_context(ManagerClient(made.url))
        return client


@pytest.fixture(scope="module")
def managers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managers]:
    with Managers() as made:
        made.start(tmp_path_factory)
        yield made


def emptied(manager: Manager) -> Iterator[Manager]:
    """Lend a manager that has no sessions, and leave none in it."""
    assert manager.sessions() == []
    yield manager
    for info in manager.sessions():
        manager.destroy(info.session_id)


class Spread(ManagerContract):
    """Drops of a graph are dealt out to the nodes in turn, so every link of a chain is between two."""

    homes: Sequence[dict[str, str]]

    def placed(self, drops: list[Any]) -> bytes:
        return text([{**drop, **self.homes[sum(map(ord, drop["oid"])) % len(self.homes)]} for drop in drops])

    def test_deltas_tell_what_changed_and_nothing_else(self, manager: Manager, ear: Ear) -> None:
        # A manager of managers answers `drop` from the node and `graph_status` from what it was told: a moment later.
        manager.create_session("s")
        manager.add_graph("s", self.placed([*CHAIN, data("Z")]))
        manager.deploy("s")
        first = manager.graph_status("s")
        assert len(first.state) == 4
        nothing = manager.graph_status("s", since=first.version)
        assert (list(nothing.indices or ()), list(nothing.uids), nothing.state) == ([], [], b"")
        assert nothing.indices is not None
        manager.trigger("s", ["A"])
        ear.wait(lambda _: manager.graph_status("s").state == bytes([DropState.COMPLETED] * 3 + [0]))
        later = manager.graph_status("s", since=first.version)
        assert (list(later.indices or ()), list(later.uids)) == ([0, 1, 2], ["A", "B", "C"])
        assert later.state == bytes([DropState.COMPLETED] * 3)
        assert later.version > first.version


class TestNode(Spread):
    @pytest.fixture
    def manager(self, managers: Managers) -> Iterator[Manager]:
        self.homes = [{"node": str(managers.single.address)}]
        yield from emptied(managers.single.manager)


class TestNodeClient(Spread):
    @pytest.fixture
    def manager(self, managers: Managers) -> Iterator[Manager]:
        self.homes = [{"node": str(managers.single.address)}]
        yield from emptied(managers.client_of(managers.single))


class TestIsland(Spread):
    @pytest.fixture
    def manager(self, managers: Managers) -> Iterator[Manager]:
        self.homes = [{"node": str(node.address)} for node in managers.pair]
        yield from emptied(managers.island.manager)


class TestIslandClient(Spread):
    @pytest.fixture
    def manager(self, managers: Managers) -> Iterator[Manager]:
        self.homes = [{"node": str(node.address)} for node in managers.pair]
        yield from emptied(managers.client_of(managers.island))


class TestMaster(Spread):
    @pytest.fixture
    def manager(self, managers: Managers) -> Iterator[Manager]:
        self.homes = managers.far_homes
        yield from emptied(managers.master.manager)


class TestMasterClient(Spread):
    @pytest.fixture
    def manager(self, managers: Managers) -> Iterator[Manager]:
        self.homes = managers.far_homes
        yield from emptied(managers.client_of(managers.master))
