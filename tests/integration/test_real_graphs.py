"""Published graphs of the DALiuGE/EAGLE world: states and contents as the ancestor recorded them."""

import json
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import penstock
from penstock.engine.states import AppState, DropState
from tests.conftest import SHARED_GRAPHS

from .making import HANG_S

pytestmark = pytest.mark.usefixtures("shared_graphs")

NAMES = (
    "array_loop",
    "bash_failures",
    "branch_skip",
    "dd_bash",
    "generic_scatter",
    "hello_universe",
    "keys_from_paramset",
    "loop_branch_exit",
    "loop_exit_simplebranch",
    "memory_with_data",
    "parallel_loop",
    "parameter_set",
    "pyfunc_glob",
    "shared_memory",
)


class Case(NamedTuple):
    result: penstock.RunResult
    expected: dict[str, Any]
    outputs: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    """All graphs, run at once: two of them do nothing but wait for five seconds."""
    if not SHARED_GRAPHS.is_dir():
        yield {}
        return
    folder = tmp_path_factory.mktemp("graphs")

    def one(name: str) -> Case:
        expected = json.loads((SHARED_GRAPHS / "expected" / f"{name}.json").read_text())
        path = SHARED_GRAPHS / f"{name}.pgt.json"
        result = penstock.run(path, directory=folder / name, timeout_s=HANG_S, session_id=name)
        return Case(result, expected, dict(result.outputs()))

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(NAMES)) as pool:
        patch.setenv("DLG_ROOT", str(tmp_path_factory.mktemp("dlg")))  # some graphs write there
        yield dict(zip(NAMES, pool.map(one, NAMES), strict=True))


def test_no_graph_is_left_out(shared_graphs: Path) -> None:
    assert {path.name.partition(".")[0] for path in shared_graphs.glob("*.pgt.json")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_session_ends_as_it_did_there(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    assert [case.result.status] == case.expected["runs"]["node"]["session_status_names"]


@pytest.mark.parametrize("name", NAMES)
def test_every_drop_ends_as_it_did_there(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    recorded = {
        uid: (DropState[state], None if run is None else AppState[run])
        for uid, (state, run) in case.expected["runs"]["node"]["per_drop"].items()
    }
    assert dict(case.result.states) == recorded


@pytest.mark.parametrize("name", [name for name in NAMES if name != "shared_memory"])
def test_what_was_reproducible_there_is_the_same_here(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    for uid, there in case.expected["deterministic_outputs"].items():
        if "pickled_value" in there:  # protocols of pickle differ
            content = case.result.read(uid)
            value = pickle.loads(content) if content else content
            assert repr(value) == there["pickled_value"], uid
        else:
            here = case.outputs[uid]
            assert (here["size"], here["sha256"]) == (there["size"], there["sha256"]), uid


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_has_at_least_its_size(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    for there in case.expected["nondeterministic_outputs"]:
        uid = there["uid"]
        assert uid in case.outputs
        if name != "pyfunc_glob":  # what its file holds is a path, as long as DLG_ROOT is
            assert case.outputs[uid]["size"] in there["sizes"], uid


def test_a_file_of_paths_is_as_long_as_the_path(cases: dict[str, Case]) -> None:
    case = cases["pyfunc_glob"]
    (there,) = case.expected["nondeterministic_outputs"]
    content = case.result.read(there["uid"])
    assert content == os.fsencode(case.result._session.environment["DLG_ROOT"] + "/testdata/*\n")


def test_shared_memory_holds_what_was_written_to_it(cases: dict[str, Case]) -> None:
    # The one exception: the ancestor had unlinked its segments before they were read, so its record shows
    # fresh ones, 64 KiB of zeros. What the apps passed on, there and here, is this.
    case = cases["shared_memory"]
    contents = [case.result.read(uid) for uid in case.expected["deterministic_outputs"]]
    assert contents == [b"Hello World"] * 4
