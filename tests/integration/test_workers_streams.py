"""Streams to and from user apps, which run in worker processes or on threads, with the same outcome."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from penstock.runtime.result import finish

from .making import COMPLETED, ERROR, HANG_S, Graph, app, codes, data, file, run, shell
from .test_streaming import chain
from .test_workers_limits import started, wait_for

APPS = "tests.integration.worker_streams"
BOTH = pytest.mark.parametrize("isolation", ["thread", "process"])
HERE = {"isolation": "thread"}


def streamed(consumer: str, producer: str = "Parts", **fields: Any) -> Graph:
    return [
        app("parts", f"{APPS}.{producer}", [], ["a"], **fields.get("parts", {})),
        data("a", streamingConsumers=["taker"]),
        app("taker", f"{APPS}.{consumer}", [], ["b"], streamingInputs=["a"], **fields.get("taker", {})),
        data("b"),
    ]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("parts", [{}, HERE])
@pytest.mark.parametrize("taker", [{}, HERE])
def test_pieces_come_in_their_order(workers: int, parts: Any, taker: Any) -> None:
    graph = streamed("Pieces", parts={"count": 50, **parts}, taker=taker)
    result = run(graph, workers=workers, isolation=None)
    assert result.ok, result.errors
    assert result.read("b") == b"".join(b"[%d]" % i for i in range(50))
    assert result.read("a") == b"".join(b"%d" % i for i in range(50))


def test_a_built_in_app_streams_to_a_worker() -> None:
    graph = streamed("Pieces")
    source = file("f", "f.txt", streamingConsumers=[])
    graph[0] = app("parts", "dlg.apps.simple.CopyApp", ["f"], ["a"], bufsize=2)
    result = run([shell("sh", "printf 12345 > {f}", [], ["f"]), source, *graph], isolation=None)
    assert result.ok, result.errors
    assert result.read("b") == b"[12][34][5]"


@BOTH
def test_what_a_consumer_writes_with_each_piece_is_kept(isolation: Any) -> None:
    result = run(streamed("Upper"), isolation=isolation)
    assert result.ok, result.errors
    assert result.read("b") == b"<0><1><2><3><4>"


@BOTH
@pytest.mark.parametrize("workers", [1, 3])
def test_a_chain_of_three_streams_ends(isolation: Any, workers: int) -> None:
    graph = [
        app("parts", f"{APPS}.Parts", [], ["a"], count=40),
        data("a", streamingConsumers=["one"]),
        app("one", f"{APPS}.Upper", [], ["b"], streamingInputs=["a"]),
        data("b", streamingConsumers=["two"]),
        app("two", f"{APPS}.Upper", [], ["c"], streamingInputs=["b"]),
        data("c", streamingConsumers=["three"]),
        app("three", f"{APPS}.Pieces", [], ["d"], streamingInputs=["c"]),
        data("d"),
    ]
    result = run(graph, isolation=isolation, workers=workers)
    assert result.ok, result.errors
    assert result.read("d") == b"".join(b"[<<%d>>]" % i for i in range(40))


@BOTH
def test_pieces_may_be_larger_than_any_pipe(isolation: Any) -> None:
    result = run(streamed("Sizes", parts={"count": 12, "size": 300_000}), isolation=isolation)
    assert result.ok, result.errors
    assert result.read("b").decode() == " ".join(f"{i % 10}300000" for i in range(12))


@BOTH
def test_two_producers_of_one_stream(isolation: Any) -> None:
    graph = [
        app("one", f"{APPS}.Parts", [], ["a"], count=30),
        app("two", f"{APPS}.Parts", [], ["a"], count=30, first=100),
        data("a", streamingConsumers=["taker"]),
        app("taker", f"{APPS}.Pieces", [], ["b"], streamingInputs=["a"]),
        data("b"),
    ]
    result = run(graph, isolation=isolation)
    assert result.ok, result.errors
    taken = [int(piece) for piece in result.read("b").decode().strip("[]").split("][")]
    assert [piece for piece in taken if piece < 100] == [*range(30)]
    assert [piece for piece in taken if piece >= 100] == [*range(100, 130)]
    assert len(result.read("a")) == len("".join(map(str, taken)))


@BOTH
@pytest.mark.parametrize("consumer", ["Picky", "Leave", "BadStart"])
def test_a_consumer_that_raises_is_to_blame_and_its_producer_is_not(consumer: str, isolation: Any) -> None:
    result = run(streamed(consumer, parts={"count": 30}), isolation=isolation)
    assert codes(result) == {
        "parts": (COMPLETED, 2),
        "a": (COMPLETED, None),
        "taker": (ERROR, 3),
        "b": (ERROR, None),
    }
    (failure,) = result.errors
    errors = {"Picky": "ValueError", "Leave": "SystemExit", "BadStart": "ValueError"}
    assert (failure.uid, failure.error) == ("taker", errors[consumer])


@BOTH
def test_a_consumer_that_has_failed_gets_no_more_pieces(isolation: Any) -> None:
    result = run(streamed("Picky", parts={"count": 30}), isolation=isolation)
    assert (result.directory / "taken by taker").read_text().split() == ["0", "1", "2"]


def test_a_process_that_a_failed_consumer_leaves_takes_another_stream() -> None:
    graph: Graph = []
    for number in range(6):
        name = "Picky" if number % 2 == 0 else "Pieces"
        count = 40 if number % 2 == 0 else 60
        before = [] if number == 0 else [f"b{number - 1}"]
        graph += [
            app(
                f"p{number}", f"{APPS}.Parts", before, [f"a{number}"], count=count, input_error_threshold=100
            ),
            data(f"a{number}", streamingConsumers=[f"t{number}"]),
            app(f"t{number}", f"{APPS}.{name}", [], [f"b{number}"], streamingInputs=[f"a{number}"]),
            data(f"b{number}"),
        ]
    result = run(graph, isolation=None, workers=1)
    assert sorted(failure.uid for failure in result.errors) == ["t0", "t2", "t4"], result.errors
    for number in (1, 3, 5):
        assert result.read(f"b{number}").count(b"[") == 60


def test_a_consumer_that_is_killed_fails_and_its_producer_does_not() -> None:
    result = run(streamed("Dying", parts={"count": 200}), isolation=None)
    states = codes(result)
    assert states["parts"] == (COMPLETED, 2)
    assert states["taker"] == (ERROR, 3)
    (failure,) = result.errors
    assert (failure.uid, failure.error) == ("taker", "WorkerDied")
    assert "SIGKILL" in failure.message


@BOTH
def test_a_producer_that_fails_fails_its_consumers(isolation: Any) -> None:
    result = run(streamed("Pieces", parts={"fails_at": 3}), isolation=isolation)
    states = {uid: state for uid, (state, _) in codes(result).items()}
    assert states == dict.fromkeys(("parts", "a", "taker", "b"), ERROR)
    assert [failure.uid for failure in result.errors] == ["parts"]


@BOTH
def test_a_stream_without_pieces_ends(isolation: Any) -> None:
    result = run(streamed("Pieces", parts={"count": 0}), isolation=isolation)
    assert result.ok, result.errors
    assert result.read("b") == b""


@BOTH
def test_what_a_consumer_prints_over_a_piece_is_in_its_own_log(isolation: Any) -> None:
    result = run(streamed("Talkative", parts={"count": 2}), isolation=isolation)
    assert result.ok, result.errors
    assert result.log("taker") == "took 0 of a \ntook 1 of a \n"
    assert result.log("parts") == ""


@BOTH
def test_a_consumer_can_read_its_other_inputs_over_a_piece(isolation: Any) -> None:
    graph = streamed("Talkative", parts={"count": 2})
    graph[0]["inputs"] = graph[2]["inputs"] = ["other"]
    source = app("source", f"{APPS}.Parts", [], ["other"], count=3)
    result = run([source, data("other"), *graph], isolation=isolation)
    assert result.ok, result.errors
    assert result.log("taker") == "took 0 of a 012\ntook 1 of a 012\n"


@BOTH
def test_a_consumer_sees_that_its_stream_is_still_written(isolation: Any) -> None:
    result = run(streamed("Peeks", "Waits"), isolation=isolation)
    assert result.ok, result.errors
    assert (result.directory / "seen").read_text() == "WRITING\n"


def test_a_producer_cannot_run_far_ahead_of_its_consumer() -> None:
    session = started(streamed("Slow", parts={"count": 500, "told": True}), workers=2)
    written = session.directory / "written"
    try:
        wait_for(written, 10)
        still_since, before = time.monotonic(), 0
        while time.monotonic() - still_since < 0.3:  # nothing tells that somebody waits
            now = len(written.read_text().splitlines())
            if now != before:
                still_since, before = time.monotonic(), now
            threading.Event().wait(0.01)
        assert before < 40
        (session.directory / "go").touch()
        assert session.wait(HANG_S)
    finally:
        (session.directory / "go").touch()
        result = finish(session)
    assert result.ok, result.errors
    assert result.read("b").count(b"[") == 500
    assert Path(written).read_text().split() == [str(number) for number in range(500)]


def test_a_consumer_that_hangs_over_a_piece_is_cancelled_with_its_session() -> None:
    result = run(streamed("Slow", parts={"count": 100}), isolation=None, timeout_s=0.3)
    assert result.status == "CANCELLED"


def test_a_consumer_that_hangs_over_a_piece_is_ended_by_its_limit() -> None:
    graph = streamed("Slow", parts={"count": 100}, taker={"time_limit_s": 0.3})
    result = run(graph, isolation=None)
    assert [(failure.uid, failure.error) for failure in result.errors] == [("taker", "TimeLimitExceeded")]
    assert codes(result)["parts"] == (COMPLETED, 2)


@pytest.mark.parametrize("workers", [1, 4])
def test_commands_joined_by_streams_run_in_workers_too(workers: int) -> None:
    result = run(chain("seq 200000", "sed s/^/x/", "tail -n 1 > {to}"), workers=workers, isolation="process")
    assert result.ok, result.errors
    assert result.read("result") == b"x200000\n"


@pytest.mark.parametrize("commands", [("seq 3; exit 7", "cat > {to}"), ("yes", "exit 5", "cat > {to}")])
def test_commands_that_fail_end_their_streams_in_workers_too(commands: tuple[str, ...]) -> None:
    result = run(chain(*commands), workers=2, isolation="process")
    assert result.status == "FAILED"
    assert {state for state, _ in codes(result).values()} <= {COMPLETED, ERROR}
    assert codes(result)["result"] == (ERROR, None)
