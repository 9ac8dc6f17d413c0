# SPDX-License-Identifier: Apache-2.0
"""Managers among faults: repeated and concurrent operations, connections that break, junk on every port."""

import pickle
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import zmq

from penstock.assemble.managers import Assembled, Liveness, ManagerSettings
from penstock.engine.states import SessionState
from penstock.errors import PenstockError, SessionExists, WrongState
from penstock.ids import NodeAddress
from penstock.managers.api import Level, Manager, NodeState
from penstock.rest.client import ManagerClient
from penstock.testing.fault_proxy import FaultProxy
from tests.processes import children

from .making import in_threads
from .manager_making import (
    QUICK,
    above_here,
    content,
    copies,
    file,
    node_here,
    run_graph,
    shell,
    states_of,
    text,
    wait_alive,
    wait_ended,
    wait_until,
)


class Pair(ExitStack):
    """An island over two nodes in this process, on real sockets."""

    def start(self, factory: pytest.TempPathFactory) -> None:
        self.homes = [factory.mktemp("node") for _ in range(2)]
        self.nodes = [self.enter_context(node_here(home)) for home in self.homes]
        self.island = self.enter_context(above_here(Level.ISLAND, self.nodes))
        self.client = self.enter_context(ManagerClient(self.island.url))
        self.manager: Manager = self.island.manager

    @property
    def names(self) -> list[str]:
        return [str(node.address) for node in self.nodes]

    @property
    def all(self) -> list[Assembled]:
        return [self.island, *self.nodes]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Pair() as made:
        made.start(tmp_path_factory)
        yield made


@pytest.fixture(autouse=True)
def _nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "pair" in request.fixturenames:
        pair: Pair = request.getfixturevalue("pair")
        for made in pair.all:
            for info in made.manager.sessions():
                made.manager.destroy(info.session_id)


def _outcome(call: Callable[[], object]) -> type[BaseException] | None:
    try:
        call()
    except PenstockError as exc:
        return type(exc)
    return None


def test_of_fifty_creations_and_deployments_at_once_one_counts(pair: Pair) -> None:
    creations = in_threads(50, lambda _: _outcome(lambda: pair.client.create_session("s")))
    assert (creations.count(None), creations.count(SessionExists)) == (1, 49)
    pair.client.add_graph("s", text(copies(4, pair.names)))
    deployments = in_threads(50, lambda _: _outcome(lambda: pair.client.deploy("s", ["D0"])))
    assert (deployments.count(None), deployments.count(WrongState)) == (1, 49)
    assert wait_ended(pair.client, "s") is SessionState.FINISHED
    assert content(pair.client, "s", "D4") == b"hello"


def test_operations_of_all_kinds_at_once_leave_nothing_behind(pair: Pair) -> None:
    graph = text(copies(4, pair.names))

    def work(number: int) -> None:
        rnd = random.Random(number)
        calls: list[Callable[[], object]] = [
            lambda: pair.client.create_session("s"),
            lambda: pair.client.add_graph("s", graph),
            lambda: pair.client.deploy("s", ["D0"]),
            lambda: pair.client.cancel("s"),
            lambda: pair.client.destroy("s"),
            lambda: pair.client.graph_status("s"),
            lambda: pair.client.drop("s", "D4"),
        ]
        for _ in range(15):
            _outcome(rnd.choice(calls))

    in_threads(10, work)
    _outcome(lambda: pair.client.destroy("s"))
    for made in pair.all:
        assert made.manager.sessions() == []
    assert run_graph(pair.client, "s", copies(4, pair.names)) is SessionState.FINISHED


def test_an_id_can_be_used_again_at_once(pair: Pair) -> None:
    for number in range(30):
        pair.manager.create_session("s")
        drops = copies(6, pair.names)
        drops[0]["pydata"] = f"text {number}"
        pair.manager.add_graph("s", text(drops))
        pair.manager.deploy("s", ["D0"])
        if number % 3 == 0:
            assert wait_ended(pair.manager, "s") is SessionState.FINISHED
            assert content(pair.manager, "s", "D6") == f"text {number}".encode()
        pair.manager.destroy("s")


