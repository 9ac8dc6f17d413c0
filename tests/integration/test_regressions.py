"""What was wrong in the ancestor on one node: a test for each row of chapter E of the graph specification."""

import builtins
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock import AppDrop
from penstock.errors import GraphInvalid
from tests.conftest import PROVE

from .making import (
    COMPLETED,
    HANG_S,
    SKIPPED,
    Count,
    Fail,
    Give,
    Join,
    Nothing,
    Open,
    Wait,
    app,
    codes,
    data,
    file,
    gates,
    in_threads,
    new_session,
    null,
    run,
    shell,
)


class Skip(AppDrop):
    """Skips its outputs."""

    def run(self) -> None:
        for output in self.outputs:
            output.skip()


class Talk(AppDrop):
    """Prints and logs."""

    def run(self) -> None:
        print("printed by", self.uid)
        logging.getLogger("ancestor").warning("logged by %s", self.uid)


class Meddle(AppDrop):
    """Counts handlers and tells of its process."""

    handlers: list[int] = []

    def run(self) -> None:
        self.handlers.append(len(logging.getLogger().handlers))


def test_e1_two_thousand_ready_apps_share_a_bounded_number_of_threads() -> None:
    session = new_session(
        [data("a"), *(app(f"w{i}", Wait, ["a"], gate="e1") for i in range(2000))], workers=8
    )
    before = threading.active_count()
    session.deploy()
    try:
        session.trigger()
        gates.wait("e1 begun")
        assert threading.active_count() - before <= 9  # eight slots and the keeper
        gates["e1"].set()
        assert session.wait(HANG_S)
        assert threading.active_count() - before <= 9
    finally:
        gates["e1"].set()
        session.close()
    assert session.counts()[COMPLETED] == 2001


def test_e3_two_sessions_with_the_same_relative_file_do_not_meet() -> None:
    def one(number: int) -> penstock.RunResult:
        graph = [app("give", Give, [], ["f"], text=f"session {number}"), file("f", "same/name.txt")]
        graph += [
            shell("cat", "cat same/name.txt > {out}", ["f"], [{"copy": "out"}]),
            file("copy", "copy.txt"),
        ]
        return run(graph)

    for number, result in enumerate(in_threads(8, one)):
        assert result.ok
        assert result.read("f") == result.read("copy") == f"session {number}".encode()
        assert (result.directory / "same" / "name.txt").read_text() == f"session {number}"


def test_e3_current_folder_and_environment_of_the_process_stay() -> None:
    before = Path.cwd(), dict(os.environ)
    graph = [shell("sh", "echo $DLG_SESSION_ID > {out}", [], [{"f": "out"}]), file("f", "out.txt")]
    result = run(graph, session_id="mine")
    assert result.read("f") == b"mine\n"
    assert (Path.cwd(), dict(os.environ)) == before


def test_e10_shell_apps_are_tried_again() -> None:
    command = "echo x >> tries; test $(wc -l < tries) -ge 3 && cat tries > {out}"
    result = run([shell("sh", command, [], [{"f": "out"}], n_tries=3), file("f", "f.txt")])
    assert result.ok, result.errors
    assert result.read("f") == b"x\nx\nx\n"


def test_e10_shell_apps_are_not_tried_too_often() -> None:
    result = run([shell("sh", "echo x >> tries; false", n_tries=3)])
    assert result.status == "FAILED"
    assert (result.directory / "tries").read_text() == "x\n" * 3
    assert [failure.error for failure in result.errors] == ["CommandFailed"]


def test_e13_handlers_do_not_grow_with_drops_and_none_is_left() -> None:
    root = logging.getLogger()
    before = list(root.handlers)
    Meddle.handlers.clear()
    graph = [data("a"), *(app(f"m{i}", Meddle, ["a"]) for i in range(500))]
    assert run(graph).ok
    assert set(Meddle.handlers) == {len(before) + 1}  # one for all sessions, while one runs
    assert root.handlers == before
    assert not run([app("fail", Fail)]).ok
    assert root.handlers == before


def test_e14_an_apps_log_level_is_its_own() -> None:
    names = ["", "penstock", "dlg", "ancestor"]
    before = [logging.getLogger(name).level for name in names]
    levels = ["DEBUG", "ERROR", "NOTSET"]
    assert run([app(f"t{level}", Talk, log_level=level) for level in levels]).ok
    assert [logging.getLogger(name).level for name in names] == before


def test_output_streams_are_put_back() -> None:
    before = sys.stdout, sys.stderr
    for graph in ([app("talk", Talk)], [app("fail", Fail)], [shell("sh", "echo hi; false")]):
        run(graph)
        assert (sys.stdout, sys.stderr) == before
    with pytest.raises(GraphInvalid):
        run([])
    assert (sys.stdout, sys.stderr) == before


def test_e17_inputs_that_end_together_start_an_app_once() -> None:
    rounds, width = (40, 60) if PROVE else (4, 40)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for number in range(rounds):
            graph = [app(f"p{i}", Nothing, [], [f"d{i}"]) for i in range(2 * width)]
            graph += [null(f"d{i}") for i in range(2 * width)]
            pairs = [(i, (i * 7 + number) % (2 * width)) for i in range(width)]
            graph += [app(f"c{i}", Count, sorted({f"d{a}", f"d{b}"})) for i, (a, b) in enumerate(pairs)]
            result = run(graph, workers=16, session_id=f"e17-{number}")
            assert result.ok
            assert Count.total[f"e17-{number}"] == width
    finally:
        sys.setswitchinterval(interval)


