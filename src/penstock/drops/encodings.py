# SPDX-License-Identifier: Apache-2.0
"""How Python values become the content of drops, and back.

Each port of a function names one encoding. Only what the graph's author asked for is ever unpickled;
`eval` reads literals and runs nothing. Managers must not call this module: apps do. Pickles are written in
`pickles.py`, arrays in `npy.py`.

Rule 1: a quicker way may be taken where what it writes is, byte for byte, what dill and `numpy.save` write, and
        what it reads equals what they read. `tests/unit/drops/test_quick_encodings.py` compares them.
Rule 2: what the quick way does not know, and all that is wrong, goes the long way, so errors are theirs.
"""

import ast
import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from penstock.drops.data import Buffer, DataDrop, whole_bytes
from penstock.drops.npy import load_npy, store_npy
from penstock.drops.pickles import PICKLE_MARK, load_dill, load_pickle, store_dill, store_pickle
from penstock.errors import EncodingFailed

__all__ = [
    "DEFAULT_ENCODING",
    "ENCODINGS",
    "PICKLE_MARK",
    "encoding_named",
    "load_default",
    "load_value",
    "store_default",
    "store_value",
]

DEFAULT_ENCODING = "dill"
"""What a function's port uses when the graph names nothing."""

ENCODINGS: Mapping[str, str] = MappingProxyType(
    {
        "raw": "bytes as they are; on writing also text and any buffer",
        "pickle": "a pickled value",
        "dill": "a pickled value, functions and classes of the graph too",
        "npy": "a numpy array in numpy's own format, without pickled objects",
        "eval": "a Python literal as text",
        "path": "the path of the file or folder; a function writes the file itself",
        "dataurl": "the URL of the data; a function writes there itself",
        "binary": "the same as raw",
        "utf-8": "text; other values as Python shows them",
    }
)
"""Every encoding with one line for people."""

_ALIASES = {
    "": DEFAULT_ENCODING,
    "none": DEFAULT_ENCODING,
    "bytes": "binary",
    "literal": "eval",
    "filepath": "path",
    "numpy": "npy",
    "pkl": "pickle",
    "str": "utf-8",
    "string": "utf-8",
    "text": "utf-8",
    "url": "dataurl",
    "utf8": "utf-8",
    "utf_8": "utf-8",
}

_PROPER = {**{name: name for name in ENCODINGS}, **_ALIASES}
"""What most graphs write, looked up without a closer look."""


def encoding_named(uid: str, name: str | None) -> str:
    """Return the proper name of an encoding, whatever its case or spelling.

    Raises:
        EncodingFailed: there is no such encoding.
    """
    if name in _PROPER:
        return _PROPER[name]
    word = str(name or "").strip().lower()
    proper = _ALIASES.get(word, word)
    if proper in ENCODINGS:
        return proper
    near = difflib.get_close_matches(word, [*ENCODINGS, *_ALIASES], n=1)
    hint = (
        f"did you mean {_ALIASES.get(near[0], near[0])!r}?" if near else f"use one of {', '.join(ENCODINGS)}"
    )
    raise EncodingFailed(uid, f"there is no encoding {name!r}; {hint}")


def load_value(drop: DataDrop, encoding: str) -> object:
    """Return the content of `drop` as the value that `encoding` reads.

    Raises:
        DropNotReadable: the data is not complete or gone.
        EncodingFailed: no such encoding, or the content is not of that kind.
    """
    name = _PROPER.get(encoding) or encoding_named(drop.uid, encoding)
    if name == "path":
        return _path_of(drop)
    if name == "dataurl":
        return drop.url
    content = drop.private_buffer() if name == "npy" else drop.buffer()
    try:
        return _LOADERS[name](content)
    except Exception as exc:  # an unpickled class may raise anything; one error with the remedy leaves here
        raise EncodingFailed(drop.uid, _unreadable(name, content, exc)) from exc


