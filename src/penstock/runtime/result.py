# SPDX-License-Identifier: Apache-2.0
"""Run a graph here and now, and what is left afterwards."""

import hashlib
import uuid
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from penstock.config import Settings
from penstock.drops.data import DataDrop
from penstock.engine.states import AppState, DropState, SessionState
from penstock.errors import DropNotReadable
from penstock.graph.cutting import TURN
from penstock.graph.links import APP
from penstock.ids import parse_session_id
from penstock.runtime.build import GraphSource, Prepared, prepare
from penstock.runtime.failures import Failure
from penstock.runtime.folder import Folder, encodable
from penstock.runtime.isolation import Isolation
from penstock.runtime.places import find_places
from penstock.runtime.session import Session
from penstock.wire.arena import Arena
from penstock.workers.pool import PoolSettings, WorkerPool

__all__ = ["PRELOAD", "RUNS", "RunResult", "deploy", "finish", "new_session", "run"]

RUNS = Path("penstock-runs")
"""Where sessions put their folders unless told otherwise, under the current folder."""

_CHUNK_BYTES = 1 << 20

PRELOAD = ("penstock.runtime.inside", "penstock.apps.python", "dill")
"""What all worker processes need, imported once for all of them; besides what the classes of a graph name."""


class RunResult:
    """What a finished session left behind; data in memory is kept as long as this object is."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._graph = session.prepared.graph
        # Now, not when the collector comes by: it counts objects, and one of them may hold gigabytes.
        weakref.finalize(self, session.let_go).atexit = False

    @property
    def session_id(self) -> str:
        """The id of the session."""
        return self._session.session_id

    @property
    def status(self) -> str:
        """FINISHED, FAILED or CANCELLED."""
        return self._session.state.name

    @property
    def ok(self) -> bool:
        """Whether all went well."""
        return self._session.state is SessionState.FINISHED

    @property
    def seconds(self) -> float:
        """Time from deploy to the end."""
        return self._session.seconds

    @property
    def directory(self) -> Path:
        """The session's own folder."""
        return self._session.directory

    @property
    def states(self) -> Mapping[str, tuple[DropState, AppState | None]]:
        """The state of each drop, and of the execution where it is an app."""
        return {
            uid: (DropState(state), None if run is None else AppState(run))
            for uid, state, run in self._rows()
        }

    @property
    def errors(self) -> tuple[Failure, ...]:
        """What failed by itself, in the order of time; see `absorbed` for what did not matter."""
        return self._session.failures.kept

    @property
    def absorbed(self) -> list[str]:
        """The failed drops whose failure was borne by the error thresholds of all apps behind them."""
        wiring, state = self._session.prepared.wiring, self._session.flow.state
        borne: set[int] = set()
        failed = [i for i, s in enumerate(state) if s == DropState.ERROR]
        for i in sorted(
            failed, key=lambda i: wiring.kinds[i] == APP
        ):  # data first: apps are judged by their outputs
            row = wiring.after[i]
            if wiring.kinds[i] == APP:
                is_borne = all(state[j] != DropState.ERROR or j in borne for j in row)
            else:
                is_borne = all(state[j] != DropState.ERROR for j in row)
            if row and is_borne:
                borne.add(i)
        return [self._graph.drops[i].key for i in sorted(borne)]

    @property
    def notes(self) -> list[str]:
        """What the user should know besides: log lines lost to a full disk, code that could not be stopped."""
        left = self._session.abandoned
        running = f"{left} thread(s) still run an app that cannot be stopped; they end with this process"
        trouble = self._session.folder.trouble
        return ([trouble] if trouble else []) + ([running] if left else [])

    def log(self, uid: str) -> str:
        """Return what a drop printed and logged.

        Raises:
            KeyError: the graph has no such drop.
        """
        if uid and uid not in self._graph.index:
            raise KeyError(uid)
        lines = self._session.folder.read_lines("log.jsonl")
        return "".join(str(line["text"]) for line in lines if line["drop"] == uid)

    def read(self, uid: str) -> bytes:
        """Return the content of a data drop.

        Raises:
            KeyError: the graph has no such drop.
            DropNotReadable: it is no data, or holds none.
        """
        drop = self._session.drop(self._graph.index[uid])
        if not isinstance(drop, DataDrop):
            raise DropNotReadable(uid, "is an app, only data can be read")
        return drop.read()

    def outputs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield uid and {"url", "size", "sha256"} of each data drop that holds data; devices and pipes are not read."""
        flow = self._session.flow
        for i, state in enumerate(flow.state):
            if state == DropState.COMPLETED and not flow.is_app(i):
                drop = self._session.drop(i)
                if isinstance(drop, DataDrop) and drop.holds_bytes:
                    with suppress(DropNotReadable):  # a device, a pipe, or removed since
                        yield drop.uid, {"url": drop.url, **_digest(drop)}

    @cached_property
    def outcome(self) -> dict[str, Any]:
        """What `penstock run --json` prints, without outputs: plain JSON values."""
        return {**self._head(), "drops": dict(self._entries())}

    def _head(self) -> dict[str, Any]:  # Any: plain JSON values
        head: dict[str, Any] = {
            "session": self.session_id,
            "status": self.status,
            "seconds": round(self.seconds, 6),
            "directory": encodable(str(self.directory)),
        }
        if absorbed := self.absorbed:
            head["absorbed"] = absorbed
        return head

    def _entries(self) -> Iterator[tuple[str, dict[str, Any]]]:  # Any: plain JSON values
        usages = self._session.usage
        for index, (uid, state, run) in enumerate(self._rows()):
            entry: dict[str, Any] = {"status": state, "execStatus": run}
            if usage := usages.get(index):
                entry["worker"] = {
                    "slot": usage.slot,
                    "pid": usage.pid,
                    "seconds": round(usage.seconds, 6),
                    "peakKiB": usage.peak_kib,
                }
            yield uid, entry

    def write(self) -> None:
        """Write `outcome` to the session's folder, some drops at a time, and keep nothing of it."""
        self._session.folder.write_outcome(self._texts())

    def _texts(self) -> Iterator[bytes]:
        yield msgspec.json.encode(self._head())[:-1] + b',"drops":{'
        entries, comma = self._entries(), b""
        while some := dict(islice(entries, TURN)):
            yield comma + msgspec.json.encode(some)[1:-1]
            comma = b","
        yield b"}}"

    def _rows(self) -> Iterator[tuple[str, int, int | None]]:
        flow, kinds = self._session.flow, self._session.prepared.wiring.kinds
        for spec, kind, state, run in zip(self._graph.drops, kinds, flow.state, flow.execution, strict=True):
            yield spec.key, state, run if kind == APP else None

    def __repr__(self) -> str:
        return f"<RunResult {self.session_id} {self.status} in {self.seconds:.3f} s, {self.directory}>"


