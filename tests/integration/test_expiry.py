"""Data in memory that says "expireAfterUse" is let go when its last consumer has ended, wherever that ran."""

from typing import Any

import pytest

import penstock
from penstock import AppDrop
from penstock.drops.shared_memory import SharedMemoryDrop
from penstock.errors import DropNotReadable
from penstock.runtime.result import deploy, finish

from .making import (
    COMPLETED,
    ERROR,
    HANG_S,
    SKIPPED,
    Fail,
    Give,
    Graph,
    Join,
    Nothing,
    Open,
    Parts,
    Pieces,
    Wait,
    app,
    codes,
    data,
    file,
    gates,
    new_session,
    null,
    run,
)

INITIALIZED, EXPIRED = 0, 4
LARGE = 200_000
CONTAINER = "dlg.data.drops.container.ContainerDROP"
FUNCTION = "dlg.apps.pyfunc.PyFuncApp"


class SkipAll(AppDrop):
    """Skips its outputs."""

    def run(self) -> None:
        for output in self.outputs:
            output.skip()


@pytest.fixture(params=["thread", "process"])
def isolation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def chain(**fields: Any) -> Graph:
    """a gives b, which c reads and makes into d."""
    return [app("a", Give, [], ["b"]), data("b", **fields), app("c", Join, ["b"], ["d"]), data("d")]


def states(graph: Graph, **options: Any) -> dict[str, int]:
    return {uid: state for uid, (state, _) in codes(run(graph, workers=2, **options)).items()}


def test_data_expires_after_its_last_consumer(isolation: str) -> None:
    result = run(chain(expireAfterUse=True), isolation=isolation)
    assert codes(result)["b"] == (EXPIRED, None)
    assert result.status == "FINISHED"
    assert result.ok
    with pytest.raises(DropNotReadable, match="EXPIRED"):
        result.read("b")
    assert result.read("d") == b"hello"
    assert "b" not in dict(result.outputs())


def test_every_consumer_reads_it_before() -> None:
    graph = chain(expireAfterUse=True)
    for i in range(5):
        graph += [app(f"c{i}", Join, ["b"], [f"d{i}"]), data(f"d{i}", expireAfterUse=True)]
        graph += [app(f"e{i}", Join, ["b", f"d{i}"], [f"f{i}"]), data(f"f{i}")]
    result = run(graph)
    assert [result.read(f"f{i}") for i in range(5)] == [b"hellohello"] * 5
    expired = sorted(uid for uid, (state, _) in codes(result).items() if state == EXPIRED)
    assert expired == ["b", "d0", "d1", "d2", "d3", "d4"]


def test_data_expires_after_a_consumer_that_failed(isolation: str) -> None:
    graph = [
        app("a", Give, [], ["b"]),
        data("b", expireAfterUse=True),
        app("c", Fail, ["b"], ["d"]),
        data("d"),
    ]
    assert states(graph, isolation=isolation) == {"a": COMPLETED, "b": EXPIRED, "c": ERROR, "d": ERROR}


def test_data_expires_after_a_consumer_that_was_skipped(isolation: str) -> None:
    graph = [
        app("a", Give, [], ["b"]),
        data("b", expireAfterUse=True),
        app("s", SkipAll, ["b"], ["t"]),
        null("t"),
        app("c", Join, ["b", "t"], ["d"]),
        data("d"),
    ]
    found = states(graph, isolation=isolation)
    assert (found["b"], found["t"], found["c"], found["d"]) == (EXPIRED, SKIPPED, SKIPPED, SKIPPED)


def test_data_expires_after_a_consumer_that_was_tried_again(isolation: str) -> None:
    graph = [
        app("a", Give, [], ["b"]),
        data("b", expireAfterUse=True),
        app("c", Fail, ["b"], ["d"], n_tries=2),
        data("d"),
    ]
    result = run(graph, isolation=isolation)
    assert codes(result)["b"][0] == EXPIRED
    assert "try 1 of 2" in result.log("c")
    (failure,) = result.errors
    assert [(state.uid, state.status) for state in failure.inputs] == [("b", "COMPLETED")]


def test_a_result_that_nobody_reads_stays(isolation: str) -> None:
    graph = chain()
    graph[-1]["expireAfterUse"] = True
    result = run(graph, isolation=isolation)
    assert codes(result)["d"][0] == COMPLETED
    assert result.read("d") == b"hello"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"expireAfterUse": False},
        {"expireAfterUse": "false"},
        {"expireAfterUse": True, "persist": True},
        {"expireAfterUse": True, "persist": "true"},
        {"expireAfterUse": True, "componentParams": {"persist": {"name": "persist", "value": True}}},
    ],
)
def test_what_does_not_ask_for_it_or_persists_stays(fields: dict[str, Any]) -> None:
    result = run(chain(**fields))
    assert codes(result)["b"][0] == COMPLETED
    assert result.read("b") == b"hello"


@pytest.mark.parametrize(
    "fields",
    [
        {"expireAfterUse": "True"},
        {"expireAfterUse": 1, "persist": False},
        {"expireAfterUse": True, "persist": ""},
        {"componentParams": {"expireAfterUse": {"name": "expireAfterUse", "value": "true"}}},
        {"applicationArgs": {"expireAfterUse": {"name": "expireAfterUse", "value": True}}},
    ],
)
def test_other_spellings(fields: dict[str, Any]) -> None:
    assert states(chain(**fields))["b"] == EXPIRED


