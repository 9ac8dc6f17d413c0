# SPDX-License-Identifier: Apache-2.0
"""Managers for tests: in this process with real sockets, or as processes of their own; and graphs for them."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from penstock.assemble.managers import Assembled, Liveness, ManagerSettings
from penstock.config import Settings
from penstock.engine.states import SessionState
from penstock.ids import NodeAddress
from penstock.managers.api import Level, Manager
from penstock.rest.client import ManagerClient
from tests.processes import children

LIMIT_S = 60.0
"""How long anything in these tests may take before it counts as hanging."""

QUICK = Liveness(beat_s=0.2, suspect_s=1.5, lost_s=2.5)
"""For tests that wait for a loss; connections beat once in a second, so not much quicker."""

Fields = dict[str, Any]

MEMORY = "dlg.data.drops.memory.InMemoryDROP"
FILE = "dlg.data.drops.file.FileDROP"
COPY = "dlg.apps.simple.CopyApp"
SHELL = "dlg.apps.bash_shell_app.BashShellApp"


def data(uid: str, node: str = "", /, cls: str = MEMORY, **fields: Any) -> Fields:
    return {"oid": uid, "categoryType": "Data", "dropclass": cls, **_at(node), **fields}


def file(uid: str, node: str = "", /, **fields: Any) -> Fields:
    return data(uid, node, FILE, **fields)


def app(
    uid: str, node: str = "", /, inputs: Any = (), outputs: Any = (), cls: str = COPY, **fields: Any
) -> Fields:
    links = {"inputs": list(inputs), "outputs": list(outputs)}
    return {"oid": uid, "categoryType": "Application", "dropclass": cls, **links, **_at(node), **fields}


def shell(uid: str, node: str, command: str, inputs: Any = (), outputs: Any = (), **fields: Any) -> Fields:
    return app(uid, node, inputs, outputs, SHELL, command=command, **fields)


def _at(node: str) -> Fields:
    return {"node": node} if node else {}


def text(drops: Iterable[Fields]) -> bytes:
    return msgspec.json.encode(list(drops))


def copies(hops: int, nodes: Sequence[str]) -> list[Fields]:
    """A chain of copies, each on another node than the one before: D0 -> A0 -> D1 -> A1 ..."""
    drops = [data("D0", nodes[0], pydata="hello")]
    for i in range(hops):
        node = nodes[(i + 1) % len(nodes)]
        drops += [app(f"A{i}", node, [f"D{i}"], [f"D{i + 1}"]), data(f"D{i + 1}", node)]
    return drops


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait for something that nobody tells about, as the state of another process."""
    pause, end_s = threading.Event(), time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, f"not within {limit_s} s: {what}"
        pause.wait(0.02)


def wait_ended(manager: Manager, session_id: str, limit_s: float = LIMIT_S) -> SessionState:
    """Wait until a session has ended; of all managers alike, so without their events."""
    pause, end_s = threading.Event(), time.monotonic() + limit_s
    while (info := manager.session(session_id)).state < SessionState.FINISHED:
        if time.monotonic() > end_s or (info.stalled and not _goes_on(manager, session_id, pause)):
            raise AssertionError(f"{info}, {sorted(states_of(manager, session_id).items())}")
        pause.wait(0.02)
    return info.state


def _goes_on(manager: Manager, session_id: str, pause: threading.Event) -> bool:
    """Whether a session that seems to wait for its client is only told of late."""
    pause.wait(3.0)
    return not manager.session(session_id).stalled


def run_graph(manager: Manager, session_id: str, drops: Sequence[Fields] | bytes) -> SessionState:
    """Run a graph to its end, all roots triggered."""
    manager.create_session(session_id)
    manager.add_graph(session_id, drops if isinstance(drops, bytes) else text(drops))
    manager.deploy(session_id)
    manager.trigger(session_id)
    return wait_ended(manager, session_id)


def states_of(manager: Manager, session_id: str) -> dict[str, tuple[int, int]]:
    """Return status and execStatus of all drops."""
    told = manager.graph_status(session_id)
    return dict(zip(told.uids, zip(told.state, told.execution, strict=True), strict=True))


def content(manager: Manager, session_id: str, uid: str) -> bytes:
    with manager.open_data(session_id, uid) as reader:
        return reader.read()


# In this process


