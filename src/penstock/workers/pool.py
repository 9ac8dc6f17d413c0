# SPDX-License-Identifier: Apache-2.0
"""The pool of a node: slots, each a child process, for whoever holds items.

`book.py` decides; this module acts. Read there what is sent to whom; `nursery.py` how children come and go;
`line.py` what joins us to one child; `loop.py` the thread; `loans.py` who looks at which shared memory;
`printed.py` what children print; `holder.py` what customers have of all this.

Rule 1: one thread, "penstock-pool", owns the book, the lines and the nursery. Everybody else leaves calls in
        its inbox. It never waits for a child and never runs user code.
Rule 2: an outcome counts when its frame has come whole. When a child dies what it has sent is read first; then
        the tokens that it had not claimed show who was not begun; the one left over was running.
Rule 3: nothing of a child is opened here but frames; bodies are its holder's business and are not unpickled.
Rule 4: a fault of ours ends all holders with that error; none waits for ever.
"""

import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from math import inf
from pathlib import Path
from time import monotonic
from typing import Self

from penstock.errors import ArenaFull, PoolBroken
from penstock.wire.arena import Arena, Block
from penstock.workers.book import Book, Command, Item, Recall, Send, Start
from penstock.workers.customer import Begun, Customer, Death, Job, Outcome
from penstock.workers.family import Family
from penstock.workers.frames import OUTCOME_HEADER, TOKEN, Frame, Status, frame
from penstock.workers.holder import Dedicated, Holder, PoolSettings, SlotState
from penstock.workers.line import Line
from penstock.workers.loans import Loans
from penstock.workers.loop import Loop
from penstock.workers.nursery import Report
from penstock.workers.printed import Printed

__all__ = ["Dedicated", "Holder", "PoolSettings", "SlotState", "WorkerPool"]

_SLACK_S, _GATHER_S = 0.0002, 0.0005
"""Work of each child from which on outcomes are gathered, and for how long at most; seconds."""

