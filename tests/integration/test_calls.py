"""Python functions called in the slots of a pool: real processes, real signals, real shared memory."""

import asyncio
import functools
import gc
import logging
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, as_completed, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.errors import ArenaFull, CallFailed, CallLost, PoolBroken, SerializationError
from penstock.wire.arena import Arena
from penstock.wire.payload import pack_function
from penstock.workers import calls as calls_module
from penstock.workers.calls import Calls
from penstock.workers.pool import PoolSettings, WorkerPool
from tests.conftest import PROVE

from .making import HANG_S, in_threads

PRELOAD = ("penstock.workers.calls", __name__)
MANY = 20_000 if PROVE else 2_000
LARGE = 1 << 17
"""Elements of an array that goes through shared memory."""


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    with Arena(16 << 20) as arena:
        yield arena


@pytest.fixture(scope="module")
def pool(arena: Arena) -> Iterator[WorkerPool]:
    with WorkerPool(PoolSettings(slots=2, grace_s=1.0, preload=PRELOAD), arena) as pool:
        yield pool


@pytest.fixture
def calls(pool: WorkerPool) -> Iterator[Calls]:
    """Calls of a test's own; whatever the test does, nothing of it is left in shared memory."""
    with Calls(pool) as calls:
        yield calls
    gc.collect()
    assert pool.arena.usage()[:3] == (0, 0, 0)


def get(future: "Future[Any]") -> Any:
    return future.result(HANG_S)


def error(future: "Future[Any]") -> BaseException:
    found = future.exception(HANG_S)
    assert found is not None
    return found


