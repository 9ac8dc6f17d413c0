"""Who may talk to a process, and what becomes of junk: nothing of strangers reaches the application."""

import logging
import os
import pickle
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest
import zmq

from penstock.errors import NodeDown
from penstock.wire.facts import Facts
from penstock.wire.framing import VERSION, Hello
from penstock.wire.rpc import Limits, Method, RpcClient
from penstock.wire.security import Keys

from .test_wire_rpc import ECHO, echo
from .wire_ends import LIMIT_S, QUICK, Ends, wire_ends


@pytest.fixture
def ends() -> Iterator[Ends]:
    with wire_ends() as made:
        yield made


OPENED: list[str] = []


class Canary:
    """A pickle that tells when it was opened."""

    def __reduce__(self):
        return OPENED.append, ("opened",)


CANARY = pickle.dumps(Canary())
JUNK = [
    CANARY,
    b"",
    b"\0" * 1000,
    os.urandom(1000),
    b"\x81" * 5000,  # maps in maps
    b"\xc1",
    b"\xdf\xff\xff\xff\xff",  # a map that says to have four thousand million entries
    msgspec.msgpack.encode(["call", 1, 1, "echo", 1.0]),
    msgspec.msgpack.encode(["call", 2, 1, "echo", 1.0, False]),
    msgspec.msgpack.encode(["call", 1, "1", "echo", 1.0, False]),
    msgspec.msgpack.encode({"call": CANARY}),
    msgspec.msgpack.encode(["batch", 1, "", "../..", 1, 1]),
    msgspec.msgpack.encode(["batch", 1, "", "s", -1, 1]),
    msgspec.msgpack.encode(["ack", 1, "", "s", 1, 1, 1]),
]


class Raw:
    """A DEALER of our own that says hello and then whatever it likes."""

    def __init__(self, port: int, keys: Keys | None = None) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, int(LIMIT_S * 1000))
        if keys is not None:
            keys.guard_client(self.socket)
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    def greet(self) -> None:
        self.socket.send(msgspec.msgpack.encode(Hello(VERSION, secrets.token_bytes(16), 5, "raw")))
        assert self.socket.recv()

    def beat(self) -> None:
        """Say that it is there, and wait a moment for the answer that may not come."""
        self.socket.send(msgspec.msgpack.encode(["beat", 1]))
        if self.socket.poll(50):
            self.socket.recv()

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_) -> None:
        self.context.destroy(0)


@pytest.mark.parametrize("frame", JUNK)
def test_junk_costs_one_message_and_no_pickle_is_opened(ends: Ends, frame: bytes, caplog):
    server = ends.server(ECHO)
    client = ends.client(server.port)
    with Raw(server.port) as raw:
        raw.greet()
        raw.socket.send_multipart([frame, CANARY, CANARY])
        raw.socket.send(frame)
        call = msgspec.msgpack.encode(["call", 1, 9, "echo", 30.0, False])
        raw.socket.send_multipart([call, b"still heard"])
        assert raw.socket.recv_multipart()[1] == b"still heard"
    assert client.call("echo", b"undisturbed")[0] == b"undisturbed"
    assert OPENED == []
    assert sum(server.listener.junk().values()) == 2
    assert "opened" not in caplog.text
    assert repr(frame[:20])[2:-1] not in caplog.text or not frame


@pytest.mark.parametrize("frame", JUNK)
def test_junk_on_the_facts_socket_reaches_nobody(ends: Ends, frame: bytes):
    loop = ends.loop()
    came: list = []
    facts = Facts(loop, "127.0.0.1", 0, "127.0.0.1", 1, lambda *message: came.append(message), lambda _: None)
    facts.start()
    with Raw(facts.port) as raw:
        raw.greet()
        raw.socket.send_multipart([frame, CANARY, CANARY])
        raw.socket.send_multipart([msgspec.msgpack.encode(["ack", 1, "", "s", 1, 1]), b""])
        raw.socket.send(msgspec.msgpack.encode(["beat", 1]))
        assert raw.socket.recv()
    assert len(came) == 1
    assert sum(facts.junk().values()) == 1
    assert OPENED == []
    facts.close()


