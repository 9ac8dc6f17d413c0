# SPDX-License-Identifier: Apache-2.0
"""The pool of a node: slots, each a child process, for whoever holds items.

`book.py` decides; this module acts. Read there what is sent to whom; `nursery.py` how children come and go;
`line.py` what joins us to one child.

Rule 1: one thread, "penstock-pool", owns the book, the lines and the nursery. Everybody else leaves calls in
        its inbox. It never waits for a child and never runs user code.
Rule 2: an outcome counts when its frame has come whole. When a child dies what it has sent is read first; then
        the tokens that it had not claimed show who was not begun; the one left over was running.
Rule 3: nothing of a child is opened here but frames; bodies are its holder's business and are not unpickled.
Rule 4: a fault of ours ends all holders with that error; none waits for ever.
"""

import heapq
import os
import pickle
import select
import selectors
import signal
import socket
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import inf
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Self

from penstock.errors import ArenaFull, PoolBroken
from penstock.wire.arena import Arena, Block
from penstock.workers.book import Book, Command, Item, Recall, Send, Start
from penstock.workers.customer import Begun, Customer, Death, Job, Outcome
from penstock.workers.family import Family
from penstock.workers.frames import OUTCOME_HEADER, TOKEN, Frame, Status, frame
from penstock.workers.line import Line
from penstock.workers.nursery import Report

__all__ = ["Holder", "PoolSettings", "SlotState", "WorkerPool"]

_SLACK_S, _GATHER_S = 0.0002, 0.0005
"""Work of each child from which on outcomes are gathered, and for how long at most; seconds."""

_SETUP_TRIES = 3
"""Children that may die in a row before they are ready; then the pool gives up."""


@dataclass(frozen=True)
class PoolSettings:
    """What a pool may use.

    Attributes:
        slots: child processes that run at once.
        grace_s: time between asking a process to end and killing it; seconds.
        preload: modules that are imported once for all children.
        look_s: how long an item runs before the parent reads what it prints; seconds.
        close_s: how long closing waits for children to end by themselves; seconds.
    """

    slots: int = max(1, os.cpu_count() or 1)
    grace_s: float = 2.0
    preload: tuple[str, ...] = ()
    look_s: float = 0.05
    close_s: float = 5.0


class SlotState(NamedTuple):
    """A slot as people see it.

    Attributes:
        state: COLD, STARTING, IDLE, BUSY, DEDICATED or ENDING.
        holder: name of whose items are there, "" for none.
        ident: the item that runs, by its holder's number; -1 for none.
        seconds: since that item was sent or the one before it ended.
        restarts: how often the slot's process was replaced.
    """

    slot: int
    state: str
    holder: str
    ident: int
    pid: int
    seconds: float
    restarts: int


class Holder:
    """A customer's handle on a pool; all methods may be called on any thread and return at once."""

    def __init__(
        self,
        pool: "WorkerPool",
        number: int,
        name: str,
        entry: str,
        setup: bytes,
        customer: Customer,
        spill: Path | None,
    ) -> None:
        self.pool = pool
        self.number = number
        self.name = name
        self.customer = customer
        self.spill = spill
        self.setup = frame(Frame.SETUP, number, entry.encode() + b"\0" + setup)
        self.setup_blocks: Sequence[Block] = ()
        self.closed = threading.Event()
        self.is_closing = False
        self.idle_events: list[threading.Event] = []

    def submit(self, jobs: Iterable[Job], *, front: bool = False) -> None:
        """Let items be run, behind those that wait or before them."""
        self.pool.post(partial(self.pool.take, self, list(jobs), front))

    def kill(self, ident: int, cause: str) -> None:
        """Forget an item that waits, or end the process that runs it; nothing happens where it has ended."""
        self.pool.post(partial(self.pool.end_item, self, ident, cause))

    def cancel(self, cause: str) -> None:
        """Forget all items that wait and end the processes that run the others."""
        self.pool.post(partial(self.pool.end_items, self, cause))

    def drain(self, timeout_s: float) -> bool:
        """Wait until all that was submitted has ended by itself; False when the time was up first."""
        drained = threading.Event()
        self.pool.post(partial(self.pool.tell_when_idle, self, drained))
        return drained.wait(timeout_s)

    def close(self, timeout_s: float, cause: str = "its holder was closed") -> bool:
        """Cancel what is left and wait until nothing of this holder runs; False when the time was up first."""
        self.pool.post(partial(self.pool.end_holder, self, cause))
        return self.closed.wait(timeout_s)

    def dedicate(self, *, endpoint: socket.socket | None = None) -> "Dedicated":
        """Return a process for one long-lived object, in addition to the pool's slots.

        Args:
            endpoint: a listening socket that the child shall serve; the caller keeps and closes its own end.
        """
        dedicated = Dedicated(self)
        fd = -1 if endpoint is None else os.dup(endpoint.fileno())
        self.pool.post(partial(self.pool.dedicate, dedicated, fd))
        return dedicated


