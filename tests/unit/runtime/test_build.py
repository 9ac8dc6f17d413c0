"""Graphs made ready: sources, classes, parameters, and everything wrong at once."""

import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import GraphInvalid
from penstock.graph.links import APP, CONTAINER, DATA
from penstock.graph.load import encode, loads
from penstock.runtime.build import inspect, prepare
from penstock.runtime.names import ALIASES, STORAGES
from penstock.runtime.resolve import Unresolvable, resolve, resolve_storage


def drop(uid: str, category: str = "Data", **fields: Any) -> dict[str, Any]:
    return {"oid": uid, "categoryType": category, **fields}


def codes(graph: Any) -> list[str]:
    return sorted(problem.code for problem in inspect(graph)[1])


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_every_name_of_the_ecosystem_is_a_class(name: str) -> None:
    kind = APP if ".apps" in name or name.endswith("BarrierAppDROP") else DATA
    assert resolve(name, kind)
    assert resolve("dfms." + name.removeprefix("dlg."), kind)


@pytest.mark.parametrize("storage", sorted(STORAGES))
def test_every_storage_is_a_class(storage: str) -> None:
    assert resolve_storage(storage)
    assert resolve_storage(storage.upper())


def test_data_without_class_or_storage_is_a_file_and_a_container_is_a_container() -> None:
    prepared = prepare([drop("a"), drop("c", "Container", children=["a"])])
    names = [prepared.classes[k].__name__ for k in prepared.class_of]
    assert names == ["FileDrop", "ContainerDrop"]
    assert prepared.wiring.kinds[1] == CONTAINER


@pytest.mark.parametrize("key", ["dropclass", "app", "appclass", "Application"])
def test_old_spellings_of_an_apps_class(key: str) -> None:
    prepared = prepare([drop("a", "app", **{key: "dfms.apps.simple.CopyApp"})])
    assert prepared.classes[0].__name__ == "CopyApp"


def test_old_spellings_of_datas_class() -> None:
    graph = [
        {"oid": "a", "type": "plain", "storage": "memory"},
        drop("b", dataclass="dlg.data.drops.memory.InMemoryDROP"),
    ]
    assert {cls.__name__ for cls in prepare(graph).classes} == {"MemoryDrop"}


def test_all_problems_come_at_once() -> None:
    graph = [
        drop("a", dropclass="dlg.data.drops.memory.InMemoryDRP"),
        drop("x", "app", dropclass="dlg.apps.simple.SleepApp", inputs=["a"], sleep_time="long"),
        drop("y", "app"),
        drop("a"),
        drop("z", "app", dropclass="dlg.apps.simple.CopyApp", n_tries=0, inputs=["nowhere"]),
    ]
    assert codes(graph) == ["PS203", "PS205", "PS206", "PS302", "PS401", "PS403"]


def test_every_drop_of_an_unknown_class_is_told() -> None:
    problems = inspect([drop("a", dropclass="no.Such"), drop("b", dropclass="no.Such")])[1]
    assert [(p.uid, p.code) for p in problems] == [("a", "PS206"), ("b", "PS206")]


def test_a_class_of_the_other_kind_is_refused() -> None:
    assert codes([drop("a", dropclass="dlg.apps.simple.CopyApp")]) == ["PS206"]


def test_looking_at_a_graph_runs_no_users_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_module_seen.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    graph = [drop("x", "app", dropclass="users_module_seen.App")]
    assert codes(graph) == []
    assert "users_module_seen" not in sys.modules


def test_running_a_graph_tells_what_is_wrong_with_a_users_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_module_bad.py").write_text("import nothing_of_this_name")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(GraphInvalid, match="nothing_of_this_name"):
        prepare([drop("x", "app", dropclass="users_module_bad.App")])


@pytest.mark.parametrize("name", ["CopyApp", "no.such.Module", "..", "os.path", "json.JSONDecoder", "a b.C"])
def test_what_is_no_drop_class_is_refused(name: str) -> None:
    with pytest.raises(Unresolvable):
        resolve(name, APP)


def test_a_short_name_gets_its_long_one_as_a_hint() -> None:
    with pytest.raises(Unresolvable) as caught:
        resolve("CopyApp", APP)
    assert "CopyApp" in caught.value.hint


def test_sources_of_all_kinds_give_the_same(tmp_path: Path) -> None:
    graph = [drop("a", storage="memory")]
    path = tmp_path / "graph.json"
    path.write_bytes(encode(graph))
    for source in (graph, encode(graph), path, str(path), loads(encode(graph))):
        assert len(prepare(source).graph) == 1


def test_a_file_that_is_not_there_is_told() -> None:
    assert codes("nowhere.json") == ["PS105"]
    assert codes("with\0nul") == ["PS105"]
    assert codes([{"oid": object()}]) == ["PS101"]


def test_bytes_and_nan_in_a_list_of_dicts_are_refused() -> None:
    for value in (b"abc", float("nan"), Path()):
        assert codes([drop("a", pydata=value)]) == ["PS101"]


def test_text_that_is_not_utf8_is_told_even_in_a_field_that_nobody_reads() -> None:
    assert codes(b'[{"oid":"a","categoryType":"Data","comment":"\xff"}]') == ["PS101"]


def test_an_app_with_an_empty_class_is_told() -> None:
    assert codes([drop("x", "app", dropclass=""), drop("m", dropclass="dlg.drop.InMemoryDROP")]) == ["PS205"]


def test_a_module_that_exits_when_imported_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_module_exits.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(GraphInvalid, match="SystemExit"):
        prepare([drop("x", "app", dropclass="users_module_exits.App")])


@pytest.mark.parametrize("fields", [True, "text", {"name": "pydata"}])
def test_fields_that_are_no_list_are_told(fields: object) -> None:
    graph = [drop("m", dropclass="dlg.drop.InMemoryDROP", fields=fields, pydata="x")]
    assert codes(graph) == ["PS403"]