def test_a_peer_that_sends_much_junk_is_ignored_for_a_while(ends: Ends):
    server = ends.server(ECHO)
    client = ends.client(server.port)
    call = msgspec.msgpack.encode(["call", 1, 9, "echo", 30.0, False])
    with Raw(server.port) as raw:
        raw.greet()
        for _ in range(30):
            raw.socket.send_multipart([b"junk", b""])
        raw.socket.send_multipart([call, b"in vain"])
        client.call("echo")
        raw.socket.setsockopt(zmq.RCVTIMEO, 200)
        with pytest.raises(zmq.Again):
            raw.socket.recv_multipart()
    assert list(server.listener.junk().values()) == [11]


def test_too_many_frames_are_junk(ends: Ends):
    server = ends.server(ECHO)
    with Raw(server.port) as raw:
        raw.greet()
        raw.socket.send_multipart([b"x"] * 5000)
        raw.socket.send_multipart([msgspec.msgpack.encode(["call", 1, 9, "echo", 30.0, False]), b"on"])
        assert raw.socket.recv_multipart()[1] == b"on"
    assert sum(server.listener.junk().values()) == 1


def test_a_frame_above_the_limit_cuts_its_sender_off(ends: Ends):
    called: list[int] = []
    note = Method(lambda peer, body, buffers: (called.append(len(body)) or b"", ()))
    server = ends.server({"note": note}, limits=Limits(frame_bytes=10_000))
    client = ends.client(server.port, limits=QUICK)
    with pytest.raises(NodeDown, match="cut"):
        client.call("note", b"x" * 20_000)
    client.call("note", b"x" * 9_000)
    assert called == [9_000]


def test_bytes_that_are_no_zeromq_at_all_do_no_harm(ends: Ends):
    server = ends.server(ECHO)
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.sendall(CANARY * 1000)
    assert ends.client(server.port).call("echo", b"well")[0] == b"well"


def test_what_a_stranger_sends_before_its_hello_is_dropped(ends: Ends):
    called: list[bytes] = []
    server = ends.server({"add": Method(lambda peer, body, buffers: (called.append(body) or b"", ()))})
    with Raw(server.port) as raw:
        raw.socket.send_multipart([msgspec.msgpack.encode(["call", 1, 9, "add", 30.0, False]), b"early"])
        raw.greet()
    assert called == []
    assert server.listener.early == 1


def test_a_connection_that_says_hello_again_under_another_name_is_one_caller(ends: Ends):
    server = ends.server(ECHO)
    with Raw(server.port) as raw:
        for _ in range(5):
            raw.greet()
        raw.socket.send_multipart([msgspec.msgpack.encode(["call", 1, 9, "echo", 30.0, False]), b"one"])
        assert raw.socket.recv_multipart()[1] == b"one"
    assert len(server.listener._callers) == len(server.listener._routes) == 1


def test_another_version_is_not_talked_to(ends: Ends, caplog):
    server = ends.server(ECHO)
    told = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: told.set()
    logging.getLogger("penstock.wire.listener").addHandler(handler)
    try:
        with Raw(server.port) as raw:
            raw.socket.send(msgspec.msgpack.encode(Hello(99, secrets.token_bytes(16), 5, "raw")))
            assert told.wait(LIMIT_S)
    finally:
        logging.getLogger("penstock.wire.listener").removeHandler(handler)
    assert "version 99" in caplog.text


def guarded(ends: Ends, keys: Keys, called: list):
    def note(peer, body, buffers):
        called.append(body)
        return echo(peer, body, buffers)

    return ends.server({"note": Method(note)}, ends.loop(keys), limits=QUICK)


def test_clients_without_keys_and_with_wrong_ones_reach_nothing(ends: Ends, caplog):
    called: list[bytes] = []
    keys = Keys.ephemeral()
    server = guarded(ends, keys, called)
    stranger = Keys.ephemeral()
    # One that knows the server's public key, but is not allowed; one with another server in mind; one in the clear.
    told = Keys(stranger.public, stranger._secret, stranger.token, server=keys.public)
    for wrong in (None, stranger, told):
        client = ends.client(server.port, ends.loop(wrong), is_connected=False)
        with pytest.raises(NodeDown):
            client.call("note", b"wrong", timeout_s=0.3)
        client.close()
    right = ends.client(server.port, ends.loop(keys))
    assert right.call("note", b"right")[0] == b"right"
    assert called == [b"right"]
    for secret in (keys._secret, stranger._secret, keys.token.encode()):
        assert secret.decode() not in caplog.text


