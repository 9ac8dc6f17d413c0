# SPDX-License-Identifier: Apache-2.0
"""How Python values become the content of drops, and back.

Each port of a function names one encoding. Only what the graph's author asked for is ever unpickled;
`eval` reads literals and runs nothing. Managers must not call this module: apps do.

Rule 1: a quicker way may be taken where what it writes is, byte for byte, what dill and `numpy.save` write, and
        what it reads equals what they read. `tests/unit/drops/test_quick_encodings.py` compares them.
Rule 2: what the quick way does not know, and all that is wrong, goes the long way, so errors are theirs.
"""

import ast
import difflib
import io
import math
import pickle
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from penstock.drops.data import Buffer, DataDrop, whole_bytes
from penstock.errors import EncodingFailed

if TYPE_CHECKING:
    import numpy as np

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
    return _load_dill(content)


def store_default(value: object) -> Buffer | tuple[Buffer, ...]:
    """Return the content that a value becomes in the default encoding, in parts where it is large.

    Raises:
        Exception: it cannot be pickled; whatever pickling raises.
    """
    return _store_dill(value)


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


# Pickles


def _load_dill(content: memoryview) -> object:
    import dill  # a core dependency, but slow to import and not needed by most sessions

    value: object = dill.loads(content)  # noqa: S301  the graph asks for it, and apps run its code anyway
    return value


def _store_dill(value: object) -> Buffer | tuple[Buffer, ...]:
    if type(value) in _ATOMS or _is_plain(value):
        plain = pickle.dumps(value, protocol=PICKLE_PROTOCOL)
        if len(plain) < _FRAME_BYTES:
            return plain
    import dill  # see _load_dill

    content: Buffer | tuple[Buffer, ...] = _array_pickle(value) or dill.dumps(value, protocol=PICKLE_PROTOCOL)
    return content


def _load_pickle(content: memoryview) -> object:
    value: object = pickle.loads(content)  # noqa: S301  see _load_dill
    return value


def _store_pickle(value: object) -> bytes:
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

    if (
        type(value) is not np.ndarray
        or not _is_simple(value.dtype)
        or value.dtype.itemsize > _LONG_ITEM_BYTES
    ):
        return None
    if not _agrees_with_dill(value.dtype):
        return None
    return _pickled_as_by_dill(value)


def _is_simple(dtype: "np.dtype[Any]") -> bool:
    return dtype.kind in "biufcmMSU" and dtype.metadata is None


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


# Arrays


def _load_npy(content: memoryview) -> object:
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
    import numpy as np  # see _load_npy

    shape, in_columns, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(head))
    return shape, in_columns, dtype


def _own(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return an array that a user may write to, from one over the content of a drop or over a private view of it."""
    return array if array.flags.writeable else array.copy()


def _store_npy(value: object) -> Buffer | tuple[Buffer, ...]:
    import numpy as np  # see _load_npy

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

    if type(array) is not np.ndarray or not _is_simple(array.dtype) or not array.dtype.itemsize:
        return None
    head = io.BytesIO()
    try:
        np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    except ValueError:  # too long for the first version
        return None
    in_columns = array.flags.f_contiguous and not array.flags.c_contiguous
    rows = array.T if in_columns else np.ascontiguousarray(array)
    return head.getvalue(), rows.reshape(-1).view(np.uint8).data


# The others


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
    "pickle": _load_pickle,
    "dill": _load_dill,
    "npy": _load_npy,
    "eval": _load_literal,
    "utf-8": _load_text,
}

_STORERS: dict[str, Callable[[object], Buffer | tuple[Buffer, ...]]] = {
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
