"""Many short sessions of random graphs on real threads, against what a slow walk through the graph says.

Every app of a graph does what a table says: ends well, fails, waits on a timer, skips an output, writes
pieces, hangs until its limit, retries. The rules are those of chapter B4; the walk knows nothing of threads.
"""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

import penstock
from penstock import AppDrop
from penstock.errors import DropNotWritable
from penstock.runtime.result import finish
from tests.conftest import PROVE

from .making import (
    CANCELLED,
    COMPLETED,
    ERROR,
    HANG_S,
    OVER,
    SKIPPED,
    Graph,
    app,
    codes,
    data,
    end,
    file,
    in_threads,
    new_session,
)

SESSIONS = 6000 if PROVE else 250


@pytest.fixture(autouse=True)
def _many_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


class Act(AppDrop):
    """Does what its field `act` says, and counts how often."""

    lock: ClassVar[threading.Lock] = threading.Lock()
    runs: ClassVar[dict[str, Counter[str]]] = {}
    act = penstock.Parameter(str, "")

    def count(self) -> int:
        with self.lock:
            runs = self.runs.setdefault(self.site.session_id, Counter())
            runs[self.uid] += 1
            return runs[self.uid]

    def run(self) -> None:
        times = self.count()
        act = self.act
        if act == "nap":
            time.sleep(random.random() * 0.001)
        if act == "skip":
            self.outputs[0].skip()
        if act == "print":
            print("from", self.uid)
        for output in self.outputs:
            try:
                for _ in range(random.randrange(1, 4)):
                    output.write("x")
            except DropNotWritable:  # another producer was skipped, and that skipped the data
                pass
        if act == "fail" or (act == "retry" and times < 3):
            raise ValueError(self.uid)
        if act == "hang":
            Stuck.gate.wait(HANG_S)


class Stuck:
    """Where apps hang until the test is over."""

    gate = threading.Event()


class ActLater(Act):
    """The same after some time on a timer."""

    delayed = True

    def delay_s(self) -> float:
        return random.random() * 0.003


class ActOnPieces(Act):
    """The same, and takes pieces of streams, or fails over the first."""

    def initialize(self) -> None:
        self.pieces = 0

    def data_written(self, uid: str, data: memoryview) -> None:
        self.pieces += 1
        if self.act == "drop the piece":
            raise ValueError(self.uid)


ACTS = (
    ["well"] * 8
    + ["nap"] * 3
    + ["fail", "fail", "skip", "print", "retry", "later", "later", "drop the piece"]
)


