# SPDX-License-Identifier: Apache-2.0
"""`penstock node`, `island`, `master`: one manager as a process, until it is told to end."""

import argparse
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from penstock.assemble.access import Access, open_access
from penstock.assemble.managers import (
    EVENTS_PORT,
    REST_PORTS,
    RPC_PORTS,
    Assembled,
    Liveness,
    ManagerSettings,
    address_below,
    assemble,
)
from penstock.config import Settings, state_directory
from penstock.errors import StartRefused
from penstock.ids import NodeAddress
from penstock.managers.api import Level
from penstock.rest.settings import RestSettings

__all__ = ["serve"]


_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ASKED = b"\0"  # no signal has this number
_MOST_WORDS = 64

_SWITCH_S = 0.0005
"""How long one thread may keep the others from running: facts must not wait for whatever computes."""


def serve(options: argparse.Namespace) -> int:
    """Run a manager until a signal or a request ends it."""
    level = Level(options.level)
    _configure_logging(options.verbose)
    sys.setswitchinterval(_SWITCH_S)
    access = open_access(options.host, options.auth, options.keys, state_directory() / "keys")
    with _End() as end:
        manager = _assembled(_settings(level, options, access, end.ask))
        manager.start()
        try:
            _greet(manager, access, options)
            end.wait()
        finally:
            manager.close()
    return 0


class _End:
    """The end of the process, which a signal or any thread may ask for.

    Signals wake the main thread through a socket. That they break off its waiting for a lock cannot be relied on:
    METIS, which divides graphs, puts the handler of SIGTERM back such that system calls go on after it.
    """

    def __init__(self) -> None:
        self._told, self._telling = socket.socketpair()
        self._before: dict[int, Any] = {}  # Any: what signal.signal returns
        self._wakeup = -1

    def __enter__(self) -> Self:
        self._telling.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._telling.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as SIGHUP is under nohup
                self._before[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup)
        self._told.close()
        self._telling.close()

    def ask(self) -> None:
        """Ask for the end; may be called on any thread."""
        with suppress(BlockingIOError):  # so many have asked that no more words fit in
            self._telling.send(_ASKED)

    def wait(self) -> None:
        """Wait until the end was asked for."""
        wanted = {*_SIGNALS, *_ASKED}
        while not wanted.intersection(self._told.recv(_MOST_WORDS)):
            continue  # a signal that somebody else has a handler for


def _assembled(settings: ManagerSettings) -> Assembled:
    """Return a manager, not started.

    Raises:
        StartRefused: this machine has no such name or address.
    """
    try:
        return assemble(settings)
    except OSError as exc:
        reason = f"{settings.host} cannot be bound: {exc.strerror or exc}"
        raise StartRefused(reason, "use --host with a name or address of this machine") from exc


def _settings(
    level: Level, options: argparse.Namespace, access: Access, stop: Callable[[], None]
) -> ManagerSettings:
    below = tuple(address_below(text, level) for text in options.below or ())
    if level is not Level.NODE and not below:
        word = "--nodes" if level is Level.ISLAND else "--islands"
        raise StartRefused(f"the {level.value} has nobody below it", f"name them: {word} HOST:PORT,HOST:PORT")
    if len(set(below)) < len(below):
        raise StartRefused("a manager below is named twice", "name each once")
    rest = REST_PORTS[level] if options.port is None else options.port
    rpc = RPC_PORTS[level] if options.rpc_port is None else options.rpc_port
    port = rest or f"any-{os.getpid()}"  # two nodes on ports that the system chose must not share a folder
    workdir = options.workdir or state_directory() / "nodes" / f"{options.host}-{port}"
    return ManagerSettings(
        level,
        options.host,
        rest,
        EVENTS_PORT if options.events_port is None else options.events_port,
        rpc,
        below,
        Path(workdir).absolute(),
        access.keys,
        RestSettings(
            token=access.token,
            allow_origins=tuple(options.allow_origin or ()),
            allow_hosts=tuple(options.allow_host or ()),
            is_member=_is_one_of(options.peers or ()),
            stop=stop,
        ),
        Settings() if options.workers is None else Settings(workers=options.workers),
        _liveness(options.suspect, options.lost),
    )


def _is_one_of(addresses: Iterable[str]) -> Callable[[str], bool]:
    """Return what tells whether a text is one of some addresses, whichever ports it leaves out."""
    known = {NodeAddress.parse(text) for text in addresses}

    def is_known(text: str) -> bool:
        try:
            return NodeAddress.parse(text) in known
        except StartRefused:
            return False

    return is_known


def _liveness(suspect_s: float, lost_s: float) -> Liveness:
    """Return when managers below count as lost.

    Raises:
        StartRefused: living ones could be taken for lost.
    """
    least_s = 1.5 * Liveness.beat_s
    if not least_s <= suspect_s < lost_s:
        reason = f"--suspect {suspect_s:g} --lost {lost_s:g} would lose managers that are there"
        remedy = f"they tell so every {Liveness.beat_s:g} s: suspect after {least_s:g} s or more, lose later"
        raise StartRefused(reason, remedy)
    return Liveness(suspect_s=suspect_s, lost_s=lost_s)


def _greet(manager: Assembled, access: Access, options: argparse.Namespace) -> None:
    level = manager.settings.level.value
    if options.json:
        told = {"level": level, "address": str(manager.address), "url": manager.url, "pid": os.getpid()}
        print(json.dumps(told | {"keys": str(access.directory)}), flush=True)
        return
    print(f"penstock {level} {manager.address}")
    print(f"  REST   {manager.url}")
    if access.token is None:
        print("  WARNING: --auth none: every process of this machine, of any user, may use it and run code")
    else:
        _tell_token(access, is_own=options.keys is None)
    if manager.settings.level is Level.NODE:
        print(f"  folder {manager.settings.work_directory}")
    print("  accepted is not yet durable: sessions live in memory, a manager that is restarted has none")
    sys.stdout.flush()


def _tell_token(access: Access, *, is_own: bool) -> None:
    """Say where the token is, and on a terminal what it is; what is written elsewhere may be read by others."""
    place = access.directory / "token"
    use = (
        "where commands of this user find it" if is_own else f"commands take it by --keys {access.directory}"
    )
    print(f"  token  in {place}, {use}")
    if sys.stdout.isatty():
        print(f"         {access.token}")


def _configure_logging(verbose: int) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
