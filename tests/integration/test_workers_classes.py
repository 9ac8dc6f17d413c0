"""Which code runs in which process: users' classes and pickles in workers only, the rest where the graph says."""

import base64
import gc
import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock.errors import GraphInvalid
from penstock.runtime.result import finish
from tests.processes import children

from .making import COMPLETED, HANG_S, Graph, app, codes, data, end, new_session, null, run, shell
from .test_nothing_left import descriptors
from .test_workers_limits import APPS

DATA = "tests.integration.worker_data"
COPY = "dlg.apps.simple.CopyApp"
FUNCTION = "dlg.apps.pyfunc.PyFuncApp"
ROOT = str(Path(__file__).parents[2])

MODULE = """
import os
from penstock import AppDrop, DataDrop
from penstock.drops.memory import MemoryDrop

with open("imported", "a") as file:
    file.write(f"{os.getpid()}\\n")


class Mine(AppDrop):
    def run(self):
        for output in self.outputs:
            output.write(str(os.getpid()))


class OnThread(Mine):
    isolation = "thread"


class MyData(MemoryDrop):
    pass


class NoDrop:
    pass
"""


@pytest.fixture
def user_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules on the path, one of them with a side effect when it is imported."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    (folder / "user_code.py").write_text(MODULE.replace('"imported"', repr(str(folder / "imported"))))
    yield folder
    for name in [name for name in sys.modules if name.startswith("user_code")]:
        del sys.modules[name]


def importers(folder: Path) -> set[int]:
    path = folder / "imported"
    return set(map(int, path.read_text().split())) if path.exists() else set()


def mine(name: str = "Mine", **fields: Any) -> Graph:
    return [app("mine", f"user_code.{name}", [], ["out"], **fields), data("out")]


# Users' classes


@pytest.mark.parametrize("isolation", ["process", None])
def test_modules_of_users_are_imported_by_workers_only(user_code: Path, isolation: Any) -> None:
    graph = [*mine(), app("copy", COPY, ["out"], ["more"]), data("more", "user_code.MyData")]
    result = run(graph, isolation=isolation)
    assert result.ok, result.errors
    assert importers(user_code)
    assert os.getpid() not in importers(user_code)
    assert "user_code" not in sys.modules
    assert int(result.read("out")) != os.getpid()
    assert result.read("more") == result.read("out")


