# SPDX-License-Identifier: Apache-2.0
"""Texts decoded in pieces are what they are decoded at once."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.graph import cutting
from penstock.graph.cutting import decoded, holds, pieces, turns
from penstock.graph.spec import Graph

PIECE = 64
RAW = msgspec.json.Decoder(tuple[msgspec.Raw, ...])

# What looks like a place to cut and is none: objects in lists in objects, and texts full of brackets.
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(['},{"oid":1', "}, {", '"', "\\", "]"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
DROPS = st.dictionaries(st.sampled_from(["oid", "uid", "x", "é"]), VALUES, max_size=4)
LISTS = st.lists(DROPS, max_size=30)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n ", " :\t")])


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_PIECE_BYTES", PIECE)
    monkeypatch.setattr(cutting, "_SEARCH_BYTES", PIECE)
    monkeypatch.setattr(cutting, "TURN", 3)


def outcome(text: bytes, *, in_pieces: bool) -> object:
    try:
        found = decoded(text, RAW) if in_pieces else RAW.decode(text)
        if not in_pieces:
            text.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "wrong"
    return [bytes(raw) for raw in found]


@given(LISTS, SEPARATORS, st.booleans())
def test_a_list_in_pieces_is_the_list(
    drops: list[object], separators: tuple[str, str], ascii_only: bool
) -> None:
    text = json.dumps(drops, separators=separators, ensure_ascii=ascii_only).encode()
    assert outcome(text, in_pieces=True) == outcome(text, in_pieces=False)


@given(LISTS, st.data())
def test_a_text_that_is_wrong_is_wrong_in_pieces_too(drops: list[object], data: st.DataObject) -> None:
    text = bytearray(json.dumps(drops, ensure_ascii=False).encode())
    at = data.draw(st.integers(0, len(text) - 1))
    match data.draw(st.sampled_from(["cut", "byte", "comma", "more"])):
        case "cut":
            del text[at:]
        case "byte":
            text[at] = data.draw(st.integers(0, 255))
        case "comma":
            text[at:at] = b","
        case _:
            text += b"]"
    assert outcome(bytes(text), in_pieces=True) == outcome(bytes(text), in_pieces=False)


@given(LISTS, SEPARATORS)
def test_each_drop_is_found_in_the_text_as_it_was_written(
    drops: list[object], separators: tuple[str, str]
) -> None:
    text = json.dumps(drops, separators=separators, ensure_ascii=False).encode()
    graph = Graph(text, (None,) * len(drops), has_record=False)  # type: ignore[arg-type]  # only the text is looked at
    assert list(graph.pieces()) == [bytes(raw) for raw in RAW.decode(text)]
    assert [graph.fields(i) for i in range(len(drops))] == drops


def test_long_lists_come_in_several_pieces() -> None:
    text = json.dumps([{"oid": str(i), "ports": [{"a": 1}, {"b": 2}]} for i in range(100)]).encode()
    parts = list(pieces(text, RAW))
    assert len(parts) > 20
    assert all(text[start:].lstrip().startswith(bytes(part[0])) for start, part in parts)


def test_a_list_without_a_good_place_to_cut_comes_all_the_same() -> None:
    text = json.dumps([{"oid": "a" * 20 * PIECE}, {"b": ["}, {"] * 10 * PIECE}, {"c": 1}]).encode()
    assert outcome(text, in_pieces=True) == outcome(text, in_pieces=False)


@given(st.binary(max_size=300), st.binary(min_size=1, max_size=5))
def test_a_word_is_found_wherever_it_stands(text: bytes, word: bytes) -> None:
    assert holds(text, word) == (word in text)


@given(st.lists(st.integers(), max_size=20))
def test_turns_are_the_table(table: list[int]) -> None:
    assert [entry for some in turns(table) for entry in some] == table
