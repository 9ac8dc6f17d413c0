"""Time limits, cancelling and retries of apps in worker processes: whatever they do, they end and leave nothing."""

import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.runtime.result import finish
from penstock.runtime.session import Session
from tests.conftest import PROVE
from tests.processes import children

from .making import (
    CANCELLED,
    COMPLETED,
    ERROR,
    HANG_S,
    SKIPPED,
    Graph,
    app,
    codes,
    data,
    end,
    file,
    new_session,
    null,
    run,
)
from .test_slots import wait_gone

APPS = "tests.integration.worker_apps"
ENDLESS = "tests.integration.worker_stubborn.Stubborn"
STUBBORN = (
    "ignores",
    "children",
    "forked twice",
    "other session",
    "in C",
    "full pipe",
    "writes for ever",
    "prints for ever",
    "logs for ever",
    "stopped",
    "command",
)
LIMIT_S = 0.3


def started(graph: Graph, **options: object) -> Session:
    session = new_session(graph, isolation=None, **options)
    session.deploy()
    session.trigger()
    return session


def wait_for(path: Path, lines: int = 1, may_go_on: Callable[[], object] = lambda: True) -> list[str]:
    """Wait until others have written that many lines to a file, as long as they may."""
    deadline = time.monotonic() + HANG_S
    while not path.exists() or len(path.read_text().splitlines()) < lines:
        assert may_go_on(), f"nobody writes {path} any more"
        assert time.monotonic() < deadline, f"nobody writes {path}"
        threading.Event().wait(0.005)
    return path.read_text().splitlines()


def pids(directory: Path) -> list[int]:
    return [int(pid) for path in directory.glob("stubborn/*/pids") for pid in path.read_text().split()]


def stubborn_graph(**fields: object) -> Graph:
    return [app(what, ENDLESS, [], [f"of {what}"], what=what, **fields) for what in STUBBORN] + [
        data(f"of {what}") for what in STUBBORN
    ]


def test_time_limits_end_whatever_apps_do_and_the_others_get_their_slots() -> None:
    graph = stubborn_graph(time_limit_s=LIMIT_S)
    graph += [app(f"quick{i}", f"{APPS}.Quick", [], [f"q{i}"]) for i in range(5)]
    graph += [data(f"q{i}") for i in range(5)]
    result = run(graph, workers=4, isolation=None)
    assert result.status == "FAILED"
    states = codes(result)
    assert {states[what] for what in STUBBORN} == {(ERROR, 3)}
    assert {states[f"quick{i}"][0] for i in range(5)} == {COMPLETED}
    assert sorted((failure.uid, failure.error) for failure in result.errors) == sorted(
        (what, "TimeLimitExceeded") for what in STUBBORN
    )
    assert all(result.log(what).startswith(f"does not end: {what}\n") for what in STUBBORN)
    left = pids(result.directory)
    assert len(left) >= len(STUBBORN) + 4
    for pid in left:
        wait_gone(pid)


def test_cancelling_ends_whatever_apps_do() -> None:
    session = started(stubborn_graph(), workers=len(STUBBORN))
    try:
        for what, count in {**dict.fromkeys(STUBBORN, 1), "children": 4, "command": 3}.items():
            wait_for(session.directory / "stubborn" / what / "pids", count)
        left = pids(session.directory)
        session.cancel()
    finally:
        result = finish(session)
    assert session._outside is not None
    assert not session._outside.pool._broken
    assert result.status == "CANCELLED"
    assert {state for state, _ in codes(result).values()} == {CANCELLED}
    for pid in left:
        wait_gone(pid)
    assert children() == []


def test_a_timeout_of_the_run_cancels_it() -> None:
    graph = [app("bad", ENDLESS, [], ["a"], what="other session"), data("a")]
    result = run(graph, workers=1, isolation=None, timeout_s=0.2)
    assert result.status == "CANCELLED"
    assert codes(result) == {"bad": (CANCELLED, 4), "a": (CANCELLED, None)}


def test_cancel_of_a_users_app_is_called_when_its_session_is_cancelled() -> None:
    session = started([app("one", f"{APPS}.Cancelled"), app("two", f"{APPS}.Cancelled")], workers=2)
    try:
        wait_for(session.directory / "begun", 2)
        session.cancel()
    finally:
        finish(session)
    assert sorted((session.directory / "cancelled").read_text().split()) == ["one", "two"]


