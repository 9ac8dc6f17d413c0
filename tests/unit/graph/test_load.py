"""Text to values: every mistake of form is told, with its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import GraphInvalid
from penstock.graph.load import Reading, encode, loads, read
from penstock.graph.problems import CATALOGUE, Problem
from tests.unit.graph.making import app, data, text


def only(reading: Reading) -> Problem:
    (problem,) = reading.problems
    return problem


@pytest.mark.parametrize(
    ("words", "line", "column"),
    [
        (b'[{"oid": "a",}]', 1, 14),
        (b'[\n  {"oid": "a"}\n  {"oid": "b"}]', 3, 3),
        (b'["\xc3\xa9", nope]', 1, 7),
        (b"[\n\n1", 3, 2),
        (b"[1] x", 1, 5),
        (b"[tru]", 1, 2),
        (b'[{"a": NaN}]', 1, 8),
        (b'["\\ud800"]', 1, 11),
    ],
)
def test_what_is_not_json_is_told_with_line_and_column(words: bytes, line: int, column: int) -> None:
    reading = read(words)
    assert reading.graph is None
    assert only(reading).code == "PS101"
    assert f"(line {line}, column {column})" in only(reading).message


def test_a_text_that_the_standard_library_cannot_place_is_told_by_the_decoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loads(_: str) -> None:
        raise RecursionError

    monkeypatch.setattr("penstock.graph.load.json.loads", loads)
    assert only(read(b"[1 2]")).message.endswith("(line 1, column 4)")


def test_bytes_that_are_not_utf8_are_told_with_their_place() -> None:
    problem = only(read(b'[\n{"oid": "\xff"}]'))
    assert problem.code == "PS101"
    assert "not UTF-8 (line 2, column 10)" in problem.message


@pytest.mark.parametrize("words", [b"", b"  \n "])
def test_an_empty_text_is_told(words: bytes) -> None:
    assert only(read(words)) == Problem("PS101", "the text is empty")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (b"{}", "an object"),
        (b'"x"', "a text"),
        (b"1", "a number"),
        (b"1.5", "a number"),
        (b"null", "null"),
        (b"true", "true or false"),
    ],
)
def test_what_is_not_a_list_is_told(words: bytes, name: str) -> None:
    problem = only(read(words))
    assert problem.code == "PS102"
    assert problem.message.endswith(name)


@pytest.mark.parametrize("key", ["nodeDataArray", "linkDataArray", "modelData"])
def test_a_logical_graph_is_told_with_the_name_of_the_translator(key: str) -> None:
    problem = only(read(json.dumps({key: []}).encode()))
    assert problem.code == "PS103"
    assert "dlg unroll" in problem.hint
    assert "translator" in problem.hint


@pytest.mark.parametrize("words", [b"[]", b"[{}]", b'[{"rmode": "1"}]'])
def test_a_graph_without_drops_is_told(words: bytes) -> None:
    assert only(read(words)).code == "PS104"


@pytest.mark.parametrize("words", [b"[" * 100_000, b'[{"oid":"a","x":' + b"[" * 100_000])
def test_deep_nesting_is_told_and_does_not_overflow(words: bytes) -> None:
    assert only(read(words)).code in ("PS101", "PS105")


def test_a_text_nested_too_deeply_but_well_formed_is_told() -> None:
    words = b'[{"oid":"a","type":"app","x":' + b"[" * 5000 + b"]" * 5000 + b"}]"
    assert [problem.code for problem in read(words).problems] in ([], ["PS105"])


def test_a_byte_order_mark_and_text_are_accepted() -> None:
    words = text(app("a")).decode()
    assert len(loads(b"\xef\xbb\xbf" + words.encode())) == 1
    assert len(loads(words)) == 1


def test_duplicate_names_are_told_with_both_places() -> None:
    problem = only(read(text(data("a"), data("b"), data("a"))))
    assert (problem.code, problem.uid, problem.path) == ("PS203", "a", "/2/oid")
    assert "elements 0 and 2" in problem.message


def test_a_uid_that_is_anothers_oid_is_a_duplicate() -> None:
    assert only(read(text(data("a"), data("b", uid="a")))).code == "PS203"


def test_equal_uid_and_oid_of_one_drop_are_no_duplicate() -> None:
    assert read(text(data("a", uid="a"), data("b"))).problems == []


def test_missing_fields_are_told_with_a_suggestion() -> None:
    problem = only(read(b'[{"oidd": "a", "categoryType": "Data"}, {"oid": "b", "type": "app"}]'))
    assert (problem.code, problem.path) == ("PS202", "/0")
    assert "oid" in problem.message
    assert "'oidd'" in problem.hint
    problem = only(read(b'[{"oid": "a", "CategoryType": "Data"}]'))
    assert problem.hint == "did you mean 'CategoryType'?"
    assert problem.uid == "a"
    assert (
        only(read(b'[{"x": 1}, {"oid": "b", "type": "app"}]')).message
        == "the drop has no oid and categoryType"
    )


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"consumers": "a"}, "/0/consumers"),
        ({"consumers": [1]}, "/0/consumers/0"),
        ({"consumers": ["a", {"b": 2}]}, "/0/consumers/1"),
        ({"oid": 5}, "/0/oid"),
        ({"lifespan": []}, "/0/lifespan"),
        ({"dropclass": {}}, "/0/dropclass"),
    ],
)
def test_a_field_of_the_wrong_type_is_told_with_its_path(fields: dict[str, Any], path: str) -> None:
    problems = read(text({**data("d"), **fields}, data("e"))).problems
    assert (problems[0].code, problems[0].path) == ("PS207", path)
    assert " - at " not in problems[0].message


def test_what_can_be_read_is_read_beside_what_cannot() -> None:
    reading = read(text(7, {**data("d"), "consumers": 3}, None, app("a")))
    assert [problem.code for problem in reading.problems] == ["PS201", "PS207", "PS201"]
    assert reading.graph is not None
    assert [spec.oid for spec in reading.graph] == ["d", "a"]
    assert [reading.graph.place(i) for i in (0, 1)] == [1, 3]


def test_places_of_later_problems_count_in_the_authors_list() -> None:
    reading = read(text(7, data("d"), {"oid": "x"}, data("d")))
    assert [(p.code, p.path) for p in reading.problems] == [
        ("PS201", "/0"),
        ("PS202", "/2"),
        ("PS203", "/3/oid"),
    ]


def test_a_list_without_any_drop_is_told_element_by_element() -> None:
    reading = read(b'[1, "x"]')
    assert reading.graph is None
    assert [problem.path for problem in reading.problems] == ["/0", "/1"]


def test_a_list_whose_only_objects_are_no_drops_is_empty() -> None:
    assert [problem.code for problem in read(b"[1, {}]").problems] == ["PS201", "PS104"]


def test_loads_raises_with_all_problems() -> None:
    with pytest.raises(GraphInvalid) as caught:
        loads(text(data("a"), data("a"), {"oid": "c"}))
    assert [problem.code for problem in caught.value.problems if isinstance(problem, Problem)] == [
        "PS203",
        "PS202",
    ]
    with pytest.raises(GraphInvalid):
        loads(b"{")


def test_encode_is_the_way_back_and_refuses_what_json_cannot_hold() -> None:
    drops = [data("a", x=[1, 2.5, None])]
    assert json.loads(encode(drops)) == drops
    with pytest.raises(GraphInvalid) as caught:
        encode([{"oid": object()}])
    assert "JSON cannot" in str(caught.value)


def test_real_spellings_of_link_lists_are_accepted() -> None:
    graph = loads(
        text(data("d", consumers=None, producers=[]), app("a", inputs=["d", {"d": "p"}, {"d": None}]))
    )
    assert graph.drops[1].inputs == ("d", {"d": "p"}, {"d": None})


def test_keys_that_nobody_knows_are_kept_as_text() -> None:
    graph = loads(b'[{"oid":"a","type":"app","big":1e400,"own":{"k":[1]}}]')
    assert b"1e400" in graph.raw(0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["oid", "uid", "categoryType", "type", "dropclass", "consumers", "lifespan", "rmode", "x"]
)


@given(st.lists(st.dictionaries(KEYS, JSON, max_size=6) | JSON, max_size=5))
def test_any_list_is_read_or_explained(items: list[Any]) -> None:
    graph, problems = read(json.dumps(items).encode())
    assert graph is not None or problems
    assert all(problem.code in CATALOGUE for problem in problems)
    if graph is not None:
        assert all(
            graph.fields(i) == items[graph.place(i)] for i in range(len(graph)) if graph.places is None
        )


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_explained(words: bytes) -> None:
    graph, problems = read(words)
    assert graph is not None or problems
