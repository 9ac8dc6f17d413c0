"""Apps in worker processes may do what they like: each has its own outcome, and the next one a sound process."""

import json
import os
from typing import NamedTuple

import pytest

import penstock

from .making import Graph, app, codes, data, null, run

RUDE = "tests.integration.worker_apps.Rude"
HEALTHY = "tests.integration.worker_apps.Healthy"
FUNCTION = "dlg.apps.pyfunc.PyFuncApp"

OUTCOMES = {
    "SystemExit": ("SystemExit", "3"),
    "KeyboardInterrupt": ("KeyboardInterrupt", ""),
    "StopIteration": ("StopIteration", "1"),
    "GeneratorExit": ("GeneratorExit", ""),
    "bad text": ("BadText", "its text cannot be made"),
    "exit 0": ("WorkerDied", "ended itself with exit code 0"),
    "exit 3": ("WorkerDied", "ended itself with exit code 3"),
    "segmentation fault": ("WorkerDied", "SIGSEGV"),
    "abort": ("WorkerDied", "SIGABRT"),
    "kill": ("WorkerDied", "SIGKILL"),
    "closes all": ("WorkerDied", "exit code 71"),
    "recursion": ("RecursionError", "maximum recursion depth"),
    "memory": ("MemoryError", ""),
    "letters": None,
    "closes streams": None,
    "closes stdout": None,
    "closes descriptor 1": None,
    "no stdout": None,
    "chdir": None,
    "handlers": None,
    "fork": None,
    "recursion limit": None,
    "prints long": None,
    "writes long": None,
    "command": None,
    "logging": None,
    "logs from copies": None,
    "maps in copies": None,
    "prints later": None,
}


class Rudeness(NamedTuple):
    result: penstock.RunResult
    folder: str


@pytest.fixture(scope="module")
def rudeness(tmp_path_factory: pytest.TempPathFactory) -> Rudeness:
    """All of it on one slot: after each rude app one looks at what is left of the process."""
    graph: Graph = [null("begin")]
    before = "begin"
    for what in OUTCOMES:
        graph += [
            app(f"rude {what}", RUDE, [before], [f"end {what}"], what=what, input_error_threshold=100),
            null(f"end {what}"),
            app(f"next {what}", HEALTHY, [f"end {what}"], [f"found {what}"], input_error_threshold=100),
            data(f"found {what}"),
        ]
        before = f"found {what}"
    folder = tmp_path_factory.mktemp("rude")
    result = run(graph, workers=1, isolation=None, directory=folder, timeout_s=100.0)
    return Rudeness(result, os.getcwd())


@pytest.mark.parametrize("what", OUTCOMES)
def test_each_rudeness_has_its_own_outcome(rudeness: Rudeness, what: str) -> None:
    failures = [failure for failure in rudeness.result.errors if failure.uid == f"rude {what}"]
    expected = OUTCOMES[what]
    told = [(failure.error, expected is not None and expected[1] in failure.message) for failure in failures]
    assert told == ([] if expected is None else [(expected[0], True)]), failures


@pytest.mark.parametrize("what", OUTCOMES)
def test_the_next_app_finds_a_sound_process(rudeness: Rudeness, what: str) -> None:
    result = rudeness.result
    assert not [failure for failure in result.errors if failure.uid == f"next {what}"]
    report = json.loads(result.read(f"found {what}"))
    assert report == {
        "code": 5,
        "said": "out\n",
        "low": False,
        "deep": 500,
        "room": 256 << 20,
        "folder": rudeness.folder,
        "stdout": "pipe:",
    }


@pytest.mark.parametrize("what", OUTCOMES)
def test_what_apps_print_is_in_their_own_logs(rudeness: Rudeness, what: str) -> None:
    assert rudeness.result.log(f"rude {what}").startswith(f"this is {what}\n")
    mine = [line for line in rudeness.result.log(f"next {what}").splitlines() if line[:5] != "later"]
    assert mine == [f"hello from next {what}"]


@pytest.mark.parametrize("what", ["segmentation fault", "abort"])
def test_the_log_tells_where_a_process_crashed(rudeness: Rudeness, what: str) -> None:
    log = rudeness.result.log(f"rude {what}")
    assert "Fatal Python error" in log
    assert "worker_apps.py" in log


@pytest.mark.parametrize("what", ["segmentation fault", "abort", "kill"])
def test_who_is_killed_is_run_three_times(rudeness: Rudeness, what: str) -> None:
    log = rudeness.result.log(f"rude {what}")
    assert log.count(f"this is {what}") == 3
    assert log.count("it is run again") == 2
    (failure,) = [failure for failure in rudeness.result.errors if failure.uid == f"rude {what}"]
    assert "3 times" in failure.message


@pytest.mark.parametrize("what", ["exit 0", "exit 3", "closes all"])
def test_who_ends_itself_is_run_once(rudeness: Rudeness, what: str) -> None:
    assert rudeness.result.log(f"rude {what}").count(f"this is {what}") == 1


@pytest.mark.parametrize("what", ["prints long", "writes long"])
def test_the_end_of_much_output_is_kept(rudeness: Rudeness, what: str) -> None:
    log = rudeness.result.log(f"rude {what}")
    assert log.endswith("the end")
    assert len(log) < 70_000
    assert "characters left out" in log


def test_commands_and_loggers_write_to_the_log_of_their_app(rudeness: Rudeness) -> None:
    assert set(rudeness.result.log("rude command").splitlines()[1:]) == {"to stdout", "to stderr"}
    levels = ("debug", "info", "warning", "error", "critical")
    assert rudeness.result.log("rude logging").splitlines()[1:] == [
        f"rude: at level {level}" for level in levels
    ]


def test_a_result_that_cannot_be_pickled_fails_its_app_alone() -> None:
    graph = [
        app("bad", FUNCTION, [], ["a"], func_name="tests.integration.worker_apps.generator"),
        data("a"),
        app("healthy", HEALTHY, [], ["b"]),
        data("b"),
    ]
    result = run(graph, workers=1, isolation=None)
    assert {uid: code[0] for uid, code in codes(result).items()} == {"bad": 3, "a": 3, "healthy": 2, "b": 2}
    (failure,) = result.errors
    assert (failure.uid, failure.error) == ("bad", "EncodingFailed")
    assert "generator" in failure.message


def test_letters_are_whole_wherever_the_output_is_cut(rudeness: Rudeness) -> None:
    log = rudeness.result.log("rude letters")
    assert "\ufffd" not in log
    assert log.count("é") > 60_000
