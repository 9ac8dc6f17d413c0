# SPDX-License-Identifier: Apache-2.0
"""Pickle as the messages use it: buffers outside, arrays always writable underneath, failures with a path.

Both directions run code of users. Nothing here knows messages or shared memory.
"""

import copyreg
import io
import pickle
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cloudpickle

from penstock.errors import SerializationError
from penstock.wire.culprit import find_culprit
from penstock.wire.segment import Bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["loaded", "pickled", "pickled_within"]

_PROTOCOL = 5
_MOST_REASON = 2000
_PLAIN_KINDS = "biufcmMSUV"  # of arrays whose bytes are all there is to them

# What a reducer returns is between pickle and the object; a table is of reducers by class.
_Table = dict[type[Any], Callable[[Any], Any]]
_Taker = Callable[[pickle.PickleBuffer], object]


class _Sink(io.RawIOBase):
    """A file that keeps up to so many bytes and refuses more; for tries, nothing at all."""

    def __init__(self, most: int | None) -> None:
        super().__init__()
        self.content = bytearray()
        self._most = most

    def write(self, data: Any) -> int:  # bytes, or whatever else pickle writes
        size = memoryview(data).nbytes
        if self._most is not None:
            if len(self.content) + size > self._most:
                raise OverflowError(f"more than {self._most} bytes")
            self.content += data
        return size


class _ByValue(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Pickle functions and classes by their code where no module can be asked for them."""

    def __init__(self, file: Any, table: _Table, taker: _Taker | None) -> None:
        self.dispatch_table = {**cloudpickle.Pickler.dispatch_table, **table}  # read by the line below
        super().__init__(file, protocol=_PROTOCOL, buffer_callback=taker)


def pickled(
    value: object, buffers: list[memoryview] | None, *, by_value: bool = False, root: str = "value"
) -> bytes:
    """Return the pickle of a value, and append its buffers to `buffers`; with None they are inside.

    Args:
        by_value: with the code of functions and classes that cannot be imported.
        root: what the value is called in the path of a culprit.
    Raises:
        SerializationError: some part of it cannot be pickled.
    """
    found: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    try:
        _dump(value, file, found.append if buffers is not None else None, by_value=by_value)
        if buffers is not None:
            buffers.extend(buffer.raw() for buffer in found)
    except Exception as exc:  # code of users: `__reduce__`, `__getstate__`; and all that pickle itself raises
        path, reason = find_culprit(value, lambda part: _failure(part, by_value=by_value), root)
        raise SerializationError(path, reason or _reason(exc)) from exc
    return file.getvalue()


def pickled_within(value: object, most_bytes: int, *, by_value: bool = False) -> bytes:
    """Return the pickle of a value, all inside; raises whatever goes wrong, too many bytes included."""
    sink = _Sink(most_bytes)
    _dump(value, sink, None, by_value=by_value)
    return bytes(sink.content)


def loaded(content: Bytes, buffers: Sequence[Bytes], root: str) -> object:
    """Return what was pickled.

    Raises:
        SerializationError: it cannot be made here.
    """
    try:
        return pickle.loads(content, buffers=buffers)  # noqa: S301  for processes that run code of users
    except Exception as exc:  # code of users: modules, `__setstate__`
        raise SerializationError(root, f"cannot be read in this process: {_reason(exc)}") from exc


def _dump(value: object, file: Any, taker: _Taker | None, *, by_value: bool) -> None:
    table = _table()
    if by_value:
        _ByValue(file, table, taker).dump(value)
        return
    pickler = pickle.Pickler(file, _PROTOCOL, buffer_callback=taker)
    if table:
        pickler.dispatch_table = {**copyreg.dispatch_table, **table}
    pickler.dump(value)


def _failure(part: object, *, by_value: bool) -> str | None:
    try:
        _dump(part, _Sink(None), lambda _: None, by_value=by_value)
    except Exception as exc:  # noqa: BLE001  code of users
        return _reason(exc)
    return None


def _reason(exc: Exception) -> str:
    try:
        text = str(exc)[:_MOST_REASON]
    except Exception:  # noqa: BLE001  code of users
        text = ""
    if isinstance(exc, TypeError | pickle.PicklingError) and text:
        return text
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _table() -> _Table:
    numpy = sys.modules.get("numpy")  # a process that has no numpy has no arrays, and need not wait for it
    ndarray = getattr(numpy, "ndarray", None)  # another thread may be importing it just now
    return {} if ndarray is None else {ndarray: _reduce_array}


def _reduce_array(array: "NDArray[Any]") -> Any:
    """Reduce an array so that its content is a buffer.

    By itself it would put strided arrays and those of dates inside the message, and would mark the buffer of a
    read-only one (every array that came from a block is) so that no reader could ever ask for it to be writable.
    """
    dtype = array.dtype
    if dtype.hasobject or dtype.kind not in _PLAIN_KINDS or not dtype.itemsize:
        return array.__reduce_ex__(_PROTOCOL)
    if not array.flags.forc:
        array = array.copy(order="C")
    order = "C" if array.flags.c_contiguous else "F"
    return _array, (pickle.PickleBuffer(_alias(array).data), dtype, array.shape, order)


def _alias(array: "NDArray[Any]") -> "NDArray[np.uint8]":
    """Return the same memory as bytes that claim to be writable; nobody writes them."""
    import numpy as np  # only for those who have arrays

    interface = {
        "version": 3,
        "data": (array.__array_interface__["data"][0], False),
        "shape": (array.nbytes,),
        "typestr": "|u1",
    }
    return np.asarray(SimpleNamespace(__array_interface__=interface, keeps=array))


def _array(buffer: Bytes, dtype: "np.dtype[Any]", shape: tuple[int, ...], order: Any) -> "NDArray[Any]":
    """Make an array of what `_reduce_array` returned; `order` is "C" or "F"."""
    import numpy as np  # only for those who have arrays

    return np.frombuffer(buffer, dtype).reshape(shape, order=order)
