"""`penstock plan` and `penstock graph`."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.acceptance.command import app, hello, memory, penstock, write


def mapped() -> Path:
    return write(
        "mapped.json",
        app("w", outputs=["d"], execution_time=3, node="n1", name="writer"),
        memory("d", consumers=["r", "s"], node="n2"),
        app("r", inputs=["d"], node="n2", weight=2),
        app("s", inputs=["d"], node="n1", execution_time="0.5"),
    )


def test_a_plan_tells_classes_path_load_and_traffic() -> None:
    done = penstock("plan", mapped())
    assert (done.code, done.err) == (0, "")
    for piece in (
        "4 drops: 1 data, 3 apps",
        "dlg.apps.simple.CopyApp",
        "2 apps, weight 5",
        "writer",
        "n1",
        "FROM NODE",
    ):
        assert piece in done.out


def test_a_plan_as_json() -> None:
    told = penstock("plan", mapped(), "--json").json
    assert told["classes"] == {"dlg.apps.simple.CopyApp": 3, "dlg.data.drops.memory.InMemoryDROP": 1}
    assert told["critical_path"] == {"weight": 5.0, "apps": 2, "drops": ["w", "d", "r"]}
    assert told["nodes"] == {
        "n1": {"drops": 2, "apps": 2, "weight": 3.5},
        "n2": {"drops": 2, "apps": 1, "weight": 2.0},
    }
    assert told["crossing_links"] == [
        {"from": "w", "to": "d", "kind": "output", "from_node": "n1", "to_node": "n2"},
        {"from": "d", "to": "s", "kind": "input", "from_node": "n2", "to_node": "n1"},
    ]


def test_a_plan_of_an_unmapped_graph() -> None:
    done = penstock("plan", hello())
    assert done.code == 0
    assert "one node, no links between nodes" in done.out


def test_a_plan_of_a_bad_graph_is_refused() -> None:
    done = penstock("plan", write("bad.json", app("a", outputs=["b"]), app("b")), "--json")
    assert done.code == 2
    assert done.json["error"]["problems"][0]["code"] == "PS301"


def test_long_uids_fit_in_80_columns() -> None:
    uid = "grepo-SDP_Pipelines_nextflow_test_2c24aa75-0661-4f01-85a7-86669fbac128_0"
    graph = write(
        "g.json",
        app(uid, name="a name that is rather long as well", outputs=["d"], node="n" * 90),
        memory("d"),
    )
    done = penstock("plan", graph)
    assert max(map(len, done.out.splitlines())) <= 80
    assert max(map(len, penstock("run", graph, "--session", "x").out.splitlines())) <= 80
    assert max(map(len, penstock("show", "x").out.splitlines())) <= 90  # the folder is not shortened


@pytest.mark.parametrize(
    ("form", "start"), [("svg", "<svg"), ("mermaid", "flowchart LR"), ("dot", "digraph {"), ("json", "[\n")]
)
def test_a_graph_is_written_in_each_form(form: str, start: str) -> None:
    done = penstock("graph", hello(), "--format", form)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(start)
    assert penstock("graph", hello(), "--format", form, "-o", "out").out == ""
    assert Path("out").read_text() == done.out


def test_the_drawing_is_well_formed_and_json_loads() -> None:
    ElementTree.fromstring(penstock("graph", hello()).out)
    assert json.loads(penstock("graph", hello(), "--format", "json").out) == json.loads(hello().read_text())


def test_states_of_a_run_can_be_drawn() -> None:
    penstock("run", hello(), "--session", "r")
    assert "completed" in penstock("graph", hello(), "--run", "r").out


def test_a_graph_with_mistakes_is_drawn_and_told() -> None:
    done = penstock("graph", write("bad.json", app("a", outputs=["d"], inputs=["d"]), memory("d")))
    assert done.code == 0
    assert "1 errors" in done.err or "1 error" in done.err
    assert "<svg" in done.out


def test_a_file_that_cannot_be_written_ends_with_2() -> None:
    done = penstock("graph", hello(), "-o", "no/such/folder/x.svg")
    assert done.code == 2
    assert done.err.count("\n") == 1


def test_an_unknown_format_is_bad_usage() -> None:
    done = penstock("graph", hello(), "--format", "png")
    assert done.code == 2
    assert "svg" in done.err
