"""The parent's ends of what joins it to one child, with real pipes and this test as the child."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from penstock.wire.segment import Block
from penstock.workers.book import Item
from penstock.workers.frames import HEADER, TOKEN, Frame, Status, cut, frame, outcome
from penstock.workers.line import Line

HOLDER = 5
LARGE = b"x" * (4 << 20)  # more than a socket takes


class Child:
    """The other ends, as `child.py` has them."""

    def __init__(self, line: Line) -> None:
        fds = [os.dup(fd) for fd in line.theirs]
        connection, self.tokens, self.results, self.out, self.err, *self.printed = fds
        self.socket = socket.socket(fileno=connection)
        self.socket.setblocking(False)
        self._data = bytearray()
        self.fds: list[int] = []
        self.is_closed = False

    def claim(self) -> int:
        return int.from_bytes(os.read(self.tokens, TOKEN.size), "little")

    def unclaimed(self) -> bytes:
        os.set_blocking(self.tokens, False)
        try:
            return os.read(self.tokens, 1 << 16)
        except BlockingIOError:
            return b""
        finally:
            os.set_blocking(self.tokens, True)

    def frames(self) -> list[tuple[int, int, int, bytes]]:
        """Return the frames that are whole by now."""
        found: list[tuple[int, int, int, bytes]] = []
        with suppress(BlockingIOError):
            while True:
                data, fds, _, _ = socket.recv_fds(self.socket, 1 << 16, 4)
                if not data:
                    break
                self._data += data
                self.fds += fds
                found += cut(self._data)
        return found

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.socket.close()
            for fd in (self.tokens, self.results, self.out, self.err, *self.printed, *self.fds):
                os.close(fd)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line(0, 1)
    yield line
    if line.socket.fileno() >= 0:
        line.close()


@pytest.fixture
def child(line: Line) -> Iterator[Child]:
    child = Child(line)
    line.handed_over()
    yield child
    child.close()


def item(ident: int) -> Item:
    return Item(HOLDER, ident)


def give(line: Line, *bodies: bytes) -> None:
    line.give((item(number), body, ()) for number, body in enumerate(bodies))


def test_items_arrive_with_their_holder_and_a_token_each(line: Line, child: Child) -> None:
    give(line, b"a", b"b")
    assert child.frames() == []  # nothing is sent before it is flushed
    assert line.flush()
    assert child.frames() == [
        (Frame.ITEM, 0, 1, TOKEN.pack(HOLDER) + b"a"),
        (Frame.ITEM, 0, 2, TOKEN.pack(HOLDER) + b"b"),
    ]
    assert [child.claim(), child.claim()] == [1, 2]
    assert [one.ident for one in line.items.values()] == [0, 1]


def test_tokens_are_never_used_twice(line: Line, child: Child) -> None:
    give(line, b"a")
    line.flush()
    assert line.take_back() == [1]
    give(line, b"b")
    line.flush()
    assert child.claim() == 2


def test_what_the_child_has_claimed_is_not_taken_back(line: Line, child: Child) -> None:
    give(line, b"a", b"b", b"c")
    line.flush()
    assert child.claim() == 1
    assert line.take_back() == [2, 3]
    assert child.unclaimed() == b""
    assert line.take_back() == []


def test_what_has_not_been_flushed_is_taken_back_too(line: Line, child: Child) -> None:
    give(line, b"a")
    line.flush()
    give(line, b"b")
    assert line.take_back() == [1, 2]
    line.flush()
    assert child.unclaimed() == b""


def test_blocks_are_lent_by_token(line: Line, child: Child) -> None:
    block = Block(1, 0, 8)
    line.give([(item(0), b"", (block,)), (item(1), b"", ())])
    assert line.lent == {1: (block,)}


def test_frames_keep_their_order_and_bring_descriptors(line: Line, child: Child) -> None:
    reader, writer = os.pipe()
    closed: list[str] = []
    line.on_sent = lambda: closed.append("sent")
    line.send(frame(Frame.SETUP, 1, b"first"))
    line.send(frame(Frame.SEGMENT, 2), (reader,))
    line.send(frame(Frame.FORGET, 3))
    assert line.flush()
    assert closed == ["sent"]
    assert [number for _, _, number, _ in child.frames()] == [1, 2, 3]
    os.write(writer, b"through")
    assert os.read(child.fds[0], 100) == b"through"
    os.close(reader)
    os.close(writer)


def test_what_does_not_fit_is_sent_when_it_can(line: Line, child: Child) -> None:
    give(line, LARGE, b"behind")
    assert not line.flush()
    found = []
    while not line.flush():
        found += child.frames()
    found += child.frames()
    assert [len(body) - TOKEN.size for *_, body in found] == [len(LARGE), len(b"behind")]


def test_a_child_learns_of_an_item_that_is_not_there_yet(line: Line, child: Child) -> None:
    """It reads the socket only to find what it has claimed: without a token it would never make room."""
    give(line, LARGE)
    assert not line.flush()
    assert child.claim() == 1


def test_more_tokens_than_the_pipe_takes_follow_when_there_is_room(line: Line, child: Child) -> None:
    count = 20_000
    give(line, *[b""] * count)
    claimed = []
    while not line.flush() or line.has_tokens:
        child.frames()
        claimed += [token for (token,) in TOKEN.iter_unpack(child.unclaimed())]
    claimed += [token for (token,) in TOKEN.iter_unpack(child.unclaimed())]
    assert claimed == list(range(1, count + 1))


def test_a_child_that_is_dead_takes_everything_without_a_word(line: Line, child: Child) -> None:
    give(line, LARGE)
    child.close()
    assert line.flush()
    give(line, b"a")
    assert line.flush()
    assert not line.has_tokens


def test_what_the_child_tells_is_read_piece_by_piece(line: Line, child: Child) -> None:
    assert list(line.read()) == []
    told = frame(Frame.READY, 0) + outcome(1, Status.GOOD, 0.5, 10, b"y" * 5000)
    os.write(child.results, told[: HEADER.size + 3])
    assert [kind for kind, *_ in line.read()] == [Frame.READY]
    os.write(child.results, told[HEADER.size + 3 :])
    ((kind, status, token, body),) = line.read()
    assert (kind, status, token, body[-5000:]) == (Frame.OUTCOME, Status.GOOD, 1, b"y" * 5000)


def test_the_end_of_what_it_tells_is_no_frame(line: Line, child: Child) -> None:
    os.write(child.results, frame(Frame.READY, 0))
    child.close()
    assert [kind for kind, *_ in line.read()] == [Frame.READY]
    assert list(line.read()) == []


def test_what_it_prints_is_told_by_stream(line: Line, child: Child) -> None:
    os.write(child.err, b"bad\n")
    os.write(child.out, "grün\n".encode())
    texts = [(stream, text) for stream, text in line.printed() if text]
    assert texts == [("stdout", "grün\n"), ("stderr", "bad\n")]


def test_a_letter_in_two_pieces_is_one_letter(line: Line, child: Child) -> None:
    first, second = "ü".encode()[:1], "ü".encode()[1:]
    os.write(child.out, first)
    texts = "".join(text for _, text in line.printed())
    os.write(child.out, second)
    assert texts + "".join(text for _, text in line.printed()) == "ü"


def test_a_dismissed_child_finds_the_end_of_its_tokens(line: Line, child: Child) -> None:
    give(line, b"a", b"b")
    line.flush()
    assert child.claim() == 1
    line.dismiss()
    assert os.read(child.tokens, TOKEN.size) == b""
    line.dismiss()
    give(line, b"late")
    assert line.flush()


def test_closing_closes_all_that_it_had(child: Child, line: Line) -> None:
    before = len(os.listdir("/proc/self/fd"))
    other = Line(1, 2)
    sent: list[str] = []
    other.on_sent = lambda: sent.append("never, but told to be over")
    give(other, LARGE)
    other.flush()
    other.close()
    assert len(sent) == 1
    assert len(os.listdir("/proc/self/fd")) == before
