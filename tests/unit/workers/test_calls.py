"""Calls against a pool that does nothing by itself: what happens when things come in any order."""

import gc
import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from typing import Any

import numpy as np
import pytest

from penstock.errors import CallFailed, CallLost, PoolBroken
from penstock.wire.arena import Arena
from penstock.wire.attached import Attached
from penstock.wire.payload import pack, pack_error, pack_function
from penstock.wire.segment import Block
from penstock.workers.calls import Calls, main
from penstock.workers.customer import Begun, Death, Job, Outcome
from penstock.workers.frames import TOKEN, Status

HANG_S = 60.0
DEATH = Death(9, 9, 0, "", starved=False, deaths=1, again=True)


class Pool:
    """Keeps what is submitted and killed; what is posted is done at once, or when `run` is called."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.jobs: list[Job] = []
        self.killed: list[int] = []
        self.closes = True
        self.is_slow = False
        self.posted: list[Callable[[], None]] = []
        self.setup = b""

    def open(self, name: str, entry: str, setup: bytes, customer: object, **_: object) -> "Pool":
        self.setup = setup
        return self

    def post(self, call: Callable[[], None]) -> None:
        self.posted.append(call)
        if not self.is_slow:
            self.run()

    def run(self) -> None:
        while self.posted:
            self.posted.pop(0)()

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs

    def kill(self, ident: int, cause: str) -> None:
        self.killed.append(ident)

    def close(self, timeout_s: float, cause: str) -> bool:
        return self.closes


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Arena(1 << 24) as arena:
        yield Pool(arena)


@pytest.fixture
def calls(pool: Pool) -> Iterator[Calls]:
    with Calls(pool, threshold_bytes=1000) as calls:  # type: ignore[arg-type]
        yield calls
        pool.run()
    assert pool.arena.usage().blocks == 0


def begin(calls: Calls, *idents: int) -> Sequence[Begun]:
    return calls.begin(idents)


def good(ident: int, value: object, blocks: Sequence[Block] = (), **how: Any) -> Outcome:
    return Outcome(ident, Status.GOOD, pack(value, **how), 0.0, 0, 0, 9, blocks)


def get(future: "Future[Any]") -> Any:
    return future.result(HANG_S)


def large() -> Any:
    return np.ones(1000)


def test_a_call_begins_with_the_digest_of_its_function(calls: Calls) -> None:
    function = pack_function(operator.add)
    calls.submit(function)
    (begun,) = begin(calls, 1)
    assert begun == Begun(1, function.digest + b"\0", [])


def test_calls_of_one_function_are_of_one_kind(calls: Calls, pool: Pool) -> None:
    for function in (operator.add, operator.add, operator.sub):
        calls.submit(function, 1, 2)
    kinds = [job.kind for job in pool.jobs]
    assert kinds[0] == kinds[1] != kinds[2]


def test_calls_that_the_pool_is_slow_to_take_go_together(calls: Calls, pool: Pool) -> None:
    pool.is_slow = True
    for _ in range(10):
        calls.submit(operator.add, 1, 2)
    assert len(pool.posted) == 1
    pool.run()
    assert [job.ident for job in pool.jobs] == list(range(1, 11))


def test_a_child_is_given_the_code_of_the_call_that_it_runs(calls: Calls) -> None:
    functions = [pack_function(operator.add), pack_function(operator.sub)]
    for function in functions:
        calls.submit(function)
    answers: list[tuple[Status, bytes]] = []
    for ident in (1, 2, 3):
        calls.asked(ident, b"", lambda status, body, blocks: answers.append((status, body)))
    assert answers[:2] == [(Status.GOOD, function.code) for function in functions]
    assert answers[2][0] == Status.FAILED


def test_the_blocks_of_arguments_are_freed_when_the_call_ends(calls: Calls, pool: Pool) -> None:
    future = calls.submit(len, large(), large())
    (begun,) = begin(calls, 1)
    assert len(begun.blocks) == pool.arena.usage().blocks == 2
    calls.ended([good(1, 5)])
    assert pool.arena.usage().blocks == 0
    assert get(future) == 5


def test_what_was_returned_or_lost_once_begins_again_as_it_was(calls: Calls) -> None:
    calls.submit(len, large())
    first = begin(calls, 1)
    calls.returned([1])
    second = begin(calls, 1)
    calls.died(1, DEATH)
    assert first == second == begin(calls, 1)


def test_the_last_death_is_told(calls: Calls) -> None:
    future = calls.submit(len, large())
    calls.died(1, DEATH._replace(again=False, deaths=3))
    found = future.exception(HANG_S)
    assert isinstance(found, CallLost)
    assert (found.cause, found.deaths) == ("was killed by SIGKILL (Killed)", 3)


def test_a_cancelled_call_does_not_begin(calls: Calls, pool: Pool) -> None:
    future = calls.submit(len, large())
    assert future.cancel()
    assert pool.arena.usage().blocks == 0
    assert begin(calls, 1) == []
    assert pool.killed == []


def test_a_cancelled_call_that_was_sent_is_killed(calls: Calls, pool: Pool) -> None:
    future = calls.submit(len, large())
    begin(calls, 1)
    assert future.cancel()
    assert pool.killed == [1]


def test_a_cancelled_call_that_was_returned_is_not_killed(calls: Calls, pool: Pool) -> None:
    future = calls.submit(len, large())
    begin(calls, 1)
    calls.returned([1])
    assert future.cancel()
    assert pool.killed == []


def test_blocks_stay_until_the_pool_knows_of_the_cancelling(calls: Calls, pool: Pool) -> None:
    future = calls.submit(len, large())
    pool.is_slow = True
    assert future.cancel()
    (begun,) = begin(calls, 1)
    pool.arena.hold(begun.blocks[0], 1)  # as the pool does next
    pool.run()
    assert pool.killed == [1]
    pool.arena.let_go(begun.blocks[0], 1)


@pytest.mark.parametrize("ends", ["ended", "died", "broken"])
def test_an_end_that_comes_after_the_cancelling_changes_nothing(calls: Calls, pool: Pool, ends: str) -> None:
    future = calls.submit(len, large())
    begin(calls, 1)
    pool.is_slow = True
    assert future.cancel()
    block = pool.arena.allocate(8)
    if ends == "ended":
        calls.ended([good(1, 5, [block])])
    else:
        pool.arena.free(block)
        calls.died(1, DEATH._replace(again=False)) if ends == "died" else calls.broken("a fault")
    assert wait([future], HANG_S).done == {future}
    with pytest.raises(CancelledError):
        get(future)
    pool.run()


def test_an_outcome_of_a_call_that_is_gone_leaves_nothing(calls: Calls, pool: Pool) -> None:
    calls.submit(len).cancel()
    calls.ended([good(1, None, [pool.arena.allocate(8)])])
    assert pool.arena.usage().blocks == 0


def test_blocks_that_an_outcome_does_not_mention_are_freed(calls: Calls, pool: Pool) -> None:
    future = calls.submit(len)
    calls.ended([good(1, 3, [pool.arena.allocate(8)])])
    assert get(future) == 3
    assert pool.arena.usage().blocks == 0


def test_a_result_is_copied_out_of_its_block(calls: Calls, pool: Pool) -> None:
    future = calls.submit(len)
    made: list[Block] = []

    def place(buffer: memoryview) -> Block:
        made.append(pool.arena.allocate(buffer.nbytes))
        pool.arena.write(made[-1], [buffer])
        return made[-1]

    calls.ended([good(1, large(), made, place=place, threshold_bytes=1)])
    array = get(future)
    array += 1
    assert array.sum() == 2000


def test_an_outcome_that_cannot_be_read_fails_that_call_only(calls: Calls) -> None:
    futures = [calls.submit(len) for _ in range(3)]
    calls.ended(
        [
            Outcome(1, Status.GOOD, b"\xff no message", 0.0, 0, 0, 9, ()),
            Outcome(2, Status.BROKEN, b"Traceback\nOSError: the entry broke\n", 0.0, 0, 0, 9, ()),
            good(3, "well"),
        ]
    )
    assert "not a message" in str(futures[0].exception(HANG_S))
    found = futures[1].exception(HANG_S)
    assert isinstance(found, CallFailed)
    assert found.message == "OSError: the entry broke"
    assert get(futures[2]) == "well"


def test_an_error_has_the_traceback_of_its_child(calls: Calls) -> None:
    future = calls.submit(len)
    calls.ended([Outcome(1, Status.FAILED, pack_error(KeyError("k")), 0.0, 0, 0, 9, ())])
    found = future.exception(HANG_S)
    assert isinstance(found, KeyError)
    assert found.__notes__ == ["in worker process 9:\nKeyError: 'k'\n"]


def test_a_pool_that_breaks_is_told_to_all_and_takes_no_more(calls: Calls, pool: Pool) -> None:
    futures = [calls.submit(len, large()) for _ in range(3)]
    calls.broken("a fault")
    for future in futures:
        with pytest.raises(PoolBroken, match="a fault"):
            get(future)
    with pytest.raises(PoolBroken, match="a fault"):
        calls.submit(len, large())
    assert pool.arena.usage().blocks == 0


def test_closing_cancels_though_the_pool_is_slow(pool: Pool) -> None:
    calls = Calls(pool)  # type: ignore[arg-type]
    future = calls.submit(len, large())
    pool.closes, pool.is_slow = False, True
    assert not calls.close(0.0)
    assert not future.done()
    pool.run()
    assert wait([future], HANG_S).done == {future}
    assert future.cancelled()
    pool.closes = True
    assert calls.close(HANG_S)


def test_callbacks_of_calls_that_are_cancelled_by_closing_run_on_their_thread(pool: Pool) -> None:
    calls = Calls(pool)  # type: ignore[arg-type]
    names: list[str] = []
    calls.submit(len).add_done_callback(lambda _: names.append(threading.current_thread().name))
    assert calls.close(HANG_S)
    assert names == ["penstock-calls"]


def test_code_is_kept_as_long_as_a_call_needs_it(calls: Calls) -> None:
    function = pack_function(lambda: 1)
    futures = [calls.submit(function), calls.submit(function)]
    assert len(calls._codes) == 1
    calls.ended([good(1, 1)])
    get(futures[0])
    assert len(calls._codes) == 1
    calls.ended([good(2, 1)])
    get(futures[1])
    gc.collect()
    assert len(calls._codes) == 0


# In the child


class Tools:
    """Answers requests for functions; has no blocks to give."""

    def __init__(self) -> None:
        self.memory = Attached()
        self.codes: dict[bytes, bytes] = {}
        self.asked: list[bytes] = []

    def request(self, body: bytes) -> bytes:
        self.asked.append(body)
        return self.codes[body]


def test_a_child_asks_for_a_function_once() -> None:
    tools = Tools()
    entry = main(tools)  # type: ignore[arg-type]
    entry.open(1, TOKEN.pack(1000))
    function = pack_function(lambda *args: sum(args))
    tools.codes[function.digest] = function.code
    assert entry.run(1, function.digest + b"\0") == (Status.GOOD, pack(0))
    assert entry.run(1, function.digest + b"\0" + pack(((1, 2), {}))) == (Status.GOOD, pack(3))
    assert tools.asked == [function.digest]
    entry.close(1)