class Told:
    """A file by which a function in another process tells that it has begun, and is told to go on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    def tell(self, text: str = "x") -> None:
        """Say something; waits for who listens."""
        self.path.write_text(text)

    def hear(self) -> str:
        """Wait for somebody to say something."""
        return self.path.read_text()


def pid_and_wait(begun: Told, gate: Told) -> int:
    begun.tell(str(os.getpid()))
    gate.hear()
    return os.getpid()


def hang(begun: Told) -> None:
    begun.tell(str(os.getpid()))
    threading.Event().wait(HANG_S)


def grow(path: Path, what: Callable[[], object]) -> None:
    """Count a run in a file, then do something."""
    with path.open("a") as file:
        file.write("x")
    what()


def nothing() -> None: ...


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def is_writable(array: Any) -> bool:
    return bool(array.flags.writeable)


def set_first(array: Any) -> Any:
    array[0] = 7
    return array


# What can be called


class Counter:
    def __init__(self, start: int) -> None:
        self.value = start

    def plus(self, number: int) -> int:
        return self.value + number

    def __call__(self, number: int) -> int:
        return self.value * number

    @staticmethod
    def twice(number: int) -> int:
        return 2 * number

    @classmethod
    def name(cls) -> str:
        return cls.__name__


def test_a_function_returns_its_result(calls: Calls) -> None:
    assert get(calls.submit(operator.add, 1, 2)) == 3
    assert get(calls.submit(os.getpid)) != os.getpid()
    assert get(calls.submit(dict, a=1, b="two")) == {"a": 1, "b": "two"}


FACTOR = 3


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda number: number * FACTOR, 15),
        (functools.partial(operator.sub, 12), 7),
        (functools.partial(lambda base, number: base + number, 100), 105),
        (Counter(2).plus, 7),
        (Counter(2), 10),
        (Counter.twice, 10),
        ([1, 2, 3].__getitem__, None),
        (str, "5"),
        (float(5).__add__, 10.0),
        (np.arange, [0, 1, 2, 3, 4]),
    ],
    ids=[
        "lambda",
        "partial",
        "partial-lambda",
        "method",
        "callable",
        "static",
        "slot",
        "class",
        "of-float",
        "ufunc",
    ],
)
def test_all_kinds_of_functions_can_be_called(
    calls: Calls, function: Callable[..., Any], expected: Any
) -> None:
    if expected is None:
        assert get(calls.submit(function, 1)) == 2
    else:
        result = get(calls.submit(function, 5))
        assert list(result) == expected if isinstance(expected, list) else result == expected


def test_closures_and_local_classes_go_by_their_code(calls: Calls) -> None:
    class Local:
        def __init__(self, value: int) -> None:
            self.value = value

    factor = 4
    made = get(calls.submit(lambda value: Local(value * factor), 5))
    assert type(made) is Local
    assert made.value == 20
    assert get(calls.submit(lambda one: one.value, Local(3))) == 3
    assert get(calls.submit(Local, 6)).value == 6
    assert get(calls.submit(Counter.name)) == "Counter"
    assert get(calls.submit(lambda: lambda: 8))() == 8


def test_a_function_is_taken_as_it_is_when_submitted(calls: Calls) -> None:
    value = 1

    def look() -> int:
        return value

    first = calls.submit(look)
    value = 2
    second = calls.submit(look)
    assert (get(first), get(second)) == (1, 2)


def test_a_packed_function_is_packed_once(calls: Calls) -> None:
    function = pack_function(lambda number: number + 1)
    assert [get(future) for future in [calls.submit(function, i) for i in range(50)]] == list(range(1, 51))


def test_functions_of_a_script_can_be_called(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from penstock.wire.arena import Arena\n"
        "from penstock.workers.calls import Calls\n"
        "from penstock.workers.pool import PoolSettings, WorkerPool\n"
        "class Odd(ValueError): pass\n"
        "class Point:\n    def __init__(self, x): self.x = x\n"
        "def double(point):\n"
        "    if point.x < 0: raise Odd('negative')\n"
        "    return Point(2 * point.x)\n"
        "with Arena(1 << 24) as arena, WorkerPool(PoolSettings(slots=1), arena) as pool, Calls(pool) as calls:\n"
        "    made = calls.submit(double, Point(21)).result(60)\n"
        "    assert type(made) is Point\n"
        "    try: calls.submit(double, Point(-1)).result(60)\n"
        "    except Odd as error: print(made.x, error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("42 negative\n", "", 0)


def test_many_calls_from_many_threads_all_arrive(calls: Calls) -> None:
    def work(thread: int) -> list[int]:
        futures = [calls.submit(lambda number: number * 2, i) for i in range(MANY // 10)]
        return [get(future) for future in futures]

    assert in_threads(4, work) == [[2 * i for i in range(MANY // 10)]] * 4


def test_many_calls_of_one_function(calls: Calls) -> None:
    function = pack_function(operator.neg)
    futures = [calls.submit(function, i) for i in range(MANY)]
    assert [get(future) for future in futures] == [-i for i in range(MANY)]


# How a function is sent


def test_a_function_is_sent_once_to_each_child(pool: WorkerPool) -> None:
    asked: list[int] = []

    class Watched(Calls):
        def asked(self, ident: int, *rest: Any) -> Any:
            asked.append(ident)
            return super().asked(ident, *rest)

    with Watched(pool) as calls:
        function = pack_function(lambda: "only here")
        futures = [calls.submit(function) for _ in range(100)]
        assert {get(future) for future in futures} == {"only here"}
    assert 1 <= len(asked) <= 2  # there are two children


def test_a_new_child_asks_again(calls: Calls, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.touch()

    def often() -> int:
        with runs.open("a") as file:
            file.write("x")
        if len(runs.read_text()) < 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return len(runs.read_text())

    assert get(calls.submit(often)) == 3


def test_what_is_recalled_runs_elsewhere(calls: Calls, tmp_path: Path) -> None:
    begun, gate = Told(tmp_path / "begun"), Told(tmp_path / "gate")
    quick = [calls.submit(operator.add, i, 1) for i in range(200)]
    slow = calls.submit(pid_and_wait, begun, gate)
    behind = [calls.submit(operator.add, i, 1) for i in range(200)]
    slow_pid = int(begun.hear())
    assert [get(future) for future in (*quick, *behind)] == [*range(1, 201)] * 2
    gate.tell()
    assert get(slow) == slow_pid


def test_more_functions_than_a_child_keeps(calls: Calls) -> None:
    for _ in range(2):
        futures = [calls.submit(lambda number=number: number) for number in range(300)]
        assert [get(future) for future in futures] == list(range(300))


def test_no_code_is_kept_when_its_calls_have_ended(calls: Calls) -> None:
    futures = [calls.submit(lambda number=number: number) for number in range(20)]
    wait(futures, HANG_S)
    gc.collect()
    assert len(calls._codes) == len(calls._calls) == 0


# Arrays


def test_arrays_arrive_read_only_and_without_a_copy(calls: Calls) -> None:
    array = np.arange(LARGE, dtype=float)
    assert get(calls.submit(np.sum, array)) == array.sum()
    assert not get(calls.submit(is_writable, array))
    assert not get(calls.submit(is_writable, np.arange(3)))  # a small one, which is copied anyway
    assert get(calls.submit(lambda one: len(bytes(one.data)) and one.base is not None, array))


@pytest.mark.parametrize("size", [3, LARGE])
def test_arrays_can_be_written_where_that_is_asked_for(calls: Calls, size: int) -> None:
    array = np.zeros(size)
    assert get(calls.submit(set_first, array, writable=True))[0] == 7
    assert array[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        get(calls.submit(set_first, array))


def test_arguments_are_taken_as_they_are_when_submitted(calls: Calls, tmp_path: Path) -> None:
    begun, gate = Told(tmp_path / "begun"), Told(tmp_path / "gate")
    blocker = calls.submit(pid_and_wait, begun, gate)
    array = np.ones(LARGE)
    future = calls.submit(np.sum, array)
    array[:] = 0
    begun.hear()
    gate.tell()
    assert get(future) == LARGE
    get(blocker)


@pytest.mark.parametrize("size", [3, LARGE])
def test_results_belong_to_the_caller(pool: WorkerPool, size: int) -> None:
    with Calls(pool) as calls:
        array = get(calls.submit(np.arange, size))
        assert pool.arena.usage().blocks == 0
    array += 1
    assert array[-1] == size


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_bytes_come_back_as_they_were(calls: Calls, kind: type) -> None:
    content = kind(range(256)) * 1024
    for value in (content, kind(b"few"), kind()):
        result = get(calls.submit(lambda one: one, value))
        assert type(result) is kind
        assert result == value


def test_arrays_within_structures_and_the_same_one_back(calls: Calls) -> None:
    value = {"a": [np.arange(LARGE), np.ones((3, 3), order="F")], "b": (np.zeros(0), "text")}
    result = get(calls.submit(lambda one: one, value))
    assert np.array_equal(result["a"][0], value["a"][0])
    assert result["a"][1].flags.f_contiguous
    assert result["b"][0].size == 0


def test_a_child_may_keep_an_array_until_it_ends(arena: Arena) -> None:
    with WorkerPool(PoolSettings(slots=1, preload=PRELOAD), arena) as pool, Calls(pool) as calls:
        get(calls.submit(lambda array: sys.__dict__.__setitem__("kept", array), np.ones(LARGE)))
        assert arena.usage().blocks == 1
        assert [get(calls.submit(np.sum, np.full(LARGE, i))) for i in range(5)] == [
            i * LARGE for i in range(5)
        ]
        assert get(calls.submit(lambda: sys.__dict__["kept"].sum())) == LARGE
    assert arena.usage().blocks == 0


def test_arrays_in_cycles_are_let_go_of(calls: Calls) -> None:
    def tangle(array: Any) -> None:
        knot: list[Any] = [array]
        knot.append(knot)
        raise ValueError(knot)

    assert isinstance(error(calls.submit(tangle, np.ones(LARGE))), ValueError | CallFailed)
    assert calls._arena.usage().blocks == 0


def test_a_result_without_room_fails_and_tells_why(calls: Calls) -> None:
    found = error(calls.submit(np.zeros, 20 << 20, np.uint8))
    assert isinstance(found, ArenaFull)
    assert found.size_bytes == 20 << 20
    assert "raise the memory budget" in str(found)
    assert get(calls.submit(operator.add, 1, 1)) == 2


def test_a_result_of_which_one_part_has_no_room_leaves_nothing(calls: Calls) -> None:
    found = error(calls.submit(lambda: [np.zeros(4 << 20, np.uint8) for _ in range(5)]))
    assert isinstance(found, ArenaFull)
    assert calls._arena.usage().blocks == 0


def test_arguments_without_room_fail_at_once(calls: Calls) -> None:
    arrays = [np.zeros(4 << 20, np.uint8) for _ in range(5)]
    with pytest.raises(ArenaFull):
        calls.submit(len, arrays)
    assert calls._arena.usage().blocks == 0


def test_what_has_no_room_goes_to_a_folder_if_there_is_one(pool: WorkerPool, tmp_path: Path) -> None:
    with Calls(pool, spill=tmp_path) as calls:
        array = np.ones(20 << 20, np.uint8)
        assert get(calls.submit(lambda one: one, array)).sum() == 20 << 20
    assert pool.arena.usage()[:3] == (0, 0, 0)


def test_the_threshold_tells_what_goes_through_shared_memory(pool: WorkerPool) -> None:
    seen: list[int] = []

    class Watched(Calls):
        def ended(self, outcomes: Any) -> None:
            seen.extend(len(outcome.blocks) for outcome in outcomes)
            super().ended(outcomes)

    for threshold, blocks in ((100, 1), (101, 0)):
        with Watched(pool, threshold_bytes=threshold) as calls:
            assert len(get(calls.submit(bytes, 100))) == 100
            assert seen.pop() == blocks


# Errors


class Odd(Exception):
    """An error that takes two arguments and so does not survive being pickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raising(kind: type[BaseException], *args: Any) -> None:
    raise kind(*args)