def test_deleting_a_running_session_leaves_no_process_file_or_thread(pair: Pair) -> None:
    assert run_graph(pair.manager, "before", copies(4, pair.names)) is SessionState.FINISHED
    pair.manager.destroy("before")
    threads = {thread.name for thread in threading.enumerate()}
    n0, n1 = pair.names
    drops = [
        *(shell(f"A{i}", (n0, n1)[i % 2], "sleep 987 & sleep 987", [], [f"d{i}"]) for i in range(2)),
        *(file(f"d{i}", (n1, n0)[i % 2], persist=False) for i in range(2)),
        shell("B", n0, "echo hello > {b}", [], ["b"]),
        file("b", n1, persist=False),
    ]
    pair.manager.create_session("s")
    pair.manager.add_graph("s", text(drops))
    pair.manager.deploy("s")
    pair.manager.trigger("s")
    wait_until(lambda: states_of(pair.manager, "s")["b"][0] == 2 and bool(_sleeping()), "the apps run")
    pair.manager.destroy("s")
    wait_until(lambda: not _sleeping(), "no process of an app is left")
    wait_until(lambda: {thread.name for thread in threading.enumerate()} <= threads, "no thread is left")
    assert [list(home.iterdir()) for home in pair.homes] == [[], []]


def _sleeping() -> list[int]:
    found, todo = [], [*children()]
    while todo:
        pid = todo.pop()
        todo += children(pid)
        try:
            if b"987" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:  # it has ended meanwhile
            continue
    return found


# Connections that break


@dataclass
class Proxied:
    """An island over two nodes that everybody reaches through proxies."""

    manager: Manager
    names: list[str]
    proxies: list[list[FaultProxy]]

    def each(self, do: Callable[[FaultProxy], None]) -> None:
        for proxies in self.proxies:
            for proxy in proxies:
                do(proxy)


@pytest.fixture
def proxied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxied]:
    liveness = getattr(request, "param", QUICK)
    with ExitStack() as stack:
        addresses, proxies = [], []
        for i in range(2):
            node = stack.enter_context(node_here(tmp_path / f"node{i}"))
            ports = (node.address.events, node.address.rpc)
            doors = [stack.enter_context(FaultProxy("127.0.0.1", port)) for port in ports]
            proxies.append(doors)
            addresses.append(NodeAddress("127.0.0.1", node.address.rest, *(door.port for door in doors)))
        settings = ManagerSettings(Level.ISLAND, below=tuple(addresses), liveness=liveness)
        island = stack.enter_context(Assembled(settings))
        wait_alive(island.manager)
        yield Proxied(island.manager, [str(address) for address in addresses], proxies)


@pytest.mark.parametrize("proxied", [Liveness()], indirect=True, ids=["usual"])
@pytest.mark.parametrize("harm", [FaultProxy.cut, FaultProxy.reset])
def test_sessions_end_right_while_connections_break(
    proxied: Proxied, harm: Callable[[FaultProxy], None]
) -> None:
    ended = threading.Event()

    def break_them() -> None:
        while not ended.wait(0.15):
            proxied.each(harm)

    breaker = threading.Thread(target=break_them, name="breaker")
    breaker.start()
    try:
        for number in range(5):
            name = f"s{number}"
            state = run_graph(proxied.manager, name, copies(30, proxied.names))
            assert state is SessionState.FINISHED, proxied.manager.session(name).causes
            assert content(proxied.manager, name, "D30") == b"hello"
    finally:
        ended.set()
        breaker.join(30)


