"""Streams between processes: in order, with back-pressure, over cuts, with an end that both sides learn of."""

import threading
from collections.abc import Iterator

import pytest

from penstock.errors import NodeDown, PenstockError, StreamFailed, WireError
from penstock.wire.streams import StreamIn, StreamOut, StreamServer

from .wire_ends import LIMIT_S, QUICK, Ends, wire_ends


@pytest.fixture
def ends() -> Iterator[Ends]:
    with wire_ends() as made:
        yield made


class Line:
    """A stream from one loop to another, over a proxy."""

    def __init__(self, ends: Ends, **options) -> None:
        self.streams = StreamServer()
        self.out = self.streams.add(StreamOut("a", **options))
        self.server = ends.server(self.streams.methods)
        ends.stack.callback(self.streams.close)
        self.proxy = ends.proxy(self.server.port)
        self.client = ends.client(self.proxy.port, limits=QUICK)

    def write(self, pieces: list[bytes]) -> threading.Thread:
        def run() -> None:
            for piece in pieces:
                self.out.write(piece)
            self.out.end()

        thread = threading.Thread(target=run)
        thread.start()
        return thread


PIECES = [b"%d" % n * (n % 50) for n in range(2000)]


def test_all_pieces_arrive_in_order(ends: Ends):
    line = Line(ends)
    writer = line.write(PIECES)
    assert [bytes(piece) for piece in StreamIn(line.client, "a")] == PIECES
    writer.join(LIMIT_S)
    assert line.out.wait_read(LIMIT_S)


def test_pieces_larger_than_the_credit_arrive_too(ends: Ends):
    line = Line(ends)
    pieces = [bytes([n]) * (3 << 20) for n in range(5)]
    writer = line.write(pieces)
    assert [bytes(piece) for piece in StreamIn(line.client, "a")] == pieces
    writer.join(LIMIT_S)


def test_nothing_is_lost_or_doubled_when_the_connection_is_cut(ends: Ends):
    line = Line(ends)
    writer = line.write(PIECES)
    came: list[bytes] = []
    for number, piece in enumerate(StreamIn(line.client, "a")):
        came.append(bytes(piece))
        if number % 400 == 100:
            line.proxy.reset()
    assert came == PIECES
    writer.join(LIMIT_S)


def test_the_writer_waits_for_the_reader(ends: Ends):
    line = Line(ends)
    written: list[int] = []
    full = threading.Event()

    def run() -> None:
        for number in range(100):
            written.append(number)
            if number == 16:
                full.set()
            line.out.write(b"x")
        line.out.end()

    writer = threading.Thread(target=run)
    writer.start()
    assert full.wait(LIMIT_S)
    assert len(written) == 17  # sixteen were taken, and one waits
    assert len(list(StreamIn(line.client, "a"))) == 100
    writer.join(LIMIT_S)


def test_an_abort_is_raised_by_the_reader_after_what_came_before(ends: Ends):
    line = Line(ends)
    line.out.write(b"one")
    line.out.abort(StreamFailed("drop", "the app ended badly"))
    came: list[bytes] = []
    with pytest.raises(StreamFailed, match="ended badly"):
        came.extend(bytes(piece) for piece in StreamIn(line.client, "a"))
    assert came == [b"one"]


def test_a_reader_that_stops_lets_the_writer_know(ends: Ends):
    line = Line(ends)
    failed = threading.Event()

    def run() -> None:
        try:
            while True:
                line.out.write(b"x" * 1000)
        except WireError:
            failed.set()

    writer = threading.Thread(target=run)
    writer.start()
    with StreamIn(line.client, "a") as stream:
        assert bytes(next(iter(stream))) == b"x" * 1000
    assert failed.wait(LIMIT_S)
    writer.join(LIMIT_S)


def test_a_writer_does_not_wait_for_ever_for_a_reader_that_never_comes(ends: Ends):
    line = Line(ends, idle_s=0.1)
    for _ in range(16):
        line.out.write(b"x")
    with pytest.raises(WireError, match="nobody reads"):
        line.out.write(b"x")


def test_a_reader_does_not_wait_for_ever_for_a_writer_that_is_gone(ends: Ends):
    line = Line(ends)
    line.server.close()
    with pytest.raises(NodeDown):
        list(StreamIn(line.client, "a", timeout_s=0.3))


def test_a_stream_that_is_not_there_is_told(ends: Ends):
    with pytest.raises(PenstockError, match="no stream"):
        list(StreamIn(Line(ends).client, "b"))