_SETUP_TRIES = 3
"""Children that may die in a row before they are ready; then the pool gives up."""


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
        self._loop = Loop("penstock-pool", self._serve)
        self._loans = Loans(arena)
        self._printed = Printed(self._loop, settings.look_s, self._empty)
        self._holders: dict[int, Holder] = {}
        self._numbers = count(1)
        self._lines: dict[int, Line] = {}  # by slot
        self._dedicated: dict[int, Dedicated] = {}  # by slot
        self._unsent: set[Line] = set()
        self._failed_starts = 0
        self._look_at_s = inf
        self._family: Family | None = None
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
        if self._broken or self._loop.is_closing:
            raise PoolBroken(self._broken or "it is closed")
        holder = Holder(self, next(self._numbers), name, entry, setup, customer, spill)
        holder.setup_blocks = setup_blocks
        self.post(partial(self._open, holder, priority))
        return holder

    def slots(self, timeout_s: float = 1.0) -> list[SlotState]:
        """Return the slots as they are now; none where the pool does not answer in time."""
        if not self._loop.has_begun:
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
        self._loop.close()

    def post(self, call: Callable[[], None]) -> None:
        """Let the pool's thread do something; starts the thread if need be."""
        self._loop.post(call)

    # The thread

    def _serve(self) -> None:
        try:
            while not self._loop.is_closing:
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
            urgent = () if self._family is None else (self._family.socket.fileno(),)
            self._loop.rest(min(slack_s / 4, _GATHER_S), *urgent)

    def _turn(self) -> None:
        self._gather()
        self._loop.wait(self._look_at_s)
        self._work_off()

    def _work_off(self) -> None:
        """Do what was asked for and what follows from it, until there is nothing to do."""
        while True:
            self._loop.run_calls()
            now_s = monotonic()
            if now_s >= self._look_at_s:  # somebody seems to be silent: what has come already is no silence
                for line in [line for line in self._lines.values() if line.items]:
                    self._read(line)
            commands = self._book.plan(now_s)
            look_s = self._book.next_look_s()
            self._look_at_s = inf if look_s is None else now_s + look_s
            for command in commands:
                self._do(command)
            if not commands and not self._loop.has_calls:
                break
        for line in [line for line in self._unsent if line.flush()]:
            self._unsent.discard(line)
            if line.is_blocked:
                line.is_blocked = False
                self._loop.forget(line.socket.fileno())
        for line in self._unsent:
            line.is_blocked = True
            self._loop.wake_when_writable(line.socket.fileno())

    def _do(self, command: Command) -> None:
        if isinstance(command, Send):
            self._send(self._lines[command.slot], command.items)
        elif isinstance(command, Recall):
            self._recall(self._lines[command.slot])
        elif isinstance(command, Start):
            self._fork(command.slot)
        else:
            self._dismiss(command.slot)

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
            self._loans.drop_dead(line)
            self._loans.lend(line, holder.setup_blocks)
            line.send(holder.setup)
        for _, one in begun:
            if one.blocks:
                self._loans.lend(line, one.blocks)
        line.give((item, one.body, one.blocks) for item, one in begun)
        line.since_s = monotonic()
        self._unsent.add(line)
        self._printed.look_later(line)

    def _recall(self, line: Line) -> None:
        """Take back what the child of a line has not claimed."""
        items = self._take_back(line)
        if line.slot not in self._dedicated:
            self._book.recalled(line.slot, items, monotonic())

    def _take_back(self, line: Line) -> list[Item]:
        items = []
        for token in line.take_back():
            items.append(line.items.pop(token))
            self._loans.give_back(line, line.lent.pop(token, ()))
        by_holder: dict[int, list[int]] = {}
        for item in items:
            by_holder.setdefault(item.holder, []).append(item.ident)
        for number, idents in by_holder.items():
            self._holders[number].customer.returned(idents)
        return items

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
        self._loans.give_back(line, line.lent.pop(token, ()))
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
            self._loans.held(line, body)
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
            taken = self._holders[item.holder].customer.asked(item.ident, body, answer)
            line.made = [block for block in line.made if block not in taken]

    def _say(self, item: Item, stream: str, text: str) -> None:
        self._holders[item.holder].customer.said(item.ident, stream, text)

    def _allocate(self, line: Line, token: int, size: int) -> None:
        item = line.items.get(token)
        spill = None if item is None else self._holders[item.holder].spill
        try:
            self._answer(line, Status.GOOD, self._loans.allocate(line, size, spill))
        except ArenaFull as exc:
            self._answer(line, Status.FAILED, pickle.dumps(exc))

    def _answer_later(
        self, line: Line, token: int, status: Status, body: bytes, blocks: Sequence[Block]
    ) -> None:
        self.post(partial(self._answer, line, status, body, token, blocks))

    def _answer(
        self, line: Line, status: Status, body: bytes, token: int = 0, blocks: Sequence[Block] = ()
    ) -> None:
        if self._lines.get(line.slot) is line:
            if blocks and token in line.items:
                self._loans.lend(line, blocks)
                line.lent[token] = (*line.lent.get(token, ()), *blocks)
            line.send(frame(Frame.REPLY, 0, body, status))
            self._unsent.add(line)

    def _empty(self, line: Line) -> bool:
        """Read what a child has printed so far; False where no item of it runs."""
        self._read(line)  # what is in the pipes was printed after what these tell, perhaps by the next item
        item = next(iter(line.items.values()), None)
        for stream, text in line.printed():
            if item is not None:
                self._say(item, stream, text)
        return item is not None

    # Children come and go

    def _fork(self, slot: int) -> None:
        if self._family is None:
            self._family = Family(self.settings.preload, self.settings.grace_s)
            self._loop.watch(self._family.socket.fileno(), self._hear_family)
        line = Line(slot, next(self._numbers))
        self._lines[slot] = line
        self._loop.watch(line.results, partial(self._read, line))
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
                    continue
                self._read(line)  # it may have said that it is up
                if not line.is_up and not line.cause:
                    self._count_failed_start(status)
                self._bury(line, status, starved=bool(starved))
        except EOFError:
            self._lose_family()

    def _lose_family(self) -> None:
        """All children died with their nursery; begin again with another one."""
        assert self._family is not None
        self._loop.forget(self._family.socket.fileno())
        self._family.end(self.settings.close_s)
        self._family = None
        lines = list(self._lines.values())
        for line in lines:
            self._read(line)
        if lines and not any(line.is_up for line in lines):  # all of them are one failure, the nursery's
            self._count_failed_start(signal.SIGKILL)
        for line in lines:
            self._bury(line, signal.SIGKILL, starved=False)

    def _bury(self, line: Line, status: int, *, starved: bool) -> None:
        """Draw the conclusions of a child's death."""
        self._read(line)
        self._empty(line)
        not_begun = self._take_back(line)
        begun = next(iter(line.items.values()), None)
        self._close_line(line)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        seconds = monotonic() - line.since_s
        death = Death(
            line.pid, number, code, line.cause, starved, 0, again=False, slot=line.slot, seconds=seconds
        )
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
        self._printed.stop(line)
        self._unsent.discard(line)
        self._loop.forget(line.socket.fileno())
        self._loop.forget(line.results)
        self._lines.pop(line.slot)
        line.close()
        self._loans.bury(line)

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
        self._loop.after(self.settings.grace_s, partial(self._kill_hard, line))

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
        """Forget an item that waits, end the process of one that runs, or of the object that it is for."""
        lines = [line for line in self._lines.values() if line.has(holder.number, ident)]
        for line in lines:
            if line.slot not in self._dedicated:
                self._recall(line)  # if it has not begun, it waits from now on
        if holder.number in self._holders:
            waiting = self._book.withdraw(holder.number)
            self._book.submit(holder.number, [item for item in waiting if item.ident != ident])
        for line in lines:
            if line.has(holder.number, ident):
                self._kill(line, cause)

    def end_items(self, holder: Holder, cause: str) -> None:
        """Forget all items of a holder that wait, end the processes of those that run."""
        for line in list(self._lines.values()):
            if any(item.holder == holder.number for item in line.items.values()):
                if line.slot not in self._dedicated:
                    self._recall(line)
                if line.items:
                    self._kill(line, cause)
        if holder.number in self._holders:
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
                self._loans.give_back(line, holder.setup_blocks)
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
        self._loop.forget_calls()

    def _dismiss_all(self) -> None:
        """Let idle children end by themselves and kill the others."""
        holders = list(self._holders.values())
        for holder in holders:
            self.end_holder(holder, "the pool was closed")
        for line in list(self._lines.values()):
            line.dismiss()
        until = monotonic() + self.settings.close_s + self.settings.grace_s
        while self._lines and monotonic() < until:
            self._loop.wait(until)
        for holder in holders:  # what waited has not been told, and will not run
            holder.customer.broken("it is closed")
            holder.closed.set()

    def _end_family(self) -> None:
        for line in list(self._lines.values()):
            self._close_line(line)
        if self._family is not None:
            self._loop.forget(self._family.socket.fileno())
            self._family.end(self.settings.close_s)
            self._family = None