def test_errors_arrive_as_themselves_with_their_traceback(calls: Calls) -> None:
    found = error(calls.submit(raising, ValueError, "it must be positive"))
    assert type(found) is ValueError
    assert found.args == ("it must be positive",)
    (note,) = found.__notes__
    assert note.startswith("in worker process ")
    assert "in raising" in note


def test_causes_are_told(calls: Calls) -> None:
    def fail() -> None:
        try:
            os.environ["MISSING"]
        except KeyError as exc:
            raise OSError(2, "no such thing") from exc

    found = error(calls.submit(fail))
    assert isinstance(found, FileNotFoundError)
    assert "KeyError: 'MISSING'" in found.__notes__[0]


def test_errors_of_local_classes_arrive_as_themselves(calls: Calls) -> None:
    class Local(Exception):
        pass

    with pytest.raises(Local, match="here"):
        get(calls.submit(raising, Local, "here"))


def test_errors_that_cannot_be_sent_are_told(calls: Calls) -> None:
    found = error(calls.submit(raising, Odd, 1, 2))
    assert isinstance(found, CallFailed)
    assert (found.kind, found.message) == (f"{__name__}.Odd", "1 and 2")
    assert "in raising" in found.traceback
    assert str(found) == f"the function raised {__name__}.Odd: 1 and 2"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, BaseException])
