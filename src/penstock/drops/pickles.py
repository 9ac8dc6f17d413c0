# SPDX-License-Identifier: Apache-2.0
"""Pickles as the content of drops: what dill and pickle write, the usual values in quicker ways.

The rules are those of `encodings.py`, which alone is called from elsewhere: what is written is, byte for byte,
what dill writes, and what a quick way does not know goes the long way.
"""

import pickle
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from penstock.drops.data import Buffer
from penstock.drops.npy import is_simple

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PICKLE_MARK", "PICKLE_PROTOCOL", "load_dill", "load_pickle", "store_dill", "store_pickle"]

PICKLE_MARK = b"\x80"
"""How every pickle begins that is younger than 2003; no UTF-8 text does."""

PICKLE_PROTOCOL = 4
"""Fixed, so that contents do not change with the Python that wrote them."""


def load_dill(content: memoryview) -> object:
    """Return the value; raises whatever unpickling raises."""
    import dill  # a core dependency, but slow to import and not needed by most sessions

    value: object = dill.loads(content)  # noqa: S301  the graph asks for it, and apps run its code anyway
    return value


def store_dill(value: object) -> Buffer | tuple[Buffer, ...]:
    """Return what dill writes, large arrays in parts; raises whatever pickling raises."""
    if type(value) in _ATOMS or _is_plain(value):
        plain = pickle.dumps(value, protocol=PICKLE_PROTOCOL)
        if len(plain) < _FRAME_BYTES:
            return plain
    import dill  # see load_dill

    content: Buffer | tuple[Buffer, ...] = _array_pickle(value) or dill.dumps(value, protocol=PICKLE_PROTOCOL)
    return content


def load_pickle(content: memoryview) -> object:
    """Return the value; raises whatever unpickling raises."""
    value: object = pickle.loads(content)  # noqa: S301  see load_dill
    return value


def store_pickle(value: object) -> bytes:
    """Return what pickle writes; raises whatever pickling raises."""
    return pickle.dumps(value, protocol=PICKLE_PROTOCOL)


_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_CONTAINERS = frozenset({list, tuple, dict})
_FRAME_BYTES = 1 << 16
"""Size from which on pickles are cut into frames."""
_BATCH = 1000
"""Items from which on the two picklers, in C and in Python, write a container in different batches."""
_LONG_ITEM_BYTES = 1 << 12
"""Items of arrays that are longer, texts that is, are not tried out with dill."""
_DEEPEST, _MOST = 16, 4096
"""How deep containers are looked into, and at how many; who has more, or goes in circles, is dill's."""


def _is_plain(value: object) -> bool:
    """Whether pickle writes the same bytes as dill, unless they are many: dill works in Python, ten times slower."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    inner: list[Any] = [value] if kind in _CONTAINERS else []
    seen = 0
    for _ in range(_DEEPEST):
        level, inner = inner, []
        for container in level:
            seen += 1
            if seen > _MOST or not _gather_inner(container, inner):
                return False
        if not inner:
            return bool(level)
    return False


def _gather_inner(container: Any, inner: list[Any]) -> bool:  # Any: list, tuple or dict of anything
    """Put the containers in a container into `inner`; False where something in it is dill's."""
    if len(container) >= _BATCH:
        return False
    parts = [container]
    if type(container) is dict:
        if "__name__" in container:  # it may be the namespace of a module, which dill writes by name
            return False
        parts.append(container.values())
    for part in parts:
        others = set(map(type, part)) - _ATOMS
        if not others <= _CONTAINERS:
            return False
        if others:
            inner += [item for item in part if type(item) in _CONTAINERS]
    return True


def _array_pickle(value: object) -> tuple[Buffer, ...] | None:
    """Return what dill writes for a numpy array of numbers or text; None where that has to be left to dill."""
    if type(value).__module__ != "numpy":  # then numpy need not be imported to tell
        return None
    import numpy as np

    if type(value) is not np.ndarray or not is_simple(value.dtype) or value.dtype.itemsize > _LONG_ITEM_BYTES:
        return None
    if not _agrees_with_dill(value.dtype):
        return None
    return _pickled_as_by_dill(value)


@lru_cache(maxsize=256)
def _agrees_with_dill(dtype: "np.dtype[Any]") -> bool:
    """Whether the dill that is installed writes such arrays as we do: asked of two small ones."""
    import dill
    import numpy as np

    return all(
        b"".join(_pickled_as_by_dill(array)) == dill.dumps(array, protocol=PICKLE_PROTOCOL)
        for array in (np.zeros(3, dtype), np.zeros((2, 2), dtype, order="F"))
    )


def _pickled_as_by_dill(array: "np.ndarray[Any, Any]") -> tuple[bytes, ...]:
    import dill

    def reduced(array: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:  # Any: as pickle declares it
        function, arguments, state = array.__reduce__()
        return dill._dill._create_array, (function, arguments, state, None)  # noqa: SLF001  what dill names

    parts: list[bytes] = []  # a file that grew with them would be copied again and again
    pickler = pickle.Pickler(SimpleNamespace(write=parts.append), PICKLE_PROTOCOL)
    pickler.dispatch_table = {type(array): reduced}
    pickler.dump(array)
    return tuple(parts)