class Plan:
    """A random graph, and how each of its drops has to end."""

    def __init__(self, seed: int, *, size: int = 40, hangs: bool = False) -> None:
        self.random = random.Random(seed)
        self.graph: Graph = []
        self.states: dict[str, int] = {}
        self.ran: set[str] = set()
        self.failed: set[str] = set()
        self._written: set[str] = set()
        self._data: list[str] = []
        self._hangs = hangs
        for _ in range(self.random.randrange(1, 5)):
            self._root()
        while len(self.graph) < size:
            self._step()

    def _root(self) -> None:
        uid = f"d{len(self._data)}"
        self._data.append(uid)
        self.graph.append(data(uid, **({"pydata": "root"} if self.random.random() < 0.3 else {})))
        self.states[uid] = COMPLETED

    def _step(self) -> None:
        """Add one output with one to three producers."""
        pick = self.random
        uid = f"d{len(self._data)}"
        count = pick.choice([1, 1, 1, 1, 2, 3])
        producers = [self._app(uid, f"{uid}.{number}", alone=count == 1) for number in range(count)]
        kind, fields = (file, {}) if pick.random() < 0.2 else (data, {})
        ended = [self.states[producer] for producer in producers]
        if SKIPPED in ended or uid in self._skipped_by:
            state = SKIPPED
        else:
            state = ERROR if ERROR in ended else COMPLETED
        if count > 1 and pick.random() < 0.3:
            fields["block_skip"] = True
            if uid not in self._skipped_by:
                state = ERROR if ERROR in ended else SKIPPED if set(ended) == {SKIPPED} else COMPLETED
        self.graph.append(kind(uid, **fields))
        self.states[uid] = state
        if state != SKIPPED and any(producer in self.ran for producer in producers):
            self._written.add(uid)  # data that is skipped in the end may or may not have got a piece before
        self._data.append(uid)

    @property
    def _skipped_by(self) -> set[str]:
        return self.__dict__.setdefault("_skipped", set())

    def _app(self, output: str, uid: str, *, alone: bool) -> str:
        pick = self.random
        inputs = pick.sample(self._data, min(len(self._data), pick.choice([1, 1, 2, 3, 6])))
        act = "hang" if self._hangs and pick.random() < 0.03 else pick.choice(ACTS)
        act = "well" if act == "skip" and not alone else act
        takes_pieces = act == "drop the piece" or (act != "hang" and pick.random() < 0.3)
        streams = [i for i in inputs if i in self._written] if takes_pieces else []
        fields: dict[str, Any] = {"act": act}
        threshold = pick.choice([0, 0, 0, 33, 50, 100])
        if threshold:
            fields["input_error_threshold"] = threshold
        block_skip = pick.random() < 0.3
        if block_skip:
            fields["block_skip"] = True
        if act == "retry":
            fields["n_tries"] = 3
        if act == "hang":
            fields["time_limit_s"] = 0.02
        elif pick.random() < 0.1:
            fields["time_limit_s"] = 1000
        if streams:
            fields["streamingInputs"] = streams
        cls = ActOnPieces if streams else ActLater if act == "later" else Act
        self.graph.append(app(uid, cls, [i for i in inputs if i not in streams], [output], **fields))
        ended = [self.states[i] for i in inputs]
        self.states[uid] = self._judge(uid, ended, threshold, block_skip, output, act, bool(streams))
        return uid

    def _judge(
        self,
        uid: str,
        ended: list[int],
        threshold: int,
        block_skip: bool,
        output: str,
        act: str,
        streams: bool,
    ) -> int:
        if act == "drop the piece" and streams:
            self.failed.add(uid)
            return ERROR
        skips = ended.count(SKIPPED)
        if 100 * ended.count(ERROR) // len(ended) > threshold:
            return ERROR
        if skips and (not block_skip or skips == len(ended)):
            return SKIPPED
        self.ran.add(uid)
        if act in ("fail", "hang"):
            self.failed.add(uid)
            return ERROR
        if act == "skip":
            self._skipped_by.add(output)
        return COMPLETED


EXECUTION = {COMPLETED: 2, ERROR: 3, CANCELLED: 4, SKIPPED: 5}


def check(plan: Plan, result: penstock.RunResult) -> None:
    states = codes(result)
    assert {uid: state for uid, (state, _) in states.items()} == plan.states
    for uid, (state, execution) in states.items():
        assert execution in (None, EXECUTION[state]), uid
    runs = Act.runs.get(result.session_id, {})
    acts = {drop["oid"]: drop.get("act") for drop in plan.graph}
    assert dict(runs) == {uid: 3 if acts[uid] == "retry" else 1 for uid in plan.ran}
    assert sorted(failure.uid for failure in result.errors) == sorted(plan.failed)
    assert result.status == ("FAILED" if ERROR in plan.states.values() else "FINISHED")
    assert result._session._runner._out == 0  # all that was taken was told, once


def attempt(seed: int, **options: Any) -> None:
    plan = Plan(seed, size=5 + seed % 60, **options)
    result = penstock.run(
        plan.graph, isolation="thread", workers=1 + seed % 16, session_id=f"stress-{seed}", timeout_s=HANG_S
    )
    try:
        check(plan, result)
    except AssertionError:
        print(f"seed {seed}")
        raise
    finally:
        Act.runs.pop(result.session_id, None)


def test_random_sessions_end_as_the_rules_say() -> None:
    for seed in range(SESSIONS):
        attempt(seed)


def test_random_sessions_at_once_end_as_the_rules_say() -> None:
    each = SESSIONS // 16

    def hammer(number: int) -> None:
        for seed in range(each):
            attempt(1_000_000 + number * each + seed)

    in_threads(8, hammer)