def test_what_would_end_the_caller_becomes_an_error(calls: Calls, kind: type[BaseException]) -> None:
    found = error(calls.submit(raising, kind, 3))
    assert isinstance(found, CallFailed)
    assert found.kind == kind.__name__
    assert get(calls.submit(operator.add, 1, 1)) == 2


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, StopIteration])
def test_what_is_raised_while_a_result_is_unpickled_becomes_an_error(
    calls: Calls, kind: type[BaseException]
) -> None:
    here = os.getpid()

    class Trap:
        def __reduce__(self) -> Any:
            return spring, (here, kind)

    found = error(calls.submit(Trap))
    assert isinstance(found, CallFailed | SerializationError)
    assert kind.__name__ in str(found)
    assert get(calls.submit(operator.add, 1, 1)) == 2


def spring(pid: int, kind: type[BaseException]) -> None:
    if os.getpid() == pid:
        raise kind("sprung")


def test_arguments_that_cannot_be_sent_fail_at_once(calls: Calls) -> None:
    lock = threading.Lock()
    for submit, path in (
        (lambda: calls.submit(len, [1, {"key": lock}]), r"args\[0\]\[1\]\['key'\]"),
        (lambda: calls.submit(len, 1, one=[lock]), r"kwargs\['one'\]\[0\]"),
        (lambda: calls.submit(lambda: lock), "function variable 'lock'"),
    ):
        with pytest.raises(SerializationError, match=f"^{path}: cannot pickle"):
            submit()


