"""Facts between nodes over real sockets: what is sent arrives as it was, from whom it was."""

import threading
from array import array
from collections.abc import Iterator

import pytest

from penstock.engine.part import Ack, Batch
from penstock.errors import StartRefused, WireError
from penstock.wire.facts import Facts
from penstock.wire.security import Keys

from .wire_ends import LIMIT_S, QUICK, Ends, wire_ends


@pytest.fixture
def ends() -> Iterator[Ends]:
    with wire_ends() as made:
        yield made


class Node:
    """A node's facts' end, and what came to it."""

    def __init__(self, ends: Ends, number: int, keys: Keys | None = None) -> None:
        self.came: list[tuple[str, str, object]] = []
        self.changed = threading.Condition()
        self.connected = threading.Semaphore(0)
        self.own = f"127.0.0.1:{number}"
        self.facts = Facts(
            ends.loop(keys),
            "127.0.0.1",
            0,
            self.own,
            number,
            self.take,
            lambda _: self.connected.release(),
            limits=QUICK,
        )
        self.facts.start()
        ends.stack.callback(self.facts.close)

    def take(self, peer: str, session_id: str, message: object) -> None:
        with self.changed:
            self.came.append((peer, session_id, message))
            self.changed.notify_all()

    def wait(self, number: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.came) >= number, LIMIT_S)

    def address(self, port: int | None = None) -> str:
        return f"127.0.0.1:8000:{port or self.facts.port}:6666"


BATCH = Batch(
    3, 1, ("a", "b\u00e5"), array("i", [0, 1, 1]).tobytes(), b"\2\3\2", ((0, 1, b"bytes"), (2, 1, [1, None]))
)


@pytest.mark.parametrize("is_guarded", [False, True])
def test_messages_arrive_as_they_were_with_the_name_of_their_sender(ends: Ends, is_guarded: bool):
    keys = Keys.ephemeral() if is_guarded else None
    left, right = Node(ends, 1, keys), Node(ends, 2, keys)
    left.facts.meet(right.address())
    assert left.connected.acquire(timeout=LIMIT_S)
    messages = [BATCH, Batch(3, 2, (), b"", b""), Ack(2, 9)]
    for message in messages:
        left.facts.send(right.address(), "session", message)
    right.wait(3)
    assert right.came == [(left.own, "session", message) for message in messages]


def test_what_is_answered_from_the_callback_arrives_too(ends: Ends):
    left, right = Node(ends, 1), Node(ends, 2)

    def acknowledge(peer: str, session_id: str, message: Batch) -> None:
        right.facts.send(left.address(), session_id, Ack(message.epoch, message.sequence))

    right.facts._receive = acknowledge
    right.facts.meet(left.address())
    left.facts.meet(right.address())
    assert left.connected.acquire(timeout=LIMIT_S)
    assert right.connected.acquire(timeout=LIMIT_S)
    left.facts.send(right.address(), "s", BATCH)
    left.wait(1)
    assert left.came == [(right.own, "s", Ack(3, 1))]


def test_every_connection_is_told_so_that_what_was_lost_can_be_sent_again(ends: Ends):
    left, right = Node(ends, 1), Node(ends, 2)
    proxy = ends.proxy(right.facts.port)
    peer = right.address(proxy.port)
    left.facts.meet(peer)
    for turn in range(10):
        assert left.connected.acquire(timeout=LIMIT_S)
        left.facts.send(peer, "s", Ack(1, turn))
        right.wait(turn + 1)
        proxy.reset()
    assert [message.sequence for _, _, message in right.came] == list(range(10))


def test_a_neighbour_that_comes_later_is_connected_to(ends: Ends):
    left, right = Node(ends, 1), Node(ends, 2)
    port = right.facts.port
    right.facts.close()
    left.facts.send(right.address(port), "s", Ack(1, 1))  # lost: the part would send it again
    again = Facts(ends.loop(), "127.0.0.1", port, right.own, 4, right.take, lambda _: None, limits=QUICK)
    again.start()
    assert left.connected.acquire(timeout=LIMIT_S)
    left.facts.send(right.address(port), "s", Ack(1, 2))
    right.wait(1)
    assert right.came == [(left.own, "s", Ack(1, 2))]
    again.close()


def test_a_burst_arrives_whole_and_in_order(ends: Ends):
    left, right = Node(ends, 1), Node(ends, 2)
    left.facts.meet(right.address())
    assert left.connected.acquire(timeout=LIMIT_S)
    numbers = array("i", range(10_000)).tobytes()
    for sequence in range(1, 101):
        left.facts.send(right.address(), "s", Batch(1, sequence, (), numbers, b"\2" * 10_000))
    right.wait(100)
    assert [message.sequence for _, _, message in right.came] == list(range(1, 101))
    assert all(message.numbers == numbers for _, _, message in right.came)


def test_a_neighbour_that_was_forgotten_is_met_again_with_the_next_message(ends: Ends):
    left, right = Node(ends, 1), Node(ends, 2)
    for _ in range(3):
        left.facts.meet(right.address())
        assert left.connected.acquire(timeout=LIMIT_S)
        left.facts.forget(right.address())


@pytest.mark.parametrize("content", [object(), 1 << 70, {"a": {1, 2, object()}}])
def test_contents_that_are_no_plain_values_are_refused_at_once(ends: Ends, content: object):
    left = Node(ends, 1)
    with pytest.raises(WireError, match="cannot be sent"):
        left.facts.send("127.0.0.1", "s", Batch(1, 1, (), b"\0" * 4, b"\2", ((0, 0, content),)))


def test_an_address_that_is_none_is_refused_at_once(ends: Ends):
    with pytest.raises(StartRefused):
        Node(ends, 1).facts.send("no address", "s", Ack(1, 1))
