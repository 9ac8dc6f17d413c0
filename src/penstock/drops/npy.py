# SPDX-License-Identifier: Apache-2.0
"""Arrays of numpy as the content of drops, in numpy's own format without pickled objects.

The rules are those of `encodings.py`, which alone is called from elsewhere: what is written is, byte for byte,
what `numpy.save` writes, and what a quick way does not know goes the long way.
"""

import io
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from penstock.drops.data import Buffer

if TYPE_CHECKING:
    import numpy as np

__all__ = ["is_simple", "load_npy", "store_npy"]


def is_simple(dtype: "np.dtype[Any]") -> bool:
    """Whether items are numbers, times or text, and nothing else is said of them."""
    return dtype.kind in "biufcmMSU" and dtype.metadata is None


def load_npy(content: memoryview) -> object:
    """Return the array, which the caller may write to; raises whatever numpy raises."""
    import numpy as np  # a core dependency, but slow to import and not needed by most sessions

    array = _view_npy(content)
    if array is None:
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array


def _view_npy(content: memoryview) -> object:
    """Return the array that a file of numpy's first version holds; None where numpy has to look itself."""
    import numpy as np

    if bytes(content[:8]) != b"\x93NUMPY\x01\x00":
        return None
    begin = 10 + int.from_bytes(content[8:10], "little")
    shape, in_columns, dtype = _read_header(bytes(content[8:begin]))
    if dtype.fields:  # a user may rename them, which changes the type itself
        shape, in_columns, dtype = _read_header.__wrapped__(bytes(content[8:begin]))
    count = math.prod(shape)
    is_whole = min(shape, default=1) > 0 and begin + count * dtype.itemsize <= len(content)
    if dtype.hasobject or dtype.subdtype or not dtype.itemsize or not is_whole:
        return None
    flat = np.frombuffer(content, dtype, count, begin)
    if in_columns:
        return _own(flat.reshape(shape[::-1])).T
    return _own(flat.reshape(shape))


@lru_cache(maxsize=256)
def _read_header(head: bytes) -> "tuple[tuple[int, ...], bool, np.dtype[Any]]":
    import numpy as np  # see load_npy

    shape, in_columns, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(head))
    return shape, in_columns, dtype


def _own(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return an array that a user may write to, from one over the content of a drop or over a private view of it."""
    return array if array.flags.writeable else array.copy()


def store_npy(value: object) -> Buffer | tuple[Buffer, ...]:
    """Return what `numpy.save` writes, in parts; raises whatever numpy raises."""
    import numpy as np  # see load_npy

    array = np.asanyarray(value)
    parts = _npy_parts(array)
    if parts is None:
        target = io.BytesIO()
        np.save(target, array, allow_pickle=False)
        return target.getbuffer()
    return parts


def _npy_parts(array: "np.ndarray[Any, Any]") -> tuple[Buffer, ...] | None:
    """Return header and items as `numpy.save` writes them, the items in the array's own memory where they lie
    in one piece; None where numpy has to write itself."""
    import numpy as np

    if type(array) is not np.ndarray or not is_simple(array.dtype) or not array.dtype.itemsize:
        return None
    head = io.BytesIO()
    try:
        np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    except ValueError:  # too long for the first version
        return None
    in_columns = array.flags.f_contiguous and not array.flags.c_contiguous
    rows = array.T if in_columns else np.ascontiguousarray(array)
    return head.getvalue(), rows.reshape(-1).view(np.uint8).data
