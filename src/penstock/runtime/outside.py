# SPDX-License-Identifier: Apache-2.0
"""A session as the customer of a pool: sends its apps to worker processes and takes what comes of them.

The counterpart in the children is `inside.py`; `messages.py` has what passes between the two.

Rule 1: the flow alone knows states. An app counts as running from when it is sent; one that is taken back
        before it ran counts as never begun.
Rule 2: `out` holds the drops whose outcome is awaited, guarded by the runner's lock. What comes of a drop that
        is not in it comes too late and changes nothing.
Rule 3: all methods of `Customer` run on the pool's thread and do not wait. What may wait, because it writes
        data or calls apps of this process, is done by threads of `_requests`.
Rule 4: contents are bytes or blocks of shared memory, never opened here.
"""

import pickle
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import msgspec

from penstock.config import RESERVED
from penstock.drops.base import Drop
from penstock.drops.data import Buffer, DataDrop
from penstock.drops.memory import MemoryDrop
from penstock.engine.flow import Flow
from penstock.engine.states import AppState, DropState
from penstock.errors import ArenaFull, PoolBroken, WorkerDied
from penstock.runtime.build import Prepared
from penstock.runtime.failures import Failure, failure_of
from penstock.runtime.image import image_parts
from penstock.runtime.isolation import Placement
from penstock.runtime.mainscope import save_main
from penstock.runtime.messages import (
    FINISH,
    PIECE,
    RUN,
    SETTLE,
    Content,
    Report,
    Request,
    Setup,
    Task,
    decode_report,
    decode_request,
    encode,
    to_content,
)
from penstock.runtime.run import Runner
from penstock.wire.arena import Block
from penstock.workers.customer import Answer, Begun, Death, Job, Outcome
from penstock.workers.frames import Status
from penstock.workers.pool import Dedicated, Holder, SlotState, WorkerPool

__all__ = ["Host", "Outside", "Usage"]

_ENTRY = "penstock.runtime.inside:main"
_INLINE_BYTES = 1 << 15
_PIECES_AHEAD = 16
_PIECES_BYTES = 1 << 20
_MOST_REQUESTS = (
    10_000  # threads are made when they are needed; a limit could make two streams wait for each other
)
_FIRST_PIECE = 1 << 40  # idents from here on are pieces of streams


