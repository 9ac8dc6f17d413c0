"""Slots, timers, limits and batches under graphs that are meant to break them."""

import contextlib
import io
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, ClassVar

import pytest

import penstock
from penstock import AppDrop
from penstock.drops.memory import MemoryDrop
from penstock.errors import DropNotWritable
from penstock.runtime import slot as slot_module
from penstock.runtime.result import finish
from penstock.runtime.session import Session
from tests.conftest import PROVE

from .making import (
    CANCELLED,
    COMPLETED,
    ERROR,
    HANG_S,
    SKIPPED,
    Count,
    Fail,
    Give,
    Graph,
    Join,
    Later,
    Nothing,
    Open,
    StuckDrop,
    Wait,
    app,
    codes,
    data,
    end,
    file,
    gates,
    in_threads,
    new_session,
    null,
    run,
    shell,
)

HERE = __name__


def started(graph: Graph, **options: Any) -> Session:
    session = new_session(graph, **options)
    session.deploy()
    session.trigger()
    return session


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_gone(pid: int) -> None:
    """Wait until a process has ended; only another process of its group knows when."""
    deadline = time.monotonic() + HANG_S
    while not is_gone(pid):
        assert time.monotonic() < deadline, f"process {pid} lives on"
        threading.Event().wait(0.01)


# How many at once


@pytest.mark.parametrize("workers", [1, 2, 3, 8, 16])
def test_never_more_apps_at_once_than_slots(workers: int) -> None:
    graph = [null("a"), *(app(f"c{i}", Count, ["a"], [f"d{i}"]) for i in range(300))]
    graph += [null(f"d{i}") for i in range(300)] + [app(f"e{i}", Count, [f"d{i}"]) for i in range(300)]
    result = run(graph, workers=workers, session_id=f"slots-{workers}")
    assert result.ok
    assert Count.total[f"slots-{workers}"] == 600
    assert Count.most[f"slots-{workers}"] <= workers


def test_all_slots_are_used() -> None:
    graph = [app(f"m{i}", Meet, party=16) for i in range(16)]
    assert run(graph, workers=16).ok


class Meet(AppDrop):
    """Ends when all of its party run at once."""

    barriers: ClassVar[dict[str, threading.Barrier]] = {}
    lock: ClassVar[threading.Lock] = threading.Lock()
    party = penstock.Parameter(int, 2)

    def run(self) -> None:
        with self.lock:
            barrier = self.barriers.setdefault(self.site.session_id, threading.Barrier(self.party))
        barrier.wait(HANG_S)


def test_slots_come_back_when_apps_are_overdue() -> None:
    try:
        graph = [app(f"h{i}", Wait, gate="overdue", time_limit_s=0.05) for i in range(10)]
        graph += [null("x"), *(app(f"c{i}", Count, ["x"]) for i in range(50))]
        result = run(graph, workers=2, session_id="come-back")
        assert Count.total["come-back"] == 50
        assert [codes(result)[f"h{i}"] for i in range(10)] == [(ERROR, 3)] * 10
        assert sorted(failure.uid for failure in result.errors) == [f"h{i}" for i in range(10)]
    finally:
        gates["overdue"].set()


def test_slow_initializing_holds_up_nobody_else() -> None:
    assert run([app(f"m{i}", MeetFirst, party=4) for i in range(4)], workers=4).ok


class MeetFirst(Meet):
    """Ends when all of its party are made at once."""

    def initialize(self) -> None:
        Meet.run(self)

    def run(self) -> None:
        pass


# A batch hides nothing


def test_what_a_slot_has_not_begun_is_taken_by_others() -> None:
    for number in range(20 if PROVE else 5):
        gate = f"not begun {number}"
        graph: Graph = [null("a"), *(app(f"n{i}", Nothing, ["a"]) for i in range(3000))]
        graph += [
            app("slow", Wait, ["a"], gate=gate),
            *(app(f"m{i}", Nothing, ["a"], [f"d{i}"]) for i in range(3000)),
        ]
        graph += [null(f"d{i}") for i in range(3000)]
        graph += [
            app("open", Open, [f"d{i}" for i in range(3000)], gate=gate)
        ]  # wants all that stood behind it
        assert run(graph, workers=2).ok


