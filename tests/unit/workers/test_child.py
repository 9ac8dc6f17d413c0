"""A child process, item by item; this test is its pool."""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.wire.arena import Arena, Block
from penstock.workers.book import Item
from penstock.workers.frames import OUTCOME_HEADER, TOKEN, Frame, Status, frame
from penstock.workers.line import Line

ENTRY = b"tests.unit.workers.child_entry:main"
HANG_S = 60.0
HOLDER = 7
START = (
    "import sys; sys.path[:] = sys.argv[1].split(':'); from penstock.workers.child import main; "
    "sys.exit(main([int(fd) for fd in sys.argv[2:]]))"
)


class Pool:
    """One child and our ends of what joins us."""

    def __init__(self) -> None:
        self.line = Line(0, 1)
        fds = self.line.theirs
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, ":".join(sys.path), *map(str, fds)],
            stdin=subprocess.DEVNULL,
            pass_fds=fds,
        )
        self.line.handed_over()
        self.heard: list[tuple[int, int, int, bytes]] = []
        self.is_gone = False

    def introduce(self, holder: int = HOLDER, setup: bytes = b"setup", entry: bytes = ENTRY) -> None:
        self.line.send(frame(Frame.SETUP, holder, entry + b"\0" + setup))

    def give(self, *bodies: bytes, holder: int = HOLDER) -> None:
        self.line.give((Item(holder, number), body, ()) for number, body in enumerate(bodies))
        while not self.line.flush():
            select.select([], [self.line.socket], [], HANG_S)

    def hear(self, kind: Frame) -> tuple[int, int, bytes]:
        """Wait for the next frame of a kind, keep those before it in `heard`, and return it."""
        while True:
            for at, (found, status, number, body) in enumerate(self.heard):
                if found == kind:
                    del self.heard[at]
                    return status, number, body
            assert select.select([self.line.results], [], [], HANG_S)[0], f"no {kind.name}"
            before = len(self.heard)
            self.heard += self.line.read()
            assert len(self.heard) > before or self.process.poll() is None, (
                f"no {kind.name}: the child is dead"
            )

    def outcome(self) -> tuple[int, bytes]:
        status, _, body = self.hear(Frame.OUTCOME)
        return status, body[OUTCOME_HEADER.size :]

    def call(self, body: bytes, holder: int = HOLDER) -> bytes:
        self.give(body, holder=holder)
        status, answer = self.outcome()
        assert status == Status.GOOD, answer
        return answer

    def reply(self, body: bytes, status: Status = Status.GOOD) -> None:
        self.line.send(frame(Frame.REPLY, 0, body, status))
        self.line.flush()

    def logs(self) -> list[tuple[str, str]]:
        found = [body.decode().partition("\0") for kind, _, _, body in self.heard if kind == Frame.LOG]
        self.heard = [row for row in self.heard if row[0] != Frame.LOG]
        return [(stream, text) for stream, _, text in found]

    def leave(self) -> None:
        if not self.is_gone:
            self.is_gone = True
            self.line.close()

    def close(self) -> None:
        self.leave()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(HANG_S)


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool()
    try:
        pool.introduce()
        yield pool
    finally:
        pool.close()


# Items


def test_it_says_that_it_is_ready_and_ends_when_there_are_no_tokens_any_more(pool: Pool) -> None:
    pool.hear(Frame.READY)
    assert pool.call(b"echo hello") == b"hello"
    pool.line.dismiss()
    assert pool.process.wait(HANG_S) == 0


def test_items_run_in_their_order_and_each_is_told_by_its_token(pool: Pool) -> None:
    pool.give(b"echo a", b"echo b", b"echo c")
    told = [pool.hear(Frame.OUTCOME) for _ in range(3)]
    assert [(token, body[OUTCOME_HEADER.size :]) for _, token, body in told] == [
        (1, b"a"),
        (2, b"b"),
        (3, b"c"),
    ]
    seconds, peak_kib = OUTCOME_HEADER.unpack_from(told[0][2])
    assert seconds >= 0
    assert peak_kib >= 0


def test_what_was_taken_back_does_not_run(pool: Pool) -> None:
    pool.give(b"ask a", b"echo b")
    pool.hear(Frame.REQUEST)
    assert pool.line.take_back() == [2]
    pool.reply(b"")
    pool.outcome()
    pool.give(b"echo c")
    assert pool.outcome() == (Status.GOOD, b"c")
    assert Frame.OUTCOME not in [kind for kind, *_ in pool.heard]


def test_a_large_item_arrives(pool: Pool) -> None:
    body = os.urandom(4 << 20)
    assert pool.call(b"echo " + body) == body


def test_holders_are_told_apart_and_forgotten(pool: Pool) -> None:
    pool.introduce(8, b"other")
    assert pool.call(b"seen", holder=8) == b"open 7 setup, open 8 other"
    pool.line.send(frame(Frame.FORGET, 8))
    assert pool.call(b"seen") == b"open 7 setup, open 8 other, close 8"


