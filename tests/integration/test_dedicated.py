"""A process of its own for one object: it lives there, is lost with it, and serves a socket that its parent named."""

import os
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from penstock.wire.arena import Arena, Block
from penstock.workers.customer import Answer, Begun, Death, Outcome
from penstock.workers.frames import Status
from penstock.workers.pool import Holder, PoolSettings, WorkerPool

from .making import HANG_S

ENTRY = "tests.integration.echo_entry:main"


class Ended(NamedTuple):
    """How an item ended: as its object told, or by a death."""

    pid: int
    served: list[str]
    death: Death | None = None


class Owner:
    """The customer whose object it is; bodies are given before idents are submitted."""

    def __init__(self) -> None:
        self.bodies: dict[int, bytes] = {}
        self.order: list[int] = []
        self.returns: list[int] = []
        self.reason = ""
        self._ended: dict[int, Ended] = {}
        self._came: defaultdict[int, threading.Event] = defaultdict(threading.Event)

    def wait(self, ident: int) -> Ended:
        assert self._came[ident].wait(HANG_S), f"item {ident} has no end"
        return self._ended[ident]

    def give(self, *bodies: bytes) -> list[int]:
        idents = list(range(len(self.bodies), len(self.bodies) + len(bodies)))
        self.bodies.update(zip(idents, bodies, strict=True))
        return idents

    def _take(self, ident: int, ended: Ended) -> None:
        self.order.append(ident)
        self._ended[ident] = ended
        self._came[ident].set()

    def begin(self, idents: Sequence[int]) -> Sequence[Begun]:
        return [Begun(ident, self.bodies[ident]) for ident in idents]

    def returned(self, idents: Sequence[int]) -> None:
        self.returns += idents

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            assert outcome.status == Status.GOOD, outcome.body
            self._take(outcome.ident, Ended(*msgspec.msgpack.decode(outcome.body)))

    def died(self, ident: int, death: Death) -> None:
        self._take(ident, Ended(death.pid, [], death))

    def asked(self, ident: int, body: bytes, answer: Answer) -> Sequence[Block]:
        answer(Status.FAILED, b"nothing is asked here", ())
        return ()

    def said(self, ident: int, stream: str, text: str) -> None: ...

    def broken(self, reason: str) -> None:
        self.reason = reason


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with (
        Arena(1 << 24) as arena,
        WorkerPool(PoolSettings(slots=1, grace_s=0.5, preload=(ENTRY.partition(":")[0],)), arena) as pool,
    ):
        yield pool


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def holder(pool: WorkerPool, owner: Owner) -> Iterator[Holder]:
    holder = pool.open("echo", ENTRY, b"made", owner)
    yield holder
    assert holder.close(HANG_S)
    assert "Traceback" not in owner.reason, owner.reason


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("endpoint")
        listener.listen()
        yield listener


def talk(*texts: bytes) -> list[bytes]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(HANG_S)
        client.connect("endpoint")
        answers = []
        for text in texts:
            client.sendall(text)
            answers.append(client.recv(1 << 16))
        return answers


