# SPDX-License-Identifier: Apache-2.0
"""A session as the customer of a pool: sends its apps to worker processes and takes what comes of them.

The counterpart in the children is `inside.py`; `messages.py` has what passes between the two.

Rule 1: the flow alone knows states. An app counts as running from when it is sent; one that is taken back
        before it ran counts as never begun.
Rule 2: `out` holds the drops whose outcome is awaited, guarded by the runner's lock. What comes of a drop that
        is not in it comes too late and changes nothing.
Rule 3: all methods of `Customer` run on the pool's thread and do not wait. What may wait is done by threads of
        `requests.py`.

Beside it: `contents.py` (what data in memory holds), `streams.py` (apps that take streams), `requests.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from penstock.config import RESERVED
from penstock.drops.data import DataDrop
from penstock.drops.memory import MemoryDrop
from penstock.engine.states import AppState, DropState
from penstock.errors import ArenaFull, PoolBroken, WorkerDied
from penstock.runtime.build import Prepared
from penstock.runtime.contents import Contents
from penstock.runtime.failures import Failure, failure_of
from penstock.runtime.image import image_parts
from penstock.runtime.isolation import Placement
from penstock.runtime.lookup import ENTRY
from penstock.runtime.mainscope import save_main
from penstock.runtime.messages import (
    FINISH,
    RUN,
    SETTLE,
    Content,
    Report,
    Setup,
    Task,
    decode_report,
    encode,
)
from penstock.runtime.requests import Asked, Requests
from penstock.runtime.run import Runner
from penstock.runtime.streams import FIRST_PIECE, Streams
from penstock.wire.arena import Block
from penstock.workers.customer import Answer, Begun, Death, Job, Outcome
from penstock.workers.frames import Status
from penstock.workers.pool import Holder, SlotState, WorkerPool

__all__ = ["Host", "Outside", "Usage"]


class Host(Asked, Protocol):
    """What is asked of the session."""

    session_id: str
    prepared: Prepared

    def find_data(self, index: int) -> DataDrop | None: ...
    def close_page(self, index: int) -> None: ...
    def uid(self, index: int) -> str: ...
    def tell_failure(self, index: int, failure: Failure) -> None: ...
    def tell_retry(self, index: int, attempt: int, reason: str) -> float: ...


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What one execution in a worker took: peak memory is that of the process meanwhile, in KiB."""

    slot: int
    pid: int
    seconds: float
    peak_kib: int


