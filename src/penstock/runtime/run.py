# SPDX-License-Identifier: Apache-2.0
"""From ready to outcome: slots that take batches of work from one queue and report back in batches.

Rule 1: one lock guards the flow, the queue and the timers. It is held for a few lines per batch, never while
        user code, files or listeners run.
Rule 2: what an app makes ready goes to the front of the queue, and the slot that made it ready takes first; so
        a chain stays on its thread.
Rule 3: a batch is about `batch_s` of work by the measured cost of its classes, one item while the cost is
        unknown. It must never hide work behind a slow item: what a slot has not begun and what it has not
        reported stand in deques that others can see, and the keeper takes both from a slot that does not move.
Rule 4: a Python app on a thread cannot be stopped. A slot whose app is overdue or cancelled is abandoned: it
        changes nothing any more, its thread ends when the app returns, and a new slot takes its place.
Rule 5: `_out` counts what slots have taken and nobody has reported, given back or given up. Only that tells
        whether something still runs: an item may be between a slot's deque and its `current`.
Rule 6: items of other processes pass through here on their way from the flow only; see `outside.py`.
Rule 7: a fault of ours on a slot or on the keeper ends the session with that error; it never hangs it.
"""

import heapq
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from math import inf
from time import monotonic, perf_counter

from penstock.config import Settings
from penstock.drops.app import AppDrop
from penstock.engine.expiry import Expiry
from penstock.engine.flow import Flow
from penstock.engine.states import AppState, DropState
from penstock.graph.cutting import TURN
from penstock.runtime.slot import Away, Delay, Outcome, Settled, Slot, Work, drain

__all__ = ["Runner"]

_MOST_PER_BATCH = 4096


