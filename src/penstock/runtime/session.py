# SPDX-License-Identifier: Apache-2.0
"""One session on one node: the thin shell around a flow.

Decisions are the flow's, threads the runner's; the session makes drop objects when they are first touched,
runs apps, keeps what they left behind, and is the `Site` that drops ask.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from penstock.apps.process import GRACE_S
from penstock.config import Settings, child_environment
from penstock.drops.app import AppDrop
from penstock.drops.base import Drop, Linked, Side
from penstock.drops.data import Buffer, DataDrop
from penstock.drops.directory import DirectoryDrop
from penstock.drops.file import FileDrop
from penstock.engine.expiry import Expiry
from penstock.engine.flow import Flow
from penstock.engine.session import SessionEvent, advance
from penstock.engine.states import ENDED, AppState, DropState, SessionState
from penstock.errors import DropNotWritable, TimeLimitExceeded
from penstock.graph import analyse
from penstock.ids import SessionId
from penstock.runtime.blame import Blame
from penstock.runtime.build import Prepared
from penstock.runtime.capture import capturing, listen
from penstock.runtime.failures import Failure, Failures, in_a_line
from penstock.runtime.folder import Folder
from penstock.runtime.ghosts import NO_GHOSTS, Ghosts
from penstock.runtime.hearing import PieceEar, SlotEar
from penstock.runtime.isolation import Placement
from penstock.runtime.leaving import cancel_app, release, remove_data
from penstock.runtime.lifetimes import expiring
from penstock.runtime.linking import Neighbours
from penstock.runtime.logbook import Logbook
from penstock.runtime.objects import Objects, makers_of
from penstock.runtime.outside import Outside, Usage
from penstock.runtime.run import Runner
from penstock.runtime.slot import SETTLED, Delay, Settled, Slot
from penstock.wire.data import Region
from penstock.workers.pool import SlotState, WorkerPool

__all__ = ["Session"]

_REAP_S = 2.0
"""How long after a command's grace time its killed processes may take to be gone."""

_CUT_OFF = (AppState.ERROR, AppState.CANCELLED, AppState.SKIPPED)


