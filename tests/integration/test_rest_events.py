"""Streams of events: numbered, taken up again where they ended, honest about gaps."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from penstock.managers.api import Change
from penstock.rest.client import ManagerClient
from penstock.rest.server import RestServer
from penstock.rest.settings import RestSettings
from penstock.testing.fake_manager import FakeManager

from .manager_contract import CHAIN, LIMIT_S, Ear, text
from .rest_raw import ask, connect


class Stream:
    """Reads events off a raw connection."""

    def __init__(self, port: int, path: str = "/api/v1/events", last_id: str = "") -> None:
        self.connection: socket.socket = connect(port)
        told = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{told}\r\n".encode())
        self.file = self.connection.makefile("rb")
        assert b" 200 " in self.file.readline()
        while self.file.readline().strip():
            pass
        self.block()  # the greeting

    def lines(self) -> Iterator[str]:
        while size := int(self.file.readline() or b"0", 16):
            yield from self.file.read(size).decode().splitlines()
            self.file.readline()

    def block(self) -> list[str]:
        size = int(self.file.readline().strip() or b"0", 16)
        body = self.file.read(size).decode()
        self.file.readline()
        return body.splitlines()

    def event(self) -> dict[str, Any]:
        """The next event; beats are passed over."""
        while True:
            lines = self.block()
            if not lines:
                return {}
            told = dict(line.split(": ", 1) for line in lines if line and not line.startswith(":"))
            if "data" in told:
                return {**told, "data": json.loads(told["data"])}

    def close(self) -> None:
        self.file.close()
        self.connection.close()


@pytest.fixture
def manager() -> FakeManager:
    return FakeManager()


@pytest.fixture
def port(manager: FakeManager) -> Iterator[int]:
    with RestServer(manager, RestSettings(beat_s=0.05, epoch="e7")) as server:
        yield server.port


def test_events_are_numbered_within_the_run_of_the_process(port: int, manager: FakeManager) -> None:
    with closing(Stream(port)) as stream:
        manager.create_session("s")
        manager.destroy("s")
        first, second = stream.event(), stream.event()
    assert (first["id"], first["event"]) == ("e7-1", "session")
    assert first["data"] == {
        "version": 1,
        "kind": "session",
        "session_id": "s",
        "detail": {"state": "PRISTINE"},
    }
    assert (second["id"], second["data"]["detail"]) == ("e7-2", {"state": "DELETED"})


def test_a_stream_is_taken_up_where_it_ended(port: int, manager: FakeManager) -> None:
    with closing(Stream(port)) as stream:
        manager.create_session("a")
        last_id = stream.event()["id"]
    manager.create_session("b")
    manager.create_session("c")
    with closing(Stream(port, last_id=last_id)) as stream:
        assert [stream.event()["data"]["session_id"] for _ in range(2)] == ["b", "c"]


@pytest.mark.parametrize("last_id", ["other-1", "e7-99", "e7--1", "nonsense", "e7-x", "-", "e7-"])
def test_what_cannot_be_taken_up_is_told_as_a_gap(port: int, manager: FakeManager, last_id: str) -> None:
    manager.create_session("a")
    with closing(Stream(port, last_id=last_id)) as stream:
        assert stream.event()["event"] == "gap"
        manager.create_session("b")
        assert stream.event()["data"]["session_id"] == "b"


def test_a_reader_that_was_away_for_too_long_is_told_of_a_gap(port: int, manager: FakeManager) -> None:
    with closing(Stream(port)) as stream:
        manager.create_session("s")
        last_id = stream.event()["id"]
        for _ in range(6000):
            manager.create_session("t")
            manager.destroy("t")
        manager.create_session("end")
        while stream.event()["data"].get("session_id") != "end":
            pass
    with closing(Stream(port, last_id=last_id)) as stream:
        assert stream.event()["event"] == "gap"


def test_a_quiet_stream_shows_signs_of_life(port: int) -> None:
    with closing(Stream(port)) as stream:
        assert stream.block()[0] == ": beat"


def test_a_session_s_stream_tells_of_it_alone_and_ends_with_it(port: int, manager: FakeManager) -> None:
    manager.create_session("s")
    with closing(Stream(port, "/api/v1/sessions/s/events")) as stream:
        manager.create_session("t")
        manager.add_graph("s", text(CHAIN))
        manager.destroy("s")
        told = []
        while event := stream.event():
            told.append(event["data"])
    assert [data["detail"]["state"] for data in told] == ["BUILDING", "DELETED"]


def test_a_client_hears_again_after_its_manager_was_restarted() -> None:
    manager = FakeManager()
    first = RestServer(manager, RestSettings(epoch="one", close_s=1.0))
    first.start()
    ear = Ear()
    with ManagerClient(first.url) as client:
        client.listen(ear)
        manager.create_session("a")
        ear.wait(lambda heard: [change.session_id for change in heard] == ["a"])
        port = first.port
        first.close()
        with RestServer(manager, RestSettings(port=port, epoch="two")):
            ear.wait(lambda heard: any(change.kind == "gap" for change in heard))
            manager.create_session("b")
            ear.wait(lambda heard: any(change.session_id == "b" for change in heard))


def test_waiting_ends_with_the_session(port: int, manager: FakeManager) -> None:
    with ManagerClient(f"http://127.0.0.1:{port}") as client:
        client.create_session("s")
        client.add_graph("s", text(CHAIN))
        client.deploy("s")
        with pytest.raises(TimeoutError, match="RUNNING"):
            client.wait("s", 0.01)
        unlisten = manager.listen(lambda change: None)
        client.trigger("s")
        assert client.wait("s", LIMIT_S).state.name == "FINISHED"
        unlisten()


def test_two_ears_hear_the_same(port: int, manager: FakeManager) -> None:
    ears = [Ear(), Ear()]
    with ManagerClient(f"http://127.0.0.1:{port}") as client:
        for ear in ears:
            client.listen(ear)
        manager.create_session("s")
        for ear in ears:
            ear.wait(lambda heard: [type(change) for change in heard] == [Change])


def test_the_number_of_readers_is_counted(port: int) -> None:
    with closing(Stream(port)):
        assert b"penstock_event_readers 1" in ask(port, "GET", "/api/v1/metrics").body
