"""Streams in whole sessions: shell apps joined by pipes, Python apps fed piece by piece, limits, cancel."""

import threading
from typing import Any

import pytest

from penstock import AppDrop
from penstock.runtime.result import finish
from tests.conftest import PROVE

from .making import (
    CANCELLED,
    COMPLETED,
    ERROR,
    HANG_S,
    STREAM_BOTH,
    STREAM_IN,
    STREAM_OUT,
    Graph,
    Later,
    Nothing,
    Parts,
    Pieces,
    Wait,
    app,
    codes,
    data,
    file,
    gates,
    new_session,
    run,
)

OUT = {"to": {"usage": "OutputPort", "encoding": "path"}}


def chain(*commands: str, **fields: Any) -> Graph:
    """Shell apps joined by streams; the last one writes `result`. `fields` are keys of the apps by uid."""
    graph: Graph = []
    last = len(commands) - 1
    for place, command in enumerate(commands):
        uid = f"app{place}"
        kind = STREAM_OUT if place == 0 else STREAM_IN if place == last else STREAM_BOTH
        outputs = [{"result": "to"}] if place == last else [f"stream{place}"]
        more = {"streamingInputs": [f"stream{place - 1}"]} if place else {}
        graph.append(
            app(uid, kind, [], outputs, command=command, applicationArgs=OUT, **more, **fields.get(uid, {}))
        )
        if place < last:
            graph.append(data(f"stream{place}", streamingConsumers=[f"app{place + 1}"]))
    return [*graph, file("result", "result.txt")]


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_stream_goes_from_command_to_command(workers: int) -> None:
    result = run(chain("seq 5", "cat > {to}"), workers=workers)
    assert result.ok, result.errors
    assert result.read("result") == b"1\n2\n3\n4\n5\n"
    assert {state for state, _ in codes(result).values()} == {COMPLETED}


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_chain_of_three_runs_at_the_same_time(workers: int) -> None:
    # More than pipes hold: it only ends when all three commands run at once.
    result = run(chain("seq 200000", "sed s/^/x/", "tail -n 1 > {to}"), workers=workers)
    assert result.ok, result.errors
    assert result.read("result") == b"x200000\n"


def test_a_chain_of_eight_on_one_slot() -> None:
    result = run(chain("seq 30000", *["cat"] * 6, "wc -l > {to}"), workers=1)
    assert result.ok, result.errors
    assert result.read("result").strip() == b"30000"


def test_many_chains_share_two_slots() -> None:
    count = 20 if PROVE else 5
    graph: Graph = []
    for number in range(count):
        for drop in chain("seq 3000", "cat", "tail -n 1 > {to}"):
            graph.append(_renamed(drop, f"-{number}"))
    result = run(graph, workers=2)
    assert result.ok, result.errors
    assert all(result.read(f"result-{number}") == b"3000\n" for number in range(count))


