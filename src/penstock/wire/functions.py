# SPDX-License-Identifier: Apache-2.0
"""Functions as bytes that name themselves: sent once to each process, unpickled once there.

Unpickling runs code of users: only processes that run such code anyway have a `FunctionTable`.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from penstock.errors import SerializationError
from penstock.wire.pickling import loaded, pickled
from penstock.wire.segment import Bytes

__all__ = ["Function", "FunctionTable", "pack_function"]

_MOST_FUNCTIONS = 256


class Function(NamedTuple):
    """A function as bytes; equal digests are equal functions."""

    digest: bytes
    code: bytes


def pack_function(function: Callable[..., object]) -> Function:
    """Return a function by value, to be sent once to each process that calls it.

    Raises:
        SerializationError: it uses something that cannot be pickled.
    """
    code = pickled(function, None, by_value=True, root="function")
    return Function(hashlib.sha256(code).digest(), code)


class FunctionTable:
    """The functions that a process has been sent, each unpickled once; the least recently used go first."""

    def __init__(self, most: int = _MOST_FUNCTIONS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._functions: OrderedDict[bytes, Callable[..., object]] = OrderedDict()

    def add(self, code: Bytes) -> bytes:
        """Unpickle a function unless it is here already; return its digest.

        Raises:
            SerializationError: it cannot be made here.
        """
        digest = hashlib.sha256(code).digest()
        if self.get(digest) is not None:
            return digest
        function = loaded(code, [], "function")
        if not callable(function):
            raise SerializationError("function", f"a {type(function).__name__} cannot be called")
        with self._lock:
            self._functions[digest] = function
            if len(self._functions) > self._most:
                self._functions.popitem(last=False)
        return digest

    def get(self, digest: bytes) -> Callable[..., object] | None:
        """Return a function; None means that it has to be added, perhaps again."""
        with self._lock:
            if digest in self._functions:
                self._functions.move_to_end(digest)
            return self._functions.get(digest)
