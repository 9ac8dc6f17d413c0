"""What a request may take: size, ratio, time, connections. Beyond, it is cut off and the manager never hears of it."""

import gzip
import socket
import threading
import zlib
from collections.abc import Iterator

import pytest
import zstandard

from penstock.rest.server import RestServer
from penstock.rest.settings import Limits, RestSettings
from penstock.testing.fake_manager import FakeManager

from .rest_raw import LIMIT_S, ask, chunked, connect, read

MIB = 1 << 20
GRAPH = "/api/v1/sessions/s/graph"
JSON = {"Content_Type": "application/json"}
LIMITS = Limits(
    sent_bytes=4 * MIB, compressed_bytes=2 * MIB, inflated_bytes=4 * MIB, ratio=200, small_bytes=MIB // 16
)


@pytest.fixture
def manager() -> FakeManager:
    manager = FakeManager()
    manager.create_session("s")
    return manager


@pytest.fixture
def port(manager: FakeManager) -> Iterator[int]:
    settings = RestSettings(limits=LIMITS, header_s=0.2, idle_s=0.2, connections=20)
    with RestServer(manager, settings) as server:
        yield server.port


def still_well(port: int, manager: FakeManager) -> bool:
    return ask(port, "GET", "/api/v1/health").status == 200 and "add_graph" not in manager.calls


@pytest.mark.parametrize("squeeze", [gzip.compress, zlib.compress, zstandard.compress])
@pytest.mark.parametrize("path", [GRAPH, "/api/sessions/s/graph/append"])
def test_a_body_that_inflates_too_far_is_cut_off(port: int, manager: FakeManager, squeeze, path: str) -> None:  # type: ignore[no-untyped-def]
    bomb = squeeze(b" " * (64 * MIB))
    answer = ask(port, "POST", path, bomb, Content_Encoding="gzip", **JSON)
    assert answer.status == 413
    assert still_well(port, manager)


def test_the_ratio_counts_from_a_megabyte_on(port: int, manager: FakeManager) -> None:
    small = ask(port, "POST", GRAPH, zlib.compress(b" " * (MIB - 100)), Content_Encoding="gzip", **JSON)
    assert small.status == 400  # it was read: blanks are no graph
    large = ask(port, "POST", GRAPH, zlib.compress(b" " * (2 * MIB)), Content_Encoding="gzip", **JSON)
    assert (large.status, large.json["code"]) == (413, "too_large")
    assert "200 times" in large.json["detail"]


def test_a_length_that_is_too_large_is_refused_before_the_body_comes(port: int, manager: FakeManager) -> None:
    with connect(port) as connection:
        connection.sendall(
            f"POST {GRAPH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {5 * MIB}\r\n\r\n".encode()
        )
        assert read(connection).status == 413
    assert still_well(port, manager)


def test_a_body_in_pieces_is_cut_off_at_the_limit(port: int, manager: FakeManager) -> None:
    with connect(port) as connection:
        head = f"POST {GRAPH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"%x\r\n%s\r\n" % (MIB, b" " * MIB)
        sent = 0
        try:
            for _ in range(64):
                connection.sendall(piece)
                sent += MIB
        except (BrokenPipeError, ConnectionResetError):
            assert sent < 64 * MIB
        else:
            assert read(connection).status == 413
    assert still_well(port, manager)


def test_a_small_body_is_small(port: int) -> None:
    assert ask(port, "POST", "/api/v1/sessions", b" " * MIB, **JSON).status == 413
    assert ask(port, "POST", "/api/sessions", b" " * MIB, **JSON).status == 413


def test_a_body_that_pauses_is_given_up(port: int, manager: FakeManager) -> None:
    with connect(port) as connection:
        connection.sendall(
            f"POST {GRAPH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 100\r\n\r\n[".encode()
        )
        answer = read(connection)
        assert (answer.status, answer.json["code"]) == (408, "too_slow")
        assert connection.recv(1) == b""
    assert still_well(port, manager)


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: loc"])
def test_a_head_that_does_not_come_is_given_up(port: int, begun: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(begun)
        assert connection.recv(100).startswith(b"HTTP/1.1 408" if begun else b"")
        connection.settimeout(LIMIT_S)
        while connection.recv(1000):
            pass


def test_the_second_head_on_a_connection_must_come_in_time_too(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read(connection).status == 200
        connection.sendall(b"GET /")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_connections_beyond_the_limit_are_told_to_come_again(manager: FakeManager) -> None:
    with RestServer(manager, RestSettings(connections=20)) as server:
        held = [connect(server.port) for _ in range(20)]
        try:
            answer = b""
            with connect(server.port) as connection:
                while piece := connection.recv(4096):
                    answer += piece
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"Retry-After: 1" in answer
        finally:
            for connection in held:
                connection.close()
        # The places are free again as soon as the server has seen that they are.
        for _ in range(1000):
            if ask(server.port, "GET", "/api/v1/health").status == 200:
                return
        pytest.fail("no place became free")


def test_half_sent_requests_hold_up_nobody(manager: FakeManager) -> None:
    with RestServer(manager) as server:
        held = [connect(server.port) for _ in range(200)]
        for connection in held:
            connection.sendall(b"POST /api/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n")
        assert ask(server.port, "GET", "/api/v1/health").status == 200
        for connection in held:
            connection.close()


def test_a_call_that_blocks_holds_up_nobody(manager: FakeManager) -> None:
    gate, begun = threading.Event(), threading.Event()

    class Slow(FakeManager):
        def deploy(self, session_id: str, completed: object = ()) -> None:
            begun.set()
            assert gate.wait(LIMIT_S)

    slow = Slow()
    slow.create_session("s")
    with RestServer(slow) as server:
        answers: list[int] = []
        path = "/api/sessions/s/deploy"
        thread = threading.Thread(target=lambda: answers.append(ask(server.port, "POST", path).status))
        thread.start()
        assert begun.wait(LIMIT_S)
        assert ask(server.port, "GET", "/api/v1/health").status == 200
        gate.set()
        thread.join(LIMIT_S)
        assert answers == [200]


def test_closing_ends_within_its_limit_and_leaves_no_thread(manager: FakeManager) -> None:
    before = set(threading.enumerate())
    server = RestServer(manager, RestSettings(close_s=0.5))
    server.start()
    stream = connect(server.port)
    stream.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert stream.recv(100).startswith(b"HTTP/1.1 200")
    idle = connect(server.port)
    server.close()
    server.close()
    assert set(threading.enumerate()) <= before
    idle.settimeout(LIMIT_S)
    assert idle.recv(1) == b""
    for connection in (stream, idle):
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), 1)


def test_pieces_of_any_size_make_the_same_body(port: int, manager: FakeManager) -> None:
    body = zlib.compress(b'[{"oid": "A", "categoryType": "Data", "storage": "Memory"}]')
    for size in (1, 2, 3, 7, 1000):
        manager.create_session(f"t{size}")
        more = {"Transfer-Encoding": "chunked", "Content_Encoding": "gzip", **JSON}
        answer = ask(port, "POST", f"/api/v1/sessions/t{size}/graph", chunked(body, size), **more)
        assert answer.json["added"] == 1