def test_what_a_slot_has_not_told_is_told_by_others() -> None:
    for number in range(20 if PROVE else 5):
        gate = f"not told {number}"
        graph: Graph = [null("a"), *(app(f"m{i}", Nothing, ["a"], [f"d{i}"]) for i in range(3000))]
        graph += [app("slow", Wait, ["a"], gate=gate), *(null(f"d{i}") for i in range(3000))]
        graph += [app("open", Open, [f"d{i}" for i in range(3000)], gate=gate)]
        assert run(graph, workers=2).ok


def test_an_app_that_is_slow_only_sometimes_hides_nothing() -> None:
    graph: Graph = [
        null("a"),
        *(app(f"m{i}", Sometimes, ["a"], [f"d{i}"], slow=i in (700, 701)) for i in range(2000)),
    ]
    graph += [null(f"d{i}") for i in range(2000)]
    graph += [app("open", Open, [f"d{i}" for i in range(2000) if i not in (700, 701)], gate="sometimes")]
    assert run(graph, workers=3).ok


class Sometimes(AppDrop):
    """Is quick, or waits for a gate."""

    slow = penstock.Parameter(bool, False)

    def run(self) -> None:
        if self.slow:
            gates.wait("sometimes")


def test_failures_in_a_batch_are_told_while_its_slot_is_slow() -> None:
    graph: Graph = [null("a"), *(app(f"f{i}", Fail, ["a"], [f"d{i}"]) for i in range(200))]
    graph += [app("slow", Wait, ["a"], gate="failures"), *(null(f"d{i}") for i in range(200))]
    graph += [app("open", Open, [f"d{i}" for i in range(200)], gate="failures", input_error_threshold=100)]
    result = run(graph, workers=2)
    assert codes(result)["open"] == (COMPLETED, 2)
    assert len(result.errors) == 200


def test_an_end_drop_ends_the_session_while_an_app_hangs() -> None:
    try:
        result = run(
            [app("hang", Wait, [], ["a"], gate="end"), null("a"), app("give", Nothing, [], ["e"]), end("e")]
        )
        assert result.status == "FINISHED"
        assert codes(result) == {
            "hang": (SKIPPED, 5),
            "a": (SKIPPED, None),
            "give": (COMPLETED, 2),
            "e": (2, None),
        }
    finally:
        gates["end"].set()


def test_an_end_drop_ends_commands() -> None:
    graph = [
        shell("sleep", "echo $$ > pid; exec sleep 1000"),
        app("see", SeeFile, [], ["e"], path="pid"),
        end("e"),
    ]
    result = run(graph)
    assert result.status == "FINISHED"
    wait_gone(int((result.directory / "pid").read_text()))
    assert result.notes == []


class SeeFile(AppDrop):
    """Ends when a file of the session has content."""

    path = penstock.Parameter(str, "")

    def run(self) -> None:
        deadline = time.monotonic() + HANG_S
        while not ((path := self.site.directory / self.path).exists() and path.read_text().strip()):
            assert time.monotonic() < deadline
            threading.Event().wait(0.005)


# Timers and limits


def test_timers_hold_no_thread() -> None:
    before = threading.active_count()
    session = started([app(f"later{i}", Later, seconds=1000.0) for i in range(500)], workers=2)
    try:
        assert not session.wait(0.05)
        assert threading.active_count() <= before + 3  # two slots and the keeper
        assert run([app("give", Give, [], ["a"]), data("a")]).ok
    finally:
        result = finish(session)
    assert set(codes(result).values()) == {(CANCELLED, 4)}


@pytest.mark.parametrize("seconds", [1e12, 1e300, float("inf")])
def test_a_delay_without_end_disturbs_no_other_timer_or_limit(seconds: float) -> None:
    try:
        graph = [
            app("for ever", Endless),
            app("later", Later),
            app("hang", Wait, gate="inf", time_limit_s=0.05),
        ]
        Endless.seconds = seconds
        session = started(graph, workers=2)
        while [int(session.flow.state[i]) for i in (1, 2)] != [COMPLETED, ERROR]:
            assert not session.wait(0.01)
        result = finish(session)
        assert codes(result)["for ever"] == (CANCELLED, 4)
    finally:
        gates["inf"].set()


class Endless(AppDrop):
    """Waits on a timer that never ends."""

    delayed = True
    seconds = 0.0

    def delay_s(self) -> float:
        return self.seconds