def test_cancel_of_a_users_app_is_called_at_its_time_limit() -> None:
    result = run([app("one", f"{APPS}.Cancelled", time_limit_s=LIMIT_S)], workers=1, isolation=None)
    assert [failure.error for failure in result.errors] == ["TimeLimitExceeded"]
    assert (result.directory / "cancelled").read_text() == "one\n"


@pytest.mark.parametrize("output", ["memory", "file"])
def test_an_app_that_fails_twice_and_then_not_leaves_the_output_of_its_last_try(output: str) -> None:
    graph = [
        app("tries", f"{APPS}.Tries", [], ["a"], fails=2, n_tries=3),
        data("a") if output == "memory" else file("a", "a.txt"),
    ]
    result = run(graph, workers=1, isolation=None)
    assert result.ok, result.errors
    assert result.read("a") == b"from try 3"
    log = result.log("tries")
    assert [line for line in log.splitlines() if line.startswith("try ")] == [
        "try 1",
        "try 1 of 3 failed: ValueError: try 1 is not good; the next in 0.1 s",
        "try 2",
        "try 2 of 3 failed: ValueError: try 2 is not good; the next in 0.2 s",
        "try 3",
    ]


def test_an_app_that_fails_in_all_its_tries_fails() -> None:
    result = run(
        [app("tries", f"{APPS}.Tries", [], ["a"], fails=9, n_tries=2), data("a")], workers=1, isolation=None
    )
    assert codes(result) == {"tries": (ERROR, 3), "a": (ERROR, None)}
    assert [failure.message for failure in result.errors] == ["try 2 is not good"]


@pytest.mark.parametrize("output", ["memory", "file"])
def test_an_app_that_is_run_again_after_its_death_writes_its_output_anew(output: str) -> None:
    graph = [
        app("tries", f"{APPS}.Tries", [], ["a"], fails=2, dies=True),
        data("a") if output == "memory" else file("a", "a.txt"),
    ]
    result = run(graph, workers=1, isolation=None)
    assert result.ok, result.errors
    assert result.read("a") == b"from try 3"


def test_a_limit_covers_all_tries_together() -> None:
    graph = [app("tries", f"{APPS}.Tries", [], ["a"], fails=1000000, n_tries=1000000, time_limit_s=1.0)]
    result = run([*graph, data("a"), null("b")], workers=1, isolation=None)
    assert [failure.error for failure in result.errors] == ["TimeLimitExceeded"]


def test_an_end_drop_ends_what_workers_run() -> None:
    graph = [
        app("bad", ENDLESS, [], ["a"], what="other session"),
        data("a"),
        app("see", f"{APPS}.SeesFile", [], ["e"], path="stubborn/bad/pids"),
        end("e"),
    ]
    result = run(graph, workers=2, isolation=None)
    assert result.status == "FINISHED"
    assert codes(result)["bad"] == (SKIPPED, 5)
    for pid in pids(result.directory):
        wait_gone(pid)


def test_sessions_run_in_a_process_with_very_many_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    opened: list[int] = []
    try:
        while len(opened) < 1200:
            opened.append(os.open(os.devnull, os.O_RDONLY))
        graph: Graph = [app(f"q{i}", f"{APPS}.Quick", [], [f"d{i}"]) for i in range(300)]
        result = run([*graph, *(data(f"d{i}") for i in range(300))], workers=2, isolation=None)
        assert result.ok, result.errors
    finally:
        for fd in opened:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_workers_may_be_asked_for() -> None:
    count = 64 if PROVE else 24
    graph: Graph = [app(f"w{i}", f"{APPS}.Await", [], [f"d{i}"]) for i in range(count)]
    session = started([*graph, *(data(f"d{i}") for i in range(count))], workers=count)
    try:
        lines = wait_for(session.directory / "begun", count)
        assert len({line.split()[1] for line in lines}) == count
        (session.directory / "go").touch()
        assert session.wait(HANG_S)
    finally:
        result = finish(session)
    assert result.ok, result.errors
