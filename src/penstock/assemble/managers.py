# SPDX-License-Identifier: Apache-2.0
"""One manager as a process has it: its parts made, wired, started and closed in order."""

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from penstock.config import Settings
from penstock.drops.data import Buffer
from penstock.errors import DropNotReadable
from penstock.ids import NodeAddress
from penstock.leases.membership import Membership
from penstock.managers.answers import Answers, CompositeAnswers, NodeAnswers
from penstock.managers.api import Level, Manager
from penstock.managers.below import Below
from penstock.managers.island import DataIslandManager
from penstock.managers.master import MasterManager
from penstock.managers.node import NodeManager
from penstock.managers.post import WirePost
from penstock.managers.remote import Pokes, RemoteSub, methods_of
from penstock.rest.server import RestServer
from penstock.rest.settings import RestSettings
from penstock.runtime.result import PRELOAD
from penstock.wire.arena import Arena
from penstock.wire.data import DataServer, Source
from penstock.wire.facts import Facts
from penstock.wire.loop import Loop
from penstock.wire.rpc import Method, Peer, RpcServer
from penstock.wire.security import Keys
from penstock.workers.pool import PoolSettings, WorkerPool

__all__ = [
    "EVENTS_PORT",
    "REST_PORTS",
    "RPC_PORTS",
    "Assembled",
    "Liveness",
    "ManagerSettings",
    "address_below",
    "assemble",
]


REST_PORTS = {Level.NODE: 8000, Level.ISLAND: 8001, Level.MASTER: 8002}
RPC_PORTS = {Level.NODE: 6666, Level.ISLAND: 6667, Level.MASTER: 6668}
EVENTS_PORT = 5555


@dataclass(frozen=True)
class Liveness:
    """When a manager below counts as suspected and as lost; seconds."""

    beat_s: float = 1.0
    suspect_s: float = 3.0
    lost_s: float = 6.0


@dataclass(frozen=True)
class ManagerSettings:
    """What one manager is made from.

    Attributes:
        host: name or address under which others reach it, and to which it binds.
        rest, events, rpc: ports, 0 for any that is free; only nodes have a port for events.
        below: addresses of the managers below.
        work_directory: of a node, for the folders of its sessions.
        keys: for ZeroMQ; None for none, which only tests may want.
        http: how HTTP is served; host, port and what follows from them are filled in.
    """

    level: Level
    host: str = "127.0.0.1"
    rest: int = 0
    events: int = 0
    rpc: int = 0
    below: tuple[NodeAddress, ...] = ()
    work_directory: Path = field(default_factory=Path)
    keys: Keys | None = None
    http: RestSettings = field(default_factory=RestSettings)
    node: Settings = field(default_factory=Settings)
    liveness: Liveness = field(default_factory=Liveness)