class Host(Protocol):
    """What is asked of the session."""

    session_id: str
    prepared: Prepared
    flow: Flow

    def drop(self, index: int) -> Drop: ...
    def find_data(self, index: int) -> DataDrop | None: ...
    def completed(self, index: int) -> None: ...
    def skip(self, index: int) -> None: ...
    def note(self, index: int, stream: str, text: str) -> None: ...
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
        contents: what workers wrote to data in memory, by drop.
        usage: what executions in workers took, by drop.
    """

    def __init__(self, host: Host, runner: Runner, pool: WorkerPool, placement: Placement) -> None:
        self.away = placement.away
        self.out: set[int] = set()
        self.contents: dict[int, bytes | Block] = {}
        self.usage: dict[int, Usage] = {}
        self._host = host
        self._runner = runner
        self.pool = pool
        self._placement = placement
        self._wiring = host.prepared.wiring
        self._rules = host.prepared.rules
        self._in_memory = [issubclass(cls, MemoryDrop) for cls in host.prepared.classes]
        self._attempts: dict[int, int] = {}
        self._heard: set[int] = set()
        self._consumers: dict[int, _Consumer] = {}
        self._pieces: dict[int, tuple[_Consumer, Task, int]] = {}
        self._next_piece = _FIRST_PIECE
        self._lock = threading.Lock()
        self._holder: Holder | None = None
        self._image: Block | None = None
        self._spill: Path | None = None
        self._requests: ThreadPoolExecutor | None = None
        self._is_closed = False

    def start(self, directory: Path, environment: Mapping[str, str]) -> None:
        """Make the graph's image and become a customer of the pool.

        Raises:
            ArenaFull: there is no room for the image.
            PoolBroken: the pool cannot go on.
        """
        prepared, wiring = self._host.prepared, self._wiring
        self._spill = directory / RESERVED
        parts = image_parts(prepared)
        self._image = image = self._place(parts, sum(map(len, parts)))
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
        self._holder = self.pool.open(
            name, _ENTRY, encode(setup), self, setup_blocks=(image,), spill=self._spill
        )

    # For the runner; called with its lock held

    def send(self, indices: Iterable[int]) -> None:
        """Let drops be run or settled by workers."""
        assert self._holder is not None
        jobs, placement = [], self._placement
        for i in indices:
            self.out.add(i)
            if i in self._consumers:
                self._submit_piece(self._consumers[i], Task(FINISH, i), 0)
            else:
                alone = i in self._rules.time_limit_s
                jobs.append(Job(i, placement.kinds[i], placement.widths.get(i, 1), alone))
        if jobs:
            self._holder.submit(jobs)

    def give_up(self, index: int, cause: str) -> bool:
        """End a drop that is out; False where it is not."""
        if index not in self.out:
            return False
        self.out.discard(index)
        consumer = self._consumers.get(index)
        if consumer is not None:
            consumer.dedicated.kill(cause)
        elif self._holder is not None:
            self._holder.kill(index, cause)
        return True

    # For the session

    def cancel(self) -> None:
        """End everything that is out. The caller holds the runner's lock."""
        self.out.clear()
        if self._holder is not None:
            self._holder.cancel("the session was cancelled")
        self._end_consumers()

    def _end_consumers(self) -> None:
        with self._lock:
            consumers = list(self._consumers.values())
        for consumer in consumers:
            consumer.dedicated.kill("the session ended")
            consumer.end()

    def stop(self, index: int) -> None:
        """End a resident app that must not go on."""
        with self._lock:
            consumer = self._consumers.get(index)
        if consumer is not None:
            consumer.dedicated.kill("its inputs failed")
            consumer.end()

    def close(self, timeout_s: float) -> bool:
        """End what is left and wait for it; False when it did not end in time."""
        self._is_closed = True
        self._end_consumers()
        ended = True
        if self._holder is not None:
            ended = self._holder.close(timeout_s, "the session ended")
            if self._image is not None:
                self.pool.arena.free(self._image)
        if self._requests is not None:
            self._requests.shutdown(wait=ended, cancel_futures=True)
        return ended

    def free(self) -> None:
        """Give the shared memory of all contents back; they cannot be read afterwards."""
        while self.contents:
            _, content = self.contents.popitem()
            if isinstance(content, Block):
                self.pool.arena.free(content)

    def free_content(self, index: int) -> None:
        """Give back what a worker wrote to data that nobody will read any more."""
        content = self.contents.pop(index, None)
        if isinstance(content, Block):
            self.pool.arena.free(content)

    def slots(self) -> list[tuple[SlotState, int]]:
        """Return the pool's slots that have a process, each with the drop of this session that runs there, or -1."""
        rows = [row for row in self.pool.slots() if row.pid]
        return [(row, self._index_of(row.ident)) for row in rows]

    def _index_of(self, ident: int) -> int:
        piece = self._pieces.get(ident)
        return piece[0].index if piece is not None else ident if ident < _FIRST_PIECE else -1

    def stored(self, index: int) -> Buffer | None:
        """Return the content that a worker wrote, None where none did."""
        content = self.contents.get(index)
        return self.pool.arena.view(content) if isinstance(content, Block) else content

    # Streams to apps in workers

    def push(self, index: int, data: int, piece: memoryview) -> None:
        """Give an app one piece of a stream; waits while it has too many before it."""
        with self._lock:
            if self._is_closed:
                return
            consumer = self._consumers.get(index)
            if consumer is None:
                assert self._holder is not None
                consumer = self._consumers[index] = _Consumer(index, self._holder.dedicate())
        size = piece.nbytes
        if consumer.wait_for_room(size):
            self._submit_piece(
                consumer, Task(PIECE, index, piece=(data, self._travelling([piece], size))), size
            )

    def _submit_piece(self, consumer: "_Consumer", task: Task, size: int) -> None:
        with self._lock:
            ident = self._next_piece
            self._next_piece += 1
            self._pieces[ident] = consumer, task, size
            consumer.dedicated.submit([ident])

    # Customer: what is sent

    def begin(self, idents: Sequence[int]) -> Sequence[Begun]:
        if idents[0] >= _FIRST_PIECE:
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
        consumer, task, _ = self._pieces[ident]
        if task.kind == FINISH:
            with self._runner.lock:
                self._host.flow.begin([consumer.index])
            task, blocks = self._filled(FINISH, consumer.index)
            return Begun(ident, encode(task), blocks)
        piece = task.piece
        blocks = [Block(*piece[1])] if piece is not None and isinstance(piece[1], tuple) else []
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
                content = self.contents.get(i)
                if content is None:
                    content = self._content_of(i)
                if isinstance(content, Block):
                    blocks.append(content)
                contents[i] = content
        return Task(kind, index, states, contents), blocks

    def _content_of(self, index: int) -> bytes | Block:
        """Return what an object of this process holds; moved to shared memory where it is large."""
        drop = self._host.find_data(index)
        if drop is None and self._host.flow.state[index] == DropState.COMPLETED:
            self.contents[index] = b""  # nobody wrote to it, and nobody will
        if not isinstance(drop, MemoryDrop) or not drop.size:
            return b""
        parts = drop.parts()
        size = sum(memoryview(part).nbytes for part in parts)
        readers = len(self._wiring.after[index])
        if size <= _INLINE_BYTES and size * readers <= _INLINE_BYTES * 8:
            return b"".join(parts)
        if self._host.flow.state[index] != DropState.COMPLETED:
            return b"".join(parts)
        block = self._place(parts, size)
        self.contents[index] = block
        drop.adopt(self.pool.arena.view(block))
        return block

    def _place(self, parts: Sequence[Buffer], size: int) -> Block:
        block = self.pool.arena.allocate(size, spill=self._spill)
        self.pool.arena.write(block, parts)
        return block

    def _travelling(self, parts: Sequence[Buffer], size: int) -> Content:
        if size <= _INLINE_BYTES:
            return b"".join(parts)
        return to_content(self._place(parts, size))

    def returned(self, idents: Sequence[int]) -> None:
        with self._runner.lock:
            self._host.flow.recalled(i for i in idents if i < _FIRST_PIECE)

    # Customer: what comes back

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        finished: list[int] = []
        for outcome in outcomes:
            index = outcome.ident
            if index >= _FIRST_PIECE:
                index = self._piece_ended(outcome)
                if index < 0:
                    continue
            report = self._opened(outcome)
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

    def _opened(self, outcome: Outcome) -> Report:
        if outcome.status == Status.BROKEN:
            text = outcome.body.decode(errors="replace")
            return Report({}, Failure(self._host.uid(outcome.ident), "WorkerBroken", text))
        return decode_report(outcome.body)

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
                self._keep(i, content)
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
        if attempt >= tries or index in self._consumers:
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
        if ident >= _FIRST_PIECE:
            piece = self._pieces.pop(ident, None)
            if piece is None:
                return
            piece[0].end()
            index = piece[0].index
            with self._runner.lock:
                if self._host.flow.execution[index] == AppState.RUNNING:
                    self.out.add(index)
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

    def _piece_ended(self, outcome: Outcome) -> int:
        """Take the outcome of a piece or of the end of a stream; the app's index where the app has ended."""
        consumer, task, size = self._pieces.pop(outcome.ident)
        consumer.taken(size)
        piece = task.piece
        if piece is not None and not isinstance(piece[1], bytes):
            self.pool.arena.free(Block(*piece[1]))
        if task.kind == PIECE and outcome.status == Status.GOOD:
            return -1
        with self._lock:
            self._consumers.pop(consumer.index, None) if task.kind == FINISH else None
        consumer.end()
        consumer.dedicated.release()
        with self._runner.lock:
            if self._host.flow.execution[consumer.index] == AppState.RUNNING:
                self.out.add(consumer.index)
        return consumer.index

    def said(self, ident: int, stream: str, text: str) -> None:
        index = self._index_of(ident)
        self._heard.add(index)
        self._host.note(index, stream, text)

    def broken(self, reason: str) -> None:
        self._end_consumers()
        self._runner.end_with(PoolBroken(reason))

    # Customer: what children ask

    def asked(self, ident: int, body: bytes, answer: Answer) -> Sequence[Block]:
        del ident  # a request says which drop it means
        request = decode_request(body)
        content = request.content
        taken = [Block(*content)] if isinstance(content, tuple) else []
        if self._requests is None:
            self._requests = ThreadPoolExecutor(_MOST_REQUESTS, thread_name_prefix="penstock-request")
        try:
            self._requests.submit(self._serve, request, answer)
        except RuntimeError:  # the session is being closed
            answer(Status.FAILED, b"the session has ended", ())
        return taken

    def _serve(self, request: Request, answer: Answer) -> None:
        try:
            content, blocks = self._answer_to(request)
        except BaseException as error:  # noqa: BLE001  the boundary of a thread; raised again in the child
            answer(Status.FAILED, _pickled(error), ())
        else:
            answer(Status.GOOD, content, blocks)

    def _answer_to(self, request: Request) -> tuple[bytes, Sequence[Block]]:
        host, index = self._host, request.index
        match request.what:
            case "write":
                self._write(index, request.content)
            case "complete":
                self._complete(index, request.content)
            case "skip":
                host.skip(index)
            case "note":
                host.note(index, *(request.text or ("note", "")))
            case "status":
                return bytes([host.flow.state[index]]), ()
            case "execution":
                return bytes([host.flow.execution[index]]), ()
            case "content":
                content = self.contents.get(index)
                content = self._content_of(index) if content is None else content
                return encode(content), (content,) if isinstance(content, Block) else ()
        return b"", ()

    def _write(self, index: int, content: Content | None) -> None:
        drop = self._host.drop(index)
        assert isinstance(drop, DataDrop)
        if content is None or isinstance(content, bytes):
            drop.write(content or b"")
            return
        block = Block(*content)
        try:
            drop.write(self.pool.arena.view(block))
        finally:
            self.pool.arena.free(block)

    def _complete(self, index: int, content: Content | None) -> None:
        if content is None:
            drop = self._host.drop(index)
            assert isinstance(drop, DataDrop)
            drop.complete()
            return
        self._keep(index, content)
        self._host.completed(index)

    def _keep(self, index: int, content: Content) -> None:
        """Keep what a worker wrote; also in the drop's object here, which may have been made before."""
        if isinstance(before := self.contents.get(index), Block):
            self.pool.arena.free(before)
        self.contents[index] = content if isinstance(content, bytes) else Block(*content)
        drop = self._host.find_data(index)
        if isinstance(drop, MemoryDrop) and (kept := self.stored(index)) is not None:
            drop.adopt(memoryview(kept))


class _Consumer:
    """An app in a process of its own, which takes a stream piece by piece."""

    def __init__(self, index: int, dedicated: Dedicated) -> None:
        self.index = index
        self.dedicated = dedicated
        self._pieces = 0
        self._size = 0
        self._is_over = False
        self._room = threading.Condition()

    def wait_for_room(self, size: int) -> bool:
        """Wait until a piece may be sent, and count it; False where the app takes no more."""
        with self._room:
            self._room.wait_for(lambda: self._is_over or self._has_room())
            self._pieces += 1
            self._size += size
            return not self._is_over

    def _has_room(self) -> bool:
        return self._pieces < _PIECES_AHEAD and self._size < _PIECES_BYTES

    def taken(self, size: int) -> None:
        """Take note that the app has taken a piece."""
        with self._room:
            self._pieces -= 1
            self._size -= size
            self._room.notify_all()

    def end(self) -> None:
        """Let nobody wait any more."""
        with self._room:
            self._is_over = True
            self._room.notify_all()


def _pickled(error: BaseException) -> bytes:
    try:
        return pickle.dumps(error)
    except Exception:  # noqa: BLE001  an error that holds what cannot be pickled is told as text
        return f"{type(error).__name__}: {error}".encode(errors="replace")
