"""Worker processes that are killed, with their nursery or with all of Penstock: nothing is lost and nothing is left."""

import gc
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import penstock
from penstock.errors import PoolBroken
from penstock.runtime.result import finish
from penstock.runtime.session import Session
from tests.conftest import PROVE
from tests.processes import children

from .making import COMPLETED, HANG_S, Graph, app, codes, data, null
from .test_nothing_left import descriptors
from .test_slots import wait_gone
from .test_workers_limits import APPS, ENDLESS, started, wait_for

COUNT, ROUNDS = (5000, 50) if PROVE else (300, 3)
FUNCTION = "dlg.apps.pyfunc.PyFuncApp"


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Look after a test for whatever a session may have left."""
    gc.collect()
    before = (children(), descriptors(), sorted(os.listdir("/dev/shm")), threading.active_count())
    yield
    gc.collect()
    assert (children(), descriptors(), sorted(os.listdir("/dev/shm")), threading.active_count()) == before


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def marked_graph(count: int) -> Graph:
    graph: Graph = [null("begin")]
    for i in range(count):
        graph += [
            app(f"m{i}", f"{APPS}.Marked", ["begin"], [f"a{i}"]),
            data(f"a{i}"),
            app(f"n{i}", FUNCTION, [f"a{i}"], [f"b{i}"], func_name=f"{APPS}.marked"),
            data(f"b{i}"),
        ]
    return graph


def kill_at_random(session: Session, chance: random.Random) -> set[int]:
    """Kill workers until the session has ended; return who was killed. No item is meant to be hit three times."""
    killed: set[int] = set()
    hit: set[int] = set()
    assert session._outside is not None
    deadline = time.monotonic() + 100.0
    while not session.wait(chance.uniform(0.001, 0.05)):
        assert time.monotonic() < deadline, "hangs"
        calm = all(
            session.flow.state[index] == COMPLETED for index in hit
        )  # else an idle one may be given it
        rows = [
            row
            for row in session._outside.pool.slots()
            if row.pid not in killed and row.ident not in hit and (row.state == "BUSY" or calm) and row.pid
        ]
        rows = [row for row in rows if row.ident >= 0 or row.state == "IDLE"]
        if rows:
            row = chance.choice(rows)
            os.kill(row.pid, signal.SIGKILL)
            killed.add(row.pid)
            hit |= {row.ident} - {-1}
    return killed


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_killing_workers_changes_no_result_and_repeats_only_what_they_ran(
    nothing_left: None, seed: int
) -> None:
    session = started(marked_graph(COUNT), workers=3)
    nursery = 0
    try:
        killed = kill_at_random(session, random.Random(seed))
        nursery = session.nursery_pid
        below = descendants(nursery)
    finally:
        result = finish(session)
    assert killed
    # What runs may change between the look and the kill, so in thousands of kills one item may be hit three times.
    unlucky = {failure.uid[1:] for failure in result.errors}
    assert len(unlucky) <= len(killed) // 50
    assert all("SIGKILL (Killed) 3 times" in failure.message for failure in result.errors), result.errors
    good = [i for i in range(COUNT) if str(i) not in unlucky]
    assert [pickle.loads(result.read(f"b{i}")) for i in good] == [f"M{i}" for i in good]
    runs: dict[str, list[int]] = {}
    last: dict[int, str] = {}
    for line in (result.directory / "marks").read_text().splitlines():
        uid, pid = line.split()
        runs.setdefault(uid, []).append(int(pid))
        last[int(pid)] = uid
    assert len(runs) >= 2 * len(good)
    for uid, pids in runs.items():
        for pid in pids[:-1]:
            assert pid in killed, f"{uid} was run again though nobody killed {pid}"
            assert last[pid] == uid, f"{uid} was run again though {pid} was through with it"
    for pid in (nursery, *below, *killed):
        wait_gone(pid)


def test_who_is_killed_does_not_take_the_others_along(nothing_left: None) -> None:
    graph = [app("bad", f"{APPS}.Rude", [], ["x"], what="kill"), data("x")]
    result = finish_well([*graph, *marked_graph(20)], workers=2)
    states = codes(result)
    assert {states[f"b{i}"][0] for i in range(20)} == {COMPLETED}
    (failure,) = result.errors
    assert (failure.uid, failure.error) == ("bad", "WorkerDied")
    assert "SIGKILL" in failure.message


def finish_well(graph: Graph, workers: int) -> penstock.RunResult:
    session = started(graph, workers=workers)
    try:
        assert session.wait(HANG_S)
    finally:
        result = finish(session)
    return result


@pytest.mark.parametrize("begun", [0, 1, 3])
def test_a_session_goes_on_when_its_nursery_is_killed(nothing_left: None, begun: int) -> None:
    graph = [app(f"w{i}", f"{APPS}.Await", [], [f"d{i}"]) for i in range(6)]
    session = started([*graph, *(data(f"d{i}") for i in range(6))], workers=3)
    try:
        while not session.nursery_pid:
            threading.Event().wait(0.001)
        pids = []
        if begun:
            pids = [int(line.split()[1]) for line in wait_for(session.directory / "begun", begun)]
        pids += [session.nursery_pid]
        os.kill(session.nursery_pid, signal.SIGKILL)
        (session.directory / "go").touch()
        try:
            assert session.wait(HANG_S), "hangs"
        except PoolBroken as error:  # it may also give up, if it says why
            assert "worker processes in a row ended before they were ready" in str(error)  # noqa: PT017
            assert not begun
    finally:
        result = finish(session)
    if not result.errors and result.status != "CANCELLED":
        assert {state for state, _ in codes(result).values()} == {COMPLETED}
    for pid in pids:
        wait_gone(pid)


@pytest.mark.parametrize("attempt", range(20 if PROVE else 3))
def test_nothing_outlives_a_penstock_that_is_killed(attempt: int) -> None:
    kinds = ("ignores", "children", "forked twice", "other session", "in C", "stopped")
    graph = [app(what, ENDLESS, [], [f"of {what}"], what=what) for what in kinds]
    Path("g.json").write_text(json.dumps([*graph, *(data(f"of {what}") for what in kinds)]))
    command = [sys.executable, "-m", "penstock", "run", "g.json", "--dir", "run", "--workers", "6"]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        left: list[int] = []
        try:
            for what in kinds:
                count = 4 if what == "children" else 1
                path = Path(f"run/stubborn/{what}/pids")
                left += map(int, wait_for(path, count, lambda: process.poll() is None))
            left += descendants(process.pid)
        finally:
            process.kill()
        process.wait(HANG_S)
    assert len(left) >= 2 * len(kinds)
    for pid in left:
        wait_gone(pid)


@pytest.mark.parametrize("python", ["/bin/false", "/bin/true", "/there/is/none"])
def test_a_python_that_does_not_start_ends_the_run_with_an_error(
    nothing_left: None, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    graph = [app("q", f"{APPS}.Quick", [], ["a"]), data("a")]
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(PoolBroken):
        penstock.run(graph, workers=2, timeout_s=HANG_S)


def test_all_shared_memory_is_given_back_but_for_contents(nothing_left: None) -> None:
    streams = "tests.integration.worker_streams"
    graph: Graph = []
    for i, consumer in enumerate(("Sizes", "Picky", "Dying", "Leave", "Upper")):
        graph += [
            app(f"p{i}", f"{streams}.Parts", [], [f"a{i}"], count=20, size=100_000),
            data(f"a{i}", streamingConsumers=[f"t{i}"], expireAfterUse=True),
            app(f"t{i}", f"{streams}.{consumer}", [], [f"b{i}"], streamingInputs=[f"a{i}"]),
            data(f"b{i}"),
            app(f"f{i}", "tests.integration.worker_data.Fill", [], [f"c{i}"], bytes_=200_000),
            data(f"c{i}", expireAfterUse=True),
            app(f"k{i}", f"{APPS}.Rude", [f"c{i}"], [f"d{i}"], what="chdir" if i % 2 else "kill"),
            data(f"d{i}"),
        ]
    session = started(graph, workers=3)
    try:
        assert session.wait(HANG_S)
        assert session._outside is not None
        pool = session._outside.pool
        arena = pool.arena
    finally:
        result = finish(session)
    kept = [uid for uid, (state, _) in result.states.items() if uid[0] == "b" and state == COMPLETED]
    large = [uid for uid in kept if len(result.read(uid)) > 32 << 10]
    assert arena.usage().blocks == len(large), (arena.usage(), large)


@pytest.mark.parametrize("seed", range(20 if PROVE else 2))
def test_a_nursery_that_is_killed_twice_changes_no_result(nothing_left: None, seed: int) -> None:
    chance = random.Random(seed)
    session = started(marked_graph(300), workers=3)
    killed: set[int] = set()
    try:
        for _ in range(2):
            wait_for(session.directory / "marks", chance.randrange(1, 300))
            while (pid := session.nursery_pid) in killed or not pid:
                assert not session.wait(0.001)
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        assert session.wait(HANG_S)
    finally:
        result = finish(session)
    assert result.ok, result.errors
    assert [pickle.loads(result.read(f"b{i}")) for i in range(300)] == [f"M{i}" for i in range(300)]