def test_arguments_that_fail_when_others_are_placed_leave_nothing(calls: Calls) -> None:
    with pytest.raises(SerializationError):
        calls.submit(len, np.ones(LARGE), threading.Lock())
    assert calls._arena.usage().blocks == 0


def test_arguments_that_cannot_be_read_in_the_child_are_told(calls: Calls) -> None:
    found = error(calls.submit(len, OnlyHere()))
    assert isinstance(found, SerializationError)
    assert "not there" in str(found)


class OnlyHere:
    """Cannot be made in another process."""

    pid = os.getpid()

    def __reduce__(self) -> Any:
        return only_in, (os.getpid(),)


def only_in(pid: int) -> None:
    if os.getpid() != pid:
        raise LookupError("not there")


def test_results_that_cannot_be_sent_are_told(calls: Calls) -> None:
    found = error(calls.submit(lambda: {"deep": [threading.Lock()]}))
    assert isinstance(found, SerializationError)
    assert found.path == "result['deep'][0]"


def test_a_function_that_is_none_is_told(calls: Calls) -> None:
    with pytest.raises(SerializationError, match="int cannot be called"):
        get(calls.submit(3))  # type: ignore[call-overload]


# Deaths


@pytest.mark.parametrize(
    ("what", "cause", "runs", "deaths"),
    [
        (functools.partial(os._exit, 3), "exit code 3", 1, 1),
        (functools.partial(os._exit, 0), "exit code 0", 1, 1),
        (die, "SIGKILL", 3, 3),
        (crash, "SIGSEGV", 3, 3),
    ],
    ids=["exit", "exit-0", "SIGKILL", "SIGSEGV"],
)
def test_a_call_that_ends_its_process_is_lost(
    calls: Calls, tmp_path: Path, what: Callable[[], object], cause: str, runs: int, deaths: int
) -> None:
    others = [calls.submit(operator.add, i, 0) for i in range(20)]
    found = error(calls.submit(grow, tmp_path / "runs", what))
    assert isinstance(found, CallLost)
    assert cause in found.cause
    assert found.deaths == deaths
    assert len((tmp_path / "runs").read_text()) == runs
    others += [calls.submit(operator.add, i, 0) for i in range(20)]
    assert [get(future) for future in others] == [*range(20)] * 2


def test_a_call_that_lost_its_process_by_chance_is_run_again_with_its_array(
    calls: Calls, tmp_path: Path
) -> None:
    begun, gate = Told(tmp_path / "begun"), Told(tmp_path / "gate")

    def total(array: Any) -> float:
        pid_and_wait(begun, gate)
        return float(array.sum())

    future = calls.submit(total, np.ones(LARGE))
    first = int(begun.hear())
    os.kill(first, signal.SIGKILL)
    second = int(begun.hear())
    assert second != first
    gate.tell()
    assert get(future) == LARGE


def test_a_death_with_a_result_half_made_leaves_nothing(calls: Calls) -> None:
    tools = "__import__('gc').get_objects"  # a child's tools are no business of functions; this one looks for them

    def place_and_die() -> None:
        (inside,) = [
            one for one in eval(tools)() if type(one).__name__ == "_Inside" and hasattr(one, "_place")
        ]
        inside._place(memoryview(bytes(LARGE)))
        os._exit(4)

    assert isinstance(error(calls.submit(place_and_die)), CallLost)
    assert calls._arena.usage().blocks == 0


# Cancelling


