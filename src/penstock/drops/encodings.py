# SPDX-License-Identifier: Apache-2.0
"""How Python values become the content of drops, and back.

Each port of a function names one encoding. Only what the graph's author asked for is ever unpickled;
`eval` reads literals and runs nothing. Managers must not call this module: apps do.
"""

import ast
import difflib
import io
import pickle
from collections.abc import Callable, Mapping
from types import MappingProxyType

from penstock.drops.data import Buffer, DataDrop
from penstock.errors import EncodingFailed

__all__ = ["DEFAULT_ENCODING", "ENCODINGS", "PICKLE_MARK", "encoding_named", "load_value", "store_value"]

DEFAULT_ENCODING = "dill"
"""What a function's port uses when the graph names nothing."""

PICKLE_MARK = b"\x80"
"""How every pickle begins that is younger than 2003; no UTF-8 text does."""

PICKLE_PROTOCOL = 4
"""Fixed, so that contents do not change with the Python that wrote them."""

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


def encoding_named(uid: str, name: str | None) -> str:
    """Return the proper name of an encoding, whatever its case or spelling.

    Raises:
        EncodingFailed: there is no such encoding.
    """
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
    name = encoding_named(drop.uid, encoding)
    if name == "path":
        return _path_of(drop)
    if name == "dataurl":
        return drop.url
    content = drop.read()
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
    name = encoding_named(drop.uid, encoding)
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
    if len(content):
        drop.write(content)


def _path_of(drop: DataDrop) -> str:
    path = getattr(drop, "path", None)
    if path is None:
        remedy = "link a file drop, or use dataurl or raw"
        raise EncodingFailed(drop.uid, f"a {type(drop).__name__} has no path; {remedy}")
    return str(path)


def _unreadable(name: str, content: bytes, exc: Exception) -> str:
    if not content:
        return f"the content is empty and cannot be read as {name}: did its producer write anything?"
    begin = content[:24] + (b"..." if len(content) > 24 else b"")
    cause = _cause(exc)
    if name in ("pickle", "dill") and not content.startswith(PICKLE_MARK):
        # What the unpickler says of text is about its own instructions and helps nobody.
        cause = "it does not begin like a pickle"
    remedy = "give both ends of the link one encoding"
    return f"the content {begin!r} cannot be read as {name}: {cause}; {remedy}"


def _cause(exc: Exception) -> str:
    return str(exc) or type(exc).__name__


# One function each way


def _load_dill(content: bytes) -> object:
    import dill  # a core dependency, but slow to import and not needed by most sessions

    value: object = dill.loads(content)  # noqa: S301  the graph asks for it, and apps run its code anyway
    return value


def _store_dill(value: object) -> bytes:
    import dill  # see _load_dill

    content: bytes = dill.dumps(value, protocol=PICKLE_PROTOCOL)
    return content


def _store_pickle(value: object) -> bytes:
    return pickle.dumps(value, protocol=PICKLE_PROTOCOL)


def _load_npy(content: bytes) -> object:
    import numpy as np  # a core dependency, but slow to import and not needed by most sessions

    array: object = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array


def _store_npy(value: object) -> memoryview:
    import numpy as np  # see _load_npy

    target = io.BytesIO()
    np.save(target, np.asanyarray(value), allow_pickle=False)
    return target.getbuffer()


def _load_literal(content: bytes) -> object:
    value: object = ast.literal_eval(content.decode().strip())
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


def _load_text(content: bytes) -> object:
    return content.decode()


def _store_text(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        bytes(value).decode()
        return bytes(value)
    # Arrays as source, with commas; scalars of numpy, paths and dates as people write them.
    return (repr(value) if getattr(value, "ndim", 0) else str(value)).encode()


def _load_bytes(content: bytes) -> object:
    return content


def _store_bytes(value: object) -> Buffer:
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode()
    view = memoryview(value)  # type: ignore[arg-type]  # raises TypeError where the value is no buffer
    return view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()


_LOADERS: dict[str, Callable[[bytes], object]] = {
    "raw": _load_bytes,
    "binary": _load_bytes,
    "pickle": pickle.loads,
    "dill": _load_dill,
    "npy": _load_npy,
    "eval": _load_literal,
    "utf-8": _load_text,
}

_STORERS: dict[str, Callable[[object], Buffer]] = {
    "raw": _store_bytes,
    "binary": _store_bytes,
    "pickle": _store_pickle,
    "dill": _store_dill,
    "npy": _store_npy,
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
