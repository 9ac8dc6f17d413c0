"""Values to text: nothing lost, always the same order, and stable under a second turn."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.graph.dump import KEY_ORDER, dumps
from penstock.graph.load import loads
from tests.unit.graph.making import app, data, made, text


def test_keys_come_in_the_documented_order_then_by_name() -> None:
    drop = {"zebra": 1, "consumers": ["x"], "apple": 2, "dropclass": "k", "categoryType": "Data", "oid": "d"}
    assert list(json.loads(dumps(made(drop)))[0]) == [
        "oid",
        "categoryType",
        "dropclass",
        "consumers",
        "apple",
        "zebra",
    ]
    assert len(set(KEY_ORDER)) == len(KEY_ORDER)


def test_drops_stay_in_the_order_of_the_graph_one_per_line() -> None:
    lines = dumps(made(data("b"), app("a"))).decode().splitlines()
    assert (lines[0], lines[-1]) == ("[", "]")
    assert [json.loads(line.rstrip(","))["oid"] for line in lines[1:-1]] == ["b", "a"]


@pytest.mark.parametrize("record", [b"{}", b'{"rmode": "1", "z": 1, "a": {"y": 2}}'])
def test_the_trailing_record_is_kept_in_its_own_order(record: bytes) -> None:
    written = dumps(loads(b'[{"oid":"a","type":"app"}, ' + record + b"]"))
    assert json.dumps(json.loads(written)[-1]) == json.dumps(json.loads(record))
    assert loads(written).has_record


def test_numbers_and_texts_are_copied_letter_by_letter() -> None:
    words = b'[{"oid":"a","type":"app","x":1e400,"y":123456789012345678901234567890,"z":1.0,"u":"\\u00e9"}]'
    written = dumps(loads(words))
    for piece in (b"1e400", b"123456789012345678901234567890", b"1.0", b"\\u00e9"):
        assert piece in written


def test_indent_spreads_over_many_lines() -> None:
    written = dumps(made(data("a", x={"k": 1})), indent=2).decode()
    assert '\n    "oid": "a",\n' in written
    assert dumps(made(data("a", x={"k": 1})), indent=0).count(b"\n") > 5


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(
        st.dictionaries(st.text(max_size=6).map(lambda key: "x" + key), VALUES, max_size=4),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([None, 1, 4]),
)
def test_what_is_written_is_what_was_read_and_stays_so(own: list[dict[str, Any]], indent: int | None) -> None:
    drops = [{**fields, **data(f"u{k}")} for k, fields in enumerate(own)]
    written = dumps(loads(text(*drops)), indent=indent)
    assert json.loads(written) == drops
    assert dumps(loads(written), indent=indent) == written


@given(st.permutations(["oid", "categoryType", "dropclass", "alpha", "beta", "node"]))
def test_the_authors_order_of_keys_does_not_matter(keys: list[str]) -> None:
    drop = {**data("d"), "alpha": 1, "beta": 2, "node": "n"}
    assert dumps(made({key: drop[key] for key in keys})) == dumps(made(drop))


def test_real_graphs_survive(shared_graphs: Any) -> None:
    for path in sorted(shared_graphs.glob("*.json")):
        written = dumps(loads(path.read_bytes()))
        assert json.loads(written) == json.loads(path.read_bytes())
        assert dumps(loads(written)) == written