def store_value(drop: DataDrop, value: object, encoding: str) -> None:
    """Write `value` to `drop` as one piece.

    With `path` and `dataurl` nothing is written: the function that got the address wrote there.

    Raises:
        DropNotWritable: the drop has ended.
        EncodingFailed: no such encoding, or it cannot write that value.
    """
    name = _PROPER.get(encoding) or encoding_named(drop.uid, encoding)
    if name == "path":
        _path_of(drop)
        return
    if name == "dataurl":
        return
    try:
        content = _STORERS[name](value)
    except Exception as exc:  # __reduce__, __repr__ and __str__ of users' classes may raise anything
        what = f"a value of type {type(value).__name__} cannot be written as {name}: {_cause(exc)}"
        raise EncodingFailed(drop.uid, f"{what}; {_STORE_REMEDIES[name]}") from exc
    if isinstance(content, tuple):
        drop.write_parts(content)
    elif len(content):
        drop.write(content)


def load_default(content: memoryview) -> object:
    """Return the value that content holds in the default encoding.

    Raises:
        Exception: it holds none; whatever unpickling raises.
    """
    return load_dill(content)


def store_default(value: object) -> Buffer | tuple[Buffer, ...]:
    """Return the content that a value becomes in the default encoding, in parts where it is large.

    Raises:
        Exception: it cannot be pickled; whatever pickling raises.
    """
    return store_dill(value)


def _path_of(drop: DataDrop) -> str:
    path = getattr(drop, "path", None)
    if path is None:
        remedy = "link a file drop, or use dataurl or raw"
        raise EncodingFailed(drop.uid, f"a {type(drop).__name__} has no path; {remedy}")
    return str(path)


def _unreadable(name: str, content: memoryview, exc: Exception) -> str:
    if not content:
        return f"the content is empty and cannot be read as {name}: did its producer write anything?"
    begin = bytes(content[:24]) + (b"..." if len(content) > 24 else b"")
    cause = _cause(exc)
    if name in ("pickle", "dill") and content[:1] != PICKLE_MARK:
        # What the unpickler says of text is about its own instructions and helps nobody.
        cause = "it does not begin like a pickle"
    remedy = "give both ends of the link one encoding"
    return f"the content {begin!r} cannot be read as {name}: {cause}; {remedy}"


def _cause(exc: Exception) -> str:
    return str(exc) or type(exc).__name__


# Small formats


def _load_literal(content: memoryview) -> object:
    value: object = ast.literal_eval(str(content, "utf-8").strip())
    return value


def _store_literal(value: object) -> bytes:
    # Text that is a literal already goes out as it stands: functions return what they composed as source.
    # Any other text is quoted, so that whatever is written here can be read again.
    if isinstance(value, str) and _is_literal(value):
        return value.encode()
    text = repr(value)
    ast.literal_eval(text)
    return text.encode()


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _load_text(content: memoryview) -> object:
    return str(content, "utf-8")


def _store_text(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        bytes(value).decode()
        return bytes(value)
    # Arrays as source, with commas; scalars of numpy, paths and dates as people write them.
    return (repr(value) if getattr(value, "ndim", 0) else str(value)).encode()


def _load_bytes(content: memoryview) -> object:
    return whole_bytes(content)


def _store_bytes(value: object) -> Buffer:
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode()
    view = memoryview(value)  # type: ignore[arg-type]  # raises TypeError where the value is no buffer
    return view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()


_LOADERS: dict[str, Callable[[memoryview], object]] = {
    "raw": _load_bytes,
    "binary": _load_bytes,
    "pickle": load_pickle,
    "dill": load_dill,
    "npy": load_npy,
    "eval": _load_literal,
    "utf-8": _load_text,
}

_STORERS: dict[str, Callable[[object], Buffer | tuple[Buffer, ...]]] = {
    "raw": _store_bytes,
    "binary": _store_bytes,
    "pickle": store_pickle,
    "dill": store_dill,
    "npy": store_npy,
    "eval": _store_literal,
    "utf-8": _store_text,
}

_STORE_REMEDIES = {
    "raw": "return bytes or text, or use dill",
    "binary": "return bytes or text, or use dill",
    "pickle": "dill can write functions and classes of the graph",
    "dill": "return plain data, or write a file and use path",
    "npy": "return an array of numbers or text, or use dill",
    "eval": "return numbers, text, bytes, lists, tuples, sets and dicts of them, or use dill",
    "utf-8": "return text, or use raw or dill",
}
