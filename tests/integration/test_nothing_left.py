"""After many sessions nothing is left: no thread, process, descriptor, temporary file, memory."""

import gc
import logging
import os
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.runtime.result import finish
from tests.conftest import PROVE
from tests.processes import children

from .making import (
    HANG_S,
    Fail,
    Give,
    Join,
    Later,
    Nothing,
    Parts,
    Pieces,
    app,
    data,
    end,
    file,
    gates,
    new_session,
    null,
    run,
    shell,
)
from .making import Wait as Hang
from .test_streaming import chain, streamed

SESSIONS = 100 if PROVE else 20


def well() -> None:
    graph = [
        app("give", Give, [], ["a", "f"]),
        data("a"),
        file("f"),
        app("join", Join, ["a", "f"], ["b"]),
        data("b"),
    ]
    assert run([*graph, app("later", Later, ["b"], ["c"]), null("c")]).read("b") == b"hellohello"


def fails() -> None:
    assert not run([app("fail", Fail, [], ["f"]), file("f"), app("join", Join, ["f"], ["b"]), data("b")]).ok


def fails_while_writing() -> None:
    graph = [
        app("parts", Parts, [], ["f"], fails_at=3),
        file("f", "f.txt"),
        app("join", Join, ["f"], ["b"]),
        data("b"),
    ]
    assert not run(graph).ok


def times_out() -> None:
    assert (
        run([app("later", Later, [], ["f"], seconds=1000.0), file("f")], timeout_s=0.01).status == "CANCELLED"
    )


def is_overdue() -> None:
    assert not run([app("later", Later, [], ["f"], seconds=1000.0, time_limit_s=0.01), file("f")]).ok


def hangs_and_is_abandoned() -> None:
    gates.pop("nothing left", None)
    result = run([app("hang", Hang, [], ["f"], gate="nothing left", time_limit_s=0.01), file("f")])
    assert not result.ok
    gates["nothing left"].set()


def is_cancelled() -> None:
    graph = [shell(f"sh{i}", "sleep 1000 & sleep 1000", [], [f"f{i}"]) for i in range(4)]
    session = new_session([*graph, *(file(f"f{i}") for i in range(4)), *chain("yes", "cat", "sleep 1000")])
    session.deploy()
    session.trigger()
    session.wait(0.05)
    assert finish(session).status == "CANCELLED"


def runs_commands() -> None:
    graph = [shell("sh", "echo hi; echo ho >&2; seq 1000 > {out}", [], [{"f": "out"}]), file("f", "f.txt")]
    assert run([*graph, shell("bad", "cat {in}; exit 3", [{"f": "in"}])]).status == "FAILED"


def command_is_overdue() -> None:
    assert not run([shell("sh", "sleep 1000 & sleep 1000", [], ["f"], time_limit_s=0.05), file("f")]).ok


def streams() -> None:
    assert run(chain("seq 1000", "cat", "cat > {to}")).ok
    assert run(streamed(Pieces)).ok


def streams_badly() -> None:
    assert not run(chain("yes", "exit 3", "cat > {to}")).ok
    assert not run(chain("seq 3; exit 3", "cat > {to}")).ok


def ends_early() -> None:
    graph = [
        app("later", Later, [], ["f"], seconds=1000.0),
        file("f"),
        app("n", Nothing, [], ["e"]),
        end("e"),
    ]
    assert run([*graph, shell("sh", "sleep 1000")]).ok


KINDS = [
    well,
    fails,
    fails_while_writing,
    times_out,
    is_overdue,
    hangs_and_is_abandoned,
    is_cancelled,
    runs_commands,
    command_is_overdue,
    streams,
    streams_badly,
    ends_early,
]


def descriptors() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:  # the one that listed
            continue
    return sorted(found)


def settled(look: Callable[[], int], before: int) -> int:
    """Return what is left when threads that were told to end had their time."""
    deadline = time.monotonic() + HANG_S
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.name.startswith(("penstock", "stream-")):
            thread.join(max(0.0, deadline - time.monotonic()))
    return look() - before


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_after_many_sessions(kind: Callable[[], None]) -> None:
    kind()  # what is imported and opened once is no leak
    settled(threading.active_count, 0)  # a thread that was left behind may be reading files yet
    gc.collect()
    threads, processes = threading.active_count(), children()
    files, temporary = descriptors(), sorted(os.listdir(tempfile.gettempdir()))
    handlers, stream = list(logging.getLogger().handlers), sys.stdout
    for _ in range(SESSIONS):
        kind()
    assert settled(threading.active_count, threads) <= 0
    gc.collect()
    assert children() == processes
    assert descriptors() == files
    mine = [name for name in os.listdir(tempfile.gettempdir()) if name not in temporary]
    assert not [name for name in mine if "penstock" in name or name.startswith((".pipe", ".out"))]
    assert not [path for path in Path.cwd().rglob("*") if path.name.startswith((".pipe-", ".out-"))]
    assert logging.getLogger().handlers == handlers
    assert sys.stdout is stream


def test_memory_is_given_back() -> None:
    count = 100 if PROVE else 12

    def once() -> None:
        for kind in (well, fails, fails_while_writing, is_overdue, times_out):
            kind()
        graph = [null("a"), *(app(f"g{i}", Give, ["a"], [f"d{i}"]) for i in range(300))]
        assert run([*graph, *(data(f"d{i}") for i in range(300))]).ok

    for _ in range(3):
        once()
    gc.collect()
    tracemalloc.start()
    try:
        once()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(count):
            once()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 3_000 * count  # one session of `once` with 300 drops alone is some 500 KB


def test_a_result_keeps_its_data_and_nothing_else_does() -> None:
    import weakref

    graph = [app("give", Give, [], ["a"]), data("a"), app("fail", Fail, ["a"]), app("later", Later)]
    result = run(graph)
    session = weakref.ref(result._session)
    assert result.read("a") == b"hello"
    del result
    gc.collect()
    assert session() is None
