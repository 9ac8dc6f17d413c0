"""Contents of drops over real sockets: whole, in order, closed afterwards, whatever happens meanwhile."""

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.errors import DropNotReadable, NodeDown, SessionNotFound, WireError
from penstock.wire.data import DataServer, Region, RemoteData, Source, read_data
from penstock.wire.rpc import RpcClient
from penstock.wire.security import Keys

from .wire_ends import LIMIT_S, QUICK, Ends, wire_ends

CONTENT = os.urandom(5_000_001)


@pytest.fixture
def ends() -> Iterator[Ends]:
    with wire_ends() as made:
        yield made


class Served:
    """Sources by their uid, in another loop, perhaps behind a proxy."""

    def __init__(
        self, ends: Ends, sources: dict[str, Source], *, keys: Keys | None = None, **options
    ) -> None:
        def find(session_id: str, uid: str) -> Source:
            if session_id != "s":
                raise SessionNotFound(session_id, "there is one only")
            return sources[uid]

        loop = ends.loop(keys)
        self.data = DataServer(loop, find, **options)
        self.server = ends.server(self.data.methods, loop, gone=self.data.gone)
        self.data.start()
        ends.stack.callback(self.data.close)
        self.proxy = ends.proxy(self.server.port)
        self.client = ends.client(self.proxy.port, ends.loop(keys), limits=QUICK)

    def wait_closed(self) -> None:
        """Closing is not waited for by readers; another call on the same connection comes after it."""
        while self.data.handles:
            with pytest.raises(SessionNotFound):
                RemoteData(self.client, "another", "x").open()


def memory(content: bytes, offset: int = 0) -> Region:
    descriptor = os.memfd_create("test")
    os.pwrite(descriptor, content, offset)
    return Region(descriptor, offset, len(content), lambda: os.close(descriptor))


def source_of(kind: str, folder: Path, content: bytes) -> Source:
    path = folder / "content"
    path.write_bytes(content)
    if kind == "pipe":
        read, write = os.pipe()

        def fill() -> None:
            with os.fdopen(write, "wb") as file:
                file.write(content)

        threading.Thread(target=fill).start()
        return os.fdopen(read, "rb")
    return {
        "path": path,
        "file": path.open("rb") if kind == "file" else None,
        "bytes": content,
        "view": memoryview(bytearray(content)),
        "stream": io.BytesIO(content),
        "memory": memory(content, 4096) if kind == "memory" else None,
    }[kind]


KINDS = ["path", "file", "bytes", "view", "stream", "memory", "pipe"]


@pytest.mark.parametrize("is_near_allowed", [True, False])
@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
@pytest.mark.parametrize("kind", KINDS)
def test_a_content_arrives_whole(
    ends: Ends, tmp_path: Path, kind: str, content: bytes, is_near_allowed: bool
):
    served = Served(ends, {"d": source_of(kind, tmp_path, content)})
    sizes: list[int | None] = []
    sink = io.BytesIO()
    count = read_data(served.client, "s", "d", sink, begin=sizes.append, is_near_allowed=is_near_allowed)
    assert sink.getvalue() == content
    assert count == len(content)
    assert sizes == [None if kind in ("stream", "pipe") else len(content)]
    served.wait_closed()


@pytest.mark.parametrize("kind", ["path", "memory"])
def test_on_one_host_the_thing_itself_is_read(ends: Ends, tmp_path: Path, kind: str):
    served = Served(ends, {"d": source_of(kind, tmp_path, CONTENT)})
    data = RemoteData(served.client, "s", "d").open()
    assert data.is_near
    served.proxy.hold()  # nothing more has to come over the wire
    assert b"".join(bytes(piece) for piece in data.pieces()) == CONTENT
    served.proxy.release()
    data.close()


def test_a_file_that_was_put_in_the_place_of_the_one_meant_is_not_read(ends: Ends, tmp_path: Path):
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    file = path.open("rb")
    path.unlink()
    path.write_bytes(b"y" * len(CONTENT))
    served = Served(ends, {"d": file})
    data = RemoteData(served.client, "s", "d").open()
    assert not data.is_near
    assert data.read() == CONTENT
    data.close()


def test_memory_that_was_given_up_while_it_was_read_is_told(ends: Ends, tmp_path: Path):
    served = Served(ends, {"d": memory(CONTENT)})
    data = RemoteData(served.client, "s", "d").open()
    assert data.is_near
    data.read(10)
    served.data.close()
    with pytest.raises(WireError, match="read it again"):
        data.close()


@pytest.mark.parametrize("is_near_allowed", [True, False])
def test_a_remote_file_can_be_used_as_one(ends: Ends, tmp_path: Path, is_near_allowed: bool):
    served = Served(ends, {"d": source_of("path", tmp_path, CONTENT)})
    data = RemoteData(served.client, "s", "d", is_near_allowed=is_near_allowed).open()
    with io.BufferedReader(data, 1 << 16) as file:
        assert file.read(10) == CONTENT[:10]
        file.seek(-5, os.SEEK_END)
        assert file.read() == CONTENT[-5:]
        file.seek(4_000_000)
        assert file.read(100_000) == CONTENT[4_000_000:4_100_000]
        assert file.tell() == 4_100_000
    served.wait_closed()