def _renamed(drop: Any, end: str) -> Any:
    uids = {"app0", "app1", "app2", "stream0", "stream1", "result"}

    def new(value: Any, key: str = "") -> Any:
        if isinstance(value, dict) and key != "applicationArgs":
            return {(k + end if k in uids else k): new(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [new(item) for item in value]
        if key == "filepath":
            return value + end
        return value + end if isinstance(value, str) and value in uids else value

    return new(drop)


def test_a_consumer_that_fails_fails_alone_or_with_its_producer() -> None:
    result = run(chain("seq 3", "cat > /dev/null; exit 3"))
    assert result.status == "FAILED"
    states = codes(result)
    assert states["app1"] == (ERROR, 3)
    assert states["result"][0] == ERROR
    assert any(failure.uid == "app1" and failure.error == "CommandFailed" for failure in result.errors)


def test_a_consumer_that_leaves_early_ends_an_endless_producer() -> None:
    result = run(chain("yes", "head -n 1 > {to}"), workers=1)
    assert result.status in ("FINISHED", "FAILED")  # how `yes` takes SIGPIPE is its affair
    assert codes(result)["app1"][1] is not None
    assert all(state in (COMPLETED, ERROR) for state, _ in codes(result).values())


def test_a_producer_that_fails_fails_its_consumers() -> None:
    result = run(chain("seq 3; exit 7", "cat > {to}"))
    assert result.status == "FAILED"
    states = {uid: state for uid, (state, _) in codes(result).items()}
    assert states == dict.fromkeys(("app0", "stream0", "app1", "result"), ERROR)
    assert any(failure.uid == "app0" for failure in result.errors)


def test_a_failing_middle_ends_both_ends() -> None:
    result = run(chain("yes", "exit 5", "cat > {to}"), workers=1)
    assert result.status == "FAILED"
    assert codes(result)["app1"] == (ERROR, 3)
    assert codes(result)["app2"][0] == ERROR


@pytest.mark.parametrize("workers", [1, 4])
def test_cancelling_in_the_middle_ends_all_commands(workers: int) -> None:
    session = new_session(
        chain("echo go; exec sleep 1000", "cat > go.txt; cat", "cat > {to}"), workers=workers
    )
    session.deploy()
    try:
        session.trigger()
        assert not session.wait(0.2)
    finally:
        result = finish(session)
    assert result.status == "CANCELLED"
    assert {state for state, _ in codes(result).values()} == {CANCELLED}
    for thread in threading.enumerate():
        if thread.name.startswith("stream-"):
            thread.join(HANG_S)
            assert not thread.is_alive()


def test_a_stream_ends_at_its_consumers_time_limit() -> None:
    result = run(chain("yes", "sleep 1000", app1={"time_limit_s": 0.2}), workers=1)
    assert result.status == "FAILED"
    assert codes(result)["app1"] == (ERROR, 3)
    assert "TimeLimitExceeded" in [failure.error for failure in result.errors if failure.uid == "app1"]


def test_a_stream_ends_at_its_producers_time_limit() -> None:
    result = run(chain("exec sleep 1000", "cat > {to}", app0={"time_limit_s": 0.2}), workers=1)
    assert result.status == "FAILED"
    assert [codes(result)[uid][0] for uid in ("app0", "stream0", "app1", "result")] == [ERROR] * 4


class Early(AppDrop):
    """A streaming consumer that opens a gate with the first piece."""

    def data_written(self, uid: str, data: memoryview) -> None:
        gates["first piece"].set()

    def run(self) -> None:
        self.outputs[0].write("done")


class Two(AppDrop):
    """Writes a piece, then waits until somebody has seen it."""

    def run(self) -> None:
        self.outputs[0].write("one")
        gates.wait("first piece")
        self.outputs[0].write("two")


class Picky(Pieces):
    """Fails at a certain piece."""

    def data_written(self, uid: str, data: memoryview) -> None:
        super().data_written(uid, data)
        if bytes(data) == b"3":
            raise ValueError("no threes")


class Leave(Pieces):
    """Leaves at a certain piece."""

    def data_written(self, uid: str, data: memoryview) -> None:
        raise SystemExit(3)


class BadStart(Pieces):
    """Cannot even begin."""

    def initialize(self) -> None:
        raise ValueError("not today")


class Slow(Pieces):
    """Takes very long over a piece."""

    def data_written(self, uid: str, data: memoryview) -> None:
        gates["slow begun"].set()
        gates.wait("slow")


def streamed(consumer: type[AppDrop], producer: type[AppDrop] = Parts, **fields: Any) -> Graph:
    return [
        app("parts", producer, [], ["a"], **fields.get("parts", {})),
        data("a", streamingConsumers=["taker"]),
        app("taker", consumer, [], ["b"], streamingInputs=["a"], **fields.get("taker", {})),
        data("b"),
    ]


def test_a_python_app_gets_the_pieces_in_order() -> None:
    result = run(streamed(Pieces), workers=1)
    assert result.ok, result.errors
    assert result.read("b") == b"[0][1][2][3][4]"
    assert result.read("a") == b"01234"


def test_pieces_arrive_while_the_producer_runs() -> None:
    gates["first piece"].clear()
    result = run(streamed(Early, Two), workers=1)
    assert result.ok, result.errors
    assert result.read("b") == b"done"


@pytest.mark.parametrize("consumer", [Picky, Leave, BadStart])
def test_a_consumer_that_raises_is_to_blame_and_its_producer_is_not(consumer: type[AppDrop]) -> None:
    result = run(streamed(consumer))
    assert result.status == "FAILED"
    states = codes(result)
    assert [states[uid][0] for uid in ("parts", "a", "taker", "b")] == [COMPLETED, COMPLETED, ERROR, ERROR]
    assert [failure.uid for failure in result.errors] == ["taker"]


def test_a_producer_that_fails_ends_what_took_its_pieces() -> None:
    result = run(streamed(Pieces, parts={"fails_at": 2}))
    assert result.status == "FAILED"
    assert {state for state, _ in codes(result).values()} == {ERROR}
    assert [failure.uid for failure in result.errors] == ["parts"]


def test_data_of_the_graph_is_a_stream_as_well() -> None:
    graph = [data("a", pydata="hello", streamingConsumers=["taker"])]
    graph += [app("taker", Pieces, [], ["b"], streamingInputs=["a"]), data("b")]
    result = run(graph)
    assert result.ok, result.errors
    assert b"hello" in result.read("b")


def test_many_producers_stream_into_one_consumer() -> None:
    graph = [app(f"p{i}", Parts, [], ["a"], count=50) for i in range(8)]
    graph += [
        data("a", streamingConsumers=["taker"]),
        app("taker", Pieces, [], ["b"], streamingInputs=["a"]),
        data("b"),
    ]
    for _ in range(20 if PROVE else 3):
        result = run(graph, workers=8)
        assert result.ok, result.errors
        assert result.read("b").count(b"[") == 8 * 50


def test_one_producer_streams_to_many_consumers() -> None:
    takers = [f"t{i}" for i in range(50)]
    graph = [app("parts", Parts, [], ["a"]), data("a", streamingConsumers=takers)]
    graph += [app(uid, Pieces, [], [f"b-{uid}"], streamingInputs=["a"]) for uid in takers]
    graph += [data(f"b-{uid}") for uid in takers]
    result = run(graph, workers=4)
    assert result.ok, result.errors
    assert {result.read(f"b-{uid}") for uid in takers} == {b"[0][1][2][3][4]"}


def test_a_consumer_that_hangs_over_a_piece_is_cancelled_with_its_session() -> None:
    try:
        result = run(streamed(Slow), timeout_s=0.2)
        assert result.status == "CANCELLED"
    finally:
        gates["slow"].set()


def test_a_streaming_apps_limit_counts_from_its_first_piece() -> None:
    graph = [
        app("parts", Parts, [], ["a"]),
        data("a", streamingConsumers=["taker"]),
        app("wait", Wait, [], ["c"], gate="never"),
        data("c"),
        app("taker", Pieces, ["c"], ["b"], streamingInputs=["a"], time_limit_s=0.1),
        data("b"),
    ]
    session = new_session(graph, workers=2)
    session.deploy()
    try:
        session.trigger()
        gates.wait("never begun")
        # Nobody tells when the limit passes; what is behind the app does.
        while session.flow.state[5] != ERROR:
            assert not session.wait(0.01)
        gates["never"].set()
        assert session.wait(HANG_S)
    finally:
        gates["never"].set()
        result = finish(session)
    assert codes(result)["taker"] == (ERROR, 3)
    assert [failure.error for failure in result.errors] == ["TimeLimitExceeded"]


def test_a_delayed_app_is_overdue_on_its_timer() -> None:
    graph = [
        app("later", Later, [], ["a"], seconds=1000, time_limit_s=0.05),
        data("a"),
        app("n", Nothing, ["a"]),
    ]
    result = run(graph, workers=1)
    assert result.status == "FAILED"
    assert codes(result) == {"later": (ERROR, 3), "a": (ERROR, None), "n": (ERROR, 3)}


class Talkative(Pieces):
    """Prints what it takes."""

    def data_written(self, uid: str, data: memoryview) -> None:
        print("took", bytes(data).decode())


def test_what_a_consumer_prints_over_a_piece_is_in_its_own_log() -> None:
    result = run(streamed(Talkative, parts={"count": 2}))
    assert result.ok
    assert (result.log("taker"), result.log("parts")) == ("took 0\ntook 1\n", "")
