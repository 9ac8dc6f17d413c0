"""The quick ways of dill and npy give, byte for byte and value for value, what the libraries give."""

import io
import pickle
import re
import types
from typing import Any

import dill
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock.drops import encodings, pickles
from penstock.drops.memory import MemoryDrop
from penstock.errors import EncodingFailed
from penstock.testing.solo import SoloSite

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [255, 256, 65535, 65536, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, -128, 2**63, -(2**2000)]
    )
    | st.floats()
    | st.text(st.characters(), max_size=5)  # lone surrogates too
    | st.sampled_from(["a" * 255, "a" * 256, "å" * 200, b"b" * 256])
    | st.binary(max_size=5)
)
PLAIN = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(ATOMS | st.tuples(ATOMS, ATOMS), inner, max_size=5)
        | inner.map(lambda value: [value, value, (value, {"k": value})])  # one object several times
    ),
    max_leaves=20,
)


def views(array: Any) -> Any:
    """The array itself, and the same items in other orders."""
    ways = [array, array.T, np.asfortranarray(array), array[..., ::-1], array[:0]] if array.ndim else [array]
    return st.sampled_from(ways)


SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
ARRAYS = hnp.arrays(hnp.scalar_dtypes(), SHAPES).flatmap(views)

ADDRESS = re.compile("0x[0-9a-f]+")


def by_dill(value: object) -> bytes:
    content: bytes = dill.dumps(value, protocol=4)
    return content


def by_numpy(value: object) -> bytes:
    target = io.BytesIO()
    np.save(target, np.asanyarray(value), allow_pickle=False)
    return target.getvalue()


def read_by_numpy(content: bytes) -> Any:
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def stored(site: SoloSite, value: object, encoding: str) -> bytes:
    drop = site.add(MemoryDrop, "d")
    encodings.store_value(drop, value, encoding)
    site.fill(drop)
    return drop.read()


def loaded(site: SoloSite, content: bytes, encoding: str) -> Any:
    drop = site.add(MemoryDrop, "d")
    site.fill(drop, content)
    return encodings.load_value(drop, encoding)


@pytest.fixture(scope="module")
def solo(tmp_path_factory: pytest.TempPathFactory) -> SoloSite:
    return SoloSite(tmp_path_factory.getbasetemp())


@given(value=PLAIN)
def test_plain_values_are_written_as_dill_writes_them(solo: SoloSite, value: object):
    assert pickles._is_plain(value)
    assert stored(solo, value, "dill") == by_dill(value)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 998, 999, 1000, 1001, 2000])
@pytest.mark.parametrize("kind", [list, tuple, dict.fromkeys])
def test_containers_of_any_length_are_written_as_dill_writes_them(solo: SoloSite, size: int, kind: Any):
    value = kind([str(i) for i in range(size)])
    assert stored(solo, value, "dill") == by_dill(value)


