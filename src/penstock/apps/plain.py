# SPDX-License-Identifier: Apache-2.0
"""Reading pickled plain values without running code: numbers, text, containers, numpy arrays.

A pickle may name any function to call. Apps that run inside a manager read through here, where only the
names that plain values need are known. Content that is no such pickle is text.
"""

import io
import pickle
from typing import Any

from penstock.drops.data import DataDrop

__all__ = ["PICKLE_PROTOCOL", "load_plain", "plain_value"]

PICKLE_PROTOCOL = 4
"""The pickle protocol of all contents that apps write: what the ecosystem's readers and hashes expect."""

_NUMPY_CORES = ("numpy.core", "numpy._core")
_ALLOWED = frozenset(
    {
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        *((f"{core}.multiarray", name) for core in _NUMPY_CORES for name in ("_reconstruct", "scalar")),
        *((f"{core}.numeric", "_frombuffer") for core in _NUMPY_CORES),
        *(("builtins", name) for name in ("bytearray", "complex", "frozenset", "range", "set", "slice")),
    }
)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # Any: a class or a function, as pickle declares it
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a plain value")
        return super().find_class(module, name)


def plain_value(content: bytes) -> object:
    """Return the plain value that `content` pickles, else its text, else the bytes themselves."""
    if not content:
        return None
    try:
        return _PlainUnpickler(io.BytesIO(content)).load()
    except Exception:  # noqa: BLE001, S110  bytes that are no pickle may raise anything; they are text then
        pass
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def load_plain(drop: DataDrop) -> object:
    """Return the plain value that a completed drop holds; None if it is empty."""
    return plain_value(drop.read())