class Outside:
    """Meets `penstock.workers.customer.Customer`, and `penstock.runtime.slot.Away` for the runner.

    Args:
        host: the session.
        runner: the session's; its lock guards the flow.
        placement: what runs in workers.

    Attributes:
        pool: whose customer this is.
        contents: of data in memory.
        usage: what executions in workers took, by drop.
    """

    def __init__(self, host: Host, runner: Runner, pool: WorkerPool, placement: Placement) -> None:
        self.away = placement.away
        self.out: set[int] = set()
        self.pool = pool
        self.usage: dict[int, Usage] = {}
        self._host = host
        self._runner = runner
        self._placement = placement
        self._wiring = host.prepared.wiring
        self._rules = host.prepared.rules
        self._in_memory = [issubclass(cls, MemoryDrop) for cls in host.prepared.classes]
        self.contents = Contents(pool.arena, host.flow, self._wiring, host.find_data)
        self._streams = Streams(pool.arena, self.contents)
        self._requests = Requests(host, pool.arena, self.contents)
        self._attempts: dict[int, int] = {}
        self._heard: set[int] = set()
        self._holder: Holder | None = None
        self._image: Block | None = None

    def start(self, directory: Path, environment: Mapping[str, str]) -> None:
        """Make the graph's image and become a customer of the pool.

        Raises:
            ArenaFull: there is no room for the image.
            PoolBroken: the pool cannot go on.
        """
        prepared, wiring = self._host.prepared, self._wiring
        spill = self.contents.spill = directory / RESERVED
        self._image = image = self.contents.place(image_parts(prepared))
        setup = Setup(
            self._host.session_id,
            str(directory),
            dict(environment),
            prepared.names,
            (image.segment, image.offset, image.size),
            wiring.streaming,
            wiring.children,
            save_main(prepared.graph.text),
        )
        name = f"session {self._host.session_id}"
        self._holder = self.pool.open(name, ENTRY, encode(setup), self, setup_blocks=(image,), spill=spill)

    # For the runner; called with its lock held

    def send(self, indices: Iterable[int]) -> None:
        """Let drops be run or settled by workers."""
        assert self._holder is not None
        jobs, placement = [], self._placement
        for i in indices:
            self.out.add(i)
            if i in self._streams:
                self._streams.finish(i)
            else:
                alone = i in self._rules.time_limit_s
                jobs.append(Job(i, placement.kinds[i], placement.widths.get(i, 1), alone))
        if jobs:
            self._holder.submit(jobs)

    def give_up(self, index: int, cause: str) -> bool:
        """End a drop that is out, or takes a stream; False where there is nothing to end."""
        if self._streams.kill(index, cause):
            self.out.discard(index)
            return True
        if index not in self.out or self._holder is None:
            return False
        self.out.discard(index)
        self._holder.kill(index, cause)
        return True

    # For the session

    def cancel(self) -> None:
        """End everything that is out. The caller holds the runner's lock."""
        self.out.clear()
        if self._holder is not None:
            self._holder.cancel("the session was cancelled")
        self._streams.end("the session was cancelled")

    def stop(self, index: int) -> None:
        """End a resident app that must not go on."""
        self._streams.kill(index, "its inputs failed")

    def close(self, timeout_s: float) -> bool:
        """End what is left and wait for it; False when it did not end in time."""
        self._streams.close("the session ended")
        ended = True
        if self._holder is not None:
            ended = self._holder.close(timeout_s, "the session ended")
        if self._image is not None:
            self.pool.arena.free(self._image)
            self._image = None
        self._requests.close(wait=ended)
        return ended

    def slots(self) -> list[tuple[SlotState, int]]:
        """Return the pool's slots that have a process, each with the drop of this session that runs there, or -1."""
        rows = [row for row in self.pool.slots() if row.pid]
        return [(row, self._index_of(row.ident)) for row in rows]

    def _index_of(self, ident: int) -> int:
        return ident if ident < FIRST_PIECE else self._streams.app_of(ident)

    def push(self, index: int, data: int, piece: memoryview) -> None:
        """Give an app one piece of a stream; waits while it has too many before it."""
        assert self._holder is not None
        self._streams.push(index, data, piece, self._holder)

    # Customer: what is sent

    def begin(self, idents: Sequence[int]) -> Sequence[Begun]:
        if idents[0] >= FIRST_PIECE:
            return [self._begin_piece(ident) for ident in idents]
        with self._runner.lock:
            begun = self._host.flow.begin([i for i in idents if i in self.out])
            self.out.difference_update(set(idents) - set(begun))
            self._runner.spread()
        sent = []
        for i in begun:
            try:
                sent.append(self._task(i))
            except ArenaFull as error:
                self._fail(i, failure_of(self._host.uid(i), error))
            else:
                if i in self._rules.time_limit_s:
                    self._runner.limit(i, self._rules.time_limit_s[i])
        return sent

    def _begin_piece(self, ident: int) -> Begun:
        task, blocks = self._streams.task(ident)
        if task.kind == FINISH:
            with self._runner.lock:
                self._host.flow.begin([task.index])
            task, blocks = self._filled(FINISH, task.index)
        return Begun(ident, encode(task), blocks)

    def _task(self, index: int) -> Begun:
        kind = RUN if self._host.flow.is_app(index) else SETTLE
        task, blocks = self._filled(kind, index)
        return Begun(index, encode(task), blocks)

    def _filled(self, kind: int, index: int) -> tuple[Task, list[Block]]:
        """Return a task with what the child cannot know: odd states of the inputs, and contents in memory."""
        state, class_of, in_memory = self._host.flow.state, self._host.prepared.class_of, self._in_memory
        states: dict[int, int] = {}
        contents: dict[int, Content] = {}
        blocks: list[Block] = []
        for i in self._wiring.before[index] if kind != SETTLE else ():
            if state[i] != DropState.COMPLETED:
                states[i] = state[i]
            if in_memory[class_of[i]]:
                content = self.contents.of(i)
                if isinstance(content, Block):
                    blocks.append(content)
                contents[i] = content
        return Task(kind, index, states, contents), blocks

    def returned(self, idents: Sequence[int]) -> None:
        with self._runner.lock:
            self._host.flow.recalled(i for i in idents if i < FIRST_PIECE)

    # Customer: what comes back

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        finished: list[int] = []
        for outcome in outcomes:
            index = outcome.ident
            if index >= FIRST_PIECE:
                app = self._streams.taken(index, is_over=outcome.status != Status.GOOD)
                if app is None:
                    continue
                index = app
                self._await(app)
            report = self._opened(index, outcome)
            if not self._take(index, report, outcome):
                continue
            if index in self._heard:
                self._heard.discard(index)
                self._host.close_page(index)
            if report.failure is not None:
                self._fail_or_retry(index, report.failure)
            else:
                finished.append(index)
        if finished:
            self._finish(finished)

    def _await(self, app: int) -> None:
        """Let the end of a resident app count, also of one that ends before its stream."""
        with self._runner.lock:
            if self._host.flow.execution[app] == AppState.RUNNING:
                self.out.add(app)

    def _opened(self, index: int, outcome: Outcome) -> Report:
        if outcome.status == Status.BROKEN:
            text = outcome.body.decode(errors="replace")
            return Report({}, Failure(self._host.uid(index), "WorkerBroken", text))
        try:
            report = decode_report(outcome.body)
        except msgspec.MsgspecError as exc:
            return Report(
                {}, Failure(self._host.uid(index), "WorkerBroken", f"its outcome is no report: {exc}")
            )
        if all(self._may_tell(index, i, content, outcome) for i, content in report.contents.items()):
            return report
        return Report(
            {}, Failure(self._host.uid(index), "WorkerBroken", "its outcome tells of data of others")
        )

    def _may_tell(self, index: int, data: int, content: Content, outcome: Outcome) -> bool:
        """Whether an outcome may bring this content: of an output, in memory that its item has asked for."""
        is_own = data == index or data in self._wiring.after[index]
        return is_own and (isinstance(content, bytes) or content in outcome.blocks)

    def _take(self, index: int, report: Report, outcome: Outcome) -> bool:
        """Keep what an outcome brought; False where it comes too late."""
        is_awaited = index in self.out
        if outcome.blocks:
            mentioned = report.contents.values() if is_awaited else ()
            for block in outcome.blocks:
                if tuple(block) not in mentioned:
                    self.pool.arena.free(block)
        if not is_awaited:
            return False
        self.usage[index] = Usage(outcome.slot, outcome.pid, outcome.seconds, outcome.peak_kib)
        if report.failure is None:
            for i, content in report.contents.items():
                self.contents.keep(i, content)
        if report.unsettled:
            for i, failure in report.unsettled.items():
                self._host.tell_failure(i, failure)
                with self._runner.lock:
                    self._host.flow.data_failed(i)
        return True

    def _finish(self, indices: list[int]) -> None:
        flow = self._host.flow
        with self._runner.lock:
            self.out.difference_update(indices)
            apps = [i for i in indices if flow.is_app(i)]
            flow.apps_finished(apps)
            if len(apps) != len(indices):
                for i in indices:
                    if not flow.is_app(i):
                        flow.data_completed(i)
            self._runner.spread()

    def _fail_or_retry(self, index: int, failure: Failure) -> None:
        tries, attempt = self._rules.tries.get(index, 1), self._attempts.get(index, 0) + 1
        self._attempts[index] = attempt
        if attempt >= tries or index in self._streams:
            self._fail(index, failure)
            return
        pause_s = self._host.tell_retry(index, attempt, f"{failure.error}: {failure.message}")
        with self._runner.lock:
            if index in self.out:
                self.out.discard(index)
                self._runner.pause(index, pause_s)

    def _fail(self, index: int, failure: Failure) -> None:
        self._host.tell_failure(index, failure)
        flow = self._host.flow
        with self._runner.lock:
            if index in self.out:
                self.out.discard(index)
                if flow.is_app(index):
                    flow.app_failed(index)
                else:
                    flow.data_failed(index)
            self._runner.spread()

    def died(self, ident: int, death: Death) -> None:
        index = ident
        if ident >= FIRST_PIECE:
            app = self._streams.lost(ident)
            if app is None:
                return
            index = app
            self._await(app)
        if death.pid:
            self.usage[index] = Usage(death.slot, death.pid, death.seconds, 0)
        if index not in self.out:
            return
        uid = self._host.uid(index)
        if death.again:
            with self._runner.lock:
                self._host.flow.recalled((index,))
            self._host.note(index, "penstock", f"its worker process {death}; it is run again\n")
            return
        self._host.close_page(index)
        self._fail(index, failure_of(uid, WorkerDied(uid, str(death), death.deaths)))

    def said(self, ident: int, stream: str, text: str) -> None:
        index = self._index_of(ident)
        self._heard.add(index)
        self._host.note(index, stream, text)

    def broken(self, reason: str) -> None:
        self._streams.end(reason)
        self._runner.end_with(PoolBroken(reason))

    def asked(self, ident: int, body: bytes, answer: Answer) -> Sequence[Block]:
        del ident  # a request says which drop it means
        return self._requests.take(body, answer)
