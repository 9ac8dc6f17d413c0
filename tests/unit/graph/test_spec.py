"""The values: what a drop and a graph tell about themselves."""

import json

import pytest

from penstock.graph.load import loads, read
from tests.unit.graph.making import app, data, made, text


@pytest.mark.parametrize("key", ["dropclass", "app", "appclass", "Application", "dataclass", "container"])
def test_the_class_stands_under_one_of_six_keys(key: str) -> None:
    assert loads(text({"oid": "a", "type": "app", key: "x.Y"})).drops[0].dropclass == "x.Y"


def test_uid_falls_back_to_oid_and_category_to_type() -> None:
    spec = made({"oid": "a", "type": "plain"}).drops[0]
    assert (spec.key, spec.category_type) == ("a", "plain")
    spec = made({"oid": "a", "uid": "b", "type": "plain", "categoryType": "Data"}).drops[0]
    assert (spec.key, spec.category_type) == ("b", "Data")


def test_a_graph_finds_drops_by_uid_and_oid() -> None:
    graph = made(data("a"), data("b", uid="B"))
    assert graph.index == {"a": 0, "b": 1, "B": 1}
    assert graph.index is graph.index


def test_a_graph_has_length_order_and_a_short_name() -> None:
    graph = made(data("a"), data("b"))
    assert [spec.oid for spec in graph] == ["a", "b"]
    assert len(graph) == 2
    assert repr(graph) == "<Graph of 2 drops>"


def test_columns_are_read_of_drops_only() -> None:
    graph = loads(b'[{"oid":"a","type":"app","x":[1]},{"oid":"b","type":"plain","y":2},{"rmode":"1","x":9}]')
    assert list(graph.columns("x", "y")) == [([1], None), (None, 2)]
    assert list(graph.columns("x")) == [([1],), (None,)]


def test_fields_are_what_was_written_and_a_new_dict_each_time() -> None:
    drop = data("a", anything={"deep": [1, None]})
    graph = made(drop)
    assert graph.fields(0) == drop
    graph.fields(0)["oid"] = "changed"
    assert graph.fields(0) == drop
    assert json.loads(graph.raw(0)) == drop


def test_the_trailing_record_is_kept_and_is_no_drop() -> None:
    graph = loads(b'[{"oid":"a","type":"app"}, {"rmode": "1", "x": 2}]')
    assert len(graph) == 1
    assert graph.record == b'{"rmode": "1", "x": 2}'
    assert made(app("a")).record is None


def test_places_count_in_the_authors_list() -> None:
    graph = read(b'[7, {"oid":"a","type":"app"}]').graph
    assert graph is not None
    assert graph.place(0) == 1
    assert made(app("a")).place(0) == 0