def test_a_waiting_call_can_be_cancelled(calls: Calls, tmp_path: Path) -> None:
    begun = [Told(tmp_path / "one"), Told(tmp_path / "two")]
    hanging = [calls.submit(hang, one) for one in begun]
    for one in begun:
        one.hear()
    future = calls.submit(grow, tmp_path / "runs", nothing)
    assert future.cancel()
    assert future.cancelled()
    assert wait([future], HANG_S).done == {future}
    with pytest.raises(CancelledError):
        get(future)
    for running in hanging:
        running.cancel()
    assert get(calls.submit(operator.add, 1, 1)) == 2
    assert not (tmp_path / "runs").exists()


def test_a_running_call_is_ended_with_its_process(calls: Calls, tmp_path: Path) -> None:
    begun = Told(tmp_path / "begun")
    future = calls.submit(hang, begun)
    pid = int(begun.hear())
    told = threading.Event()
    future.add_done_callback(lambda _: told.set())
    assert future.cancel()
    assert told.wait(HANG_S)
    assert future.cancel()
    assert get(calls.submit(operator.add, 1, 1)) == 2
    deadline = time.monotonic() + HANG_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_a_call_that_has_ended_cannot_be_cancelled(calls: Calls) -> None:
    future = calls.submit(operator.add, 1, 1)
    assert get(future) == 2
    assert not future.cancel()
    assert get(future) == 2


def test_very_many_waiting_calls_can_be_cancelled(calls: Calls, tmp_path: Path) -> None:
    begun = Told(tmp_path / "begun")
    hanging = calls.submit(hang, begun)
    begun.hear()
    futures = [calls.submit(grow, tmp_path / "runs", nothing) for _ in range(MANY)]
    array = calls.submit(np.sum, np.ones(LARGE))
    for future in (*futures, array, hanging):
        future.cancel()
    assert len(wait([*futures, array, hanging], HANG_S).done) == MANY + 2
    assert get(calls.submit(operator.add, 1, 1)) == 2


def test_cancelling_at_any_moment_leaves_nothing(calls: Calls) -> None:
    for number in range(200 if PROVE else 40):
        futures = [calls.submit(np.sum, np.ones(LARGE)) for _ in range(4)]
        if number % 2:
            get(futures[0])
        for future in futures[number % 4 :]:
            future.cancel()
        for future in futures:
            assert future.cancelled() or get(future) == LARGE
    assert get(calls.submit(operator.add, 1, 1)) == 2


# Futures


def test_futures_work_with_those_who_wait_for_them(calls: Calls) -> None:
    futures = [calls.submit(operator.mul, i, 2) for i in range(10)]
    assert {get(future) for future in as_completed(futures, HANG_S)} == set(range(0, 20, 2))
    assert wait([calls.submit(nothing)], HANG_S, FIRST_COMPLETED).done

    async def gather() -> list[int]:
        return await asyncio.gather(*(asyncio.wrap_future(calls.submit(abs, -i)) for i in range(10)))

    assert asyncio.run(gather()) == list(range(10))