def test_limits_and_timeouts_may_be_very_long() -> None:
    graph = [
        app("give", Give, [], ["a"], time_limit_s=1e12),
        data("a"),
        app("w", Wait, gate="x", time_limit_s=0.05),
    ]
    try:
        result = run(graph, timeout_s=1e12)
        assert {uid: code[0] for uid, code in codes(result).items()} == {"give": 2, "a": 2, "w": 3}
    finally:
        gates["x"].set()


def test_a_limit_ends_a_command_and_its_whole_group() -> None:
    command = "sleep 1000 & echo $! $$ > pids; wait"
    result = run(
        [shell("sh", command, [], ["a"], time_limit_s=0.3), data("a"), app("n", Nothing, ["a"])], workers=1
    )
    assert codes(result) == {"sh": (ERROR, 3), "a": (ERROR, None), "n": (ERROR, 3)}
    assert [failure.error for failure in result.errors] == ["TimeLimitExceeded"]
    for pid in map(int, (result.directory / "pids").read_text().split()):
        wait_gone(pid)


def test_cancelling_ends_a_command_that_does_not_listen() -> None:
    graph = [shell("sh", "trap '' TERM; echo $$ > pid; sleep 1000; sleep 1000")]
    session = started([*graph, app("see", SeeFile, path="pid")])
    while session.flow.state[1] != COMPLETED:
        assert not session.wait(0.01)
    result = finish(session)
    assert result.status == "CANCELLED"
    assert result.notes == []  # its thread has ended as well
    assert is_gone(int((result.directory / "pid").read_text()))


def test_an_overdue_command_that_does_not_listen_is_gone_when_the_run_ends() -> None:
    command = "trap '' TERM; sleep 1000 & echo $! > child; echo $$ > pid; wait; sleep 1000"
    result = run([shell("sh", command, time_limit_s=0.5)])
    assert [failure.error for failure in result.errors] == ["TimeLimitExceeded"]
    assert result.notes == []
    assert is_gone(int((result.directory / "pid").read_text()))
    assert is_gone(int((result.directory / "child").read_text()))


def test_a_limit_covers_all_tries_together() -> None:
    result = run([shell("sh", "echo x >> tries; sleep 0.05; false", n_tries=100000, time_limit_s=0.3)])
    assert [failure.error for failure in result.errors] == ["TimeLimitExceeded"]
    assert (result.directory / "tries").read_text().startswith("x\n")


def test_a_limit_covers_what_an_app_does_before_it_runs() -> None:
    try:
        result = run([app("hang", HangsFirst, time_limit_s=0.05)], workers=1)
        assert [failure.error for failure in result.errors] == ["TimeLimitExceeded"]
    finally:
        gates["first"].set()


class HangsFirst(AppDrop):
    """Hangs before it runs."""

    def initialize(self) -> None:
        gates.wait("first")


def test_an_app_that_ends_at_its_limit_ends_once() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(200 if PROVE else 15):
            graph: Graph = [null("a")]
            for i in range(60):
                graph += [app(f"e{i}", Edge, ["a"], [f"d{i}"], time_limit_s=0.002), null(f"d{i}")]
                graph += [app(f"n{i}", Nothing, [f"d{i}"])]
            result = run(graph, workers=4)
            failed = {failure.uid for failure in result.errors}
            assert len(failed) == len(result.errors)
            for i in range(60):
                well = [(COMPLETED, 2), (COMPLETED, None), (COMPLETED, 2)]
                badly = [(ERROR, 3), (ERROR, None), (ERROR, 3)]
                assert [codes(result)[f"{kind}{i}"] for kind in "edn"] == (
                    badly if f"e{i}" in failed else well
                )
            assert result.status == ("FAILED" if failed else "FINISHED")
    finally:
        sys.setswitchinterval(interval)


class Edge(AppDrop):
    """Takes about as long as its limit."""

    def run(self) -> None:
        time.sleep(0.0005 + (self.index % 30) * 0.0001)


# Cancelling