def sockets() -> list[str]:
    """Return the sockets that this process has open, as often as they are."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that lists
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return sorted(link for link in found if link.startswith("socket:"))


def name_of(endpoint: socket.socket) -> str:
    return os.readlink(f"/proc/self/fd/{endpoint.fileno()}")


def states(pool: WorkerPool) -> list[tuple[str, str]]:
    return [(slot.state, slot.holder) for slot in pool.slots(HANG_S)]


def wait_until(true: Callable[[], bool]) -> None:
    """Ask the pool until something has become true of it; it tells nobody of its slots by itself."""
    pause = threading.Event()
    for _ in range(int(HANG_S / 0.01)):
        if true():
            return
        pause.wait(0.01)
    raise TimeoutError


def test_the_object_lives_in_one_process_and_keeps_its_state(holder: Holder, owner: Owner) -> None:
    dedicated = holder.dedicate()
    dedicated.submit(owner.give(b"a", b"b"))
    dedicated.submit(owner.give(b"c"))
    ends = [owner.wait(ident) for ident in range(3)]
    assert [end.served for end in ends] == [["made", "a"], ["made", "a", "b"], ["made", "a", "b", "c"]]
    assert len({end.pid for end in ends}) == 1
    assert owner.order == [0, 1, 2]
    dedicated.release()


def test_it_serves_the_endpoint_of_its_parent(holder: Holder, owner: Owner, endpoint: socket.socket) -> None:
    dedicated = holder.dedicate(endpoint=endpoint)
    (serves,) = owner.give(b"serve")
    dedicated.submit([serves])
    answers = talk(b"one", b"two")
    end = owner.wait(serves)
    assert end.pid != os.getpid()
    assert answers == [b"%d:one" % end.pid, b"%d:two" % end.pid]
    assert end.served == ["made", "one", "two"]
    (again,) = owner.give(b"serve")
    dedicated.submit([again])
    assert talk(b"three") == [b"%d:three" % end.pid]
    assert owner.wait(again) == (end.pid, ["made", "one", "two", "three"], None)
    dedicated.release()


def test_a_name_outlives_the_object_behind_it(holder: Holder, owner: Owner, endpoint: socket.socket) -> None:
    first = holder.dedicate(endpoint=endpoint)
    (dies,) = owner.give(b"die")
    first.submit([dies])
    assert owner.wait(dies).death is not None
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(HANG_S)
        client.connect("endpoint")  # nobody serves it now; the parent's socket keeps it waiting
        client.sendall(b"late")
        second = holder.dedicate(endpoint=endpoint)
        (serves,) = owner.give(b"serve")
        second.submit([serves])
        assert client.recv(100).endswith(b":late")
    assert owner.wait(serves).served == ["made", "late"]
    assert sockets().count(name_of(endpoint)) == 1  # ours: what was for the children is closed here
    assert endpoint.getsockname() == "endpoint"
    second.release()


@pytest.mark.parametrize(("body", "cause"), [(b"die", "SIGKILL"), (b"exit", "exit code 5")])
def test_its_death_loses_all_that_was_to_be_done(
    holder: Holder, owner: Owner, body: bytes, cause: str
) -> None:
    dedicated = holder.dedicate()
    idents = owner.give(b"a", body, b"b", b"c")
    dedicated.submit(idents)
    ends = [owner.wait(ident) for ident in idents]
    assert ends[0].served == ["made", "a"]
    for end in ends[1:]:
        assert end.death is not None
        assert not end.death.again
        assert cause in str(end.death)
        assert end.death.pid == ends[0].pid
    (late,) = owner.give(b"late")
    dedicated.submit([late])
    assert owner.wait(late).death == ends[1].death
    assert owner.order == [*idents, late]


def test_killing_it_tells_why(holder: Holder, owner: Owner, endpoint: socket.socket) -> None:
    dedicated = holder.dedicate(endpoint=endpoint)
    first, serves = owner.give(b"a", b"serve")
    dedicated.submit([first, serves])
    owner.wait(first)
    dedicated.kill("it is not wanted any more")
    death = owner.wait(serves).death
    assert death is not None
    assert (death.cause, death.again) == ("it is not wanted any more", False)


def test_it_counts_besides_the_slots_and_goes_when_it_is_released(
    pool: WorkerPool, holder: Holder, owner: Owner
) -> None:
    dedicated = holder.dedicate()
    (first,) = owner.give(b"a")
    dedicated.submit([first])
    pid = owner.wait(first).pid
    assert states(pool) == [("COLD", ""), ("DEDICATED", "echo")]
    assert pool.slots(HANG_S)[1].pid == pid
    dedicated.release()
    wait_until(lambda: states(pool) == [("COLD", "")])
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_two_objects_know_nothing_of_each_other(pool: WorkerPool, holder: Holder, owner: Owner) -> None:
    one, two = holder.dedicate(), holder.dedicate()
    first, second, third = owner.give(b"a", b"b", b"c")
    one.submit([first])
    two.submit([second])
    assert owner.wait(first).served == ["made", "a"]
    assert owner.wait(second).served == ["made", "b"]
    assert owner.wait(first).pid != owner.wait(second).pid
    one.kill("enough")
    two.submit([third])
    assert owner.wait(third) == (owner.wait(second).pid, ["made", "b", "c"], None)
    two.release()


def test_closing_the_holder_ends_it(pool: WorkerPool, holder: Holder, owner: Owner) -> None:
    dedicated = holder.dedicate()
    (first,) = owner.give(b"a")
    dedicated.submit([first])
    owner.wait(first)
    assert holder.close(HANG_S)
    assert states(pool) == [("COLD", "")]


# Orders that come before the process is there


@contextmanager
def at_once(pool: WorkerPool) -> Iterator[None]:
    """Let the pool see all that is ordered inside at the same moment."""
    gate = threading.Event()
    pool.post(partial(gate.wait, HANG_S))  # type: ignore[arg-type]  # what it returns is of no interest
    yield
    gate.set()


def test_it_is_released_when_that_was_said_at_once(pool: WorkerPool, holder: Holder, owner: Owner) -> None:
    with at_once(pool):
        dedicated = holder.dedicate()
        dedicated.submit(owner.give(b"a", b"b"))
        dedicated.release()
    assert owner.wait(1).served == ["made", "a", "b"]
    wait_until(lambda: states(pool) == [("COLD", "")])


def test_it_is_released_at_once_without_items(
    pool: WorkerPool, holder: Holder, endpoint: socket.socket
) -> None:
    with at_once(pool):
        holder.dedicate(endpoint=endpoint).release()
    assert states(pool) == [("COLD", "")]
    assert sockets().count(name_of(endpoint)) == 1


def test_it_is_killed_when_that_was_said_at_once(
    pool: WorkerPool, holder: Holder, owner: Owner, endpoint: socket.socket
) -> None:
    with at_once(pool):
        dedicated = holder.dedicate(endpoint=endpoint)
        dedicated.submit(owner.give(b"a"))
        dedicated.kill("it was a mistake")
    end = owner.wait(0)
    assert end.death is not None
    assert end.death.cause == "it was a mistake"
    wait_until(lambda: states(pool) == [("COLD", "")])
    assert sockets().count(name_of(endpoint)) == 1


def test_closing_the_holder_at_once_ends_it(pool: WorkerPool, holder: Holder, owner: Owner) -> None:
    with at_once(pool):
        dedicated = holder.dedicate()
        dedicated.submit(owner.give(b"a"))
        pool.post(lambda: pool.end_holder(holder, "it was a mistake"))
    assert holder.close(HANG_S)
    assert owner.wait(0).death is not None
    assert states(pool) == [("COLD", "")]


def test_a_closed_holder_gets_no_process_and_disturbs_nobody(
    pool: WorkerPool, holder: Holder, owner: Owner, endpoint: socket.socket
) -> None:
    assert holder.close(HANG_S)
    dedicated = holder.dedicate(endpoint=endpoint)
    dedicated.submit(owner.give(b"a"))
    assert owner.wait(0).death is not None
    assert states(pool) == [("COLD", "")]
    assert sockets().count(name_of(endpoint)) == 1


def test_very_many_items_arrive_though_they_are_submitted_at_once(holder: Holder, owner: Owner) -> None:
    dedicated = holder.dedicate()
    idents = owner.give(*[b"-" * 100] * 10_000)  # more than the pipe of tokens takes, and the socket
    gate = owner.give(b"exit")
    dedicated.submit(idents)
    dedicated.submit(gate)
    assert owner.wait(gate[0]).death is not None
    assert owner.order == [*idents, *gate]