def test_shared_memory_expires_too() -> None:
    graph = chain()
    graph[1] = data("b", SharedMemoryDrop, expireAfterUse=True)
    assert states(graph)["b"] == EXPIRED


def test_files_are_left_alone(isolation: str) -> None:
    graph = chain()
    graph[1] = file("b", "b.txt", expireAfterUse=True)
    result = run(graph, isolation=isolation)
    assert codes(result)["b"][0] == COMPLETED
    assert result.read("b") == b"hello"
    assert (result.directory / "b.txt").read_bytes() == b"hello"


def test_content_that_the_graph_gives_expires_too() -> None:
    graph = chain(expireAfterUse=True, pydata="mine")[1:]
    result = run(graph)
    assert codes(result)["b"][0] == EXPIRED
    assert result.read("d") == b"mine"


def test_members_of_a_container_stay_for_its_readers() -> None:
    graph = [
        *chain(expireAfterUse=True),
        app("e", Nothing, ["d"], ["box"]),
        {"oid": "box", "categoryType": "Container", "dropclass": CONTAINER, "children": ["b"]},
        app("f", "dlg.apps.simple.CopyApp", ["box"], ["g"]),
        data("g"),
    ]
    result = run(graph)
    assert result.ok
    assert result.read("g") == result.read("b") == b"hello"


def test_data_that_is_taken_as_a_stream_expires_after_its_end(isolation: str) -> None:
    graph = [
        app("a", Parts, [], ["b"], count=3),
        data("b", expireAfterUse=True, streamingConsumers=["c"]),
        app("c", Pieces, [], ["d"]),
        data("d"),
    ]
    result = run(graph, isolation=isolation)
    assert codes(result)["b"][0] == EXPIRED
    assert result.read("d") == b"[0][1][2]"


def test_data_that_was_not_complete_does_not_expire() -> None:
    graph = [
        app("a", Fail, [], ["b"]),
        data("b", expireAfterUse=True),
        app("c", Join, ["b"], ["d"], input_error_threshold=100),
        data("d"),
    ]
    assert states(graph) == {"a": ERROR, "b": ERROR, "c": COMPLETED, "d": COMPLETED}


def test_data_that_comes_when_its_consumers_have_ended_expires_at_once(isolation: str) -> None:
    graph = [
        data("b"),
        app("c", Join, ["b", "late"], ["d"], n_effective_inputs=1),
        data("d"),
        data("late", expireAfterUse=True),
        app("open", Open, ["d"], ["opened"], isolation="thread"),
        null("opened"),
        app("busy", Wait, ["b"], ["e"], gate="end", isolation="thread"),
        data("e"),
    ]
    session = new_session(graph, isolation=isolation, workers=2)
    index = session.prepared.graph.index
    deploy(session)
    try:
        session.trigger([index["b"]])
        gates.wait("gate")  # the consumer has ended, as its output was read
        assert session.status(index["late"]) == INITIALIZED
        session.trigger([index["late"]])
        assert session.status(index["late"]) == EXPIRED
    finally:
        gates["end"].set()
        assert session.wait(HANG_S)
        assert finish(session).ok


def left_in_arena(graph: Graph) -> int:
    """Return how many bytes the contents of a graph take in shared memory when it has run."""
    session = new_session(graph, isolation="process", workers=2)
    deploy(session)
    try:
        session.trigger()
        assert session.wait(HANG_S)
        assert session._outside is not None
        image = session._outside._image
        assert image is not None
        return session._outside.pool.arena.usage().memory_bytes - image.size
    finally:
        result: penstock.RunResult = finish(session)
        assert result.ok


@pytest.mark.parametrize("function", [False, True])
def test_shared_memory_is_given_back(function: bool) -> None:
    graph = chain(expireAfterUse=True)
    if function:
        graph[0] = app("a", FUNCTION, [], ["b"], func_name=f"{__name__}.large")
        graph[2] = app("c", FUNCTION, ["b"], ["d"], func_name="builtins.len")
    else:
        graph[0]["text"] = "x" * LARGE
    kept = [dict(drop) for drop in graph]
    del kept[1]["expireAfterUse"]
    assert left_in_arena(kept) - left_in_arena(graph) >= LARGE


def test_shared_memory_of_large_content_that_the_graph_gives_is_given_back() -> None:
    graph = chain(expireAfterUse=True, pydata="x" * LARGE)[1:]
    graph[1] = app("c", FUNCTION, ["b"], [], func_name=f"{__name__}.nothing")
    graph[1]["applicationArgs"] = {"b": {"name": "b", "encoding": "utf-8", "usage": "InputPort"}}
    graph[0]["consumers"] = [{"c": "b"}]
    del graph[2]
    kept = [dict(drop) for drop in graph]
    del kept[0]["expireAfterUse"]
    assert left_in_arena(kept) - left_in_arena(graph) >= LARGE


def large() -> bytes:
    return bytes(LARGE)


def nothing(b: str) -> None:
    assert b == "x" * LARGE
