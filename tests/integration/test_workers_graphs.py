"""Whole graphs: the same outcome on threads, in workers, and with everything in workers; several sessions at once."""

import json
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock.runtime.result import finish
from tests.conftest import PROVE, SHARED_GRAPHS
from tests.processes import children

from .making import COMPLETED, HANG_S, Graph, app, codes, data, in_threads, null, run
from .test_real_graphs import NAMES
from .test_workers_limits import APPS, started, wait_for

FUNCTION = "dlg.apps.pyfunc.PyFuncApp"
WAYS = ("thread", "process")
"""The usual way is `test_real_graphs`."""

Cases = dict[tuple[str, Any], penstock.RunResult]


def expected(name: str) -> Any:
    return json.loads((SHARED_GRAPHS / "expected" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    """All published graphs, run in all ways; two of them do nothing but wait for five seconds."""
    if not SHARED_GRAPHS.is_dir():
        yield {}
        return
    folder = tmp_path_factory.mktemp("graphs")

    def one(case: tuple[str, Any]) -> penstock.RunResult:
        name, isolation = case
        return penstock.run(
            SHARED_GRAPHS / f"{name}.pgt.json",
            directory=folder / f"{name}-{isolation}",
            session_id=f"{name}-{isolation}",
            timeout_s=HANG_S,
            isolation=isolation,
        )

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2 * len(NAMES)) as pool:
        patch.setenv("DLG_ROOT", str(tmp_path_factory.mktemp("dlg")))
        keys = [(name, isolation) for isolation in WAYS for name in NAMES]
        yield dict(zip(keys, pool.map(one, keys), strict=True))


@pytest.mark.parametrize("isolation", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_drops_end_as_recorded(shared_graphs: Path, cases: Cases, name: str, isolation: Any) -> None:
    result, recorded = cases[name, isolation], expected(name)["runs"]["node"]
    assert [result.status] == recorded["session_status_names"], result.errors
    states = {
        uid: [state.name, None if run is None else run.name] for uid, (state, run) in result.states.items()
    }
    assert states == recorded["per_drop"]


@pytest.mark.parametrize("isolation", WAYS)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "shared_memory"])
def test_contents_are_as_recorded(shared_graphs: Path, cases: Cases, name: str, isolation: Any) -> None:
    result, recorded = cases[name, isolation], expected(name)
    outputs = dict(result.outputs())
    for uid, there in recorded["deterministic_outputs"].items():
        if "pickled_value" in there:  # protocols of pickle differ
            content = result.read(uid)
            assert repr(pickle.loads(content) if content else content) == there["pickled_value"], uid
        else:
            assert (outputs[uid]["size"], outputs[uid]["sha256"]) == (there["size"], there["sha256"]), uid
    if name != "pyfunc_glob":  # its file holds a path of this host
        for there in recorded["nondeterministic_outputs"]:
            assert outputs[there["uid"]]["size"] in there["sizes"], there["uid"]


def diamond(count: int) -> Graph:
    graph: Graph = [null("begin")]
    for i in range(count):
        graph += [
            app(f"m{i}", f"{APPS}.Marked", ["begin"], [f"a{i}"]),
            data(f"a{i}"),
            app(f"n{i}", FUNCTION, [f"a{i}"], [f"b{i}"], func_name=f"{APPS}.marked"),
            data(f"b{i}"),
        ]
    return graph


def test_two_sessions_at_once_have_workers_of_their_own() -> None:
    sessions = [started(waiting(3), workers=3) for _ in range(2)]
    try:
        pids = [
            {int(line.split()[1]) for line in wait_for(session.directory / "begun", 3)}
            for session in sessions
        ]
        nurseries = {session.nursery_pid for session in sessions}
        assert len(pids[0] | pids[1]) == 6
        assert len(nurseries) == 2
        assert set(children()) == nurseries
        sessions[0].cancel()
        (sessions[1].directory / "go").touch()
        assert sessions[1].wait(HANG_S)
    finally:
        results = [finish(session) for session in sessions]
    assert [result.status for result in results] == ["CANCELLED", "FINISHED"]
    assert children() == []


def waiting(count: int) -> Graph:
    graph: Graph = [app(f"w{i}", f"{APPS}.Await", [], [f"d{i}"]) for i in range(count)]
    return [*graph, *(data(f"d{i}") for i in range(count))]


def test_many_sessions_at_once_and_one_after_the_other() -> None:
    rounds = 5 if PROVE else 1

    def one(number: int) -> None:
        for _ in range(rounds):
            result = run(diamond(30), isolation=None, workers=2)
            assert result.ok, result.errors
            assert [pickle.loads(result.read(f"b{i}")) for i in range(30)] == [f"M{i}" for i in range(30)]

    in_threads(4, one)
    assert children() == []


def test_a_session_can_be_waited_for_from_many_threads() -> None:
    session = started(waiting(2), workers=2)
    try:
        wait_for(session.directory / "begun", 2)
        waiters = [threading.Thread(target=session.wait, args=(HANG_S,)) for _ in range(3)]
        for waiter in waiters:
            waiter.start()
        (session.directory / "go").touch()
        for waiter in waiters:
            waiter.join(HANG_S)
        assert not [waiter for waiter in waiters if waiter.is_alive()]
    finally:
        result = finish(session)
    assert {state for state, _ in codes(result).values()} == {COMPLETED}