def test_a_short_silence_of_a_node_only_delays(proxied: Proxied) -> None:
    name = proxied.names[1]
    proxied.manager.create_session("s")
    proxied.manager.add_graph("s", text(copies(30, proxied.names)))
    for proxy in proxied.proxies[1]:
        proxy.hold()
    deploying = threading.Thread(target=proxied.manager.deploy, args=("s", ["D0"]))
    deploying.start()
    wait_until(lambda: _states(proxied)[name] is NodeState.SUSPECT, "suspicion")
    for proxy in proxied.proxies[1]:
        proxy.release()
    deploying.join(30)
    assert wait_ended(proxied.manager, "s") is SessionState.FINISHED


def test_a_long_silence_ends_the_session_and_the_node_obeys_when_it_is_heard(
    proxied: Proxied, tmp_path: Path
) -> None:
    n0, n1 = proxied.names
    drops = [shell("A", n1, "sleep 987", [], ["a"]), file("a", n0)]
    proxied.manager.create_session("s")
    proxied.manager.add_graph("s", text(drops))
    proxied.manager.deploy("s", ["A"])
    wait_until(lambda: bool(_sleeping()), "the app runs")
    for proxy in proxied.proxies[1]:
        proxy.hold()
    assert wait_ended(proxied.manager, "s") is SessionState.FAILED
    assert any(n1 in cause for cause in proxied.manager.session("s").causes)
    assert _sleeping()
    for proxy in proxied.proxies[1]:
        proxy.release()
    wait_until(lambda: not _sleeping(), "the app is ended on the node that is back")
    proxied.manager.destroy("s")
    assert run_graph(proxied.manager, "s", copies(6, proxied.names)) is SessionState.FINISHED


def _states(proxied: Proxied) -> dict[str, NodeState]:
    return {info.address: info.state for info in proxied.manager.nodes()}


# Junk

JUNK = [
    b"",
    b"\0" * 300,
    b"\xff" * 300,
    random.Random(0).randbytes(5000),
    b"GET / HTTP/1.1\r\n" + b"x" * 70_000,
    b"POST /api/v1/sessions HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n{",
    b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL" + b"\0" * 48 + b"\x04\xff\xff",
]


def _tell(port: int, junk: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        try:
            line.sendall(junk)
            line.shutdown(socket.SHUT_WR)
            line.settimeout(0.2)
            line.recv(1000)
        except OSError:  # they hang up, as they may
            return


def _frames(seed: int) -> list[bytes]:
    rnd = random.Random(seed)
    kinds = [b"", b"\0", pickle.dumps(_frames), rnd.randbytes(40), b"\x93\x01\xc4", b"[]", b"\x81" * 500]
    return [rnd.choice(kinds) for _ in range(rnd.randint(1, 6))]


def test_junk_on_every_port_ends_nothing(pair: Pair) -> None:
    assert run_graph(pair.manager, "before", copies(4, pair.names)) is SessionState.FINISHED
    threads = {thread.name for thread in threading.enumerate()}
    context = zmq.Context()
    try:
        for made in pair.all:
            address = made.address
            ports = [address.rest, address.rpc, *([address.events] if made is not pair.island else [])]
            for port in ports:
                for junk in JUNK:
                    _tell(port, junk)
            for port in ports[1:]:
                for kind in (zmq.DEALER, zmq.ROUTER, zmq.REQ, zmq.SUB, zmq.PUSH):
                    _send(context, kind, port)
    finally:
        context.destroy(0)
    assert threads <= {thread.name for thread in threading.enumerate()}
    assert run_graph(pair.client, "s", copies(10, pair.names)) is SessionState.FINISHED
    assert content(pair.client, "s", "D10") == b"hello"


def _send(context: "zmq.Context[zmq.Socket[bytes]]", kind: int, port: int) -> None:
    with context.socket(kind) as line:
        line.linger, line.sndtimeo = 1000, 200
        line.connect(f"tcp://127.0.0.1:{port}")
        for seed in range(1 if kind in (zmq.REQ, zmq.SUB, zmq.ROUTER) else 30):
            try:
                line.send_multipart(_frames(seed))
            except zmq.ZMQError:  # this kind of socket has nobody to send to
                return