def test_it_works_under_keys(ends: Ends, tmp_path: Path):
    served = Served(ends, {"d": CONTENT}, keys=Keys.ephemeral())
    sink = io.BytesIO()
    read_data(served.client, "s", "d", sink)
    assert sink.getvalue() == CONTENT


def test_what_cannot_be_opened_is_raised_by_the_reader(ends: Ends, tmp_path: Path):
    served = Served(ends, {"d": tmp_path / "nowhere"})
    with pytest.raises(SessionNotFound):
        read_data(served.client, "another", "d", io.BytesIO())
    with pytest.raises(DropNotReadable, match="cannot be opened"):
        read_data(served.client, "s", "d", io.BytesIO())


class Failing(io.RawIOBase):
    """A file that fails after two megabytes."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 2 << 20

    def readinto(self, buffer) -> int:
        if not self.left:
            raise OSError(5, "the disk is broken")
        size = min(self.left, len(buffer))
        self.left -= size
        return size

    def readable(self) -> bool:
        return True


def test_an_error_in_the_middle_is_raised_by_the_reader_and_the_source_closed(ends: Ends):
    source = Failing()
    served = Served(ends, {"d": source})
    sink = io.BytesIO()
    with pytest.raises(DropNotReadable, match="the disk is broken"):
        read_data(served.client, "s", "d", sink)
    assert len(sink.getvalue()) == 2 << 20
    served.wait_closed()
    assert source.closed


def test_a_file_that_becomes_shorter_is_an_error_and_not_a_short_content(ends: Ends, tmp_path: Path):
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    served = Served(ends, {"d": path})
    data = RemoteData(served.client, "s", "d", is_near_allowed=False).open()
    os.truncate(path, 1000)
    with pytest.raises(DropNotReadable, match="ends after 1000"):
        list(data.pieces())
    data.close()


@pytest.mark.parametrize("kind", ["path", "stream"])
def test_a_read_goes_on_after_the_connection_was_cut(ends: Ends, tmp_path: Path, kind: str):
    content = os.urandom(40 << 20)
    served = Served(ends, {"d": source_of(kind, tmp_path, content)})
    data = RemoteData(served.client, "s", "d", is_near_allowed=False).open()
    parts: list[bytes] = []
    for number, piece in enumerate(data.pieces()):
        parts.append(bytes(piece))
        if number % 7 == 3:
            (served.proxy.reset if number % 2 else served.proxy.cut)()
    assert b"".join(parts) == content
    data.close()


def test_a_server_that_is_gone_ends_the_read(ends: Ends, tmp_path: Path):
    served = Served(ends, {"d": CONTENT})
    data = RemoteData(served.client, "s", "d", is_near_allowed=False, timeout_s=0.3).open()
    served.server.close()
    with pytest.raises(NodeDown):
        list(data.pieces())
    data.close()


def test_a_source_that_nobody_reads_for_long_is_closed(ends: Ends, tmp_path: Path):
    closed = threading.Event()
    descriptor = os.memfd_create("test")
    os.write(descriptor, CONTENT)

    def close() -> None:
        os.close(descriptor)
        closed.set()

    region = Region(descriptor, 0, len(CONTENT), close)
    served = Served(ends, {"d": region}, idle_s=0.1)
    data = RemoteData(served.client, "s", "d", is_near_allowed=False).open()
    assert closed.wait(LIMIT_S)
    with pytest.raises(WireError, match="not open"):
        data.read()
    data.close()


def test_a_source_is_closed_when_its_reader_is_gone(ends: Ends, tmp_path: Path):
    served = Served(ends, {"d": tmp_path / "content"})
    (tmp_path / "content").write_bytes(CONTENT)
    data = RemoteData(served.client, "s", "d", is_near_allowed=False).open()
    assert served.data.handles == 1
    served.data.gone(next(iter(served.data._handles.values())).owner)
    assert served.data.handles == 0
    data.close()


def test_a_handle_is_worth_nothing_to_another_client(ends: Ends):
    served = Served(ends, {"d": CONTENT})
    data = RemoteData(served.client, "s", "d", is_near_allowed=False).open()
    thief = RemoteData(ends.client(served.server.port), "s", "d")
    thief._handle, thief.size_bytes = data._handle, data.size_bytes
    with pytest.raises(WireError, match="not open"):
        thief.read(10)
    thief.close()
    assert data.read() == CONTENT
    data.close()


def test_many_readers_read_at_once(ends: Ends, tmp_path: Path):
    served = Served(ends, {str(n): CONTENT[n:] for n in range(8)})
    wrong: list[int] = []

    def read(number: int, client: RpcClient) -> None:
        sink = io.BytesIO()
        read_data(client, "s", str(number), sink, is_near_allowed=number % 2 == 0)
        if sink.getvalue() != CONTENT[number:]:
            wrong.append(number)

    threads = [threading.Thread(target=read, args=(n, served.client)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert wrong == []