def test_a_guest_comes_in_while_its_key_is_allowed(ends: Ends, tmp_path):
    called: list[bytes] = []
    keys = Keys.create(tmp_path / "keys")
    guest = Keys.create(tmp_path / "guest", server=keys.public)
    server = guarded(ends, keys, called)
    client = ends.client(server.port, ends.loop(guest), is_connected=False, limits=QUICK)
    with pytest.raises(NodeDown):
        client.call("note", b"too early", timeout_s=0.3)
    allowed = tmp_path / "keys" / "allowed" / "guest"
    allowed.write_bytes(guest.public)
    connected = threading.Event()
    client = RpcClient(ends.loop(guest), "127.0.0.1", server.port, limits=QUICK)
    client.on_connected(lambda _: connected.set())
    client.start()
    assert connected.wait(LIMIT_S)
    assert client.call("note", b"welcome")[0] == b"welcome"
    allowed.unlink()
    while True:  # connections that exist end too, as soon as the folder is looked at
        try:
            client.call("note", b"still here", timeout_s=0.3)
        except NodeDown:
            break
    count = len(called)
    with pytest.raises(NodeDown):
        client.call("note", b"too late", timeout_s=0.3)
    assert len(called) == count
    assert b"too early" not in called
    client.close()


def test_a_guest_that_is_let_in_again_is_heard_on_the_connection_that_it_has(ends: Ends, tmp_path):
    keys = Keys.create(tmp_path / "keys")
    guest = Keys.create(tmp_path / "guest", server=keys.public)
    allowed = tmp_path / "keys" / "allowed" / "guest"
    allowed.write_bytes(guest.public)
    server = guarded(ends, keys, [])
    client = ends.client(server.port, ends.loop(guest), limits=QUICK)
    allowed.unlink()
    while server.listener._callers:
        with suppress(NodeDown):
            client.call("note", timeout_s=0.05)
    allowed.write_bytes(guest.public)
    while not server.listener._callers:
        with suppress(NodeDown):
            client.call("note", timeout_s=0.3)
    assert client.call("note", b"again")[0] == b"again"


def test_a_guest_that_was_shown_out_is_not_let_in_by_another_hello(ends: Ends, tmp_path):
    called: list[bytes] = []
    keys = Keys.create(tmp_path / "keys")
    guest = Keys.create(tmp_path / "guest", server=keys.public)
    allowed = tmp_path / "keys" / "allowed" / "guest"
    allowed.write_bytes(guest.public)
    server = guarded(ends, keys, called)
    with Raw(server.port, guest) as raw:
        raw.greet()
        allowed.unlink()
        while server.listener._callers:
            raw.beat()
        raw.socket.send(msgspec.msgpack.encode(Hello(VERSION, secrets.token_bytes(16), 5, "raw")))
        raw.socket.send_multipart([msgspec.msgpack.encode(["call", 1, 9, "note", 30.0, False]), b"in vain"])
        while not server.listener.junk():
            raw.beat()
    assert called == []
    assert not server.listener._callers


def test_what_travels_under_keys_cannot_be_read_on_the_way(ends: Ends):
    keys = Keys.ephemeral()
    server = ends.server(ECHO, ends.loop(keys))
    proxy = ends.proxy(server.port)
    seen: list[bytes] = []
    read = proxy._read

    def note(way) -> None:
        before = len(way.pieces)
        read(way)
        seen.extend(bytes(piece) for _, piece in list(way.pieces)[before:])

    proxy._read = note
    client = ends.client(proxy.port, ends.loop(keys))
    client.call("echo", b"a secret sentence" * 100)
    assert b"".join(seen)
    assert b"secret sentence" not in b"".join(seen)
