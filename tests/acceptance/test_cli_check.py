"""`penstock check` and `penstock explain`."""

import pytest

from penstock import errors
from penstock.graph.problems import CATALOGUE
from penstock.runtime.names import ALIASES
from tests.acceptance.command import app, hello, memory, penstock, write


def test_a_good_graph_is_fine() -> None:
    done = penstock("check", hello())
    assert (done.code, done.err) == (0, "")
    assert "3 drops: 2 data, 1 apps" in done.out


def test_all_problems_are_told_with_code_drop_place_and_hint() -> None:
    graph = write(
        "bad.json",
        app("alpha", "dlg.apps.simple.CopApp", outputs=["beta"]),
        app("beta"),
        memory("c", lifespan="x"),
    )
    done = penstock("check", graph)
    assert done.code == 2
    for piece in (
        "PS301",
        "PS401",
        "PS206",
        "alpha",
        "/0/outputs/0",
        "did you mean 'dlg.apps.simple.CopyApp'",
        "3 errors",
    ):
        assert piece in done.out
    assert "penstock explain PS301" in done.out


def test_check_as_json() -> None:
    graph = write("bad.json", app("a", outputs=["gone", "b"]), app("b"))
    done = penstock("check", graph, "--json")
    assert done.code == 2
    told = done.json
    assert (told["ok"], told["errors"], told["warnings"]) == (False, 1, 1)
    assert [problem["code"] for problem in told["problems"]] == ["PS302", "PS301"]
    told = penstock("check", hello(), "--json").json
    assert (told["ok"], told["drops"], told["problems"]) == (True, 3, [])


def test_warnings_alone_are_fine() -> None:
    done = penstock("check", write("w.json", memory("d", consumers=["gone"])))
    assert done.code == 0
    assert "0 errors, 1 warning" in done.out


def test_a_missing_file_is_a_problem() -> None:
    done = penstock("check", "nowhere.json", "--json")
    assert done.code == 2
    assert done.json["problems"][0]["code"] == "PS105"


def test_hundreds_of_problems_are_cut_short_for_people_only() -> None:
    graph = write("bad.json", *(app(f"a{k}", n_tries=0) for k in range(200)))
    done = penstock("check", graph)
    assert done.out.count("PS401") < 60
    assert "150 more" in done.out
    assert len(penstock("check", graph, "--json").json["problems"]) == 200


@pytest.mark.parametrize("code", ["PS303", "ps303", "session-not-found", "SESSION-NOT-FOUND"])
def test_a_code_is_explained(code: str) -> None:
    done = penstock("explain", code)
    assert done.code == 0
    assert code.lower() in done.out.lower()
    assert len(done.out.splitlines()) >= 2


def test_all_codes_are_listed() -> None:
    done = penstock("explain")
    assert done.code == 0
    for code in [*CATALOGUE, *(getattr(errors, name).code for name in errors.__all__)]:
        assert code in done.out


def test_an_unknown_code_is_refused_with_a_suggestion() -> None:
    done = penstock("explain", "PS333")
    assert done.code == 2
    assert "did you mean 'PS303'" in done.err or "did you mean" in done.err


@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("CopyApp", ("dlg.apps.simple.CopyApp", "bufsize", "bytes per read", "n_tries")),
        ("dlg.apps.simple.CopyApp", ("CopyApp", "bufsize")),
        ("copyapp", ("dlg.apps.simple.CopyApp",)),
        ("dfms.apps.simple.CopyApp", ("dlg.apps.simple.CopyApp",)),
        ("FileDROP", ("dlg.data.drops.file.FileDROP", "storage   file", "filepath")),
        ("penstock.drops.file.FileDrop", ("dlg.data.drops.file.FileDROP",)),
        ("memory", ("storage   memory", "InMemoryDROP")),
        ("PyFuncApp", ("dlg.apps.pyfunc.PyFuncApp", "ENCODING", "utf-8")),
        ("npy", ("ENCODING", "numpy")),
    ],
)
def test_a_component_is_explained(name: str, pieces: tuple[str, ...]) -> None:
    done = penstock("explain", name)
    assert (done.code, done.err) == (0, "")
    for piece in pieces:
        assert piece in done.out


def test_every_component_can_be_explained_and_is_listed() -> None:
    listed = penstock("explain").out
    for name in {alias.rpartition(".")[2] for alias in ALIASES}:
        assert name in listed


def test_an_unknown_component_is_refused_with_a_suggestion() -> None:
    done = penstock("explain", "CopApp")
    assert done.code == 2
    assert "did you mean 'CopyApp'" in done.err