class Session:
    """One execution of one graph on this node; meets `penstock.drops.base.Site`.

    Args:
        folder: the session's own folder; made by `deploy`.
        workers: a pool, and which drops run there; without it all run on threads.
        ghosts: which drops live on other nodes.

    Attributes:
        fetch: brings the content of data that was written on other nodes; set where there is such data.
        forward: takes the pieces that are written here and wanted elsewhere; likewise.
    """

    def __init__(
        self,
        session_id: SessionId,
        prepared: Prepared,
        folder: Folder,
        settings: Settings,
        workers: tuple[WorkerPool, Placement] | None = None,
        ghosts: Ghosts = NO_GHOSTS,
    ) -> None:
        self.session_id: str = session_id
        self.directory: Path = folder.directory
        self.environment: Mapping[str, str] = child_environment(session_id)
        self.state = SessionState.BUILDING
        self.prepared = prepared
        self.folder = folder
        self.failures = Failures(folder, settings)
        self.seconds = 0.0
        self.fetch: Callable[[int], None] | None = None
        self.forward: Callable[[int, memoryview], None] | None = None
        self._fetched = ghosts.fetched
        self._forwarded = ghosts.forwarded
        self._settings = settings
        self._graph = prepared.graph
        self._rules = prepared.rules
        self._objects = Objects(self._construct)
        self._neighbours = Neighbours(prepared.wiring, self._graph.drops.__getitem__)
        self._attempts: dict[int, int] = {}
        self._logbook = Logbook(folder, settings.log_bytes_per_drop)
        self._owned = ExitStack()
        self._kept = ExitStack()
        self._started_s = 0.0
        self._makers = makers_of(prepared)
        self.flow = Flow(
            prepared.wiring,
            prepared.rules,
            settling=prepared.settling,
            ends=prepared.ends,
            remote=ghosts.homes,
        )
        self._blame = Blame(self, self.failures, settings)
        self._runner = Runner(self.flow, self, prepared.class_of, settings)
        self._outside: Outside | None = None
        if workers is not None:
            pool, placement = workers
            self._outside = self._runner.elsewhere = Outside(self, self._runner, pool, placement)
        self._runner.expiry = Expiry(prepared.wiring, expiring(prepared)) or None

    # Life cycle

    def deploy(self) -> None:
        """Make the folder and get ready to run.

        Raises:
            DirectoryInUse: the folder is not absent or empty; the session can be deployed again.
        """
        self.state = advance(self.state, SessionEvent.DEPLOY_STARTED)
        self._started_s = time.perf_counter()
        try:
            self.folder.create()
        except BaseException:
            self.state = advance(self.state, SessionEvent.DEPLOY_FAILED)
            raise
        self.folder.write_start(self.session_id)
        self._owned.callback(self.folder.close)
        self._owned.callback(self._logbook.close)
        if self._settings.captures:
            self._owned.enter_context(capturing())
        if self._outside is not None:
            self._outside.start(self.directory, self.environment)
        self.state = advance(self.state, SessionEvent.DEPLOYED)

    def trigger(self, indices: Iterable[int] | None = None) -> None:
        """Complete data and start apps that nobody else starts; the roots of the graph by default."""
        roots = analyse.roots(self.prepared.wiring) if indices is None else indices
        with self._runner.lock:
            self.flow.trigger(roots)
            self._runner.spread()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the session has ended; False when the time was up first.

        A session that cannot go on, because what is left waits for somebody outside, ends as well.
        """
        if not self._runner.wait(lambda: self.flow.over, timeout_s):
            return False
        with self._runner.lock:
            if self.state is SessionState.RUNNING:
                self._end()
        return True

    @property
    def lock(self) -> threading.Lock:
        """Guards the flow. What says "the caller holds the lock" means this one; it is held for a few lines."""
        return self._runner.lock

    def watch(self, hear: Callable[[Sequence[int]], None], rest: Callable[[], None]) -> None:
        """Let others know, with the lock held, which drops end and that nothing runs; set before anything runs."""
        self._runner.hear, self._runner.rest = hear, rest

    def spread(self) -> None:
        """Let what the flow has made ready run. The caller holds the lock and has just told the flow something."""
        self._runner.spread()

    def is_quiet(self) -> bool:
        """Whether nothing runs, waits on a timer or is queued. The caller holds the lock."""
        return self._runner.is_quiet()

    def remote_ended(self, indices: Sequence[int], state: int) -> None:
        """Take note of how drops of other nodes have ended. The caller holds the lock."""
        self.flow.remote_ended(indices, state)
        self._runner.spread()

    def skip_rest(self) -> None:
        """Do what an EndDrop on another node does here. The caller holds the lock."""
        self.flow.skip_rest()
        self._runner.spread()

    def _end(self) -> None:
        stalled = [] if self.flow.leaves_have_ended() else list(self.flow.waiting())
        if stalled:
            self.failures.stalled([self.uid(i) for i in stalled])
        elif not self.flow.closed:
            self.flow.conclude()
        self._advance_to_end(failed=bool(stalled) or self.flow.has_failed())

    def conclude(self, *, failed: bool) -> None:
        """End the session, of which nothing on any node can go on. The caller holds the lock."""
        if not self.flow.closed:
            self.flow.conclude()
        self._advance_to_end(failed=failed)

    def _advance_to_end(self, *, failed: bool) -> None:
        self.seconds = time.perf_counter() - self._started_s
        event = SessionEvent.ENDED_WITH_ERRORS if failed else SessionEvent.ENDED_WELL
        self.state = advance(self.state, event)
        self._runner.spread()

    def cancel(self, *, failed: bool = False) -> None:
        """End everything that has not ended; commands are killed, Python code is left to itself.

        Args:
            failed: the session has failed for a reason outside of this node; else somebody wanted it to end.
        """
        with self._runner.lock:
            if self.state in (SessionState.FINISHED, SessionState.FAILED):
                return
            event = SessionEvent.ENDED_WITH_ERRORS if failed else SessionEvent.CANCELLED
            self.state = advance(self.state, event)
            self.seconds = time.perf_counter() - self._started_s
            self.flow.cancel()
            running = self._runner.stop()
            self._runner.spread()
            if self._outside is not None:
                self._outside.cancel()
        streaming = [drop for drop in self._objects.all() if isinstance(drop, AppDrop)]
        for app in {id(app): app for app in (*running, *streaming)}.values():
            self._cancel_app(app)

    def close(self) -> None:
        """End all threads and files. Results can be read afterwards."""
        drops = self._objects.all()
        apps = [drop for drop in drops if isinstance(drop, AppDrop)]
        for app in apps:  # where an EndDrop ended the session, or nobody ended it
            self._cancel_app(app)
        if self._outside is not None:
            self._outside.close(self._settings.grace_s + _REAP_S)
        self._runner.close(self._settings.abandon_s, max(self._settings.close_s, GRACE_S + _REAP_S))
        for app in apps:
            self._objects.forget(app.index)
        files = [drop for drop in drops if isinstance(drop, DataDrop)]
        incomplete = [drop for drop in files if drop.status != DropState.COMPLETED]
        # Code that hangs in a drop's `write` may hold the drop's lock for ever: then its file is its own.
        release(incomplete, self._logbook.write, self._settings.abandon_s if self.abandoned else None)
        self._owned.close()

    def own(self, close: Callable[[], None]) -> None:
        """Let something be closed at the end of `close`, after all else."""
        self._owned.callback(close)

    def let_go(self) -> None:
        """Give back what workers wrote to data in memory; it cannot be read afterwards."""
        if self._outside is not None:
            self._outside.contents.free_all()
        self._kept.close()

    def age_s(self) -> float:
        """How long the session has run, or ran until it ended; seconds."""
        return self.seconds or (time.perf_counter() - self._started_s if self._started_s else 0.0)

    def clear(self) -> None:
        """Remove the session's folder but for the data that its graph wants kept (`persist`), after `close`."""
        stored = [issubclass(cls, FileDrop | DirectoryDrop) for cls in self.prepared.classes]
        indices = [i for i, n in enumerate(self.prepared.class_of) if stored[n]] if any(stored) else []
        kept = remove_data(self._data(i) for i in indices)
        self.folder.remove(keep_data=kept)

    def keep(self, close: Callable[[], None]) -> None:
        """Let something be closed when nobody reads the session's data any more."""
        self._kept.callback(close)

    @property
    def abandoned(self) -> int:
        """How many threads still run code that could not be stopped."""
        return sum(thread.is_alive() for thread in self._runner.abandoned)

    @property
    def nursery_pid(self) -> int:
        """The process that ends all workers when this one is gone; 0 where there is none."""
        return 0 if self._outside is None else self._outside.pool.nursery_pid

    def note(self, index: int, stream: str, text: str) -> None:
        """Add to the log of a drop."""
        self._logbook.write(self.uid(index), stream, text)

    def close_page(self, index: int) -> None:
        """Write the end of a drop's log; it prints no more."""
        self._logbook.close_page(self.uid(index))

    def find_data(self, index: int) -> DataDrop | None:
        """Return the object of a data drop where there is one."""
        drop = self._objects.find(index)
        return drop if isinstance(drop, DataDrop) else None

    def counts(self) -> Mapping[DropState, int]:
        """Return how many drops are in each state now."""
        return {state: self.flow.state.count(state) for state in DropState}

    def slots(self) -> list[tuple[SlotState, str]]:
        """Return the worker processes as they are now, each with the drop that runs there, "" for none."""
        if self._outside is None:
            return []
        return [(row, self.uid(index) if index >= 0 else "") for row, index in self._outside.slots()]

    @property
    def usage(self) -> Mapping[int, Usage]:
        """What executions in worker processes took, by drop; the last one of each."""
        return {} if self._outside is None else self._outside.usage

    # What the runner asks (runtime.run.Work)

    def start_thread(self, slot: Slot) -> None:
        listen(SlotEar(self, slot))

    def execute(self, index: int, slot: Slot) -> Delay | Settled | None:
        outcome: Delay | Settled | None = None
        make = self._makers[self.prepared.class_of[index]]
        if make is not None:  # the common path: nothing special about this class or any drop of it
            make(self, index).run()
        elif not self.flow.is_app(index):
            if index in self._fetched and self.fetch is not None:
                self.fetch(index)
            self._data(index).settle()
            outcome = SETTLED
        else:
            outcome = self._execute_special(index, slot)
        if slot.noisy:
            slot.noisy = False
            if not isinstance(outcome, Delay):
                self._logbook.close_page(self.uid(index))
        return outcome

    def _execute_special(self, index: int, slot: Slot) -> Delay | None:
        is_new = index not in self._objects  # else it waited on a timer, or has taken pieces of a stream
        limit_s = self._rules.time_limit_s.get(index)
        slot.app = None
        if is_new and limit_s is not None:
            self._runner.limit(index, limit_s)
        app = self._app(index)
        slot.app = app
        # Who ends an app first writes its state and then looks at `slot.app`; so one of us sees the other.
        if self.flow.execution[index] != AppState.RUNNING:
            self._objects.forget(index)
            return None
        if is_new:
            delay_s = app.delay_s() if app.delayed else 0.0
            if delay_s > 0:
                return Delay(delay_s)
        delay = self._try(app, self._rules.tries.get(index, 1))
        if delay is None:
            self._objects.forget(index)
        return delay

    def _try(self, app: AppDrop, tries: int) -> Delay | None:
        try:
            app.run()
        except Exception as error:  # the boundary to user code; the last error goes on to the runner
            attempt = self._attempts[app.index] = self._attempts.get(app.index, 0) + 1
            if attempt >= tries or app.exec_status != AppState.RUNNING:
                raise
            return Delay(self.tell_retry(app.index, attempt, in_a_line(error)))
        return None

    def tell_retry(self, index: int, attempt: int, reason: str) -> float:
        """Take note that an app failed and is tried again; return after how many seconds."""
        return self._blame.retry(index, attempt, reason)

    def failed(self, index: int, error: BaseException) -> None:
        if self.flow.is_app(index):
            self._objects.forget(index)
        self._logbook.close_page(self.uid(index))
        # One that was cancelled or skipped is not to blame; one in ERROR failed by itself, or that is already told.
        if self.status(index) not in ENDED or self.status(index) == DropState.ERROR:
            self._blame.error(index, error)

    def overdue(self, index: int) -> None:
        self._blame.error(index, TimeLimitExceeded(self.uid(index), self._rules.time_limit_s[index]))

    def tell_failure(self, index: int, failure: Failure) -> None:
        """Take note of a drop's failure, once."""
        self._blame.failure(index, failure)

    def expired(self, index: int) -> None:
        if self._outside is not None:
            self._outside.contents.free(index)
        drop = self._objects.forget(index)
        if isinstance(drop, DataDrop):
            drop.delete()

    def stop(self, index: int, app: AppDrop | None) -> None:
        if self._outside is not None:
            self._outside.stop(index)
        kept = self._objects.forget(index)
        for drop in {id(drop): drop for drop in (app, kept) if isinstance(drop, AppDrop)}.values():
            self._cancel_app(drop)

    def _cancel_app(self, app: AppDrop) -> None:
        cancel_app(app, self._logbook.write, self._settings.abandon_s)

    # Drop objects

    def drop(self, index: int) -> Drop:
        """Return the object of a drop; that of an app is made anew unless it runs or takes a stream."""
        return (
            self._objects.find(index) or self._objects.make(index)
            if self.flow.is_app(index)
            else self._data(index)
        )

    def _data(self, index: int) -> DataDrop:
        return cast("DataDrop", self._objects.keep(index))

    def _app(self, index: int) -> AppDrop:
        return cast("AppDrop", self._objects.keep(index))

    def _construct(self, index: int) -> Drop:
        return self.prepared.classes[self.prepared.class_of[index]](self, index)

    # What drops ask (drops.base.Site)

    def uid(self, index: int) -> str:
        return self._graph.drops[index].key

    def fields(self, index: int) -> Mapping[str, Any]:
        return self._graph.fields(index)

    def status(self, index: int) -> DropState:
        return DropState(self.flow.state[index])

    def execution(self, index: int) -> AppState:
        return AppState(self.flow.execution[index])

    def linked(self, index: int, side: Side) -> tuple[Linked, ...]:
        return self._neighbours.linked(index, side, self.drop)

    def stored(self, index: int) -> Buffer | None:
        return None if self._outside is None else self._outside.contents.view(index)

    def region(self, index: int) -> Region | None:
        """Return where in shared memory the content of data is, None where it is not there; the caller closes it."""
        return None if self._outside is None else self._outside.contents.region(index)

    def place(self, index: int, parts: Sequence[Buffer]) -> memoryview | None:
        del index, parts  # drops keep it; it is placed when a worker wants it
        return None

    def writing(self, index: int, data: memoryview) -> bool:
        state = self.flow.state[index]
        if state == DropState.INITIALIZED:
            with self._runner.lock:
                state = self.flow.state[index]
                if state <= DropState.WRITING:
                    self.flow.data_writing(index)
        if state > DropState.WRITING:
            raise DropNotWritable(self.uid(index), f"is {DropState(state).name} and takes no more data")
        if index in self._forwarded and self.forward is not None:
            self.forward(index, data)
            return True
        return False

    def written(self, index: int, data: memoryview) -> None:
        goes_elsewhere = False
        for app_index in self.prepared.wiring.streaming.get(index, ()):
            if self.flow.is_remote(app_index):
                goes_elsewhere = True
            else:
                self._stream(app_index, index, data)
        if goes_elsewhere and self.forward is not None:
            self.forward(index, data)

    def deliver(self, index: int, data: memoryview) -> None:
        """Hand a piece that was written on another node to the streaming consumers that live here."""
        for app_index in self.prepared.wiring.streaming.get(index, ()):
            if not self.flow.is_remote(app_index):
                self._stream(app_index, index, data)

    def _stream(self, index: int, data_index: int, data: memoryview) -> None:
        if self.flow.execution[index] == AppState.NOT_RUN:
            with self._runner.lock:
                started = self.flow.stream_started(index)
            if started and index in self._rules.time_limit_s:
                self._runner.limit(index, self._rules.time_limit_s[index])
        if self.flow.execution[index] != AppState.RUNNING:
            return
        if self._outside is not None and self._outside.away[index]:
            self._outside.push(index, data_index, data)
            return
        writer = listen(PieceEar(self, index))
        try:
            app = self._app(index)
            app.data_written(self.uid(data_index), data)
        except BaseException as error:  # noqa: BLE001  the boundary to user code; the writer is not to blame
            kept = self._objects.find(index)
            self.failed(index, error)
            if isinstance(kept, AppDrop):
                self._cancel_app(kept)
            with self._runner.lock:
                self.flow.app_failed(index)
                self._runner.spread()
        else:
            # Who ends an app first writes its state and then cancels what it finds; this one may have come later.
            if self.flow.execution[index] in _CUT_OFF:
                self._objects.forget(index)
                self._cancel_app(app)
        finally:
            listen(writer)

    def completed(self, index: int) -> None:
        with self._runner.lock:
            self.flow.data_completed(index)
            self._runner.spread()

    def skip(self, index: int) -> None:
        with self._runner.lock:
            self.flow.skip(index)
            self._runner.spread()