def test_e21_links_may_be_dicts() -> None:
    graph = [
        app("give", Give, [], [{"a": "out"}]),
        data("a", producers=[{"give": "out"}], consumers=[{"join": "in"}]),
        app("join", Join, [{"a": "in"}], [{"b": "result"}]),
        data("b", producers=[{"join": "result"}]),
    ]
    assert run(graph).read("b") == b"hello"


def test_e21_an_empty_list_is_told_as_such() -> None:
    with pytest.raises(GraphInvalid) as caught:
        run([])
    assert [problem.code for problem in caught.value.problems]


def test_e21_an_unknown_category_is_told_with_its_drop() -> None:
    with pytest.raises(GraphInvalid) as caught:
        run(
            [
                data("good"),
                {"oid": "odd", "categoryType": "Sorcery", "dropclass": "penstock.drops.memory.MemoryDrop"},
            ]
        )
    assert [problem.uid for problem in caught.value.problems] == ["odd"]


def test_a_bad_graph_does_not_block_the_session_id() -> None:
    with pytest.raises(GraphInvalid):
        run([app("a", "no.such.module.Klass")], session_id="again")
    assert run([app("a", Give, [], ["b"]), data("b")], session_id="again").ok


def test_e22_final_results_in_memory_are_kept() -> None:
    graph = [
        app("give", Give, [], ["a"]),
        data("a"),
        app("join", Join, ["a"], ["b", "c"]),
        data("b"),
        data("c"),
    ]
    graph[-1]["expireAfterUse"] = True
    result = run(graph)
    assert result.read("b") == result.read("c") == b"hello"
    assert dict(result.outputs())["b"]["size"] == 5


def test_b4_5_data_is_skipped_when_all_its_producers_were_even_with_block_skip() -> None:
    graph = [app("skip", Skip, [], ["x", "y"]), data("x"), data("y")]
    graph += [app("p", Give, ["x"], ["d"]), app("q", Give, ["y"], ["d"]), data("d", block_skip=True)]
    graph += [app("last", Give, ["d"], ["e"]), data("e")]
    result = run(graph)
    assert result.ok
    assert [codes(result)[uid][0] for uid in ("x", "y", "p", "q", "d", "last", "e")] == [SKIPPED] * 7


def test_b4_5_one_real_producer_is_enough_with_block_skip() -> None:
    graph = [app("skip", Skip, [], ["x"]), data("x"), app("p", Give, ["x"], ["d"]), app("q", Give, [], ["d"])]
    graph += [data("d", block_skip=True), app("last", Join, ["d"], ["e"]), data("e")]
    result = run(graph)
    assert codes(result)["d"] == (COMPLETED, None)
    assert result.read("e") == b"hello"


def test_e24_shared_memory_of_two_sessions_does_not_meet() -> None:
    shared = "dlg.data.drops.memory.SharedMemoryDROP"

    def one(number: int) -> tuple[bytes, str]:
        name = "a-session-with-a-long-name-"  # the ancestor cut names to 14 characters
        graph = [app("give", Give, [], ["m"], text=str(number)), data("m", shared)]
        graph += [app("join", Join, ["m"], ["n"]), data("n", shared)]
        result = run(graph, session_id=f"{name}{number}")
        return result.read("n"), dict(result.outputs())["n"]["url"]

    results = in_threads(6, one)
    assert [content for content, _ in results] == [str(number).encode() for number in range(6)]
    assert len({url for _, url in results}) == 6


def test_e25_without_the_checksum_library_data_is_written_and_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    really = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] in ("google_crc32c", "crc32c"):
            raise ImportError(name)
        return really(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    graph = [app("give", Give, [], ["a", "f"]), data("a"), file("f", "f.txt")]
    graph += [app("crc", "dlg.apps.crc.CRCApp", ["a"], ["c"]), data("c")]
    result = run(graph)
    assert result.ok, result.errors
    assert result.read("c") == str(0x3610A686).encode()  # CRC-32 of hello


def test_e27_a_hung_app_does_not_starve_the_next_session() -> None:
    try:
        for _ in range(3):
            hung = run([*(app(f"h{i}", Wait, gate="e27") for i in range(4))], workers=2, timeout_s=0.1)
            assert hung.status == "CANCELLED"
            assert run([app("give", Give, [], ["a"]), data("a")], workers=2).ok
    finally:
        gates["e27"].set()


def test_a_hung_session_does_not_starve_one_at_the_same_time() -> None:
    hung = new_session([*(app(f"h{i}", Wait, gate="beside") for i in range(20))], workers=4)
    hung.deploy()
    try:
        hung.trigger()
        gates.wait("beside begun")
        assert run(
            [app("give", Give, [], ["a"]), data("a"), app("open", Open, ["a"], gate="beside")], workers=1
        ).ok
        assert hung.wait(HANG_S)
    finally:
        gates["beside"].set()
        hung.close()
