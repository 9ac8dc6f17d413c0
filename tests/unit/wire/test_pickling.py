"""Pickle as messages use it."""

import pickle
import threading

import numpy as np
import pytest

from penstock.errors import SerializationError
from penstock.wire.pickling import loaded, pickled, pickled_within


class Unreadable:
    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


class Nameless:
    def __reduce__(self) -> tuple[object, ...]:
        raise Odd


class Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError


ARRAYS = {
    "plain": np.arange(6.0).reshape(2, 3),
    "by columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(12)[::2],
    "broadcast": np.broadcast_to(np.arange(3), (2, 3)),
    "dates": np.array(["2020-01-01", "NaT"], "M8[D]"),
    "records": np.array([(1, 2.5)], [("x", "i4"), ("y", "f8")]),
    "text": np.array(["a", "bcd"]),
    "scalar": np.array(5),
    "empty": np.empty((0, 3)),
    "objects": np.array([1, "x", None], object),
    "big-endian": np.arange(3, dtype=">i4"),
    "subclass": np.ma.masked_array([1, 2], [True, False]),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("by_value", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_arrays_arrive_as_they_were(name: str, by_value: bool, frozen: bool):
    array = ARRAYS[name].copy() if frozen else ARRAYS[name]
    if frozen:
        array.flags.writeable = False
    buffers: list[memoryview] = []
    again = loaded(
        pickled(array, buffers, by_value=by_value), [bytearray(buffer) for buffer in buffers], "value"
    )
    assert type(again) is type(array)
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.flags.writeable
    assert np.array_equal(again, array, equal_nan=name == "dates")
    if name not in ("objects", "subclass"):
        assert len(buffers) == 1
        assert buffers[0].nbytes == array.nbytes


def test_the_order_of_an_array_survives_without_a_copy():
    array = ARRAYS["by columns"].copy(order="F")
    buffers: list[memoryview] = []
    content = pickled(array, buffers)
    again = loaded(content, buffers, "value")
    array[0, 0] = 77
    assert again[0, 0] == 77
    assert again.flags.f_contiguous


def test_an_array_that_is_there_twice_is_sent_once():
    array = np.ones(3)
    buffers: list[memoryview] = []
    first, second = loaded(pickled([array, array], buffers), buffers, "value")
    assert first is second
    assert len(buffers) == 1


def test_without_a_list_buffers_are_inside():
    assert pickle.loads(pickled(np.arange(3), None)).tolist() == [0, 1, 2]


def test_functions_without_a_module_are_sent_by_value_only_on_demand():
    assert loaded(pickled(lambda number: number + 1, None, by_value=True), [], "f")(1) == 2
    with pytest.raises(SerializationError) as failure:
        pickled({"f": [lambda: 1]}, None)
    assert failure.value.path == "value['f'][0]"


def test_the_part_that_cannot_be_sent_is_named():
    with pytest.raises(SerializationError, match=r"^value\['lock'\]: cannot pickle '_thread.lock' object$"):
        pickled({"lock": threading.Lock()}, [])
    with pytest.raises(SerializationError, match=r"^value\[0\]: Odd$"):
        pickled([Nameless()], [])


def test_what_cannot_be_made_is_told():
    with pytest.raises(
        SerializationError, match=r"value: cannot be read in this process: ValueError: invalid"
    ):
        loaded(pickled(Unreadable(), None), [], "value")
    with pytest.raises(SerializationError):
        loaded(b"nonsense", [], "value")


def test_the_size_of_a_pickle_can_be_bounded():
    assert pickle.loads(pickled_within("x" * 100, 200)) == "x" * 100
    with pytest.raises(OverflowError):
        pickled_within("x" * 1000, 200)
