"""The clients beyond the contract: content in streams, errors of the line, the twin for event loops."""

import asyncio
import io
import socket
import threading
from collections.abc import Iterator
from typing import BinaryIO

import pytest

from penstock.engine.states import LinkKind
from penstock.errors import DropUnknown, NodeDown, SessionExists, SessionNotFound, SubManagersFailed
from penstock.managers.api import Level
from penstock.rest.async_client import AsyncManagerClient
from penstock.rest.client import ManagerClient
from penstock.rest.server import RestServer
from penstock.rest.settings import RestSettings
from penstock.testing.fake_manager import FakeManager

from .manager_contract import CHAIN, LIMIT_S, NODE, app, data, text
from .rest_raw import ask

CONTENT = "penstock " * 300_000


class Content(io.BytesIO):
    """Content that tells when it is closed."""

    def __init__(self, content: bytes, *, is_seekable: bool = True) -> None:
        super().__init__(content)
        self.ended = threading.Event()
        self._is_seekable = is_seekable

    def seekable(self) -> bool:
        return self._is_seekable

    def close(self) -> None:
        super().close()
        self.ended.set()


class Holding(FakeManager):
    """A fake whose data is one given file."""

    def __init__(self, content: Content) -> None:
        super().__init__()
        self.content = content

    def open_data(self, session_id: str, uid: str) -> BinaryIO:
        self.drop(session_id, uid)
        return self.content


@pytest.fixture
def manager() -> FakeManager:
    return FakeManager(Level.ISLAND, (NODE,))


@pytest.fixture
def url(manager: FakeManager) -> Iterator[str]:
    with RestServer(manager) as server:
        yield server.url


def test_content_comes_in_pieces_of_any_size(manager: FakeManager, url: str) -> None:
    manager.create_session("s")
    manager.add_graph("s", text([{**CHAIN[0], "content": CONTENT}, *CHAIN[1:]]))
    manager.deploy("s", ["A"])
    with ManagerClient(url) as client:
        assert client.drop("s", "C").size_bytes == len(CONTENT)
        with client.open_data("s", "C") as file:
            first = file.read(10)
            assert first + file.read() == CONTENT.encode()
            assert file.read() == b""


def test_content_whose_length_is_not_known_comes_whole() -> None:
    holding = Holding(Content(CONTENT.encode(), is_seekable=False))
    holding.create_session("s")
    holding.add_graph("s", text(CHAIN))
    with RestServer(holding) as server, ManagerClient(server.url) as client:
        with client.open_data("s", "A") as file:
            assert file.read() == CONTENT.encode()
        assert holding.content.ended.wait(LIMIT_S)


def test_content_is_closed_when_the_reader_goes_away() -> None:
    holding = Holding(Content(bytes(1 << 27)))
    holding.create_session("s")
    holding.add_graph("s", text(CHAIN))
    with RestServer(holding) as server, ManagerClient(server.url) as client:
        with client.open_data("s", "A") as file:
            file.read(10)
        assert holding.content.ended.wait(LIMIT_S)


def test_names_with_strokes_reach_their_drops(url: str, manager: FakeManager) -> None:
    uid = "1_2b8a830f_0/1/2 ä?#%"
    with ManagerClient(url) as client:
        client.create_session("s")
        client.add_graph("s", text([data(uid), app("b")]))
        client.link("s", uid, LinkKind.INPUT, "b")
        client.deploy("s", [uid])
        assert client.drop("s", uid).uid == uid
        with client.open_data("s", uid) as file:
            assert file.read() == b""


def test_nobody_at_the_other_end_is_a_node_that_is_down() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with ManagerClient(url) as client:
            for call in (client.sessions, lambda: client.listen(print), lambda: client.open_data("s", "A")):
                with pytest.raises(NodeDown, match=url):
                    call()


def test_somebody_who_does_not_answer_is_a_node_that_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with ManagerClient(url, timeout_s=0.1) as client:
            with pytest.raises(NodeDown):
                client.sessions()
            with pytest.raises(NodeDown):
                client.listen(print)


def test_errors_of_managers_below_come_with_their_own(url: str, manager: FakeManager) -> None:
    manager.failing["create_session"] = SubManagersFailed("create", {NODE: SessionExists("s")})
    with ManagerClient(url) as client, pytest.raises(SubManagersFailed) as caught:
        client.create_session("s")
    assert isinstance(caught.value.errors[NODE], SessionExists)