def test_cancelling_ends_what_is_queued_runs_and_waits() -> None:
    graph = [app("run", Wait, [], ["a"], gate="c"), data("a"), app("later", Later, seconds=1000.0)]
    graph += [shell("sh", "echo $$ > pid; exec sleep 1000")]
    graph += [app("see", SeeFile, path="pid"), *(app(f"queued{i}", Wait, gate="c") for i in range(100))]
    session = started(graph, workers=4)
    try:
        gates.wait("c begun")
        while session.flow.state[4] != COMPLETED:
            assert not session.wait(0.01)
        result = finish(session)
        assert result.status == "CANCELLED"
        states = codes(result)
        assert states.pop("see") == (COMPLETED, 2)
        assert states.pop("a") == (CANCELLED, None)
        assert set(states.values()) == {(CANCELLED, 4)}
        wait_gone(int((result.directory / "pid").read_text()))
    finally:
        gates["c"].set()


def test_cancelling_before_deploying_and_twice_and_after_the_end_is_possible() -> None:
    session = new_session([app("give", Give, [], ["a"]), data("a")])
    session.cancel()
    session.cancel()
    session.close()
    assert session.state.name == "CANCELLED"
    session = started([app("give", Give, [], ["a"]), data("a")])
    assert session.wait(HANG_S)
    assert finish(session).status == "FINISHED"
    session.cancel()
    session.close()
    assert session.state.name == "FINISHED"


def test_cancelling_at_any_moment_leaves_no_command_behind() -> None:
    for number in range(300 if PROVE else 25):
        marks = [f"sleep 1000.{number:03}{i}" for i in range(6)]
        session = started([shell(f"s{i}", f"exec {mark}") for i, mark in enumerate(marks)], workers=6)
        threading.Event().wait(0.0004 * (number % 25))  # the moment to be tried, not a wait for anything
        result = finish(session)
        assert result.status == "CANCELLED"
        assert result.notes == []
        assert not [mark for mark in marks if _is_running(mark)]


def _is_running(command: str) -> bool:
    wanted = command.replace(" ", "\0") + "\0"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_text() == wanted:
                return True
        except OSError:
            continue
    return False


def test_an_app_cannot_write_after_its_session_was_cancelled() -> None:
    session = started([app("late", WritesLate, [], ["a", "f"]), data("a"), file("f", "f.txt")])
    gates.wait("late begun")
    result = finish(session)
    gates["late"].set()
    assert gates["late refused"].wait(HANG_S)
    assert result.status == "CANCELLED"
    assert codes(result) == {"late": (CANCELLED, 4), "a": (CANCELLED, None), "f": (CANCELLED, None)}
    assert not (result.directory / "f.txt").exists()


class WritesLate(AppDrop):
    """Writes to all outputs when nobody wants it any more."""

    def run(self) -> None:
        gates["late begun"].set()
        gates.wait("late")
        refused = 0
        for output in self.outputs:
            try:
                output.write("too late")
            except DropNotWritable:
                refused += 1
        if refused == 2:
            gates["late refused"].set()


def test_a_write_that_hangs_does_not_hold_up_the_end() -> None:
    try:
        result = run([app("give", Give, [], ["a"]), data("a", StuckDrop)], timeout_s=0.2)
        assert result.status == "CANCELLED"
    finally:
        gates["stuck"].set()


@pytest.mark.parametrize("method", ["initialize", "run", "settle"])
def test_code_that_hangs_anywhere_does_not_hold_up_the_end(method: str) -> None:
    try:
        graph = [app("hang", HangsIn, [], ["a"], where=method), data("a", HangsWhenSettling, where=method)]
        result = run(graph, timeout_s=0.2)
        assert result.status == "CANCELLED"
        assert dict(result.outputs()) == {}
    finally:
        gates["hangs in"].set()


class HangsIn(AppDrop):
    """Hangs where it is told to."""

    where = penstock.Parameter(str, "")

    def initialize(self) -> None:
        if self.where == "initialize":
            gates.wait("hangs in")

    def run(self) -> None:
        if self.where == "run":
            gates.wait("hangs in")


class HangsWhenSettling(MemoryDrop):
    """Hangs when it shall be completed."""

    settles = True
    where = penstock.Parameter(str, "")

    def settle(self) -> None:
        if self.where == "settle":
            gates.wait("hangs in")


class Rude(MemoryDrop):
    """Does not let go."""

    def release(self) -> None:
        raise OSError("will not let go")