def test_callbacks_run_beside_the_pool_and_may_submit(calls: Calls) -> None:
    threads: list[str] = []
    then: list[Future[int]] = []
    called = threading.Event()

    def more(future: "Future[int]") -> None:
        threads.append(threading.current_thread().name)
        then.append(calls.submit(operator.add, future.result(), 1))
        called.set()

    gate = calls.submit(operator.add, 1, 1)
    gate.add_done_callback(more)
    assert called.wait(HANG_S)
    assert get(then[0]) == 3
    assert set(threads) <= {"penstock-calls", threading.current_thread().name}


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_a_callback_that_raises_disturbs_nobody(
    calls: Calls, tmp_path: Path, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    begun, gate = Told(tmp_path / "begun"), Told(tmp_path / "gate")
    future = calls.submit(pid_and_wait, begun, gate)
    begun.hear()
    future.add_done_callback(lambda _: raising(kind, "in a callback"))
    gate.tell()
    get(future)
    assert get(calls.submit(operator.add, 1, 1)) == 2
    assert "in a callback" in caplog.text


def test_what_functions_print_and_log_is_logged(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    def speak() -> None:
        print("to standard output")
        logging.getLogger("app").warning("to the log")

    with caplog.at_level(logging.INFO, calls_module.__name__):
        get(calls.submit(speak))
    assert [(record.levelname, record.getMessage().partition(": ")[2]) for record in caplog.records] == [
        ("INFO", "to standard output"),
        ("WARNING", "app: to the log"),
    ]


# The end


def test_closing_cancels_what_is_left(pool: WorkerPool, tmp_path: Path) -> None:
    begun = [Told(tmp_path / "one"), Told(tmp_path / "two")]
    with Calls(pool) as calls:
        running = [calls.submit(hang, one) for one in begun]
        for one in begun:
            one.hear()
        waiting = [calls.submit(np.sum, np.ones(LARGE)) for _ in range(3)]
        assert calls.close(HANG_S)
        assert calls.close(HANG_S)
        for future in running:
            with pytest.raises(CallLost, match="its calls were closed"):
                get(future)
        assert wait(waiting, HANG_S).done == set(waiting)
        assert all(future.cancelled() for future in waiting)
    assert pool.arena.usage().blocks == 0
    with pytest.raises(PoolBroken, match="closed"):
        calls.submit(nothing)


def test_calls_that_were_never_used_can_be_closed(pool: WorkerPool) -> None:
    calls = Calls(pool)
    assert calls.close()
    with pytest.raises(PoolBroken):
        calls.submit(nothing)


def test_closing_leaves_no_thread(pool: WorkerPool) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with Calls(pool) as calls:
        get(calls.submit(nothing))
        assert "penstock-calls" in {thread.name for thread in threading.enumerate()}
    assert {thread.name for thread in threading.enumerate()} <= before | {"penstock-pool"}


def test_calls_can_be_closed_in_a_callback(pool: WorkerPool) -> None:
    calls = Calls(pool)
    closed = threading.Event()
    answers: list[bool] = []

    def close(_: "Future[None]") -> None:
        answers.append(calls.close(HANG_S))
        closed.set()

    calls.submit(nothing).add_done_callback(close)
    assert closed.wait(HANG_S)
    thread = calls._thread
    assert thread is not None
    thread.join(HANG_S)
    assert not thread.is_alive()


def test_a_pool_that_is_closed_first_leaves_nobody_waiting(arena: Arena, tmp_path: Path) -> None:
    begun = Told(tmp_path / "begun")
    with WorkerPool(PoolSettings(slots=1, grace_s=0.2, preload=PRELOAD), arena) as pool:
        calls = Calls(pool)
        futures = [calls.submit(hang, begun), *(calls.submit(np.sum, np.ones(LARGE)) for _ in range(3))]
        begun.hear()
    assert all(isinstance(error(future), CallLost | PoolBroken) for future in futures)
    with pytest.raises(PoolBroken):
        calls.submit(nothing)
    assert calls.close(HANG_S)
    assert arena.usage().blocks == 0


def test_a_pool_that_breaks_leaves_nobody_waiting(arena: Arena, tmp_path: Path) -> None:
    begun = Told(tmp_path / "begun")
    with WorkerPool(PoolSettings(slots=1, preload=PRELOAD), arena) as pool, Calls(pool) as calls:
        futures = [calls.submit(hang, begun), calls.submit(np.sum, np.ones(LARGE))]
        begun.hear()
        pool.post(lambda: raising(RuntimeError, "a fault of the pool"))
        for future in futures:
            with pytest.raises(PoolBroken, match="a fault of the pool"):
                get(future)
        with pytest.raises(PoolBroken):
            calls.submit(nothing)
    assert arena.usage().blocks == 0


def test_several_calls_share_a_pool(pool: WorkerPool) -> None:
    with Calls(pool, name="one") as one, Calls(pool, name="two", threshold_bytes=1 << 30) as two:
        futures = [each.submit(np.full, LARGE, i) for i in range(20) for each in (one, two)]
        assert [int(get(future)[0]) for future in futures] == [i for i in range(20) for _ in "12"]
    assert pool.arena.usage().blocks == 0
