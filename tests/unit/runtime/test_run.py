"""Sessions on real threads: batches, chains, slots, timers, limits, cancelling."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock import AppDrop, DataDrop, Parameter
from penstock.drops.base import Drop
from penstock.engine.states import AppState
from penstock.runtime.result import new_session

HERE = __name__
HANG_S = 60


class Cell(DataDrop):
    """Data that keeps bytes in a list."""

    def __init__(self, site: Any, index: int) -> None:
        super().__init__(site, index)
        self.pieces: list[bytes] = []

    def _append(self, data: memoryview) -> None:
        self.pieces.append(bytes(data))

    def _reader(self) -> Any:
        import io

        return io.BytesIO(b"".join(self.pieces))

    def discard(self) -> None:
        super().discard()
        self.pieces.clear()


class Upper(AppDrop):
    """Copies its inputs in upper case."""

    def run(self) -> None:
        for output in self.outputs:
            for source in self.inputs:
                output.write(source.read().upper())


class Give(AppDrop):
    """Writes a text."""

    text = Parameter(str, "hello")

    def run(self) -> None:
        for output in self.outputs:
            output.write(self.text)


class Fail(AppDrop):
    """Fails."""

    def run(self) -> None:
        raise ValueError("it must be positive, got -1")


class FailTwice(AppDrop):
    """Writes something each time, fails twice."""

    calls: dict[str, int] = {}

    def run(self) -> None:
        self.outputs[0].write("x")
        self.calls[self.site.session_id] = self.calls.get(self.site.session_id, 0) + 1
        if self.calls[self.site.session_id] < 3:
            raise OSError("not yet")


class Wait(AppDrop):
    """Waits for an event of the test."""

    gates: dict[str, threading.Event] = {}
    gate = Parameter(str, "gate")

    def run(self) -> None:
        if not self.gates[self.gate].wait(HANG_S):
            raise TimeoutError(self.gate)


class Later(AppDrop):
    """Waits on a timer."""

    delayed = True
    seconds = Parameter(float, 0.01)

    def delay_s(self) -> float:
        return self.seconds


class Talk(AppDrop):
    """Prints and logs."""

    def run(self) -> None:
        import logging
        import sys

        print("to stdout")
        print("to stderr", file=sys.stderr)
        logging.getLogger("talk").warning("to the log")


def data(uid: str, **fields: Any) -> dict[str, Any]:
    return {"oid": uid, "categoryType": "Data", "dropclass": f"{HERE}.Cell", **fields}


def app(uid: str, cls: type[Drop], inputs: list[str], outputs: list[str], **fields: Any) -> dict[str, Any]:
    return {
        "oid": uid,
        "categoryType": "Application",
        "dropclass": f"{HERE}.{cls.__name__}",
        "inputs": inputs,
        "outputs": outputs,
        **fields,
    }


def run(graph: list[dict[str, Any]], **options: Any) -> penstock.RunResult:
    return penstock.run(graph, timeout_s=HANG_S, isolation="thread", **options)


def test_data_flows_through_apps() -> None:
    result = run([app("give", Give, [], ["a"]), data("a"), app("up", Upper, ["a"], ["b"]), data("b")])
    assert result.ok
    assert result.read("b") == b"HELLO"
    assert result.states["up"] == (2, 2)
    assert result.states["b"] == (2, None)


def test_a_failing_app_fails_what_is_behind_it_and_tells_why() -> None:
    result = run(
        [data("a"), app("bad", Fail, ["a"], ["b"]), data("b"), app("up", Upper, ["b"], ["c"]), data("c")]
    )
    assert result.status == "FAILED"
    assert [result.states[uid][0] for uid in ("a", "bad", "b", "up", "c")] == [2, 3, 3, 3, 3]
    (failure,) = result.errors
    assert (failure.uid, failure.error) == ("bad", "ValueError")
    assert "must be positive" in failure.message
    assert "in run" in failure.traceback
    assert [(i.uid, i.status) for i in failure.inputs] == [("a", "COMPLETED")]


def test_an_absorbed_failure_still_fails_the_session_and_is_listed() -> None:
    result = run(
        [
            app("bad", Fail, [], ["b"]),
            data("b"),
            data("a"),
            app("bear", Give, ["a", "b"], ["c"], input_error_threshold=50),
            data("c"),
        ]
    )
    assert result.status == "FAILED"
    assert result.absorbed == ["bad", "b"]
    assert result.read("c") == b"hello"


def test_tries_start_with_empty_outputs_again() -> None:
    result = run([app("third", FailTwice, [], ["a"], n_tries=3), data("a")], session_id="tries")
    assert result.ok
    assert result.read("a") == b"x"


def test_delayed_apps_hold_no_thread() -> None:
    apps = [app(f"later{i}", Later, ["a"], [], seconds=HANG_S) for i in range(300)]
    session = new_session([data("a"), *apps], workers=2, isolation="thread")
    session.deploy()
    try:
        session.trigger()
        deadline = time.monotonic() + HANG_S
        while session._runner.timer_count < 300 and time.monotonic() < deadline:
            session.wait(0.01)
        assert session._runner.timer_count == 300
        assert session.flow.execution.count(AppState.RUNNING) == 300
    finally:
        session.cancel()
        session.close()


def test_delayed_apps_run_when_their_time_has_come() -> None:
    result = run(
        [data("a"), *(app(f"later{i}", Later, ["a"], [], seconds=0.01) for i in range(20))], workers=2
    )
    assert result.ok


def test_many_ready_apps_share_a_bounded_number_of_threads() -> None:
    gate = Wait.gates["bounded"] = threading.Event()
    session = new_session(
        [data("a"), *(app(f"w{i}", Wait, ["a"], [], gate="bounded") for i in range(2000))],
        workers=8,
        isolation="thread",
    )
    before = threading.active_count()
    session.deploy()
    try:
        session.trigger()
        assert threading.active_count() - before <= 9
        gate.set()
        assert session.wait(HANG_S)
    finally:
        gate.set()
        session.close()
    assert session.flow.state.count(2) == 2001


def test_a_slow_app_delays_nobody_elses_outcome() -> None:
    Wait.gates["slow"] = threading.Event()
    quick = [app(f"q{i}", Give, ["a"], [f"b{i}"]) for i in range(50)]
    graph = [
        data("a"),
        *quick,
        *(data(f"b{i}") for i in range(50)),
        app("slow", Wait, ["a"], [], gate="slow"),
    ]
    graph += [app("last", OpenGate, [f"b{i}" for i in range(50)], [], gate="slow")]
    assert run(graph, workers=2).ok  # the gate opens only when all quick ones were told


class OpenGate(AppDrop):
    """Opens a gate of the test."""

    gate = Parameter(str, "gate")

    def run(self) -> None:
        Wait.gates[self.gate].set()


def test_an_overdue_app_fails_and_its_slot_is_replaced() -> None:
    gate = Wait.gates["overdue"] = threading.Event()
    try:
        graph = [
            data("a"),
            app("hang", Wait, ["a"], ["b"], gate="overdue", time_limit_s=0.05),
            data("b"),
            app("give", Give, ["a"], ["c"]),
            data("c"),
        ]
        result = run(graph, workers=1)
        assert result.status == "FAILED"
        assert result.read("c") == b"hello"
        assert [failure.error for failure in result.errors] == ["TimeLimitExceeded"]
    finally:
        gate.set()


def test_a_hung_app_cancelled_does_not_starve_the_next_session() -> None:
    gate = Wait.gates["hung"] = threading.Event()
    try:
        hung = penstock.run(
            [app("hang", Wait, [], ["a"], gate="hung"), data("a")],
            workers=1,
            isolation="thread",
            timeout_s=0.05,
        )
        assert hung.status == "CANCELLED"
        assert hung.states == {"hang": (6, 4), "a": (6, None)}
        assert run([app("give", Give, [], ["a"]), data("a")], workers=1).ok
    finally:
        gate.set()


def test_what_apps_print_and_log_is_kept_with_their_drop() -> None:
    result = run([app("talk", Talk, [], ["a"]), data("a")])
    assert result.log("talk").splitlines() == ["to stdout", "to stderr", "talk: to the log"]


def test_two_sessions_at_once_do_not_disturb_each_other() -> None:
    graph = [app("give", Give, [], ["a"], text="x"), data("a"), app("up", Upper, ["a"], ["b"]), data("b")]
    results: list[penstock.RunResult] = []
    threads = [threading.Thread(target=lambda: results.append(run(graph))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_S)
    assert [result.read("b") for result in results] == [b"X"] * 8


def test_a_session_that_waits_for_somebody_outside_ends_and_says_so() -> None:
    graph = [data("a", executionMode=1), app("up", Upper, ["a"], ["b"]), data("b")]
    result = run(graph)
    assert result.status == "FAILED"
    assert "up, b" in result.errors[0].message
    assert result.states["up"] == (0, 0)


def test_a_folder_that_is_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(penstock.errors.DirectoryInUse, match="not empty"):
        run([data("a")], directory=tmp_path / "mine")


class Untellable(Exception):
    """An error without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class FailOnce(AppDrop):
    """Fails once, in a way that cannot be told."""

    failed: set[str] = set()

    def run(self) -> None:
        if self.site.session_id not in self.failed:
            self.failed.add(self.site.session_id)
            raise Untellable


def test_an_error_that_cannot_be_told_is_tried_again_all_the_same() -> None:
    result = run([app("once", FailOnce, [], ["a"], n_tries=2), data("a")], session_id="untellable")
    assert result.ok
    assert "try 1 of 2 failed: Untellable" in result.log("once")
