# SPDX-License-Identifier: Apache-2.0
"""Classes and functions of the program that runs a graph (`__main__`), for workers, which are other programs.

What a graph names as `__main__.Name` is sent by value with the session, once to each worker, and put in the
`__main__` there. Only a program that runs its own graphs has such names; a manager has none.
"""

import re
import sys

from penstock.wire.payload import pack, unpack

__all__ = ["restore_main", "save_main"]

_NAMED = re.compile(rb'"__main__\.([A-Za-z_][A-Za-z0-9_]*)')


def save_main(text: bytes) -> bytes:
    """Return what a graph's text names of this program's `__main__`, by value; b"" where it names nothing.

    Raises:
        SerializationError: something of it cannot be sent; put it in a module, or run it on threads.
    """
    if b'"__main__.' not in text:
        return b""
    main = sys.modules["__main__"]
    names = {match.decode() for match in _NAMED.findall(text)}
    found = {name: getattr(main, name) for name in sorted(names) if hasattr(main, name)}
    return pack(found, by_value=True) if found else b""


def restore_main(saved: bytes) -> None:
    """Put what `save_main` returned in this process's `__main__`.

    Raises:
        SerializationError: it cannot be made here.
    """
    if saved:
        found = unpack(saved)
        if isinstance(found, dict):
            vars(sys.modules["__main__"]).update(found)
