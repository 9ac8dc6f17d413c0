"""`penstock show` and `penstock logs`."""

from pathlib import Path

import pytest

from tests.acceptance.command import app, failing, hello, memory, penstock, write


def test_show_summarises_a_run_by_id_or_folder() -> None:
    penstock("run", hello(), "--session", "s")
    for name in ("s", "penstock-runs/s", str(Path("penstock-runs/s").absolute())):
        done = penstock("show", name)
        assert (done.code, done.err) == (0, "")
        assert "finished" in done.out
        assert "3 completed" in done.out
        assert "greeting" in done.out


def test_show_tells_failures_and_the_drops_that_need_a_look_first() -> None:
    penstock("run", failing(), "--session", "f")
    done = penstock("show", "f")
    assert done.code == 0
    for piece in ("FAILED", "ValueError: niter", "penstock logs f bad", "source"):
        assert piece in done.out
    assert done.out.index("middle") < done.out.index("source ")


def test_show_as_json_has_the_outcome_and_the_failures() -> None:
    outcome = penstock("run", failing(), "--session", "f", "--json").json
    told = penstock("show", "f", "--json").json
    failures = told.pop("failures")
    assert told == outcome
    assert [failure["uid"] for failure in failures] == ["bad"]
    assert "Traceback" in failures[0]["traceback"]


def test_show_cuts_long_lists() -> None:
    penstock("run", write("g.json", *(memory(f"d{k}") for k in range(50))), "--session", "s")
    done = penstock("show", "s")
    assert "... and 30 more" in done.out


@pytest.mark.parametrize("verb", ["show", "logs"])
def test_an_unknown_session_is_one_clear_line(verb: str) -> None:
    done = penstock(verb, "nobody")
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert "nobody" in done.err


def test_an_unknown_session_under_json_is_json() -> None:
    done = penstock("show", "nobody", "--json")
    assert done.code == 2
    assert done.json["error"]["code"] == "session-not-found"


def test_logs_of_a_drop_are_its_output_and_traceback() -> None:
    penstock("run", failing(), "--session", "f")
    done = penstock("logs", "f", "bad")
    assert done.code == 0
    assert done.out.startswith("about to fail\n")
    assert "Traceback" in done.out
    assert "ValueError: niter must be positive" in done.out


def test_logs_of_all_drops_have_headings() -> None:
    penstock(
        "run",
        write("g.json", app("one", "user_apps.Noisy"), app("two", "user_apps.Failing")),
        "--session",
        "s",
    )
    done = penstock("logs", "s")
    for piece in ("==> one <==\nfrom the slot\n", "==> two <==\n", "ValueError"):
        assert piece in done.out


def test_a_drop_is_found_by_a_unique_beginning_or_end() -> None:
    graph = write("g.json", app("first-alpha", "user_apps.Failing"), app("second-beta", "user_apps.Failing"))
    penstock("run", graph, "--session", "s")
    for word in ("first", "alpha", "first-alpha"):
        assert penstock("logs", "s", word).code == 0


def test_a_word_that_fits_several_drops_names_them() -> None:
    penstock("run", write("g.json", memory("a1"), memory("a2")), "--session", "s")
    done = penstock("logs", "s", "a")
    assert done.code == 2
    assert "a1" in done.err
    assert "a2" in done.err


@pytest.mark.parametrize(("word", "hint"), [("baad", "did you mean 'bad'"), ("zzzzzz", "penstock show")])
def test_a_wrong_uid_gets_a_suggestion(word: str, hint: str) -> None:
    penstock("run", failing(), "--session", "f")
    done = penstock("logs", "f", word)
    assert done.code == 2
    assert hint in done.err


def test_a_silent_drop_says_how_it_ended() -> None:
    penstock("run", hello(), "--session", "s")
    done = penstock("logs", "s", "greeting")
    assert (done.code, done.out) == (0, "")
    assert "COMPLETED" in done.err
    assert "no drop printed" in penstock("logs", "s").err


@pytest.mark.parametrize("verb", ["show", "logs"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("session.json", "{}"),
        ("session.json", "[]"),
        ("session.json", '{"session": "f", "status": "FAILED"}'),
        ("session.json", '{"session": "f", "status": "FAILED", "drops": {"a": {"status": 99}}}'),
        ("session.json", '{"session": 1, "status": "FAILED", "drops": {}}'),
        ("log.jsonl", '{"drop": "bad"}\n'),
        ("errors.jsonl", '{"uid": "bad"}\n'),
    ],
)
def test_a_damaged_folder_is_one_clear_line(verb: str, name: str, text: str) -> None:
    penstock("run", failing(), "--session", "f")
    Path("penstock-runs/f/.penstock", name).write_text(text)
    done = penstock(verb, "f")
    if (verb, name) == ("show", "log.jsonl"):  # it is not read
        assert done.code == 0
        return
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert name in done.err


@pytest.mark.parametrize("pid", [0, -1, 1 << 70, 99999999])
def test_a_run_without_an_end_is_shown(pid: int) -> None:
    penstock("run", failing(), "--session", "f")
    begun = f'{{"session": "f", "status": "RUNNING", "directory": "d", "pid": {pid}, "started": "now"}}'
    Path("penstock-runs/f/.penstock/session.json").write_text(begun)
    done = penstock("show", "f")
    assert (done.code, done.err) == (0, "")
    assert "gone" in done.out or "not ended" in done.out
    assert "about to fail" in penstock("logs", "f", "bad").out