@pytest.mark.parametrize("size", [65_500, 65_525, 65_529, 65_530, 65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("text", ["a", b"a"])
def test_large_texts_are_written_as_dill_writes_them(solo: SoloSite, size: int, text: Any):
    for value in (text * size, [text * size, 1, text * 100], [text * (size // 2), text * (size // 2 + 1)]):
        assert stored(solo, value, "dill") == by_dill(value)


def in_a_circle() -> list[object]:
    circle: list[object] = []
    circle.append(circle)
    return circle


def deep(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        in_a_circle(),
        deep(100),
        [[[0]] * 900] * 900,
        {1, 2},
        1j,
        [bytearray(b"a")],
        {"a": object},
        {"__name__": "json"},
        vars(types.ModuleType("m")),
        np.float64(1.5),
        [np.zeros(2)],
        np.zeros(3, dtype=[("a", "f4"), ("b", "i2")]),
        np.array([None]),
        np.ma.masked_array([1, 2], [True, False]),
        np.array([b"a" * 5000]),
        np.zeros(2, dtype=np.dtype("f4", metadata={"a": 1})),
        np.rec.array([(1, 2.0)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_all_else_is_left_to_dill(solo: SoloSite, value: object):
    assert not pickles._is_plain(value)
    assert pickles._array_pickle(value) is None
    assert stored(solo, value, "dill") == by_dill(value)


def test_what_is_nested_too_deeply_is_refused_as_before(solo: SoloSite):
    with pytest.raises(EncodingFailed, match="cannot be written as dill"):
        stored(solo, deep(5000), "dill")


@given(array=ARRAYS)
def test_arrays_are_written_as_dill_writes_them(solo: SoloSite, array: Any):
    content = stored(solo, array, "dill")
    assert content == by_dill(array)
    assert np.array_equal(loaded(solo, content, "dill"), array, equal_nan=array.dtype.kind in "fcmM")


@pytest.mark.parametrize("size", [8_000, 8_150, 8_160, 8_170, 8_191, 8_192, 8_193, 100_000])
def test_large_arrays_are_written_as_dill_writes_them(solo: SoloSite, size: int):
    for array in (np.arange(float(size)), np.ones((size, 2), order="F"), np.arange(float(size) * 2)[::2]):
        assert stored(solo, array, "dill") == by_dill(array)


def test_a_dill_that_writes_arrays_otherwise_is_asked_itself(solo: SoloSite, monkeypatch: pytest.MonkeyPatch):
    pickles._agrees_with_dill.cache_clear()
    monkeypatch.setattr(dill, "dumps", lambda value, protocol: b"\x80" + pickle.dumps(None, protocol))
    assert stored(solo, np.zeros(2), "dill").startswith(b"\x80\x80")
    pickles._agrees_with_dill.cache_clear()


@given(array=ARRAYS)
@example(np.zeros((0, 3), order="F"))
@example(np.zeros(3, dtype="V0"))
@example(np.zeros(2, dtype=[("a", "f4"), ("b", "U2", (2,))]))
@example(np.zeros((2, 3), dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True), order="F"))
@example(np.zeros(2, dtype=[(f"field {i} with a long name {'x' * 200}", "i1") for i in range(40)]))
def test_npy_is_what_numpy_writes_and_reads(solo: SoloSite, array: Any):
    content = stored(solo, array, "npy")
    assert content == by_numpy(array)
    found, expected = loaded(solo, content, "npy"), read_by_numpy(content)
    assert (found.dtype, found.shape, found.strides) == (expected.dtype, expected.shape, expected.strides)
    # As bytes, because of NaN; numpy does not fill the padding of structured items.
    assert found.tobytes() == expected.tobytes() or (array.dtype.fields and np.array_equal(found, expected))
    assert found.flags.writeable
    assert found.flags.f_contiguous == expected.flags.f_contiguous


@pytest.mark.parametrize(
    "value", [5, [1.5, 2], "text", np.ma.masked_array([1], [True]), np.rec.array([(1, 2.0)])]
)
def test_npy_of_what_is_no_array_is_what_numpy_writes(solo: SoloSite, value: object):
    assert stored(solo, value, "npy") == by_numpy(value)


@given(
    array=ARRAYS,
    cut=st.integers(0, 200),
    junk=st.binary(max_size=3),
    at=st.integers(0, 140),
    wrong=st.binary(max_size=2),
)
def test_npy_that_is_damaged_is_read_or_refused_as_by_numpy(
    solo: SoloSite, array: Any, cut: int, junk: bytes, at: int, wrong: bytes
):
    content = by_numpy(array)
    content = content[:at] + wrong + content[at + len(wrong) :]
    content = content[: len(content) - cut] + junk
    if not content:
        return
    try:
        expected = read_by_numpy(content)
    except Exception as exc:  # whatever numpy says of a damaged file
        reason = str(exc) or type(exc).__name__
        with pytest.raises(EncodingFailed) as refused:
            loaded(solo, content, "npy")
        expected = f"cannot be read as npy: {reason}; give both ends of the link one encoding"
        assert ADDRESS.sub("", refused.value.reason).endswith(ADDRESS.sub("", expected))
    else:
        found = loaded(solo, content, "npy")
        assert (found.dtype, found.shape, found.tobytes()) == (
            expected.dtype,
            expected.shape,
            expected.tobytes(),
        )


def test_an_array_that_was_read_is_the_readers_own(solo: SoloSite):
    drop = solo.add(MemoryDrop, "d")
    encodings.store_value(drop, np.zeros(3), "npy")
    solo.fill(drop)
    first: Any = encodings.load_value(drop, "npy")
    first[:] = 1
    assert np.array_equal(np.asarray(encodings.load_value(drop, "npy")), np.zeros(3))