def test_random_sessions_with_hanging_apps_end_as_the_rules_say() -> None:
    Stuck.gate.clear()
    try:
        for seed in range(2_000_000, 2_000_000 + SESSIONS // 10):
            attempt(seed, hangs=True)
    finally:
        Stuck.gate.set()


@pytest.mark.parametrize("how", ["at once", "soon", "from two threads"])
def test_random_sessions_cancelled_at_any_moment_are_consistent(how: str) -> None:
    for seed in range(SESSIONS // 3):
        plan = Plan(seed, size=60)
        session = new_session(
            plan.graph, workers=1 + seed % 8, session_id=f"cancel-{how.replace(' ', '-')}-{seed}"
        )
        session.deploy()
        session.trigger()
        if how != "at once":
            session.wait(random.random() * 0.004)
        other = threading.Thread(target=session.cancel) if how == "from two threads" else None
        if other is not None:
            other.start()
        result = finish(session)
        if other is not None:
            other.join(HANG_S)
        states = codes(result)
        Act.runs.pop(result.session_id, None)
        assert not result.notes
        for uid, (state, execution) in states.items():
            assert state in OVER
            assert execution in (None, EXECUTION[state])
            if state != CANCELLED and result.status == "CANCELLED":
                assert state == plan.states[uid], uid  # what had ended had ended as it must
        if result.status != "CANCELLED":
            check_states(plan, result)


def check_states(plan: Plan, result: penstock.RunResult) -> None:
    assert {uid: state for uid, (state, _) in codes(result).items()} == plan.states


def test_random_sessions_with_an_end_drop_are_consistent() -> None:
    for seed in range(SESSIONS // 3):
        plan = Plan(seed, size=50)
        last = plan._data[len(plan._data) // 2]
        graph = [*plan.graph, app("to the end", Act, [last], ["end"], act="nap"), end("end")]
        result = penstock.run(
            graph, isolation="thread", workers=1 + seed % 8, session_id=f"end-{seed}", timeout_s=HANG_S
        )
        Act.runs.pop(result.session_id, None)
        states = codes(result)
        assert result.status == ("FAILED" if ERROR in {state for state, _ in states.values()} else "FINISHED")
        for uid, (state, execution) in states.items():
            assert state in (COMPLETED, ERROR, SKIPPED)
            assert execution in (None, EXECUTION[state])
            if state != SKIPPED and uid in plan.states:
                assert state == plan.states[uid], uid
        assert states["end"][0] == plan.states[last]


class Relay(AppDrop):
    """Writes one piece; takes one; checks that the session has not been called over."""

    over: ClassVar[set[str]] = set()
    early: ClassVar[list[str]] = []

    def data_written(self, uid: str, data: memoryview) -> None:
        self._look()

    def run(self) -> None:
        self._look()
        for output in self.outputs:
            output.write("x")
        self._look()

    def _look(self) -> None:
        if self.site.session_id in self.over:
            self.early.append(self.uid)


class RelayLater(Relay):
    """The same after a moment."""

    delayed = True

    def delay_s(self) -> float:
        return 0.0005


def test_wait_never_returns_while_anything_is_to_come() -> None:
    Relay.early.clear()
    for number in range(SESSIONS):
        graph: Graph = [app("a0", Relay, [], ["d0"]), data("d0", streamingConsumers=["a1"])]
        for i in range(1, 12):
            cls = RelayLater if (number + i) % 3 == 0 else Relay
            kind = file if (number + i) % 4 == 0 else data
            is_stream = (number + i) % 2 or i == 1
            streams = {"streamingInputs": [f"d{i - 1}"]} if is_stream else {}
            graph.append(app(f"a{i}", cls, [] if is_stream else [f"d{i - 1}"], [f"d{i}"], **streams))
            graph.append(kind(f"d{i}"))
        session = new_session(graph, workers=1 + number % 3, session_id=f"quiet-{number}")
        session.deploy()
        session.trigger()
        assert session.wait(HANG_S)
        Relay.over.add(session.session_id)
        assert finish(session).status == "FINISHED"
        assert set(session.flow.state) == {COMPLETED}
    assert Relay.early == []
