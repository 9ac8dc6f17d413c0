"""Blocks between real processes: descriptors through a socket, views without a copy, a child that is killed."""

import array
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from penstock.wire.arena import Arena, Attached, Block
from penstock.wire.payload import blocks, pack, unpack

LIMIT_S = 30.0
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="packets between processes as Linux has them")


class Child:
    """This file in another process; an order and its answer are one packet each."""

    def __init__(self) -> None:
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(LIMIT_S)
        with other:
            command = [sys.executable, __file__, str(other.fileno())]
            self.process = subprocess.Popen(command, pass_fds=[other.fileno()])

    def ask(self, order: str, *values: object, descriptors: list[int] | None = None) -> object:
        socket.send_fds(self.socket, [msgspec.msgpack.encode([order, *values])], descriptors or [])
        return msgspec.msgpack.decode(self.socket.recv(1 << 16))

    def show(self, arena: Arena, segment: int) -> None:
        self.ask("add", segment, descriptors=[arena.descriptor(segment)])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(LIMIT_S) == -signal.SIGKILL

    def close(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait(LIMIT_S)


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.close()


@pytest.fixture
def arena() -> Iterator[Arena]:
    with Arena(256 << 20) as arena:
        yield arena


def message_with(arena: Arena, value: object) -> bytes:
    def place(buffer: memoryview) -> Block:
        block = arena.allocate(buffer.nbytes)
        arena.write(block, [buffer])
        return block

    return pack(value, place=place)


def test_a_child_sees_an_array_without_a_copy(arena: Arena, child: Child) -> None:
    message = message_with(arena, np.ones(1 << 17))
    (block,) = blocks(message)
    child.show(arena, block.segment)
    assert child.ask("look", message) == 1 << 17
    assert child.ask("in use") == [list(block)]
    arena.write(block, [np.full(1 << 17, 2.0)])
    assert child.ask("sum") == 2 << 17
    assert child.ask("change") == "ValueError: assignment destination is read-only"
    assert child.ask("release") == []


def test_a_child_that_asks_for_it_changes_only_its_own(arena: Arena, child: Child) -> None:
    message = message_with(arena, np.ones(1 << 17))
    (block,) = blocks(message)
    child.show(arena, block.segment)
    child.ask("look", message, True)
    assert child.ask("change") == "changed"
    assert child.ask("sum") == (1 << 17) + 1
    assert np.frombuffer(arena.view(block)).sum() == 1 << 17


def test_a_child_leaves_its_result_in_a_block(arena: Arena, child: Child) -> None:
    block = arena.allocate(8 << 17)
    child.show(arena, block.segment)
    message = child.ask("make", list(block))
    assert blocks(message) == [block]
    assert unpack(message, view=lambda block, _: arena.view(block)).tolist() == list(range(1 << 17))


def test_a_child_sees_what_is_in_a_file(arena: Arena, child: Child, tmp_path: Path) -> None:
    with Arena(0) as small:
        block = small.allocate(8 << 17, spill=tmp_path)
        child.show(small, block.segment)
        message = child.ask("make", list(block))
        assert child.ask("look", message) == sum(range(1 << 17))
    assert child.ask("sum") == sum(range(1 << 17))


def test_a_killed_child_leaves_nothing(arena: Arena, child: Child) -> None:
    names = set(os.listdir("/dev/shm"))
    messages = [message_with(arena, np.ones(8 << 20)) for _ in range(2)]
    watched = []
    for message in messages:
        (block,) = blocks(message)
        child.show(arena, block.segment)
        arena.hold(block, child.process.pid)
        child.ask("look", message)
        arena.free(block)
        watched.append(os.dup(arena.descriptor(block.segment)))
    assert arena.usage() == (2, 128 << 20, 0, 2)
    child.kill()
    arena.forget(child.process.pid)
    assert arena.usage() == (0, 0, 0, 1)
    assert sorted(os.fstat(each).st_blocks > 0 for each in watched) == [False, True]  # one is kept warm
    arena.close()
    for each in watched:
        os.close(each)
    assert not [name for name in set(os.listdir("/dev/shm")) - names if "penstock" in name]
    assert not [link for link in map(link_of, os.listdir("/proc/self/fd")) if "memfd:penstock" in link]


def test_memory_that_a_living_child_still_maps_goes_back(arena: Arena, child: Child) -> None:
    block = arena.allocate(64 << 20)
    child.show(arena, block.segment)
    child.ask("look", child.ask("make", list(block)))
    descriptor = os.dup(arena.descriptor(block.segment))
    other = arena.allocate(64 << 20)
    arena.free(block)
    assert os.fstat(descriptor).st_blocks > 0
    arena.free(other)  # now this one is the one kept warm
    assert os.fstat(descriptor).st_blocks == 0
    os.close(descriptor)
    assert child.ask("sum") == 0


def link_of(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""  # the one that listed them


def serve(descriptor: int) -> None:
    """Obey orders until the other end is gone."""
    line = socket.socket(fileno=descriptor)
    attached = Attached()
    shown: list[np.ndarray] = []
    while True:
        packet, ancillary, _, _ = line.recvmsg(1 << 16, socket.CMSG_SPACE(4))
        if not packet:
            return
        answer: object = None
        match msgspec.msgpack.decode(packet):
            case ["add", segment]:
                (descriptor,) = array.array("i", ancillary[0][2])
                attached.add(segment, descriptor)
            case ["look", message, *writable]:
                shown[:] = [
                    unpack(
                        message,
                        view=lambda block, own: attached.view(block, private=own),
                        writable=bool(writable),
                    )
                ]
                answer = float(shown[0].sum())
            case ["sum"]:
                answer = float(shown[0].sum())
            case ["change"]:
                try:
                    shown[0][0] += 1
                    answer = "changed"
                except ValueError as exc:
                    answer = f"ValueError: {exc}"
            case ["make", place]:
                block = Block(*place)
                value = np.arange(block.size // 8, dtype=float)
                answer = pack(value, place=lambda buffer: attached.write(block, [buffer]) or block)
            case ["release"]:
                shown.clear()
                answer = attached.in_use()
            case ["in use"]:
                answer = attached.in_use()
        line.send(msgspec.msgpack.encode(answer))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
