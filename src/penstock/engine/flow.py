# SPDX-License-Identifier: Apache-2.0
"""The table of integers: the life of all drops of one session on one node.

Rule 1: all changes of a drop's state live in this file. The rare rules are decided in `rules.py`, applied here.
Rule 2: pure. Events are method calls with an index; what is to be done is left behind in `ready` (apps to run,
        data to settle), `stopped` (streaming apps that began and must not go on), `asked` (see rule 5) and
        `changes` (drops whose state changed). No lock: the caller holds one.
Rule 3: states only move forward. Late and repeated events are listed in `TRANSITIONS` as staying where they
        are; what the table lacks raises `IllegalTransition`.
Rule 4: the common path (an app finished, its outputs complete, their consumers become ready) is `apps_finished`
        and touches nothing but a few flat lists. A drop with anything unusual about it has a non-zero byte in
        `_special` and takes the road through `_work_off`.
Rule 5: a ghost is a row for a neighbour that lives on another node. Its home alone decides about it: no local
        rule ends it, `remote_ended` does, and from then on it counts like any row. Ghost apps never come out in
        `ready`, ghost data only to be settled (its content fetched). What local apps ask of ghost data (to be
        skipped, completed early, failed) is left in `asked`. `changes` and all questions are about home rows.

An index is a drop's place in its graph. A data drop that takes work to complete (a file to close, content to
make) is put in `ready` when its producers have ended; the caller does the work and reports `data_completed`.
"""

from collections.abc import Iterable, Iterator

from penstock.engine.rules import Verdict, judge_app, judge_data
from penstock.engine.states import AppState, DropState
from penstock.engine.transitions import TRANSITIONS
from penstock.errors import IllegalTransition
from penstock.graph.links import APP, Wiring
from penstock.graph.rules import Rules

__all__ = ["Flow"]

_INITIALIZED, _WRITING, _COMPLETED, _ERROR, _EXPIRED, _DELETED, _CANCELLED, _SKIPPED = map(int, DropState)
_NOT_RUN, _RUNNING, _FINISHED, _APP_ERROR, _APP_CANCELLED, _APP_SKIPPED = map(int, AppState)

# Bits of `_special`.
_FAULTY, _SETTLES, _ENDS, _EXTERNAL, _EARLY, _STREAMS, _RESUMES, _REMOTE = 1, 2, 4, 8, 16, 32, 64, 128

_TRIGGERED = -1  # in `_awaited`: counting down from here never meets zero again; so do ghosts

_APP_STATES = {_COMPLETED: _FINISHED, _ERROR: _APP_ERROR, _SKIPPED: _APP_SKIPPED}