@pytest.mark.parametrize(
    ("entry", "setup", "told"),
    [
        (ENTRY, b"bad", b"ValueError: a bad setup"),
        (b"no.such.module:main", b"", b"ModuleNotFoundError"),
        (ENTRY + b"x", b"", b"AttributeError"),
    ],
)
def test_each_item_of_a_holder_that_cannot_be_served_is_told_why(
    pool: Pool, entry: bytes, setup: bytes, told: bytes
) -> None:
    pool.introduce(8, setup, entry)
    for _ in range(2):
        pool.give(b"echo a", holder=8)
        status, body = pool.outcome()
        assert status == Status.BROKEN
        assert told in body
    assert pool.call(b"echo a") == b"a"


def test_an_entry_that_raises_has_failed_and_the_next_item_runs(pool: Pool) -> None:
    pool.give(b"fail")
    status, body = pool.outcome()
    assert status == Status.BROKEN
    assert b"SystemExit: the entry failed" in body
    assert pool.call(b"echo a") == b"a"


# What an item does to its process


def test_what_is_printed_is_told_before_the_outcome(pool: Pool) -> None:
    pool.call(b"say hello")
    assert pool.logs() == [("stdout", "hello\n"), ("stderr", "low level\n")]
    pool.call(b"echo a")
    assert pool.logs() == []


def test_what_is_logged_stands_between_what_is_printed(pool: Pool) -> None:
    pool.call(b"say_and_log")
    assert pool.logs() == [("stdout", "before\n"), ("WARNING", "app: between\n"), ("stdout", "after\n")]


def test_streams_and_folder_are_put_back(pool: Pool, tmp_path: Path) -> None:
    pool.call(b"spoil")
    assert ("stdout", "last words\n") in pool.logs()
    pool.call(b"say again")
    assert pool.logs() == [("stdout", "again\n"), ("stderr", "low level\n")]
    assert pool.call(b"folder") == str(tmp_path).encode()


def test_a_process_without_its_descriptors_ends(pool: Pool) -> None:
    pool.give(b"close_all")
    assert pool.process.wait(HANG_S) != 0


def test_a_process_whose_pool_is_gone_ends(pool: Pool) -> None:
    pool.give(b"ask a")
    pool.hear(Frame.REQUEST)
    pool.leave()
    assert pool.process.wait(HANG_S) == 71


def test_a_copy_that_comes_back_ends_and_says_nothing(pool: Pool) -> None:
    assert int(pool.call(b"fork")) > 0
    assert pool.call(b"echo a") == b"a"
    assert [kind for kind, *_ in pool.heard] == [Frame.READY]


# What an item asks for


def test_requests_are_answered(pool: Pool) -> None:
    pool.give(b"ask something")
    assert pool.hear(Frame.REQUEST) == (0, 1, b"something")
    pool.reply(b"an answer")
    assert pool.outcome() == (Status.GOOD, b"told an answer")


def test_requests_may_be_refused(pool: Pool) -> None:
    pool.give(b"ask something")
    pool.hear(Frame.REQUEST)
    pool.reply(b"no", Status.FAILED)
    assert pool.outcome() == (Status.GOOD, b"refused no")


def test_items_that_come_with_an_answer_wait(pool: Pool) -> None:
    pool.give(b"ask something")
    pool.hear(Frame.REQUEST)
    pool.give(b"echo next")
    pool.reply(b"late")
    assert [pool.outcome(), pool.outcome()] == [(Status.GOOD, b"told late"), (Status.GOOD, b"next")]


def test_blocks_are_written_and_what_is_looked_at_is_told(pool: Pool) -> None:
    with Arena(1 << 20) as arena:
        block = arena.allocate(5)
        pool.line.send(frame(Frame.SEGMENT, block.segment), (arena.descriptor(block.segment),))
        pool.give(b"allocate hello")
        assert pool.hear(Frame.ALLOCATE) == (0, 1, TOKEN.pack(5))
        pool.reply(b"".join(map(TOKEN.pack, block)))
        answer = pool.outcome()[1]
        assert Block(*(number for (number,) in TOKEN.iter_unpack(answer))) == block
        assert arena.read(block) == b"hello"
        assert Frame.HOLDING not in [kind for kind, *_ in pool.heard]
        assert pool.call(b"keep %d %d %d" % block) == b"hello"
        assert pool.hear(Frame.HOLDING)[2] == answer
        pool.call(b"echo a")
        assert Frame.HOLDING not in [kind for kind, *_ in pool.heard]
        pool.call(b"drop")
        assert pool.hear(Frame.HOLDING)[2] == b""


def test_it_serves_a_listening_socket(pool: Pool, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("endpoint")
        listener.listen()
        pool.line.send(frame(Frame.LISTENER, 0), (listener.fileno(),))
        pool.give(b"accept")
        client.connect("endpoint")
        client.sendall(b"hello")
        assert pool.outcome() == (Status.GOOD, b"hello")