@contextmanager
def node_here(directory: Path, workers: int = 2, **settings: Any) -> Iterator[Assembled]:
    with Assembled(
        ManagerSettings(Level.NODE, work_directory=directory, node=Settings(workers=workers), **settings)
    ) as made:
        yield made


@contextmanager
def above_here(level: Level, below: Iterable[Assembled], **settings: Any) -> Iterator[Assembled]:
    addresses = tuple(made.address for made in below)
    with Assembled(ManagerSettings(level, below=addresses, **settings)) as made:
        wait_alive(made.manager)
        yield made


def wait_alive(manager: Manager) -> None:
    """Wait until a manager has heard all below it, at any depth."""

    def is_ready() -> bool:
        states = {info.state.value for info in manager.nodes()}
        return states == {"alive"} and _is_heard(manager)

    wait_until(is_ready, "all nodes alive")


def _is_heard(manager: Manager) -> bool:
    below = getattr(manager, "below", None)
    return below is None or all(below.epoch(name) for name in below.names)


# As processes


class Started:
    """A manager as a process of its own; who asks for its address or more waits until it serves.

    `close` ends it, whatever its state.

    Args:
        home: its current folder; managers whose homes are neighbours share their keys.
        ports: of REST, RPC and, of a node, events; 0 for any.
    """

    def __init__(
        self,
        level: str,
        home: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        ports: Sequence[int] = (0, 0, 0),
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.level = level
        self._options = options
        self._environment = dict(environment or {})
        self._told: dict[str, Any] | None = None
        self.errors = home / "stderr"
        self.process = self._started(ports)

    def _started(self, ports: Sequence[int]) -> "subprocess.Popen[bytes]":
        names = ("--port", "--rpc-port", *(("--events-port",) if self.level == "node" else ()))
        numbers = chain.from_iterable((name, str(port)) for name, port in zip(names, ports, strict=False))
        with self.errors.open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "penstock", self.level, "--json", *numbers, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self.home,
                env={**os.environ, "XDG_STATE_HOME": str(self.home.parent / "state"), **self._environment},
            )

    @property
    def told(self) -> dict[str, Any]:
        """What it said when it began to serve."""
        if self._told is None:
            self._told = json.loads(self._first_line())
        return self._told

    def _first_line(self) -> bytes:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], LIMIT_S)
        line = self.process.stdout.readline() if ready else b""
        assert line, f"the {self.level} did not start: {self.errors.read_text()}"
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> NodeAddress:
        return NodeAddress.parse(self.told["address"])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def keys(self) -> Path:
        return Path(self.told["keys"])

    @property
    def token(self) -> str:
        return (self.keys / "token").read_text().strip()

    def client(self, timeout_s: float = LIMIT_S) -> ManagerClient:
        return ManagerClient(self.told["url"], self.token, timeout_s)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as `kill -9` does, and wait for that; its own children end by themselves."""
        self.process.kill()
        self.process.wait(LIMIT_S)

    def start_again(self) -> None:
        """Start it under the same address, after `kill` or `close`."""
        _, rest, events, rpc = self.address
        self._close_pipe()
        self._told = None
        self.process = self._started((rest, rpc, events))

    def offspring(self) -> list[int]:
        """Return all processes below it."""
        found: list[int] = []
        todo = [self.pid]
        while todo:
            below = children(todo.pop())
            found += below
            todo += below
        return found

    def close(self) -> None:
        """End it in order, and by force where that takes too long."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(LIMIT_S)
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


class Cluster(NamedTuple):
    """Managers that were started, with one client of the top one."""

    nodes: tuple[Started, ...]
    tops: tuple[Started, ...]
    client: ManagerClient

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(str(node.address) for node in self.nodes)


def joined(managers: Iterable[Started]) -> str:
    return ",".join(str(manager.address) for manager in managers)


@contextmanager
def started_island(
    home: Path, count: int = 2, *options: str, node_options: Sequence[str] = ("--workers", "2")
) -> Iterator[Cluster]:
    """Start nodes and an island over them."""
    with ExitStack() as stack:
        nodes = tuple(
            stack.enter_context(
                Started("node", home / f"n{i}", "--workdir", str(home / f"n{i}" / "work"), *node_options)
            )
            for i in range(count)
        )
        island = stack.enter_context(Started("island", home / "island", "--nodes", joined(nodes), *options))
        client = stack.enter_context(island.client())
        wait_alive(client)
        yield Cluster(nodes, (island,), client)