def _digest(drop: DataDrop) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with drop.open() as reader:
        while chunk := reader.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return {"size": size, "sha256": digest.hexdigest()}


def run(
    graph: GraphSource,
    *,
    session_id: str | None = None,
    workers: int | None = None,
    isolation: Isolation | None = None,
    directory: str | Path | None = None,
    timeout_s: float | None = None,
) -> RunResult:
    """Run a physical graph on this machine to its end.

    Args:
        graph: path of a JSON file, list of dicts, or `Graph`.
        session_id: name of the session; made up unless given.
        workers: how many apps run at once; by default as many as there are cores, at least 8.
        isolation: where apps run, "thread" or "process"; by default users' code runs in worker processes, and
            built-in apps that are cheap and safe on threads.
        directory: the session's own folder, absent or empty; `./penstock-runs/<id>` by default.
        timeout_s: seconds after which the session is cancelled.
    Raises:
        GraphInvalid: with everything that is wrong with the graph.
        SessionIdInvalid: the id could leave its folder.
        DirectoryInUse: the folder is not absent or empty.
    """
    session = new_session(
        graph, session_id=session_id, workers=workers, isolation=isolation, directory=directory
    )
    deploy(session)
    try:
        session.trigger()
        session.wait(timeout_s)
    finally:
        result = finish(session)
    return result


def deploy(session: Session) -> None:
    """Deploy a session, or end what was made for it.

    Raises:
        DirectoryInUse: its folder is not absent or empty.
    """
    try:
        session.deploy()
    except BaseException:
        session.close()
        raise


def finish(session: Session) -> RunResult:
    """End a session, cancelled unless it has ended by itself, and write what is known of it to its folder."""
    session.cancel()
    session.close()
    result = RunResult(session)
    session.folder.write_session(result.outcome)
    return result


def new_session(
    graph: GraphSource,
    *,
    session_id: str | None = None,
    workers: int | None = None,
    isolation: Isolation | None = None,
    directory: str | Path | None = None,
) -> Session:
    """Make a session that can be deployed; arguments and errors as in `run`."""
    name = parse_session_id(_new_id() if session_id is None else session_id)
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; it must be 1 or more")
    settings = Settings() if workers is None else Settings(workers=workers)
    prepared = prepare(graph, import_users=isolation == "thread")
    folder = Folder(Path(directory).absolute() if directory is not None else (RUNS / name).absolute())
    pool = _new_pool(prepared, settings)
    try:
        prepared, placement = find_places(prepared, pool, isolation, name)
        crew = None if placement is None else (pool, placement)
        session = Session(name, prepared, folder, settings, crew)
    except BaseException:
        pool.close()
        pool.arena.close()  # for whoever keeps the error keeps all that its traceback shows
        raise
    session.own(pool.close)
    session.keep(pool.arena.close)
    return session


def _new_pool(prepared: Prepared, settings: Settings) -> WorkerPool:
    """Return a pool for one session; it starts nothing before there is work."""
    return WorkerPool(
        PoolSettings(
            slots=settings.workers,
            grace_s=settings.grace_s,
            preload=(*PRELOAD, *sorted({name for cls in prepared.classes for name in cls.libraries})),
        ),
        Arena(settings.shared_bytes),
    )


def _new_id() -> str:
    return uuid.uuid4().hex[:8]