def test_closing_a_client_ends_its_thread(url: str) -> None:
    before = set(threading.enumerate())
    client = ManagerClient(url)
    client.listen(lambda change: None)
    client.close()
    client.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "penstock-events"]
    assert before <= set(threading.enumerate())


def test_the_twin_for_event_loops_does_the_same(url: str, manager: FakeManager) -> None:
    async def live() -> None:
        async with AsyncManagerClient(url) as client:
            assert await client.level() is Level.ISLAND
            await client.create_session("s")
            added = await client.add_graph("s", text([{**CHAIN[0], "content": "x"}, *CHAIN[1:]]))
            assert (added.drops, await client.graph_size("s")) == (3, 3)
            with pytest.raises(DropUnknown):
                await client.link("s", "A", LinkKind.INPUT, "nope")
            await client.deploy("s")
            await client.trigger("s", ["A"])
            assert (await client.session("s")).state.name == "FINISHED"
            assert len((await client.graph_status("s")).state) == 3
            assert (await client.drop("s", "C")).size_bytes == 1
            assert b"".join([piece async for piece in await client.open_data("s", "C")]) == b"x"
            assert [record["drop"] for record in await client.log("s")] == ["B"]
            assert await client.repro_data("s") is None
            assert not await client.repro_status("s")
            assert b'"B"' in await client.graph("s")
            assert [node.address for node in await client.nodes()] == [NODE]
            await client.create_session("t")
            await client.cancel("t")
            await client.destroy("t")
            assert [info.session_id for info in await client.sessions()] == ["s"]
            with pytest.raises(SessionNotFound):
                async for _ in await client.open_data("t", "A"):
                    pass

    asyncio.run(live())


def test_the_twin_tells_changes(url: str, manager: FakeManager) -> None:
    async def hear() -> str:
        async with AsyncManagerClient(url) as client:
            async for change in client.changes(lambda: manager.create_session("s")):
                return change.session_id
        return ""

    assert asyncio.run(hear()) == "s"


def test_the_manager_tells_who_it_is() -> None:
    settings = RestSettings(address="localhost:8001", epoch="e3", token="t")
    with RestServer(FakeManager(Level.MASTER), settings) as server:
        told = ask(server.port, "GET", "/api/v1/manager", Authorization="Bearer t").json
        assert told.pop("version")
    assert told == {"level": "master", "address": "localhost:8001", "epoch": "e3", "authentication": True}


def test_what_is_counted_is_told_in_the_format_of_prometheus(url: str, manager: FakeManager) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is not installed")
    manager.create_session("s")
    manager.add_graph("s", text(CHAIN))
    port = int(url.rpartition(":")[2])
    assert ask(port, "GET", "/api/v1/sessions/nope").status == 404
    body = ask(port, "GET", "/api/v1/metrics").body.decode()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(body)
        for sample in family.samples
    }
    assert samples["penstock_sessions", "building"] == 1
    assert samples["penstock_drops",] == 3
    assert samples["penstock_nodes", "alive"] == 1
    assert samples["penstock_http_requests_total", "404"] == 1


def test_the_document_has_a_page_that_needs_nothing_from_elsewhere(url: str) -> None:
    port = int(url.rpartition(":")[2])
    document = ask(port, "GET", "/api/v1/openapi.json").json
    assert document["openapi"].startswith("3.1")
    page = ask(port, "GET", "/api/v1/docs").body
    assert b"<script" not in page
    assert b"http://" not in page.replace(b"http://www.w3.org", b"")
    for path in document["paths"]:
        assert path.encode() in page


def test_the_log_comes_line_by_line_and_as_a_file(url: str, manager: FakeManager) -> None:
    port = int(url.rpartition(":")[2])
    manager.create_session("s")
    manager.add_graph("s", text(CHAIN))
    manager.deploy("s", ["A"])
    with ManagerClient(url) as client:
        assert [(record["drop"], record["text"], record["node"]) for record in client.log("s")] == [
            ("B", "ended", NODE)
        ]
    assert ask(port, "GET", "/api/v1/sessions/s/log/file").body[:2] == b"\x1f\x8b"
