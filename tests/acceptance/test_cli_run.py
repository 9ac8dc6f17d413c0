"""`penstock run`: exit codes, the one JSON object, and what people read."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.acceptance.command import app, failing, file, hello, memory, penstock, write

COMPLETED, ERROR = 2, 3


def test_a_good_graph_ends_with_0_and_says_where_the_results_are() -> None:
    done = penstock("run", hello(), "--session", "first")
    assert (done.code, done.err) == (0, "")
    assert "finished" in done.out
    assert str(Path("penstock-runs", "first")) in done.out
    assert "penstock show first" in done.out
    assert "greeting.txt" in done.out
    assert "1 result in memory only" in done.out
    assert Path("penstock-runs/first/greeting.txt").read_text() == "Hello World"


def test_json_is_exactly_one_object() -> None:
    done = penstock("run", hello(), "--json", "--session", "s-1")
    assert done.code == 0
    outcome = done.json
    assert set(outcome) == {"session", "status", "seconds", "directory", "drops"}
    assert (outcome["session"], outcome["status"]) == ("s-1", "FINISHED")
    assert 0 <= outcome["seconds"] < 30
    assert outcome["directory"] == str(Path("penstock-runs/s-1").absolute())
    assert outcome["drops"] == {
        "greet": {"status": COMPLETED, "execStatus": 2},
        "greeting": {"status": COMPLETED, "execStatus": None},
        "memory": {"status": COMPLETED, "execStatus": None},
    }


def test_outputs_are_told_with_size_and_digest() -> None:
    done = penstock("run", hello(), "--json", "--outputs")
    digest = hashlib.sha256(b"Hello World").hexdigest()
    outputs = done.json["outputs"]
    assert {uid: (output["size"], output["sha256"]) for uid, output in outputs.items()} == {
        "greeting": (11, digest),
        "memory": (11, digest),
    }
    assert outputs["greeting"]["url"].startswith("file://")


def test_outputs_without_json_are_a_table() -> None:
    done = penstock("run", hello(), "--outputs")
    assert done.code == 0
    assert hashlib.sha256(b"Hello World").hexdigest()[:16] in done.out


def test_the_graph_may_come_from_standard_input() -> None:
    assert penstock("run", "-", text=hello().read_bytes()).code == 0


def test_a_failing_graph_ends_with_1_and_says_what_why_with_what_and_where() -> None:
    done = penstock("run", failing(), "--session", "f")
    assert done.code == 1
    for piece in (
        "bad",
        "ValueError: niter must be positive, got -1",
        "user_apps.py:20 in run",
        "source  completed, 9 B",
        "3 drops downstream",
        "penstock logs f bad",
        "FAILED",
        "1 completed, 4 error",
    ):
        assert piece in done.out
    assert "Traceback" not in done.out + done.err


def test_many_failures_are_cut_short_and_counted() -> None:
    graph = write("many.json", *(app(f"bad{k}", "user_apps.Failing") for k in range(20)))
    done = penstock("run", graph, "--session", "many")
    assert done.code == 1
    assert done.out.count("ValueError") == 3
    assert "... and 17 more failures: penstock logs many" in done.out


def test_an_absorbed_failure_is_still_a_failure_and_named() -> None:
    drops = [app("bad", "user_apps.Failing", outputs=["x"]), memory("x")]
    drops += [app("good", "dlg.apps.simple.HelloWorldApp", outputs=["y"]), memory("y")]
    drops += [app("both", inputs=["x", "y"], outputs=["z"], input_error_threshold=60), memory("z")]
    done = penstock("run", write("g.json", *drops), "--json")
    assert done.code == 1
    assert done.json["status"] == "FAILED"
    assert done.json["absorbed"] == ["bad", "x"]
    assert done.json["drops"]["z"]["status"] == COMPLETED


def test_the_folder_may_be_named() -> None:
    done = penstock("run", hello(), "--dir", "own/place", "--json", "--workers", "2")
    assert done.json["directory"] == str(Path("own/place").absolute())
    assert Path("own/place/greeting.txt").exists()
    assert Path("own/place/.penstock/session.json").exists()
    assert not Path("penstock-runs").exists()


def test_an_empty_folder_is_accepted_and_a_full_one_refused() -> None:
    Path("there").mkdir()
    assert penstock("run", hello(), "--dir", "there").code == 0
    done = penstock("run", hello(), "--dir", "there", "--json")
    assert done.code == 2
    assert done.json["error"]["code"] == "directory-in-use"
    assert done.json["error"]["problems"] == []


def test_a_session_cannot_run_twice() -> None:
    assert penstock("run", hello(), "--session", "once").code == 0
    done = penstock("run", hello(), "--session", "once")
    assert done.code == 2
    assert done.err.count("\n") == 1


def test_a_bad_graph_ends_with_2_and_all_problems() -> None:
    graph = write("bad.json", app("a", outputs=["b"], n_tries=0), app("b"), {"oid": "c"})
    done = penstock("run", graph, "--json")
    assert done.code == 2
    error = done.json["error"]
    assert error["code"] == "graph-invalid"
    assert [problem["code"] for problem in error["problems"]] == ["PS202", "PS301", "PS401"]
    assert set(error["problems"][0]) == {"code", "message", "uid", "path", "hint", "severity"}
    done = penstock("run", graph)
    assert done.code == 2
    assert done.out == ""
    assert "3 errors" in done.err
    assert not Path("penstock-runs").exists()


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        (b'{"nodeDataArray": [], "modelData": {}}', "PS103", "translator"),
        (b"[1, 2", "PS101", "line 1"),
        (b"[]", "PS104", "no drop"),
        (b"", "PS101", "empty"),
    ],
)
def test_what_is_no_physical_graph_ends_with_2(text: bytes, code: str, word: str) -> None:
    done = penstock("run", "-", "--json", text=text)
    assert done.code == 2
    assert [problem["code"] for problem in done.json["error"]["problems"]] == [code]
    assert word in done.out


def test_a_missing_file_ends_with_2() -> None:
    done = penstock("run", "nowhere.json")
    assert done.code == 2
    assert "nowhere.json" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--json"],
        ["run", "g.json", "--json", "--workers", "0"],
        ["run", "g.json", "--json", "--workers", "many"],
        ["run", "g.json", "--json", "--timeout", "0"],
        ["run", "g.json", "--json", "--timeout", "nan"],
        ["run", "g.json", "--json", "--nonsense"],
        ["run", "g.json", "extra", "--json"],
    ],
)
def test_bad_usage_under_json_is_json_too(arguments: list[str]) -> None:
    done = penstock(*arguments)
    assert done.code == 2
    assert done.json["error"]["code"] == "usage"
    assert done.json["error"]["message"]


def test_a_bad_session_id_ends_with_2() -> None:
    done = penstock("run", hello(), "--session", "../up", "--json")
    assert done.code == 2
    assert done.json["error"]["code"] == "session-id-invalid"


def test_nothing_that_user_code_prints_reaches_stdout_under_json() -> None:
    graph = write("noisy.json", app("a", "user_apps.Noisy"))
    done = penstock("run", graph, "--json", "--session", "n", "--isolation", "thread")
    assert done.code == 0
    assert done.json["status"] == "FINISHED"
    for piece in ("from a thread", "past all of Python", "from a child"):
        assert piece in done.err
    assert "from the slot" in penstock("logs", "n", "a").out


def test_all_that_user_code_prints_in_a_worker_is_in_its_log() -> None:
    graph = write("noisy.json", app("a", "user_apps.Noisy"))
    done = penstock("run", graph, "--json", "--session", "n")
    assert done.code == 0
    assert done.json["status"] == "FINISHED"
    log = penstock("logs", "n", "a").out
    for piece in ("from the slot", "from a thread", "past all of Python", "from a child"):
        assert piece in log
        assert piece not in done.err


def test_a_timeout_cancels_and_ends_with_124() -> None:
    graph = write(
        "slow.json", app("slow", "dlg.apps.simple.SleepApp", sleep_time=60, outputs=["x"]), memory("x")
    )
    done = penstock("run", graph, "--timeout", "0.2", "--json", "--session", "t")
    assert done.code == 124
    assert done.json["status"] == "CANCELLED"
    assert done.json["drops"]["slow"] == {"status": 6, "execStatus": 4}
    kept = json.loads(Path("penstock-runs/t/.penstock/session.json").read_bytes())
    assert kept["status"] == "CANCELLED"


def test_people_are_told_why_a_run_was_cancelled() -> None:
    graph = write("slow.json", app("slow", "dlg.apps.simple.SleepApp", sleep_time=60))
    done = penstock("run", graph, "--timeout", "0.2")
    assert done.code == 124
    assert "CANCELLED" in done.out
    assert "the 0.2 s of --timeout were over" in done.out


def test_warnings_do_not_keep_a_graph_from_running() -> None:
    graph = write("w.json", memory("d", consumers=["gone"]))
    done = penstock("run", graph, "--json")
    assert done.code == 0
    assert done.json["drops"]["d"]["status"] == COMPLETED
    assert "warning PS302" in done.err


def test_output_for_programs_has_no_colours() -> None:
    done = penstock("run", failing())
    assert "\x1b" not in done.out + done.err


def test_long_uids_stay_readable_and_the_log_is_found_by_their_end() -> None:
    uid = "grepo-SDP_Pipelines_nextflow_test_2c24aa75-0661-4f01-85a7-86669fbac128_0"
    done = penstock("run", write("g.json", app(uid, "user_apps.Failing")), "--session", "long")
    (command,) = [line for line in done.out.splitlines() if "penstock logs long 8" in line]
    assert "niter" in penstock("logs", "long", command.split()[-1]).out


def test_the_first_warnings_are_told_and_the_others_counted() -> None:
    graph = write("w.json", *(memory(f"d{k}", consumers=["gone"]) for k in range(7)))
    done = penstock("run", graph)
    assert done.code == 0
    assert done.err.count("PS302") == 5
    assert "drop d0" in done.err
    assert "and 2 more: penstock check w.json" in done.err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_user_code_that_closes_stdout_does_not_break_the_end(options: list[str]) -> None:
    graph = write("c.json", app("a", "user_apps.Closing", outputs=["x"]), memory("x"))
    done = penstock("run", graph, "--session", "c", *options)
    assert "Traceback" not in done.err
    assert ("FINISHED" if options else "penstock show c") in done.out
    assert done.code == 0


def test_control_characters_in_names_do_not_reach_the_terminal() -> None:
    evil = "e\x1b]0;x\x07\n\x9bz"
    graph = write(
        "e.json",
        app("greet", "dlg.apps.simple.HelloWorldApp", outputs=[evil]),
        file(evil, filepath="f\x1b[31m\x07"),
        app(f"{evil}2", "dlg.apps.pyfunc.PyFuncApp", func_code="def f():\n    return 1 / 0\n", func_name="f"),
        memory("m\x1b1"),
        memory("m\x1b2"),
    )
    ended = [penstock("run", graph, "--session", "e"), penstock("show", "e"), penstock("check", graph)]
    ended += [penstock("logs", "e", word) for word in ("m", "m\x1b1", "m\x1b3")]
    good = write("g.json", file("f", filepath="f\x1b[31m\x07"))
    ended.append(penstock("run", good))
    told = "".join(done.out + done.err for done in ended)
    assert not set("\x1b\x07\x9b") & set(told)
    assert "Traceback" not in told


def test_the_place_of_a_failure_is_in_the_users_code() -> None:
    done = penstock("run", write("p.json", app("a", "user_apps.ByPartial")))
    assert done.code == 1
    (line,) = [line for line in done.out.splitlines() if " at " in line]
    assert "user_apps.py" in line


def test_a_failure_outside_of_the_users_code_has_no_place() -> None:
    graph = write("u.json", app("a", "dlg.apps.pyfunc.PyFuncApp", func_name="json.loads", s="no json"))
    done = penstock("run", graph)
    assert done.code == 1
    assert " at /" not in done.out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_module_that_exits_does_not_make_a_success(options: list[str]) -> None:
    Path("leaving.py").write_text("import sys\nsys.exit(0)\n")
    done = penstock("run", write("l.json", app("a", "leaving.App")), *options)
    assert done.code != 0
    assert "Traceback" not in done.err


def test_progress_is_told_without_a_terminal_where_it_is_asked_for() -> None:
    nap = {"secs": {"value": 2.5, "type": "Float"}}
    graph = write(
        "nap.json",
        app("nap", "dlg.apps.pyfunc.PyFuncApp", func_name="time.sleep", applicationArgs=nap, outputs=["x"]),
        memory("x"),
    )
    done = penstock("run", graph, "--progress")
    assert done.code == 0
    assert "1 busy" in done.err
    assert "pid" in done.err