class RudeApp(Wait):
    """Cannot be cancelled in peace."""

    def run(self) -> None:
        self.outputs[0].write("x")
        super().run()

    def cancel(self) -> None:
        raise OSError("will not be cancelled")


def test_drops_that_raise_when_the_session_ends_do_not_keep_it_from_ending() -> None:
    before = sys.stdout
    try:
        session = started([app("rude", RudeApp, [], ["a"], gate="rude"), data("a", Rude)])
        gates.wait("rude begun")
        gates["rude"].set()
        result = finish(session)
        assert result.status in ("CANCELLED", "FINISHED")
        assert sys.stdout is before
    finally:
        gates["rude"].set()


def test_data_complete_before_its_producer_ends_starts_its_consumers() -> None:
    graph = [
        app("early", FullEarly, [], ["a"]),
        data("a", expectedSize=5),
        app("open", Open, ["a"], gate="full"),
    ]
    result = run(graph, workers=2)
    assert result.ok
    assert result.read("a") == b"12345"


class FullEarly(AppDrop):
    """Fills its output, and waits for what comes after it."""

    def run(self) -> None:
        self.outputs[0].write("123")
        self.outputs[0].write("45")
        gates.wait("full")


def test_who_writes_into_full_data_fails_and_the_data_stays() -> None:
    graph = [
        app("more", TooMuch, [], ["a"]),
        data("a", expectedSize=3),
        app("join", Join, ["a"], ["b"]),
        data("b"),
    ]
    result = run(graph)
    assert result.status == "FAILED"
    assert {uid: code[0] for uid, code in codes(result).items()} == {"more": ERROR, "a": 2, "join": 2, "b": 2}
    assert result.read("b") == b"123"


class TooMuch(AppDrop):
    """Writes more than expected."""

    def run(self) -> None:
        self.outputs[0].write("123")
        self.outputs[0].write("4")


# What apps raise


