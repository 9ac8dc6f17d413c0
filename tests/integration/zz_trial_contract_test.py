from collections.abc import Iterator
from pathlib import Path
import pytest
from penstock.assemble.managers import ManagerSettings, assemble, Assembled
from penstock.managers.api import Level, Manager
from penstock.rest.client import ManagerClient
from penstock.ids import NodeAddress
from .manager_contract import ManagerContract
import tests.integration.manager_contract as mc

class TestNode(ManagerContract):
    @pytest.fixture
    def manager(self, tmp_path: Path) -> Iterator[Manager]:
        with Assembled(ManagerSettings(Level.NODE, work_directory=tmp_path)) as made:
            yield made.manager

class TestNodeClient(ManagerContract):
    @pytest.fixture
    def manager(self, tmp_path: Path) -> Iterator[Manager]:
        with Assembled(ManagerSettings(Level.NODE, work_directory=tmp_path)) as made, ManagerClient(made.url) as c:
            yield c


@pytest.fixture
def below(tmp_path):
    with Assembled(ManagerSettings(Level.NODE, work_directory=tmp_path)) as node:
        yield node

class TestIsland(ManagerContract):
    @pytest.fixture
    def manager(self, below) -> Iterator[Manager]:
        self.node = str(below.address)
        type(self).node = self.node
        with Assembled(ManagerSettings(Level.ISLAND, below=(below.address,))) as made:
            yield made.manager

class TestIslandClient(ManagerContract):
    @pytest.fixture
    def manager(self, below) -> Iterator[Manager]:
        type(self).node = str(below.address)
        with Assembled(ManagerSettings(Level.ISLAND, below=(below.address,))) as made, ManagerClient(made.url) as c:
            yield c