class Dedicated:
    """A process of its own for one long-lived object: its items run one after the other, in their order.

    If the process dies all its items die with it, and none is run again: the object is lost.
    """

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.slot = -1
        self.listener = -1
        self.cause = ""
        self.waiting: list[int] = []
        self.is_released = False
        self.death = Death(0, 0, 0, "", starved=False, deaths=0, again=False)

    def submit(self, idents: Sequence[int]) -> None:
        """Let items be run, in this order, behind those that were submitted before."""
        self.holder.pool.post(partial(self.holder.pool.take_dedicated, self, idents))

    def release(self) -> None:
        """Give the process back when what was submitted has ended."""
        self.holder.pool.post(partial(self.holder.pool.release, self))

    def kill(self, cause: str) -> None:
        """End the process."""
        self.holder.pool.post(partial(self.holder.pool.end_dedicated, self, cause))

    def close_listener(self) -> None:
        """Close our copy of the listening socket: the child has its own, or never will have one."""
        if self.listener >= 0:
            os.close(self.listener)
            self.listener = -1


class WorkerPool:
    """Child processes for the items of holders; they are started when there is work for them.

    Used as a context manager, or closed by `close`.

    Args:
        arena: shared memory; what is in it may outlive the pool, and stays the caller's.
    """

    def __init__(self, settings: PoolSettings, arena: Arena) -> None:
        self.settings = settings
        self.arena = arena
        self._book = Book(settings.slots)
        self._holders: dict[int, Holder] = {}
        self._numbers = count(1)
        self._lines: dict[int, Line] = {}  # by slot
        self._dedicated: dict[int, Dedicated] = {}  # by slot
        self._inbox: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._unsent: set[Line] = set()
        self._failed_starts = 0
        self._look_at_s = inf
        self._family: Family | None = None
        self._selector: selectors.BaseSelector
        self._wake_r = self._wake_w = -1
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._is_awake = False
        self._is_closing = False
        self._broken = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(
        self,
        name: str,
        entry: str,
        setup: bytes,
        customer: Customer,
        *,
        setup_blocks: Sequence[Block] = (),
        priority: int = 0,
        spill: Path | None = None,
    ) -> Holder:
        """Return a handle for a customer.

        Args:
            name: for people.
            entry: `module:function` in the child that runs the items; see `child.Entry`.
            setup: what the entry opens once per child; blocks that it mentions are `setup_blocks`.
            priority: holders with a higher one are served first.
            spill: folder for data for which there is no room in shared memory.
        Raises:
            PoolBroken: the pool cannot go on, or is closed.
        """
        if self._broken or self._is_closing:
            raise PoolBroken(self._broken or "it is closed")
        holder = Holder(self, next(self._numbers), name, entry, setup, customer, spill)
        holder.setup_blocks = setup_blocks
        self.post(partial(self._open, holder, priority))
        return holder

    def slots(self, timeout_s: float = 1.0) -> list[SlotState]:
        """Return the slots as they are now; none where the pool does not answer in time."""
        if self._thread is None:
            return []
        answered = threading.Event()
        rows: list[SlotState] = []

        def look() -> None:
            rows.extend(self._view())
            answered.set()

        self.post(look)
        return rows if answered.wait(timeout_s) else []

    @property
    def nursery_pid(self) -> int:
        """The process that all children come from; 0 while there is none."""
        family = self._family
        return 0 if family is None else family.pid

    def close(self) -> None:
        """End all children and the thread; what still runs is killed."""
        with self._starting:
            self._is_closing = True
            thread = self._thread
        if thread is None or self._wake_r < 0:
            return
        self.post(lambda: None)
        thread.join()
        self._selector.close()
        for fd in (self._wake_r, self._wake_w):
            os.close(fd)
        self._wake_r = self._wake_w = -1

    # The inbox

    def post(self, call: Callable[[], None]) -> None:
        """Let the pool's thread do something; starts the thread if need be."""
        self._inbox.append(call)
        if threading.current_thread() is self._thread:
            return
        if self._thread is None:
            self._start()
        if not self._is_awake:
            self._is_awake = True
            with suppress(BlockingIOError, OSError):
                os.write(self._wake_w, b"!")

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._is_closing:
                self._selector = selectors.DefaultSelector()
                self._wake_r, self._wake_w = os.pipe()
                for fd in (self._wake_r, self._wake_w):
                    os.set_blocking(fd, False)
                self._selector.register(self._wake_r, selectors.EVENT_READ, self._woken)
                self._thread = threading.Thread(target=self._serve, name="penstock-pool", daemon=True)
                self._thread.start()

    def _woken(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_r, 4096)
        self._is_awake = False

    def _serve(self) -> None:
        try:
            while not self._is_closing:
                self._turn()
            self._dismiss_all()
        except PoolBroken as exc:
            self._break(exc.reason)
        except BaseException:  # noqa: BLE001  the boundary of a thread; all holders are told
            self._break(traceback.format_exc())
        finally:
            self._end_family()

    def _gather(self) -> None:
        """Let outcomes pile up while all children have work: to be woken by each would take their processors.

        Nobody is held up: children have enough to do meanwhile, and calls and deaths end the pause.
        """
        slack_s = self._book.slack_s()
        if slack_s >= _SLACK_S:
            urgent = [self._wake_r, -1 if self._family is None else self._family.socket.fileno()]
            select.select([fd for fd in urgent if fd >= 0], (), (), min(slack_s / 4, _GATHER_S))

    def _turn(self) -> None:
        self._gather()
        for key, _ in self._selector.select(self._pause()):
            key.data()
        now = monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        self._work_off()

    def _pause(self) -> float | None:
        due_s = min(self._look_at_s, self._timers[0][0]) if self._timers else self._look_at_s
        return None if due_s == inf else max(0.0, due_s - monotonic())

    def _work_off(self) -> None:
        """Do what was asked for and what follows from it, until there is nothing to do."""
        while True:
            while self._inbox:
                self._inbox.popleft()()
            now_s = monotonic()
            if now_s >= self._look_at_s:  # somebody seems to be silent: what has come already is no silence
                for line in [line for line in self._lines.values() if line.items]:
                    self._read(line)
            commands = self._book.plan(now_s)
            look_s = self._book.next_look_s()
            self._look_at_s = inf if look_s is None else now_s + look_s
            for command in commands:
                self._do(command)
            if not commands and not self._inbox:
                break
        for line in [line for line in self._unsent if line.flush()]:
            self._unsent.discard(line)
            self._wait_for_room(line, wait=False)
        for line in self._unsent:
            self._wait_for_room(line, wait=True)

    def _do(self, command: Command) -> None:
        if isinstance(command, Send):
            self._send(self._lines[command.slot], command.items)
        elif isinstance(command, Recall):
            self._recall(self._lines[command.slot])
        elif isinstance(command, Start):
            self._fork(command.slot)
        else:
            self._dismiss(command.slot)

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (monotonic() + seconds, next(self._numbers), call))

    # Items

    def _send(self, line: Line, items: Sequence[Item]) -> None:
        holder = self._holders[items[0].holder]
        by_ident = {item.ident: item for item in items}
        begun = holder.customer.begin([item.ident for item in items])
        for refused in by_ident.keys() - {one.ident for one in begun}:
            self._book.refused(line.slot, by_ident[refused])
        self._give(line, holder, [(by_ident[one.ident], one) for one in begun])

    def _give(self, line: Line, holder: Holder, begun: Sequence[tuple[Item, Begun]]) -> None:
        if holder.number not in line.holders:
            line.holders.add(holder.number)
            self._lend(line, holder.setup_blocks)
            line.send(holder.setup)
        for _, one in begun:
            if one.blocks:
                self._lend(line, one.blocks)
        line.give((item, one.body, one.blocks) for item, one in begun)
        line.since_s = monotonic()
        self._unsent.add(line)
        self._listen_later(line)

    def _lend(self, line: Line, blocks: Iterable[Block]) -> None:
        """Let a child look at blocks: give it their segments, and keep them from being used again."""
        for block in blocks:
            self.arena.hold(block, line.number)
            if block.segment not in line.segments:
                line.segments.add(block.segment)
                line.send(frame(Frame.SEGMENT, block.segment), (self.arena.descriptor(block.segment),))

    def _recall(self, line: Line) -> None:
        """Take back what the child of a line has not claimed."""
        items = self._take_back(line)
        if line.slot not in self._dedicated:
            self._book.recalled(line.slot, items, monotonic())

    def _take_back(self, line: Line) -> list[Item]:
        items = []
        for token in line.take_back():
            items.append(line.items.pop(token))
            self._let_go(line, line.lent.pop(token, ()))
        by_holder: dict[int, list[int]] = {}
        for item in items:
            by_holder.setdefault(item.holder, []).append(item.ident)
        for number, idents in by_holder.items():
            self._holders[number].customer.returned(idents)
        return items

    def _let_go(self, line: Line, blocks: Iterable[Block]) -> None:
        for block in blocks:
            if block in line.held:
                line.kept.append(block)
            else:
                self.arena.let_go(block, line.number)

    def _wait_for_room(self, line: Line, *, wait: bool) -> None:
        is_waiting = line.socket.fileno() in self._selector.get_map()
        if wait and not is_waiting:
            self._selector.register(line.socket, selectors.EVENT_WRITE, lambda: None)
        elif is_waiting and not wait:
            self._selector.unregister(line.socket)

    # What children tell

    def _read(self, line: Line) -> None:
        if self._lines.get(line.slot) is not line:
            return  # buried by what came in the same turn, before this
        outcomes: list[tuple[Holder, Outcome]] = []
        for kind, status, number, body in line.read():
            if kind == Frame.OUTCOME:
                self._outcome(line, status, number, body, outcomes)
            else:
                self._deliver(outcomes)  # what an item says comes before what the next one says
                self._hear(line, kind, number, body)
        self._deliver(outcomes)

    def _outcome(
        self, line: Line, status: int, token: int, body: bytes, outcomes: list[tuple[Holder, Outcome]]
    ) -> None:
        item = line.items.pop(token, None)
        if item is None:
            return
        seconds, peak_kib = OUTCOME_HEADER.unpack_from(body)
        self._let_go(line, line.lent.pop(token, ()))
        made, line.made = line.made, []
        line.since_s = monotonic()
        if line.slot not in self._dedicated:
            self._book.finished(line.slot, item, seconds, line.since_s)
        elif self._dedicated[line.slot].is_released and not line.items:
            self.post(partial(self.release, self._dedicated[line.slot]))
        if line.has_tokens:
            self._unsent.add(line)
        holder = self._holders[item.holder]
        told = Outcome(
            item.ident, status, body[OUTCOME_HEADER.size :], seconds, peak_kib, line.slot, line.pid, made
        )
        outcomes.append((holder, told))

    def _deliver(self, outcomes: list[tuple[Holder, Outcome]]) -> None:
        """Tell customers, those of one holder in a row at once."""
        while outcomes:
            holder = outcomes[0][0]
            row = [outcome for of, outcome in outcomes if of is holder]
            outcomes[:] = [pair for pair in outcomes if pair[0] is not holder]
            holder.customer.ended(row)
            self._look_whether_closed(holder)

    def _hear(self, line: Line, kind: int, token: int, body: bytes) -> None:
        if kind == Frame.READY:
            line.is_up = True
            self._failed_starts = 0
            self._book.slot_ready(line.slot, monotonic())
        elif kind == Frame.HOLDING:
            self._held(line, body)
        elif kind == Frame.ALLOCATE:
            self._allocate(line, token, *TOKEN.unpack(body))
        elif (item := line.items.get(token)) is None:
            if kind == Frame.REQUEST:
                self._answer(line, Status.FAILED, b"the item that asks has ended")
        elif kind == Frame.LOG:
            name, _, text = body.partition(b"\0")
            stream = name.decode()
            self._say(item, stream, line.decoded(stream, text))
        elif kind == Frame.REQUEST:
            answer = partial(self._answer_later, line, token)
            for block in self._holders[item.holder].customer.asked(item.ident, body, answer):
                line.made.remove(block)

    def _say(self, item: Item, stream: str, text: str) -> None:
        self._holders[item.holder].customer.said(item.ident, stream, text)

    def _held(self, line: Line, body: bytes) -> None:
        numbers = [number for (number,) in TOKEN.iter_unpack(body)]
        line.held = frozenset(Block(*numbers[at : at + 3]) for at in range(0, len(numbers), 3))
        kept, line.kept = line.kept, []
        self._let_go(line, kept)

    def _allocate(self, line: Line, token: int, size: int) -> None:
        item = line.items.get(token)
        try:
            block = self.arena.allocate(
                size, spill=None if item is None else self._holders[item.holder].spill
            )
        except ArenaFull as exc:
            self._answer(line, Status.FAILED, pickle.dumps(exc))
            return
        line.made.append(block)
        self._lend(line, (block,))
        self.arena.let_go(block, line.number)  # it is the child's as long as it is in `made`
        self._answer(line, Status.GOOD, b"".join(map(TOKEN.pack, block)))

    def _answer_later(
        self, line: Line, token: int, status: Status, body: bytes, blocks: Sequence[Block]
    ) -> None:
        self.post(partial(self._answer, line, status, body, token, blocks))

    def _answer(
        self, line: Line, status: Status, body: bytes, token: int = 0, blocks: Sequence[Block] = ()
    ) -> None:
        if self._lines.get(line.slot) is line:
            if blocks and token in line.items:
                self._lend(line, blocks)
                line.lent[token] = (*line.lent.get(token, ()), *blocks)
            line.send(frame(Frame.REPLY, 0, body, status))
            self._unsent.add(line)

    # What children print while an item runs long

    def _listen_later(self, line: Line) -> None:
        if not line.is_watched:
            line.is_watched = True
            self._after(self.settings.look_s, partial(self._listen, line))

    def _listen(self, line: Line) -> None:
        """Empty the pipes of a child whose item runs long, and do so whenever there is more."""
        if self._lines.get(line.slot) is not line:
            return
        line.is_watched = False
        if not line.items:
            self._stop_listening(line)
        else:
            if monotonic() - line.since_s >= self.settings.look_s:
                self._empty(line)
                self._start_listening(line)
            else:
                self._stop_listening(line)
            self._listen_later(line)

    def _start_listening(self, line: Line) -> None:
        if not line.is_heard:
            line.is_heard = True
            for fd in (line.out, line.err):
                self._selector.register(fd, selectors.EVENT_READ, partial(self._empty, line))

    def _stop_listening(self, line: Line) -> None:
        if line.is_heard:
            line.is_heard = False
            for fd in (line.out, line.err):
                self._selector.unregister(fd)

    def _empty(self, line: Line) -> None:
        if self._lines.get(line.slot) is not line:
            return
        self._read(line)  # what is in the pipes was printed after what these tell, perhaps by the next item
        item = next(iter(line.items.values()), None)
        for stream, text in line.printed():
            if item is not None:
                self._say(item, stream, text)
        if item is None:
            self._stop_listening(line)

    # Children come and go

    def _fork(self, slot: int) -> None:
        if self._family is None:
            self._family = Family(self.settings.preload, self.settings.grace_s)
            self._selector.register(self._family.socket, selectors.EVENT_READ, self._hear_family)
        line = Line(slot, next(self._numbers))
        self._lines[slot] = line
        self._selector.register(line.results, selectors.EVENT_READ, partial(self._read, line))
        self._family.fork(slot, line.theirs)
        line.handed_over()
        dedicated = self._dedicated.get(slot)
        if dedicated is not None and dedicated.cause:  # it was given up before it began
            self._kill(line, dedicated.cause)
        elif dedicated is not None:
            self._move_in(dedicated, line)

    def _dismiss(self, slot: int) -> None:
        line = self._lines.get(slot)
        if line is not None:
            line.dismiss()

    def _hear_family(self) -> None:
        assert self._family is not None
        try:
            for report, slot, pid, status, starved in self._family.reports():
                line = self._lines.get(slot)
                if line is None:
                    continue
                if report == Report.FORKED:
                    line.pid = pid
                else:
                    self._bury(line, status, starved=bool(starved))
        except EOFError:
            self._lose_family()

    def _lose_family(self) -> None:
        """All children died with their nursery; begin again with another one."""
        assert self._family is not None
        self._selector.unregister(self._family.socket)
        self._family.end(self.settings.close_s)
        self._family = None
        for line in list(self._lines.values()):
            self._bury(line, signal.SIGKILL, starved=False)

    def _bury(self, line: Line, status: int, *, starved: bool) -> None:
        """Draw the conclusions of a child's death."""
        self._read(line)
        self._empty(line)
        not_begun = self._take_back(line)
        begun = next(iter(line.items.values()), None)
        self._close_line(line)
        if not line.is_up and not line.cause:
            self._count_failed_start(status)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        death = Death(line.pid, number, code, line.cause, starved, 0, again=False)
        dedicated = self._dedicated.pop(line.slot, None)
        if dedicated is not None:
            self._lose(dedicated, line, not_begun, death)
            return
        blame = bool(number) and not line.cause  # who ends itself, or is ended by us, shall not run again
        verdict = self._book.died(line.slot, not_begun, monotonic(), blame=blame)
        if begun is not None:
            self._tell_death(begun, death._replace(deaths=begun.deaths, again=verdict.again))

    def _tell_death(self, item: Item, death: Death) -> None:
        holder = self._holders[item.holder]
        holder.customer.died(item.ident, death)
        self._look_whether_closed(holder)

    def _close_line(self, line: Line) -> None:
        self._stop_listening(line)
        self._wait_for_room(line, wait=False)
        self._unsent.discard(line)
        self._selector.unregister(line.results)
        self._lines.pop(line.slot)
        line.close()
        for block in line.made:
            self.arena.free(block)
        self.arena.forget(line.number)

    def _count_failed_start(self, status: int) -> None:
        self._failed_starts += 1
        if self._failed_starts >= _SETUP_TRIES:
            raise PoolBroken(
                f"{self._failed_starts} worker processes in a row ended before they were ready "
                f"(the last with status {status}); what they said is in the standard error of this process"
            )

    def _kill(self, line: Line, cause: str) -> None:
        """End the child of a line: asked first, forced after the grace."""
        if line.cause or self._family is None:
            return
        line.cause = cause
        if line.slot not in self._dedicated:
            self._book.ending(line.slot)
            self._recall(line)
        self._family.signal(line.slot, signal.SIGTERM)
        self._after(self.settings.grace_s, partial(self._kill_hard, line))

    def _kill_hard(self, line: Line) -> None:
        if self._lines.get(line.slot) is line and self._family is not None:
            self._family.signal(line.slot, signal.SIGKILL)

    # What holders ask for

    def _open(self, holder: Holder, priority: int) -> None:
        self._holders[holder.number] = holder
        self._book.open(holder.number, priority=priority)

    def take(self, holder: Holder, jobs: Sequence[Job], front: bool) -> None:
        """Take a holder's items into the book."""
        if self._broken or holder.is_closing:
            return
        number = holder.number
        items = [Item(number, job.ident, (number, job.kind), job.width, job.alone) for job in jobs]
        self._book.submit(number, items, front=front)

    def end_item(self, holder: Holder, ident: int, cause: str) -> None:
        """Forget an item that waits, end the process of one that runs."""
        waiting = self._book.withdraw(holder.number)
        self._book.submit(holder.number, [item for item in waiting if item.ident != ident])
        for line in list(self._lines.values()):
            runs = [
                item for item in line.items.values() if item.holder == holder.number and item.ident == ident
            ]
            if not runs:
                continue
            self._recall(line)
            if any(item is runs[0] for item in line.items.values()):
                self._kill(line, cause)
            else:  # it had not begun, and is waiting now
                self.end_item(holder, ident, cause)

    def end_items(self, holder: Holder, cause: str) -> None:
        """Forget all items of a holder that wait, end the processes of those that run."""
        for line in list(self._lines.values()):
            if any(item.holder == holder.number for item in line.items.values()):
                self._recall(line) if line.slot not in self._dedicated else None
                if line.items:
                    self._kill(line, cause)
        self._book.withdraw(holder.number)

    def end_holder(self, holder: Holder, cause: str) -> None:
        """End everything of a holder; `closed` is set when nothing of it runs any more."""
        if holder.number not in self._holders or self._broken:
            holder.closed.set()
            return
        holder.is_closing = True
        for dedicated in [one for one in self._dedicated.values() if one.holder is holder]:
            self.end_dedicated(dedicated, cause)
        self.end_items(holder, cause)
        self._look_whether_closed(holder)

    def tell_when_idle(self, holder: Holder, idle: threading.Event) -> None:
        """Set an event when nothing of a holder waits or runs."""
        holder.idle_events.append(idle)
        self._look_whether_closed(holder)

    def _look_whether_closed(self, holder: Holder) -> None:
        """See whether somebody waits for the end of a holder's items, and whether that has come."""
        if not (holder.is_closing or holder.idle_events) or holder.number not in self._holders:
            return
        busy = any(
            item.holder == holder.number for line in self._lines.values() for item in line.items.values()
        )
        if holder.is_closing:
            self._book.withdraw(holder.number)  # what came back from a child that died
        if busy or self._book.waiting(holder.number):
            return
        while holder.idle_events:
            holder.idle_events.pop().set()
        if not holder.is_closing or any(one.holder is holder for one in self._dedicated.values()):
            return
        self._book.close(holder.number)
        del self._holders[holder.number]
        for line in self._lines.values():
            if holder.number in line.holders:
                line.holders.discard(holder.number)
                line.send(frame(Frame.FORGET, holder.number))
                self._unsent.add(line)
                self._let_go(line, holder.setup_blocks)
        holder.closed.set()

    # Dedicated processes

    def dedicate(self, dedicated: Dedicated, listener: int) -> None:
        """Give an object a process of its own."""
        dedicated.listener = listener
        if dedicated.holder.is_closing:
            dedicated.close_listener()
            dedicated.death = dedicated.death._replace(cause="its holder was closed")
            return
        slot = self._book.dedicate(dedicated.holder.number)
        assert slot is not None
        dedicated.slot = slot
        self._dedicated[slot] = dedicated
        if slot in self._lines:  # a process that had nothing to do
            self._move_in(dedicated, self._lines[slot])

    def _move_in(self, dedicated: Dedicated, line: Line) -> None:
        """Give a dedicated process what is there for it already."""
        if dedicated.listener >= 0:
            line.send(frame(Frame.LISTENER, 0), (dedicated.listener,))
            line.on_sent = dedicated.close_listener
            self._unsent.add(line)
        idents, dedicated.waiting = dedicated.waiting, []
        if idents:
            self.take_dedicated(dedicated, idents)

    def take_dedicated(self, dedicated: Dedicated, idents: Sequence[int]) -> None:
        """Send items to a dedicated process."""
        if dedicated.slot not in self._dedicated:
            self._tell_lost(dedicated, idents)
            return
        line = self._lines.get(dedicated.slot)
        if line is None:  # its process is to be started yet
            dedicated.waiting += idents
            return
        holder = dedicated.holder
        begun = holder.customer.begin(idents)
        self._give(line, holder, [(Item(holder.number, one.ident, (holder.number, 0)), one) for one in begun])

    def _tell_lost(self, dedicated: Dedicated, idents: Sequence[int]) -> None:
        for ident in idents:
            dedicated.holder.customer.died(ident, dedicated.death)

    def release(self, dedicated: Dedicated) -> None:
        """Take a dedicated process back when it has nothing to do any more."""
        if dedicated.slot not in self._dedicated:
            return
        line = self._lines.get(dedicated.slot)
        if dedicated.waiting or (line is not None and line.items):
            dedicated.is_released = True
            return
        del self._dedicated[dedicated.slot]
        dedicated.close_listener()
        self._book.release(dedicated.slot)
        self._look_whether_closed(dedicated.holder)

    def end_dedicated(self, dedicated: Dedicated, cause: str) -> None:
        """End a dedicated process."""
        line = self._lines.get(dedicated.slot)
        dedicated.cause = cause
        if line is not None and dedicated.slot in self._dedicated:
            self._kill(line, cause)

    def _lose(self, dedicated: Dedicated, line: Line, not_begun: Sequence[Item], death: Death) -> None:
        """Tell that an object is gone with its process, and all that was to be done with it."""
        dedicated.death = death
        dedicated.close_listener()
        self._book.gone(line.slot)
        sent = [item.ident for item in (*line.items.values(), *not_begun)]
        self._tell_lost(dedicated, [*sent, *dedicated.waiting])
        self._look_whether_closed(dedicated.holder)

    # The end

    def _view(self) -> list[SlotState]:
        now = monotonic()
        rows = []
        for row in self._book.slots_view():
            line, holder = self._lines.get(row.slot), self._holders.get(row.holder or 0)
            item = next(iter(line.items.values()), None) if line is not None else None
            rows.append(
                SlotState(
                    row.slot,
                    row.state,
                    "" if holder is None else holder.name,
                    -1 if item is None else item.ident,
                    0 if line is None else line.pid,
                    0.0 if line is None or item is None else now - line.since_s,
                    row.restarts,
                )
            )
        return rows

    def _break(self, reason: str) -> None:
        self._broken = reason
        for holder in list(self._holders.values()):
            holder.customer.broken(reason)
            holder.closed.set()
        while self._inbox:
            self._inbox.popleft()

    def _dismiss_all(self) -> None:
        """Let idle children end by themselves and kill the others."""
        holders = list(self._holders.values())
        for holder in holders:
            self.end_holder(holder, "the pool was closed")
        for line in list(self._lines.values()):
            line.dismiss()
        until = monotonic() + self.settings.close_s + self.settings.grace_s
        while self._lines and monotonic() < until:
            for key, _ in self._selector.select(min(0.1, until - monotonic())):
                key.data()
            now = monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
        for holder in holders:  # what waited has not been told, and will not run
            holder.customer.broken("it is closed")
            holder.closed.set()

    def _end_family(self) -> None:
        for line in list(self._lines.values()):
            with suppress(KeyError, ValueError):
                self._close_line(line)
        if self._family is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(self._family.socket)
            self._family.end(self.settings.close_s)
            self._family = None