class BadText(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise ValueError("no text")


class LeavesAsText(Exception):
    """Leaves when asked for its text."""

    def __str__(self) -> str:
        raise SystemExit(3)


def _group(depth: int) -> BaseException:
    error: BaseException = ValueError("deep")
    for _ in range(depth):
        error = BaseExceptionGroup("group", [error])
    return error


def _recursion() -> BaseException:
    def deeper() -> None:
        deeper()

    try:
        deeper()
    except RecursionError as error:
        return error
    raise AssertionError


def _odd_syntax_error() -> BaseException:
    return SyntaxError("odd", ("file", 1, "no number", 5))  # type: ignore[arg-type]


_ERRORS: dict[str, Any] = {
    "system exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "stop iteration": lambda: StopIteration("x"),
    "generator exit": GeneratorExit,
    "no text": BadText,
    "leaves as text": LeavesAsText,
    "ten megabytes": lambda: ValueError("x" * 10_000_000),
    "ten megabytes of lines": lambda: ValueError("x\n" * 5_000_000),
    "lone surrogate": lambda: ValueError("name \udc80.fits"),
    "surrogate in class": lambda: type("Bad\udc80", (Exception,), {})("x"),
    "nul": lambda: ValueError("\0\x1b[31m"),
    "odd syntax error": _odd_syntax_error,
    "group of groups": lambda: _group(5000),
    "recursion": _recursion,
    "no memory": MemoryError,
    "not an exception": lambda: 42,
}


class Raise(AppDrop):
    """Raises what it is told to."""

    what = penstock.Parameter(str, "")

    def run(self) -> None:
        make = _ERRORS[self.what]
        raise make()


@pytest.mark.parametrize("what", _ERRORS)
def test_whatever_an_app_raises_is_a_failure_of_that_app(what: str) -> None:
    graph = [app("bad", Raise, [], ["a"], what=what), data("a"), app("good", Give, [], ["b"]), data("b")]
    result = run(graph, workers=1)
    assert codes(result) == {
        "bad": (ERROR, 3),
        "a": (ERROR, None),
        "good": (COMPLETED, 2),
        "b": (COMPLETED, None),
    }
    (failure,) = result.errors
    assert failure.uid == "bad"
    assert len(failure.message) + len(failure.traceback) < 100_000
    assert next(result._session.folder.read_lines("errors.jsonl"))["uid"] == "bad"


class BadSize(MemoryDrop):
    """Does not know its size."""

    @property
    def size(self) -> int:
        raise OSError("no size")


def test_inputs_that_cannot_be_described_do_not_hide_a_failure() -> None:
    graph = [app("give", Give, [], ["a"]), data("a", BadSize), app("fail", Fail, ["a"])]
    result = run(graph)
    assert [(failure.uid, failure.error) for failure in result.errors] == [("fail", "ValueError")]


class Odd(AppDrop):
    """Prints what no file can hold."""

    def run(self) -> None:
        print("odd \udc80 name")
        print("x" * 1_000_000)
        sys.stderr.writelines(["a\n", "b\n"])


def test_whatever_an_app_prints_is_kept() -> None:
    result = run([app("odd", Odd)])
    assert result.ok, result.errors
    assert result.log("odd").startswith("odd \\udc80 name")
    assert result.log("odd").endswith("a\nb\n")
    assert len(result.log("odd")) < 100_000


class OwnThreads(AppDrop):
    """Starts threads which print, and joins them."""

    def run(self) -> None:
        threads = [threading.Thread(target=print, args=("from a thread of its own",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("from the slot")


def test_apps_may_start_threads_which_print(capsys: pytest.CaptureFixture[str]) -> None:
    result = run([app(f"own{i}", OwnThreads) for i in range(5)], workers=5)
    assert result.ok
    assert all(result.log(f"own{i}") == "from the slot\n" for i in range(5))
    assert capsys.readouterr().out.count("from a thread of its own") == 20


# Shapes


def test_a_chain_of_twenty_thousand() -> None:
    graph: Graph = [null("d0")]
    for i in range(20_000):
        graph += [app(f"a{i}", Nothing, [f"d{i}"], [f"d{i + 1}"]), null(f"d{i + 1}")]
    result = run(graph, workers=2)
    assert result.ok
    assert set(codes(result).values()) == {(2, None), (2, 2)}


def test_a_failure_runs_down_a_chain_of_twenty_thousand() -> None:
    graph: Graph = [app("fail", Fail, [], ["d0"]), null("d0")]
    for i in range(20_000):
        graph += [app(f"a{i}", Nothing, [f"d{i}"], [f"d{i + 1}"]), null(f"d{i + 1}")]
    result = run(graph)
    assert set(codes(result).values()) == {(3, None), (3, 3)}
    assert len(result.errors) == 1


class Look(AppDrop):
    """Looks at its inputs and outputs."""

    def run(self) -> None:
        assert len(self.inputs) + len(self.outputs) >= 1


@pytest.mark.parametrize("ends", ["app", "data", "both"])
def test_one_drop_with_twenty_thousand_consumers(ends: str) -> None:
    count = 20_000
    graph = [null("d", **({"consumers": [f"a{i}" for i in range(count)]} if ends != "app" else {}))]
    graph += [app(f"a{i}", Look, ["d"] if ends != "data" else []) for i in range(count)]
    assert run(graph).ok  # asking for ports must not search all links of `d` for each


@pytest.mark.parametrize("ends", ["app", "data", "both"])
def test_one_app_with_twenty_thousand_inputs(ends: str) -> None:
    count = 20_000
    graph = [null(f"d{i}", **({"consumers": ["a"]} if ends != "app" else {})) for i in range(count)]
    graph += [app("a", Look, [f"d{i}" for i in range(count)] if ends != "data" else [])]
    assert run(graph).ok


# Together


def test_sessions_in_many_threads_do_not_disturb_each_other() -> None:
    def hammer(number: int) -> None:
        for turn in range(20 if PROVE else 4):
            graph = [app("give", Give, [], ["a"], text=f"{number}.{turn}"), data("a")]
            graph += [app(f"j{i}", Join, ["a"], [f"b{i}"]) for i in range(20)]
            graph += [data(f"b{i}") for i in range(20)] + [app("fail", Fail, ["a"]), app("later", Later)]
            result = run(graph, workers=3)
            assert result.status == "FAILED"
            assert {result.read(f"b{i}") for i in range(20)} == {f"{number}.{turn}".encode()}
            assert [failure.uid for failure in result.errors] == ["fail"]

    in_threads(8, hammer)


def test_classes_of_users_are_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_components.py").write_text(
        "from penstock import AppDrop, DataDrop\n"
        "class Shout(AppDrop):\n"
        "    def run(self):\n"
        "        for output in self.outputs:\n"
        "            output.write(self.inputs[0].read().upper())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    graph = [
        app("give", Give, [], ["a"]),
        data("a"),
        app("shout", "their_components.Shout", ["a"], ["b"]),
        data("b"),
    ]
    assert run(graph).read("b") == b"HELLO"


def test_signals_are_left_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    assert run([shell("sh", "true"), app("give", Give, [], ["a"]), data("a")]).ok
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)] == before


# Moments too short to be met by chance


def test_a_slot_given_up_between_two_items_gives_the_second_one_back(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up: list[int] = []

    class Deque(deque[int]):
        def popleft(self) -> int:
            item = super().popleft()
            if threading.current_thread().name != "penstock-slot" or runner.lock.locked() or given_up:
                return item
            slot = next((slot for slot in runner._slots if slot.rest is self), None)
            if slot is not None and slot.current > 0 and self:
                with (
                    runner.lock
                ):  # the keeper comes now: the item before is done, this one is not `current` yet
                    given_up.append(slot.current)
                    assert runner._give_up(slot.current)
                    runner.spread()
                    assert not runner.is_quiet()
            return item

    graph = [null("a"), *(app(f"c{i}", Count, ["a"], time_limit_s=1000) for i in range(200))]
    session = new_session(graph, workers=1, session_id="between")
    runner = session._runner
    monkeypatch.setattr(slot_module, "deque", Deque)
    monkeypatch.setattr(
        Count, "run", lambda self: Count.total.update({self.uid: Count.total.get(self.uid, 0) + 1})
    )
    session.deploy()
    session.trigger()
    assert session.wait(HANG_S)
    result = finish(session)
    (place,) = given_up
    late = f"c{place - 1}"
    assert codes(result)[late] == (ERROR, 3)
    assert {code for uid, code in codes(result).items() if uid not in (late, "a")} == {(COMPLETED, 2)}
    assert {Count.total[f"c{i}"] for i in range(200)} == {1}
    assert runner._out == 0


def test_a_system_without_more_threads_is_an_error_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if (
            thread.name.startswith("penstock")
            and sum(t.name.startswith("penstock") for t in threading.enumerate()) >= most
        ):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    graph = [null("a"), *(app(f"n{i}", Nothing, ["a"]) for i in range(500))]
    most = 0
    with pytest.raises(RuntimeError, match="new thread"):
        run(graph)
    most = 2
    assert run(graph, workers=1).ok
    most = 1
    with pytest.raises(RuntimeError, match="new thread"):  # no keeper: what it watches would not be watched
        run([*graph, app("later", Later)], workers=8)


def test_a_fault_of_ours_ends_the_session_with_that_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("ours")

    session = new_session([app("fail", Fail), app("good", Nothing)])
    monkeypatch.setattr(session, "failed", broken)
    session.deploy()
    try:
        session.trigger()
        with pytest.raises(ZeroDivisionError, match="ours"):
            session.wait(HANG_S)
    finally:
        assert finish(session).status == "CANCELLED"


def test_replaced_output_streams_do_not_keep_a_later_session_from_capturing() -> None:
    first = started([app("wait", Wait, gate="replaced")])
    gates.wait("replaced begun")
    before = sys.stdout
    try:
        with contextlib.redirect_stdout(io.StringIO()) as theirs:
            result = run([app("odd", Odd)])
            assert result.log("odd").startswith("odd")
            assert theirs.getvalue() == ""
        assert sys.stdout is before
    finally:
        gates["replaced"].set()
        finish(first)


class HangsInCancel(Wait):
    """Does not return from cancel, as it should."""

    def cancel(self) -> None:
        gates.wait(self.gate)


def test_a_cancel_that_hangs_holds_up_neither_limits_nor_the_end() -> None:
    graph = [app("hang", HangsInCancel, gate="cancel", time_limit_s=0.05)]
    graph += [app("other", Wait, gate="cancel", time_limit_s=0.1), app("third", HangsInCancel, gate="cancel")]
    session = started(graph)
    while [int(session.flow.state[i]) for i in (0, 1)] != [ERROR, ERROR]:
        assert not session.wait(0.01)
    result = finish(session)
    assert result.status == "CANCELLED"
    assert sorted(failure.uid for failure in result.errors) == ["hang", "other"]