class Runner:
    """Runs what a flow makes ready.

    Args:
        flow: only touched under `lock`.
        work: runs the items.
        class_of: per item the class by which costs are kept.

    Attributes:
        elsewhere: who runs items in other processes; None where all run here. Set before anything runs.
        expiry: the data that expires after use, None for none; likewise.
        hear: told which drops have ended, each time some have; with the lock held. None where nobody wants to know.
        rest: told when nothing runs, waits on a timer or is queued any more; likewise.
    """

    def __init__(self, flow: Flow, work: Work, class_of: Sequence[int], settings: Settings) -> None:
        self.lock = threading.Lock()
        self.abandoned: list[threading.Thread] = []
        self.elsewhere: Away | None = None
        self.expiry: Expiry | None = None
        self.hear: Callable[[Sequence[int]], None] | None = None
        self.rest: Callable[[], None] | None = None
        self._stopping: list[threading.Thread] = []
        self._flow = flow
        self._work = work
        self._class_of = class_of
        self._settings = settings
        self._cost = [inf] * (max(class_of, default=-1) + 1)
        self._queue: deque[int] = deque()
        self._slots: list[Slot] = []
        self._idle = 0
        self._out = 0
        self._broken: BaseException | None = None
        self._work_ready = threading.Condition(self.lock)
        self._changed = threading.Condition(self.lock)
        self._keeper_wake = threading.Condition(self.lock)
        self._keeper: threading.Thread | None = None
        self._timers: list[tuple[float, int]] = []
        self._limits: list[tuple[float, int]] = []
        self._to_stop: list[tuple[int, AppDrop | None]] = []
        self._newborn: list[Slot] = []
        self._watching = False
        self._closing = False

    # For the session

    def spread(self) -> None:
        """Queue what the flow has made ready. The caller holds the lock and has just told the flow something."""
        self._collect()
        if self._queue:
            self._call_for_help()
        else:
            self._tell_rest()

    def _tell_rest(self) -> None:
        if self._flow.over or self.is_quiet():
            self._changed.notify_all()
            if self.rest is not None:
                self.rest()

    def wait(self, over: Callable[[], bool], timeout_s: float | None) -> bool:
        """Return True when nothing runs, waits or is queued, or when `over()`; False when the time is up.

        Raises:
            BaseException: what ended one of our own threads.
        """
        limit_s = None if timeout_s is None else min(timeout_s, threading.TIMEOUT_MAX)
        with self.lock:
            ended = self._changed.wait_for(
                lambda: over() or self.is_quiet() or self._broken is not None, limit_s
            )
        if self._broken is not None:
            raise self._broken
        return ended

    @property
    def timer_count(self) -> int:
        """How many items wait on a timer now."""
        return len(self._timers)

    def limit(self, index: int, seconds: float) -> None:
        """Let an item that begins now be overdue after some seconds."""
        with self.lock:
            heapq.heappush(self._limits, (monotonic() + seconds, index))
            self._wake_keeper()

    def pause(self, index: int, seconds: float) -> None:
        """Let a running app begin once more after some seconds. The caller holds the lock."""
        self._flow.app_paused(index)
        heapq.heappush(self._timers, (monotonic() + seconds, index))
        self._wake_keeper()

    def end_with(self, error: BaseException) -> None:
        """Let `wait` raise an error; nothing can go on."""
        self._break(error)

    def stop(self) -> list[AppDrop]:
        """Forget all that has not begun and return the apps that run. The caller holds the lock."""
        self._queue.clear()
        self._timers.clear()
        running = []
        for slot in self._slots:
            self._out -= len(drain(slot.rest))
            if slot.busy and slot.app is not None:
                running.append(slot.app)
        self._changed.notify_all()
        return running

    def close(self, wait_s: float, stop_s: float) -> None:
        """End all threads; those that do not end in time are abandoned.

        Args:
            wait_s: time for those whose app cannot be stopped.
            stop_s: time for those whose app can, and was told to.
        """
        with self.lock:
            self._closing = True
            self._queue.clear()
            self._timers.clear()
            self._limits.clear()
            for condition in (self._work_ready, self._keeper_wake, self._changed):
                condition.notify_all()
        began_s = monotonic()
        if self._keeper is not None:
            self._keeper.join(stop_s)
        with self.lock:
            threads = [
                (slot.thread, stop_s if slot.app is not None and _can_stop(slot.app) else wait_s)
                for slot in self._slots
                if slot.thread is not None
            ]
            threads += [(thread, stop_s) for thread in self._stopping]
        for thread, patience_s in threads:
            thread.join(max(0.0, began_s + patience_s - monotonic()))
        with self.lock:
            for slot in [slot for slot in self._slots if slot.thread is not None and slot.thread.is_alive()]:
                self._abandon(slot)
                self._recall(slot)

    # Slots

    def _serve(self, slot: Slot) -> None:
        """Take, work, report, until closed or abandoned: the life of a slot's thread."""
        try:
            self._work.start_thread(slot)
            self._serve_on(slot)
        except BaseException as error:  # noqa: BLE001  the boundary of a thread; `wait` raises it
            self._break(error)

    def _break(self, error: BaseException) -> None:
        with self.lock:
            self._broken = self._broken or error
            self._changed.notify_all()

    def _serve_on(self, slot: Slot) -> None:
        while True:
            with self.lock:
                self._report(slot)
                while not (more := self._take(slot)) and not (self._closing or slot.abandoned):
                    slot.busy = False
                    self._idle += 1
                    self._tell_rest()
                    self._work_ready.wait()
                    self._idle -= 1
                if not more:
                    slot.busy = False
                    if not slot.abandoned:
                        self._slots.remove(slot)
                    return
            self._run_batch(slot)

    def _run_batch(self, slot: Slot) -> None:
        """Run what the slot has taken, without the lock."""
        rest, finished, execute = slot.rest, slot.finished, self._work.execute
        size = len(rest)
        first = rest[0] if rest else -1
        began = perf_counter()
        while True:
            try:
                index = rest.popleft()
            except IndexError:
                break
            slot.current = index
            if slot.abandoned:  # given up between two items: the second one is for others
                self._give_back(index)
                break
            try:
                outcome = execute(index, slot)
            except BaseException as error:  # noqa: BLE001  the boundary to user code, which may raise anything
                self._work.failed(index, error)
                slot.odd.append((index, error))
            else:
                if outcome is None:
                    finished.append(index)
                else:
                    slot.odd.append((index, outcome))
        slot.current = -1
        slot.app = None
        if first >= 0:
            self._learn(self._class_of[first], size, perf_counter() - began)

    def _give_back(self, index: int) -> None:
        with self.lock:
            self._out -= 1
            self._flow.recalled((index,))
            self._queue.appendleft(index)
            self.spread()

    def _learn(self, number: int, size: int, seconds: float) -> None:
        """Keep the mean cost of an item; a batch of several classes counts for the class of its first."""
        each = seconds / max(size, 1)
        known = self._cost[number]
        self._cost[number] = each if known == inf or each > known else (known + each) / 2

    def _take(self, slot: Slot) -> bool:
        """Move the next batch from the queue to the slot; False where there is none."""
        queue = self._queue
        while queue and not slot.abandoned and not self._closing:
            budget, count = self._settings.batch_s, 0
            for index in islice(queue, _MOST_PER_BATCH):
                cost = self._cost[self._class_of[index]]
                if count and cost > budget:
                    break
                budget -= cost
                count += 1
            batch = self._flow.begin([queue.popleft() for _ in range(count)])
            if not batch:
                continue
            self._out += len(batch)
            slot.rest.extend(batch)
            slot.busy = True
            slot.seen = (-1, -1)
            if queue:
                self._call_for_help()
            if len(batch) > 1 and not self._watching:
                self._watching = True
                self._wake_keeper()
            return True
        return False

    def _report(self, slot: Slot) -> None:
        """Tell the flow what the slot has done since the last time."""
        if slot.finished:
            finished = drain(slot.finished)
            self._out -= len(finished) - (slot.given_up in finished)
            self._flow.apps_finished(finished)
        for index, outcome in drain(slot.odd):
            self._out -= index != slot.given_up
            self._report_odd(index, outcome)
        self._collect()

    def _collect(self) -> None:
        """Take what the flow has left behind; what became ready last comes first."""
        flow = self._flow
        if flow.ready:
            here = flow.ready if self.elsewhere is None else self._send_away(flow.ready)
            self._queue.extendleft(reversed(here))
            flow.ready.clear()
        if flow.stopped:
            self._to_stop += [(index, None) for index in flow.stopped]
            flow.stopped.clear()
            self._wake_keeper()
        if self.expiry:
            self._expire(flow.changes)
        if self.hear is not None and (flow.changes or flow.asked):
            self.hear(flow.changes)
        while flow.changes:  # all drops of a large graph where it was cancelled: not in one go
            del flow.changes[-TURN:]

    def _expire(self, changes: Sequence[int]) -> None:
        """Let data go that is complete and whose last consumer has ended."""
        flow = self._flow
        ended = [i for i in changes if flow.is_app(i) or flow.state[i] == DropState.COMPLETED]
        for index in self.expiry.ended(ended) if self.expiry else ():
            flow.expired(index)
            self._work.expired(index)

    def _send_away(self, ready: list[int]) -> list[int]:
        """Hand over what runs in other processes; return the rest."""
        assert self.elsewhere is not None
        away = self.elsewhere.away
        there = [index for index in ready if away[index]]
        if there:
            self.elsewhere.send(there)
        return [index for index in ready if not away[index]] if len(there) < len(ready) else []

    def _report_odd(self, index: int, outcome: Outcome) -> None:
        flow = self._flow
        if isinstance(outcome, Delay):
            if flow.execution[index] == AppState.RUNNING:  # else it was cancelled, or is overdue
                self.pause(index, outcome.seconds)
        elif isinstance(outcome, Settled):
            flow.data_completed(index)
        elif flow.is_app(index):
            flow.app_failed(index)
        else:
            flow.data_failed(index)

    def _call_for_help(self) -> None:
        """See to it that somebody takes from the queue. The caller holds the lock."""
        if self._idle:
            self._work_ready.notify()
        elif len(self._slots) < self._settings.workers and not self._closing:
            slot = Slot()
            slot.busy = True
            self._slots.append(slot)
            if len(self._slots) == 1:
                try:
                    self._start(slot)
                except RuntimeError:
                    self._slots.remove(slot)
                    raise
            else:  # starting a thread waits until the system has let it run; not with the lock held
                self._newborn.append(slot)
                self._wake_keeper()

    def _start(self, slot: Slot) -> None:
        slot.thread = threading.Thread(target=self._serve, args=(slot,), name="penstock-slot", daemon=True)
        try:
            slot.thread.start()
        except RuntimeError:
            slot.thread = None
            raise

    def is_quiet(self) -> bool:
        """Whether nothing runs, waits on a timer or is queued. The caller holds the lock."""
        return not (self._queue or self._timers or self._out or (self.elsewhere and self.elsewhere.out))

    # The keeper: timers, time limits, and slots that do not move

    def _wake_keeper(self) -> None:
        if self._keeper is None:
            keeper = threading.Thread(target=self._keep, name="penstock-keeper", daemon=True)
            keeper.start()
            self._keeper = keeper
        else:
            self._keeper_wake.notify()

    def _keep(self) -> None:
        try:
            self._keep_on()
        except BaseException as error:  # noqa: BLE001  the boundary of a thread; `wait` raises it
            self._break(error)

    def _keep_on(self) -> None:
        while True:
            with self.lock:
                if self._closing:
                    return
                now = monotonic()
                self._fire_timers(now)
                overdue = self._end_overdue(now)
                self._watching = self._watch()
                to_stop, self._to_stop = self._to_stop, []
                newborn, self._newborn = self._newborn, []
                if not (overdue or to_stop or newborn):
                    self._keeper_wake.wait(self._pause(now))
            for slot in newborn:
                try:
                    self._start(slot)
                except RuntimeError:  # the system gives no more threads; those that are there go on
                    with self.lock:
                        self._slots.remove(slot)
            for index in overdue:
                self._work.overdue(index)
            for index, app in to_stop:
                self._work.stop(index, app)

    def _pause(self, now: float) -> float | None:
        dues = [heap[0][0] - now for heap in (self._timers, self._limits) if heap]
        if self._watching:
            dues.append(self._settings.watch_s)
        return max(0.0, min(*dues, threading.TIMEOUT_MAX)) if dues else None

    def _fire_timers(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            index = heapq.heappop(self._timers)[1]
            if self.elsewhere is not None and self.elsewhere.away[index]:
                self.elsewhere.send([index])
            else:
                self._queue.append(index)
                self._call_for_help()

    def _end_overdue(self, now: float) -> list[int]:
        overdue: list[int] = []
        if not self._limits or self._limits[0][0] > now:
            return overdue
        for slot in self._slots:  # what ended in time and was not told yet is not overdue
            self._report(slot)
        while self._limits and self._limits[0][0] <= now:
            index = heapq.heappop(self._limits)[1]
            if self._flow.execution[index] == AppState.RUNNING and self._give_up(index):
                overdue.append(index)
        self.spread()
        return overdue

    def _give_up(self, index: int) -> bool:
        """End an overdue app as failed, whether it runs or waits; False where it has just ended by itself."""
        if self.elsewhere is not None:
            self.elsewhere.give_up(index, "its time limit was over")
        holder = next((slot for slot in self._slots if slot.current == index), None)
        app = None if holder is None else holder.app
        if holder is not None:
            # The owner sets `current` and then looks at `abandoned`, we do it the other way round: so either we
            # see that it has gone on, or it sees that it may not.
            holder.abandoned = True
            if holder.current != index:
                holder.abandoned = False
                self._report(holder)
                return False
            holder.given_up = index
            self._out -= 1
            self._abandon(holder)
        self._timers = [timer for timer in self._timers if timer[1] != index]
        heapq.heapify(self._timers)
        self._flow.app_failed(index)  # before its slot reports: what it says now comes too late
        self._to_stop.append((index, app))
        if holder is not None:
            self._recall(holder)
        return True

    def _abandon(self, slot: Slot) -> None:
        slot.abandoned = True
        slot.busy = False
        if slot in self._slots:
            self._slots.remove(slot)
        if slot.thread is not None:
            self.abandoned.append(slot.thread)
            if slot.app is not None and _can_stop(slot.app):
                self._stopping.append(slot.thread)

    def _watch(self) -> bool:
        """Take work and reports from slots that have not moved since the last look; whether to look again."""
        again = False
        for slot in tuple(self._slots):  # recalling may add one
            mark = slot.mark()
            if slot.busy and (slot.rest or slot.finished or slot.odd):
                again = True
                if mark == slot.seen:
                    self._recall(slot)
            slot.seen = mark
        return again

    def _recall(self, slot: Slot) -> None:
        items = drain(slot.rest)
        self._out -= len(items)
        if (
            items and slot.current >= 0
        ):  # what hid them is no quick one; else the next slot takes them all again
            number = self._class_of[slot.current]
            self._cost[number] = max(self._cost[number], self._settings.watch_s)
        self._flow.recalled(items)
        self._report(slot)
        self._queue.extendleft(reversed(items))
        self.spread()


def _can_stop(app: AppDrop) -> bool:
    return type(app).cancel is not AppDrop.cancel