class Assembled:
    """A manager and all that belongs to it.

    Attributes:
        address: `host:rest:events:rpc`, by which others know it.
    """

    def __init__(self, settings: ManagerSettings) -> None:
        self.settings = settings
        events = settings.events
        if not events:  # managers of managers have none, but a name that outlives a restart
            is_node = settings.level is Level.NODE
            events = _free_port(settings.host) if is_node else NodeAddress._field_defaults["events"]
        self.address = NodeAddress(
            settings.host,
            settings.rest or _free_port(settings.host),
            events,
            settings.rpc or _free_port(settings.host),
        )
        self.epoch = time.time_ns() // 1_000_000
        self._closing = ExitStack()
        self.manager: Manager
        self.rest: RestServer

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where its REST interface is."""
        return self.rest.url

    def start(self) -> None:
        """Make and start all parts; those that were started are closed again when one cannot.

        Raises:
            StartRefused: a port is taken, or settings are unsafe.
        """
        with ExitStack() as parts:
            loop = Loop(self.settings.keys)
            parts.callback(loop.close)
            loop.start()
            make = self._node if self.settings.level is Level.NODE else self._composite
            self.manager = make(loop, parts)
            http = replace(
                self.settings.http,
                host=self.settings.host,
                port=self.address.rest,
                address=str(self.address),
                epoch=str(self.epoch),
            )
            self.rest = RestServer(self.manager, http)
            self.rest.start()
            parts.callback(self.rest.close)
            self._closing = parts.pop_all()

    def close(self) -> None:
        """Close all parts, those first that were started last."""
        self._closing.close()

    def _node(self, loop: Loop, parts: ExitStack) -> Manager:
        settings = self.settings
        pool = WorkerPool(
            PoolSettings(slots=settings.node.workers, grace_s=settings.node.grace_s, preload=PRELOAD),
            Arena(settings.node.shared_bytes),
        )
        parts.callback(pool.arena.close)
        parts.callback(pool.close)
        post = WirePost(loop, str(self.address))
        parts.callback(post.close)
        manager = NodeManager(
            str(self.address), self.epoch, settings.work_directory, pool, post, settings.node
        )
        parts.callback(manager.close)
        facts = Facts(
            loop,
            settings.host,
            self.address.events,
            str(self.address),
            self.epoch,
            manager.receive,
            manager.reconnected,
        )
        post.connect(facts)
        facts.start()
        parts.callback(facts.close)
        pokes = self._serve(loop, parts, NodeAnswers(manager), _held_by(manager), post.streams.methods)
        manager.on_change = lambda session, _: pokes.poke(session.claim)
        return manager

    def _composite(self, loop: Loop, parts: ExitStack) -> Manager:
        settings = self.settings

        def connect(text: str) -> tuple[str, RemoteSub]:
            address = address_below(text, settings.level)
            return str(address), RemoteSub(loop, address, str(self.address))

        subs = dict(connect(str(address)) for address in settings.below)
        times = settings.liveness
        below = Below(
            subs,
            Membership(times.suspect_s, times.lost_s, times.beat_s),
            lambda delay_s, call: loop.later(delay_s, call).cancel,
        )
        kind = DataIslandManager if settings.level is Level.ISLAND else MasterManager
        manager = kind(str(self.address), self.epoch, below, connect)
        pokes = self._serve(loop, parts, CompositeAnswers(manager), manager.open_data)
        manager.on_change = pokes.poke
        manager.start()
        parts.callback(manager.close)
        return manager

    def _serve(
        self,
        loop: Loop,
        parts: ExitStack,
        answers: Answers,
        open_source: Callable[[str, str], Source],
        more: Mapping[str, Method] = MappingProxyType({}),
    ) -> Pokes:
        """Answer the managers above, and lend contents to whoever may read them."""
        servers: list[RpcServer] = []

        def gone(peer: Peer) -> None:
            data.gone(peer)
            pokes.gone(peer)

        pokes = Pokes(lambda peer: servers[0].push(peer, b""))
        data = DataServer(loop, open_source)
        methods = {**methods_of(answers, pokes), **data.methods, **more}
        server = RpcServer(loop, self.settings.host, self.address.rpc, methods, self.epoch, gone=gone)
        servers.append(server)
        data.start()
        parts.callback(data.close)
        server.start()
        parts.callback(server.close)
        return pokes


def address_below(text: str, level: Level) -> NodeAddress:
    """Return the address of a manager below one of this level; what is missing are the usual ports of its kind.

    Raises:
        StartRefused: the text is no address.
    """
    address = NodeAddress.parse(text)
    if level is Level.MASTER:
        given = text.rpartition("]")[2].count(":")
        if given < 1:
            address = address._replace(rest=REST_PORTS[Level.ISLAND])
        if given < 3:
            address = address._replace(rpc=RPC_PORTS[Level.ISLAND])
    return address


def assemble(settings: ManagerSettings) -> Assembled:
    """Return a manager, not started."""
    return Assembled(settings)


def _held_by(manager: NodeManager) -> Callable[[str, str], Source]:
    """Return what opens the contents that a node holds, for other nodes and for managers above."""

    def open_source(session_id: str, uid: str) -> Source:
        exchange = manager.find(session_id).exchange
        if exchange is None:
            raise DropNotReadable(uid, "holds nothing: its session was not deployed")
        held = exchange.held(uid)
        return _joined(held) if isinstance(held, list) else held

    return open_source


def _joined(pieces: list[Buffer]) -> Source:
    return memoryview(pieces[0]).toreadonly() if len(pieces) == 1 else b"".join(pieces)


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