BROKEN = {
    "user_code.Missing": ("user_code.Missing", "AttributeError"),
    "user_code.NoDrop": ("user_code.NoDrop", "is no drop class"),
    "user_code.MyData": ("user_code.MyData", "is data"),
    "user_code_nowhere.Mine": ("user_code_nowhere.Mine", "no module 'user_code_nowhere'"),
    "user_code_raises.Mine": ("raise ValueError('not now')", "ValueError: not now"),
    "user_code_needs.Mine": ("import there_is_no_such_module", "there_is_no_such_module"),
    "user_code_exits.Mine": ("raise SystemExit(3)", "SystemExit"),
    "user_code_leaves.Mine": ("import os; os._exit(3)", "ended itself with exit code 3"),
    "user_code_crashes.Mine": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "user_code_syntax.Mine": ("def (", "SyntaxError"),
    "user_code_closes.Mine": ("import os; os.closerange(0, 10000)", "ended itself"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_class_that_cannot_be_had_is_told_before_anything_runs(user_code: Path, name: str) -> None:
    source, reason = BROKEN[name]
    module = name.partition(".")[0]
    if module not in ("user_code", "user_code_nowhere"):
        (user_code / f"{module}.py").write_text(source)
    gc.collect()
    threads, files = threading.active_count(), descriptors()
    with pytest.raises(GraphInvalid) as caught:
        new_session([app("bad", name), app("good", "user_code.Mine")], isolation=None)
    told = [problem for problem in caught.value.problems if problem.is_error]
    assert [(problem.code, problem.uid) for problem in told] == [("PS206", "bad")]
    assert reason in told[0].message
    assert name in told[0].message or "it was imported" in told[0].message
    gc.collect()
    assert (children(), threading.active_count(), descriptors()) == ([], threads, files)


def test_what_workers_print_while_they_import_disturbs_nobody(
    user_code: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (user_code / "user_code_noisy.py").write_text(
        "import os\nprint('x' * 200_000)\nos.write(1, b'y' * 200_000)\nfrom user_code import Mine\n"
    )
    result = run([app("mine", "user_code_noisy.Mine", [], ["out"]), data("out")], isolation=None)
    assert result.ok, result.errors
    assert capfd.readouterr().out == ""


# Where apps run


@pytest.mark.parametrize(
    ("name", "fields", "isolation", "here"),
    [
        ("Mine", {}, None, False),
        ("Mine", {}, "process", False),
        ("Mine", {}, "thread", True),
        ("Mine", {"isolation": "thread"}, None, True),
        ("Mine", {"isolation": "thread"}, "process", True),
        ("Mine", {"isolation": "process"}, "thread", False),
        ("OnThread", {}, None, True),
        ("OnThread", {}, "process", False),
        ("OnThread", {"isolation": "process"}, None, False),
    ],
)
def test_the_drop_decides_before_the_run_and_the_run_before_the_class(
    user_code: Path, name: str, fields: Any, isolation: Any, here: bool
) -> None:
    result = run(mine(name, **fields), isolation=isolation)
    assert result.ok, result.errors
    assert (int(result.read("out")) == os.getpid()) is here


@pytest.mark.parametrize("value", ["proces", 3, ["thread"], {"a": 1}])
def test_an_isolation_that_does_not_exist_is_a_mistake_in_the_graph(user_code: Path, value: Any) -> None:
    with pytest.raises(GraphInvalid) as caught:
        new_session(mine(isolation=value), isolation=None)
    assert [problem.code for problem in caught.value.problems if problem.is_error] == ["PS403"]
    assert children() == []


def test_a_graph_of_built_in_apps_starts_no_process() -> None:
    graph = [
        app("hello", "dlg.apps.simple.HelloWorldApp", [], ["a"]),
        data("a"),
        app("copy", COPY, ["a"], ["b"]),
        data("b"),
        app("sleep", "dlg.apps.simple.SleepApp", ["b"], ["c"], sleep_time=0.01),
        end("c"),
    ]
    session = new_session(graph, isolation=None)
    session.deploy()
    try:
        session.trigger()
        assert session.wait(HANG_S)
        assert session.nursery_pid == 0
        assert children() == []
        assert not [thread for thread in threading.enumerate() if thread.name == "penstock-pool"]
    finally:
        finish(session)


def test_with_isolation_process_built_in_apps_run_in_workers_too() -> None:
    graph = [shell("sh", "echo $PPID > {a}", [], ["a"]), data("a", storage="file"), null("x")]
    graph[1] = {"oid": "a", "categoryType": "Data", "storage": "file", "filepath": "a.txt"}
    assert int(run(graph, isolation=None).read("a")) == os.getpid()
    assert int(run(graph, isolation="process").read("a")) != os.getpid()


# Wide apps


def test_an_app_that_counts_for_all_slots_runs_alone() -> None:
    graph: Graph = [null("begin")]
    for i in range(8):
        graph.append(app(f"wide{i}", f"{APPS}.Stamps", ["begin"], num_cpus=2))
        graph += [app(f"narrow{i}{j}", f"{APPS}.Stamps", ["begin"]) for j in range(3)]
    result = run(graph, workers=2, isolation=None)
    assert result.ok, result.errors
    running: set[str] = set()
    for line in (result.directory / "stamps").read_text().splitlines():
        what, uid = line.split()
        if what == "end":
            running.remove(uid)
            continue
        running.add(uid)
        assert len(running) <= 2
        assert len(running) == 1 or not [one for one in running if one.startswith("wide")], running
    assert not running


def test_an_app_that_wants_more_slots_than_there_are_gets_all() -> None:
    graph: Graph = [app(f"wide{i}", f"{APPS}.Stamps", num_cpus=100) for i in range(3)]
    result = run([*graph, app("narrow", f"{APPS}.Stamps")], workers=2, isolation=None)
    assert result.ok, result.errors
    assert {state for state, _ in codes(result).values()} == {COMPLETED}


# Pickles

CANARY = """
import json, os, sys
import penstock

found = []
sys.addaudithook(lambda event, args: found.append(args) if event == "pickle.find_class" else None)
result = penstock.run("g.json", directory="run", timeout_s=60)
ours = [name for name in sys.modules if "worker_data" in name]
reads = [len(result.read(uid)) for uid in ("a", "b", "c", "given")]
print(json.dumps([result.status, os.getpid(), [list(map(str, args)) for args in found], ours, str(result.errors)]))
"""


def test_the_process_of_a_session_opens_no_pickle() -> None:
    from .worker_data import canary_pickle

    pickled = base64.b64encode(canary_pickle(os.path.abspath("opened"))).decode()
    graph = [
        app("make", FUNCTION, [], ["a"], func_name=f"{DATA}.make_canary", path=os.path.abspath("opened")),
        data("a"),
        app("take", FUNCTION, ["a"], ["b"], func_name=f"{DATA}.take"),
        data("b"),
        app("copy", COPY, ["a"], ["c"]),
        data("c"),
        app("scatter", "dlg.apps.simple.GenericScatterApp", ["c"], ["d"], num_of_copies=1),
        data("d"),
        app("again", FUNCTION, ["given"], ["e"], func_name=f"{DATA}.take"),
        data("given", pydata={"value": pickled, "type": "Object"}),
        data("e"),
    ]
    Path("g.json").write_text(json.dumps(graph))
    done = subprocess.run(
        [sys.executable, "-c", CANARY],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        timeout=HANG_S,
        check=False,
    )
    assert not done.returncode, done.stderr.decode()
    status, pid, found, ours, errors = json.loads(done.stdout)
    assert status in ("FINISHED", "FAILED"), errors
    assert found == []
    assert ours == []
    opened = set(map(int, Path("opened").read_text().split()))
    assert opened
    assert not opened & {pid, os.getpid()}


def test_errors_of_users_come_as_text() -> None:
    graph = [app("bad", f"{APPS}.Rude", [], ["a"], what="bad text"), data("a")]
    (failure,) = run(graph, isolation=None).errors
    assert (failure.error, type(failure)) == ("BadText", type(failure))
    assert "worker_apps.py" in failure.traceback
    assert pickle.dumps(failure)
    assert penstock.__version__
