"""The contract of managers over the fake one, directly and through HTTP at each level."""

from collections.abc import Iterator

import pytest

from penstock.managers.api import Level, Manager
from penstock.rest.client import ManagerClient
from penstock.rest.server import RestServer
from penstock.testing.fake_manager import FakeManager

from .manager_contract import NODE, ManagerContract


@pytest.fixture(params=list(Level), ids=lambda level: level.value)
def level(request: pytest.FixtureRequest) -> Level:
    found: Level = request.param
    return found


def fake(level: Level) -> FakeManager:
    return FakeManager(level, () if level is Level.NODE else (NODE,))


class TestFakeManager(ManagerContract):
    @pytest.fixture
    def manager(self, level: Level) -> Manager:
        return fake(level)


class TestManagerClient(ManagerContract):
    @pytest.fixture
    def manager(self, level: Level) -> Iterator[Manager]:
        with RestServer(fake(level)) as server, ManagerClient(server.url) as client:
            yield client
