"""Values to content and back."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.drops.directory import DirectoryDrop
from penstock.drops.encodings import ENCODINGS, encoding_named, load_value, store_value
from penstock.drops.file import FileDrop
from penstock.drops.memory import MemoryDrop
from penstock.errors import DropNotReadable, DropNotWritable, EncodingFailed
from penstock.testing.solo import SoloSite

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def written(site: SoloSite, value: object, encoding: str) -> bytes:
    drop = site.add(MemoryDrop, "d")
    store_value(drop, value, encoding)
    site.fill(drop)
    return drop.read()


def loaded(site: SoloSite, content: bytes | str, encoding: str) -> Any:
    drop = site.add(MemoryDrop, "d")
    site.fill(drop, content)
    return load_value(drop, encoding)


@pytest.mark.parametrize("encoding", ["pickle", "dill"])
@given(value=PLAIN)
def test_plain_values_come_back(tmp_path_factory: pytest.TempPathFactory, encoding: str, value: object):
    site = SoloSite(tmp_path_factory.getbasetemp())
    assert loaded(site, written(site, value, encoding), encoding) == value


@given(value=PLAIN.filter(lambda value: not isinstance(value, str)))
def test_literals_come_back(tmp_path_factory: pytest.TempPathFactory, value: object):
    site = SoloSite(tmp_path_factory.getbasetemp())
    assert loaded(site, written(site, value, "eval"), "eval") == value


@pytest.mark.parametrize(
    ("value", "encoding", "expected"),
    [
        (5, "pickle", b"\x80\x04K\x05."),
        (5, "dill", b"\x80\x04K\x05."),
        (["a"], "pickle", b"\x80\x04\x95\x08\x00\x00\x00\x00\x00\x00\x00]\x94\x8c\x01a\x94a."),
        ([], "utf-8", b"[]"),
        ([1, "a"], "utf-8", b"[1, 'a']"),
        ("text", "utf-8", b"text"),
        (b"bytes", "utf-8", b"bytes"),
        (None, "utf-8", b"None"),
        (np.arange(3), "utf-8", b"array([0, 1, 2])"),
        (np.float64(2.5), "utf-8", b"2.5"),
        (datetime.date(2026, 1, 2), "utf-8", b"2026-01-02"),
        (b"bytes", "raw", b"bytes"),
        (bytearray(b"ba"), "raw", b"ba"),
        (memoryview(b"mv"), "binary", b"mv"),
        ("text", "raw", b"text"),
        (None, "raw", b""),
        (np.arange(2, dtype="<i2"), "binary", b"\x00\x00\x01\x00"),
        (np.arange(4, dtype="u1").reshape(2, 2).T, "raw", b"\x00\x02\x01\x03"),
        (np.zeros((0, 3)), "raw", b""),
        ("[1, 2]", "eval", b"[1, 2]"),
        ("it's", "eval", b'"it\'s"'),
        ({"k": 1}, "eval", b"{'k': 1}"),
    ],
)
def test_values_are_written_so(site: SoloSite, value: object, encoding: str, expected: bytes):
    assert written(site, value, encoding) == expected


def test_arrays_come_back_as_npy(site: SoloSite):
    array = np.arange(6, dtype="f4").reshape(2, 3)
    found = loaded(site, written(site, array, "npy"), "npy")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_a_list_of_numbers_is_written_as_an_array(site: SoloSite):
    assert loaded(site, written(site, [1, 2], "npy"), "npy").tolist() == [1, 2]


def test_npy_never_holds_pickles(site: SoloSite):
    with pytest.raises(EncodingFailed, match="use dill"):
        written(site, {"a": object()}, "npy")


def test_npy_with_a_pickle_in_it_is_not_read(site: SoloSite, tmp_path: Path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(EncodingFailed, match="npy"):
        loaded(site, (tmp_path / "a.npy").read_bytes(), "npy")


def test_functions_of_the_graph_travel_by_dill_only(site: SoloSite):
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec("def double(x):\n    return 2 * x", scope)
    assert loaded(site, written(site, scope["double"], "dill"), "dill")(4) == 8
    with pytest.raises(EncodingFailed, match="dill can write"):
        written(site, lambda: 1, "pickle")


@pytest.mark.parametrize(
    ("content", "encoding", "expected"),
    [
        ("åb", "utf-8", "åb"),
        (b"ab\n", "utf-8", "ab\n"),
        (b"\xff", "raw", b"\xff"),
        (b"\xff", "binary", b"\xff"),
        (b" [1, 2]\n", "eval", [1, 2]),
        (b"", "utf-8", ""),
        (b"", "raw", b""),
    ],
)
def test_content_is_read_so(site: SoloSite, content: bytes, encoding: str, expected: object):
    assert loaded(site, content, encoding) == expected


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"", "pickle"),
        (b"", "dill"),
        (b"", "npy"),
        (b"junk", "pickle"),
        (b"f()", "eval"),
        (b"\xff", "utf-8"),
        (b"x" * 99, "npy"),
    ],
)
def test_content_of_another_kind_is_refused(site: SoloSite, content: bytes, encoding: str):
    with pytest.raises(EncodingFailed, match=f"drop d: the content .* {encoding}"):
        loaded(site, content, encoding)


def test_a_class_that_fails_while_unpickled_is_one_clear_error(site: SoloSite):
    with pytest.raises(EncodingFailed, match="NoSuchModule"):
        loaded(site, b"cNoSuchModule\nX\n.", "pickle")


@pytest.mark.parametrize(
    ("value", "encoding"), [(5, "raw"), ([1], "binary"), (object(), "eval"), (b"\xff", "utf-8")]
)
def test_values_that_an_encoding_cannot_write_are_refused(site: SoloSite, value: object, encoding: str):
    with pytest.raises(
        EncodingFailed, match=rf"type {type(value).__name__} cannot be written as {encoding}.*; "
    ):
        written(site, value, encoding)


@pytest.mark.parametrize(
    ("name", "proper"),
    [
        ("UTF-8", "utf-8"),
        ("utf8", "utf-8"),
        (" Pickle ", "pickle"),
        ("NPY", "npy"),
        ("numpy", "npy"),
        ("dataURL", "dataurl"),
        ("bytes", "binary"),
        ("literal", "eval"),
        ("", "dill"),
        (None, "dill"),
        *((name, name) for name in ENCODINGS),
    ],
)
def test_names_are_matched_without_case_and_with_aliases(name: str | None, proper: str):
    assert encoding_named("d", name) == proper


def test_a_misspelled_encoding_is_answered_with_the_nearest():
    with pytest.raises(EncodingFailed, match="did you mean 'pickle'"):
        encoding_named("d", "pickel")


def test_an_unknown_encoding_is_answered_with_the_list():
    with pytest.raises(EncodingFailed, match="use one of raw, pickle"):
        encoding_named("d", "xyzzy")


def test_path_and_url_are_addresses_and_nothing_is_written(site: SoloSite):
    drop = site.add(FileDrop, "d", filepath="a.txt")
    store_value(drop, "ignored", "path")
    store_value(drop, "ignored", "dataurl")
    site.fill(drop)
    assert drop.read() == b""
    assert load_value(drop, "path") == str(site.directory / "a.txt")
    assert load_value(drop, "dataURL") == drop.url


def test_a_folder_has_a_path_too(site: SoloSite):
    drop = site.add(DirectoryDrop, "d", dirname="out")
    assert load_value(drop, "path") == str(site.directory / "out")


def test_memory_has_no_path(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    with pytest.raises(EncodingFailed, match="has no path"):
        load_value(drop, "path")
    with pytest.raises(EncodingFailed, match="has no path"):
        store_value(drop, 5, "path")


def test_data_that_is_not_there_is_told_as_such(site: SoloSite):
    with pytest.raises(DropNotReadable):
        load_value(site.add(MemoryDrop, "d"), "pickle")


def test_a_drop_that_has_ended_takes_no_value(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    site.fill(drop)
    with pytest.raises(DropNotWritable):
        store_value(drop, 5, "pickle")