class Flow:
    """States of all drops of one session, and what follows from each event.

    Args:
        wiring: who is linked to whom; its rows are used as they are.
        rules: the rare rules of single drops.
        settling: data drops whose completion takes work.
        ends: data drops whose completion ends the session (EndDrop).
        remote: the ghosts: drops whose home is another node.
    """

    def __init__(
        self,
        wiring: Wiring,
        rules: Rules,
        *,
        settling: Iterable[int] = (),
        ends: Iterable[int] = (),
        remote: Iterable[int] = (),
    ) -> None:
        size = len(wiring.kinds)
        self.state = bytearray(size)
        self.execution = bytearray(size)
        self.ready: list[int] = []
        self.changes: list[int] = []
        self.stopped: list[int] = []
        self.asked: list[tuple[int, int]] = []
        self.closed = False
        self._ending = False
        self._settling = 0
        self._kinds = wiring.kinds
        self._before = wiring.before
        self._after = wiring.after
        self._rules = rules
        self._awaited = [len(row) for row in wiring.before]  # by no `map`: others shall have turns
        for app, count in rules.effective.items():
            self._awaited[app] = count
        self._special = bytearray(size)
        self._errors: dict[int, int] = {}
        self._skips: dict[int, int] = {}
        self._odd: list[tuple[int, int]] = []
        self._remote = frozenset(remote)
        self._leaves = [i for i, row in enumerate(wiring.after) if not row and i not in self._remote]
        bits = ((_SETTLES, settling), (_ENDS, ends), (_EXTERNAL, rules.external), (_REMOTE, self._remote))
        for bit, indices in bits:
            for i in indices:
                self._special[i] |= bit
        for i in self._remote:
            self._awaited[i] = _TRIGGERED

    def __len__(self) -> int:
        return len(self.state)

    # Events: what starts

    def trigger(self, indices: Iterable[int]) -> None:
        """Complete data and start apps that nobody else will: the roots of a graph."""
        for i in indices:
            if self.closed or self.state[i] > _WRITING or self._special[i] & _REMOTE:
                continue
            if self._kinds[i] != APP:
                self._complete_or_settle(i)
            elif self.execution[i] == _NOT_RUN and not self._is_queued(i):
                self._awaited[i] = _TRIGGERED
                self.ready.append(i)
        self._work_off()

    def _is_queued(self, app: int) -> bool:
        count = self._awaited[app]
        return count < 0 or (count == 0 and bool(self._before[app]))

    def begin(self, indices: Iterable[int]) -> list[int]:
        """Return those of `indices` from `ready` that may begin; apps among them count as running from now on."""
        state, execution, kinds, special = self.state, self.execution, self._kinds, self._special
        begun = []
        for i in indices:
            if state[i] > _WRITING:
                continue
            if kinds[i] == APP:
                if execution[i] and not special[i] & (_STREAMS | _RESUMES):
                    raise IllegalTransition(AppState(execution[i]).name, "begin", f"drop {i}")
                execution[i] = _RUNNING
            begun.append(i)
        return begun

    def recalled(self, indices: Iterable[int]) -> None:
        """Take back the beginning of apps that were handed out and have not begun."""
        for i in indices:
            if (
                self._kinds[i] == APP
                and self.execution[i] == _RUNNING
                and not self._special[i] & (_STREAMS | _RESUMES)
            ):
                self.execution[i] = _NOT_RUN

    def app_paused(self, app: int) -> None:
        """Note that a running app waits for a timer and will begin once more."""
        self._special[app] |= _RESUMES

    def stream_started(self, app: int) -> bool:
        """Note that a streaming app took its first piece; `ready` names it once more when all inputs have ended."""
        if self.state[app] > _WRITING or self.execution[app] != _NOT_RUN:
            return False
        self.execution[app] = _RUNNING
        self._special[app] |= _STREAMS
        return True

    # Events: what ends

    def apps_finished(self, apps: Iterable[int]) -> None:
        """Note that apps ended well: they complete, their outputs complete, and consumers become ready."""
        state, execution, after = self.state, self.execution, self._after
        awaited, special = self._awaited, self._special
        changed, ready = self.changes.append, self.ready.append
        for app in apps:
            if execution[app] != _RUNNING:
                self._refuse_unless_ended(app, "app_finished")
                continue
            execution[app] = _FINISHED
            state[app] = _COMPLETED
            changed(app)
            for data in after[app]:
                count = awaited[data] - 1
                awaited[data] = count
                if count:
                    continue
                if special[data]:
                    self._producers_ended(data)
                    continue
                state[data] = _COMPLETED
                changed(data)
                for consumer in after[data]:
                    count = awaited[consumer] - 1
                    awaited[consumer] = count
                    if not count:
                        if special[consumer]:
                            self._decide(consumer)
                        else:
                            ready(consumer)
        if self._odd or self._ending:
            self._work_off()

    def app_failed(self, app: int) -> None:
        """Note that an app ended with an error: its outputs will fail."""
        if self.execution[app] != _RUNNING:
            self._refuse_unless_ended(app, "app_failed")
            return
        self._end_app(app, _ERROR, _APP_ERROR)
        self._work_off()

    def data_writing(self, data: int) -> None:
        """Note that data arrives."""
        self.state[data] = self._next("data_writing", data)

    def data_completed(self, data: int) -> None:
        """Note that data is complete: it settled, or it was full before its producers had ended."""
        if self._is_news("data_completed", data, _COMPLETED):
            self._special[data] |= _EARLY
            self._end_data(data, _COMPLETED)
            self._work_off()

    def data_failed(self, data: int) -> None:
        """Note that data will never be complete."""
        if self._is_news("data_failed", data, _ERROR):
            self._special[data] |= _EARLY
            self._end_data(data, _ERROR)
            self._work_off()

    def skip(self, index: int) -> None:
        """Note that a drop will not happen; it and what only it feeds are skipped."""
        if not self._is_news("skip", index, _SKIPPED):
            return
        if self._kinds[index] == APP:
            if self.execution[index] == _RUNNING:
                raise IllegalTransition("RUNNING", "skip", f"drop {index}")
            self._end_app(index, _SKIPPED, _APP_SKIPPED)
        else:
            self._note_skip(index)
        self._work_off()

    # Events: what another node tells

    def remote_ended(self, indices: Iterable[int], state: int) -> None:
        """Note how drops ended at their homes: COMPLETED (of apps: they finished), ERROR or SKIPPED.

        Repeats change nothing. Home data among them is what an app elsewhere asks of its output, in the same
        three words.
        """
        states, special, kinds = self.state, self._special, self._kinds
        awaited, after, ready = self._awaited, self._after, self.ready.append
        for i in indices:
            if state != _COMPLETED or special[i] != _REMOTE or kinds[i] == APP:
                self._told(i, state)
            elif states[i] <= _WRITING:
                states[i] = _COMPLETED
                for consumer in after[i]:
                    count = awaited[consumer] - 1
                    awaited[consumer] = count
                    if not count:
                        if special[consumer]:
                            self._decide(consumer)
                        else:
                            ready(consumer)
        self._work_off()

    def _told(self, index: int, state: int) -> None:
        """Take one fact that is not data simply completed."""
        if state not in _APP_STATES:
            raise IllegalTransition(DropState(state).name, "remote_ended", f"drop {index}")
        if not self._special[index] & _REMOTE:
            self._take_request(index, state)
        elif self.state[index] > _WRITING:
            return
        elif self._kinds[index] == APP:
            self._end_app(index, state, _APP_STATES[state])
        elif state == _COMPLETED:
            self._complete_or_settle(index)
        elif not self.execution[index]:
            self._end_data(index, state)

    def _take_request(self, data: int, state: int) -> None:
        if self._kinds[data] == APP:
            raise IllegalTransition("at home", "remote_ended", f"app {data}")
        if self.state[data] > _WRITING:
            return
        if state == _SKIPPED:
            self._note_skip(data)
            return
        self._special[data] |= _EARLY
        if state == _COMPLETED:
            self._complete_or_settle(data)
        else:
            self._end_data(data, _ERROR)

    def skip_rest(self) -> None:
        """Do what an EndDrop on another node does here: skip all that is open, but data that is settling."""
        if not self.closed:
            self._close(_SKIPPED, _APP_SKIPPED)

    def expired(self, data: int) -> None:
        """Note that complete data has outlived its time."""
        self._move("expired", data)

    def deleted(self, data: int) -> None:
        """Note that data was removed."""
        self._move("deleted", data)

    def cancel(self) -> None:
        """End everything that has not ended: CANCELLED. Later events change nothing."""
        self._close(_CANCELLED, _APP_CANCELLED)

    def conclude(self) -> None:
        """Complete what nobody waits for, when all leaves have ended and nothing runs."""
        for i in self._open():
            self.state[i] = _COMPLETED
            self._note_change(i)
        self.closed = True
        self.ready.clear()

    # Questions

    @property
    def over(self) -> bool:
        """Whether the session was ended (cancelled, concluded, or by an EndDrop) and no data is left to settle."""
        return self.closed and not self._settling

    def leaves_have_ended(self) -> bool:
        """Whether every drop with nothing after it has ended; what has only ghosts after it is no leaf."""
        leaves = self._leaves
        while leaves and self.state[leaves[-1]] > _WRITING:  # what has ended need not be looked at again
            leaves.pop()
        return self.closed or not leaves

    def is_app(self, index: int) -> bool:
        """Whether a drop is an app."""
        return self._kinds[index] == APP

    def is_remote(self, index: int) -> bool:
        """Whether a drop is a ghost: its home is another node."""
        return index in self._remote

    def has_failed(self) -> bool:
        """Whether any drop is in ERROR."""
        index = self.state.find(_ERROR)
        while index in self._remote:
            index = self.state.find(_ERROR, index + 1)
        return index >= 0

    def waiting(self) -> Iterator[int]:
        """Yield the drops that have not ended."""
        return (i for i in self._open() if i not in self._remote)

    # The road for everything unusual

    def _complete_or_settle(self, data: int) -> None:
        if self._special[data] & _SETTLES:
            if self.execution[data] == _NOT_RUN:  # the byte has no meaning for data but this: it is settling
                self.execution[data] = _RUNNING
                self._settling += 1
                self.ready.append(data)
        else:
            self._end_data(data, _COMPLETED)

    def _producers_ended(self, data: int) -> None:
        if self.state[data] > _WRITING or self.execution[data]:  # it has ended, or is settling already
            return
        verdict = judge_data(
            len(self._before[data]),
            self._errors.get(data, 0),
            self._skips.get(data, 0),
        )
        if verdict is Verdict.FAIL:
            self._end_data(data, _ERROR)
        elif verdict is Verdict.SKIP:
            self._end_data(data, _SKIPPED)
        else:
            self._complete_or_settle(data)

    def _decide(self, app: int) -> None:
        streams = self._special[app] & _STREAMS
        if self.state[app] > _WRITING or (self.execution[app] != _NOT_RUN and not streams):
            return
        rules = self._rules
        verdict = judge_app(
            rules.effective.get(app, len(self._before[app])),
            self._errors.get(app, 0),
            self._skips.get(app, 0),
            rules.threshold.get(app, 0),
            block_skip=app in rules.block_skip,
        )
        if verdict is Verdict.FAIL:
            self._end_app(app, _ERROR, _APP_ERROR)
        elif verdict is Verdict.SKIP:
            self._end_app(app, _SKIPPED, _APP_SKIPPED)
        else:
            self.ready.append(app)

    def _end_app(self, app: int, state: int, execution: int) -> None:
        if self._special[app] & _STREAMS and self.execution[app] == _RUNNING:
            self.stopped.append(app)
        self.state[app], self.execution[app] = state, execution
        self._note_change(app)
        self._odd.append((app, state))

    def _end_data(self, data: int, state: int) -> None:
        self.state[data] = state
        self._note_change(data)
        special = self._special[data]
        if self.execution[data]:
            self.execution[data] = _NOT_RUN
            self._settling -= 1
        if special & _ENDS and state == _COMPLETED:
            self._ending = True
        if not special & _EXTERNAL:
            self._odd.append((data, state))

    def _work_off(self) -> None:
        """Tell the neighbours of every drop that ended in an unusual way; may make more such drops."""
        while self._odd:
            index, state = self._odd.pop()
            if self._kinds[index] == APP:
                for data in self._after[index]:
                    self._producer_ended(data, state)
            else:
                for app in self._after[index]:
                    self._input_ended(app, state)
        if self._ending and not self.closed:
            # All that ended together with the EndDrop has been told: its results count. The rest is skipped.
            self._close(_SKIPPED, _APP_SKIPPED)

    def _producer_ended(self, data: int, state: int) -> None:
        if self._special[data] & _REMOTE:
            return
        if state == _SKIPPED:
            self._note_skip(data)
        elif state == _ERROR:  # home apps that end well do not come this way, ghosts do
            self._errors[data] = self._errors.get(data, 0) + 1
        self._special[data] |= _FAULTY
        self._awaited[data] -= 1
        if not self._awaited[data]:
            self._producers_ended(data)

    def _note_skip(self, data: int) -> None:
        self._special[data] |= _FAULTY
        self._skips[data] = self._skips.get(data, 0) + 1
        waits = data in self._rules.block_skip and len(self._before[data]) > 1
        if not waits and self.state[data] <= _WRITING:
            self._end_data(data, _SKIPPED)

    def _input_ended(self, app: int, state: int) -> None:
        counts = {_ERROR: self._errors, _SKIPPED: self._skips}.get(state)
        count = self._awaited[app] - 1
        self._awaited[app] = count
        if counts is not None:
            counts[app] = counts.get(app, 0) + 1
            self._special[app] |= _FAULTY
        if not count:
            self._decide(app)

    def _close(self, state: int, execution: int) -> None:
        """End all that is open, but for data that only has to settle when an EndDrop ends the session."""
        states, executions, kinds, special = self.state, self.execution, self._kinds, self._special
        for i, before in enumerate(states):  # it may be all drops of a large graph, with the lock held
            if before > _WRITING:
                continue
            if kinds[i] == APP:
                executions[i] = execution
            elif executions[i] and state == _SKIPPED:
                continue
            else:
                executions[i] = _NOT_RUN
            states[i] = state
            if not special[i] & _REMOTE:
                self.changes.append(i)
        self.closed = True
        self.ready = [i for i in self.ready if self.state[i] <= _WRITING]
        self._settling = self._settling if state == _SKIPPED else 0
        self._odd.clear()

    def _open(self) -> Iterator[int]:
        return (i for i, state in enumerate(self.state) if state <= _WRITING)

    def _note_change(self, index: int) -> None:
        if not self._special[index] & _REMOTE:
            self.changes.append(index)

    def _is_news(self, event: str, index: int, state: int) -> bool:
        """Whether an event ends a drop here; what is asked of a ghost goes to its home, unless its content came."""
        if self._next(event, index) == self.state[index]:
            return False
        if not self._special[index] & _REMOTE or (self.execution[index] and state != _SKIPPED):
            return True
        if self._kinds[index] == APP:
            raise IllegalTransition("elsewhere", event, f"app {index}")
        self.asked.append((index, state))
        return False

    def _next(self, event: str, index: int) -> int:
        state = DropState(self.state[index])
        after = TRANSITIONS[event].get(state)
        if after is None:
            raise IllegalTransition(state.name, event, f"drop {index}")
        return after

    def _move(self, event: str, index: int) -> None:
        after = self._next(event, index)
        if after != self.state[index]:
            self.state[index] = after
            self._note_change(index)

    def _refuse_unless_ended(self, app: int, event: str) -> None:
        """Pass over what comes after an end (a cancel, a time limit); an app that never began cannot finish."""
        if self.execution[app] == _NOT_RUN:
            raise IllegalTransition("NOT_RUN", event, f"drop {app}")
