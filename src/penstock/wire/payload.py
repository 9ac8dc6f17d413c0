# SPDX-License-Identifier: Apache-2.0
"""Python values, functions and errors as messages; large buffers stay outside, in blocks of shared memory.

Rule 1: the outside of a message is msgpack with a version. `blocks` and `error_text` read it and run no code of
        users, so that a process which must never unpickle can do its books.
Rule 2: whatever bytes come in, reading the outside raises nothing but `PayloadInvalid`.
Rule 3: an array in a block arrives without a copy, and cannot be written unless the reader asked for that.

Where blocks are is decided by those who call (`place`, `view`); see `arena.py`.
"""

import pickle
import traceback
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

import msgspec

from penstock.errors import PayloadInvalid, SerializationError
from penstock.wire.functions import Function, FunctionTable, pack_function
from penstock.wire.pickling import loaded, pickled, pickled_within
from penstock.wire.segment import Block, Bytes

__all__ = [
    "ErrorText",
    "Function",
    "FunctionTable",
    "Place",
    "View",
    "blocks",
    "error_text",
    "pack",
    "pack_error",
    "pack_function",
    "unpack",
    "unpack_error",
]

Place = Callable[[memoryview], Block | None]
View = Callable[[Block, bool], memoryview]

_THRESHOLD_BYTES = 64 << 10
_MOST_MESSAGE = 16 << 10  # characters of an error's own text
_MOST_TRACEBACK = 64 << 10
_MOST_ERROR_BYTES = 256 << 10
_LARGEST = 1 << 62  # no system has an offset or a size above


class _Value(msgspec.Struct, array_like=True, tag="penstock.value", forbid_unknown_fields=True, frozen=True):
    """A value: for the form `pickle` a pickle and its buffers, for the others one buffer and no pickle."""

    version: Literal[1]
    form: Literal["pickle", "bytes", "bytearray"]
    body: memoryview
    buffers: list[Block | memoryview]


class _Error(msgspec.Struct, array_like=True, tag="penstock.error", forbid_unknown_fields=True, frozen=True):
    """An error as text, and the error itself if it can be sent."""

    version: Literal[1]
    kind: str
    message: str
    traceback: str
    pickled: bytes | None


_Outside = TypeVar("_Outside", _Value, _Error)
_VALUE = msgspec.msgpack.Decoder(_Value)
_ERROR = msgspec.msgpack.Decoder(_Error)


def pack(
    value: object,
    *,
    place: Place | None = None,
    threshold_bytes: int = _THRESHOLD_BYTES,
    by_value: bool = False,
) -> bytes:
    """Return a message that holds the value.

    Args:
        place: puts a buffer of `threshold_bytes` or more into a block; with None for an answer it stays inside.
            It is called only when the whole value has been pickled. If it raises, the caller frees what it placed.
        by_value: functions and classes that no module can be asked for, local ones and those of `__main__`, are
            sent as their code.
    Raises:
        SerializationError: some part cannot be pickled; the path tells which.
    """
    buffers: list[memoryview] = []
    form: Literal["pickle", "bytes", "bytearray"] = "pickle"
    body = b""
    if type(value) is bytes or type(value) is bytearray:
        form = "bytes" if type(value) is bytes else "bytearray"
        buffers.append(memoryview(value))
    else:
        body = pickled(value, buffers, by_value=by_value)
    placed = [_placed(buffer, place, threshold_bytes) for buffer in buffers]
    try:
        return msgspec.msgpack.encode(_Value(1, form, memoryview(body), placed))
    except (msgspec.MsgspecError, ValueError) as exc:  # 4 GiB are the most that fit
        raise SerializationError("value", f"{exc}; have large parts placed in blocks") from exc


def blocks(message: Bytes) -> list[Block]:
    """Return the blocks that a message refers to, without unpickling it.

    Raises:
        PayloadInvalid: these bytes are no such message.
    """
    return [buffer for buffer in _read_value(message).buffers if isinstance(buffer, Block)]


def unpack(message: Bytes, *, view: View | None = None, writable: bool = False) -> object:
    """Return the value in a message; this runs code of users.

    Args:
        view: returns a block's content; the flag tells that it must be private and writable.
        writable: arrays can be written, which nobody else will see; otherwise they are read only.
    Raises:
        PayloadInvalid: these bytes are no such message.
        SerializationError: the value cannot be made here, for instance for want of a module.
    """
    outside = _read_value(message)
    buffers: list[Bytes] = []
    for buffer in outside.buffers:
        if not isinstance(buffer, Block):
            # A copy in any case: a view of the message would keep all of it, and begin at an odd address.
            buffers.append(bytearray(buffer) if writable else bytes(buffer))
        elif view is None:
            raise PayloadInvalid("it refers to shared memory, which this reader has not")
        else:
            buffers.append(view(buffer, writable and outside.form == "pickle"))
    if outside.form != "pickle":
        return bytes(buffers[0]) if outside.form == "bytes" else bytearray(buffers[0])
    return loaded(outside.body, buffers, "value")


class ErrorText(NamedTuple):
    """An error as text, safe to read anywhere.

    Attributes:
        kind: the class with its module, without it for built-in ones.
        message: what `str` gives.
        traceback: as the interpreter would print it, causes included.
    """

    kind: str
    message: str
    traceback: str


def pack_error(error: BaseException, *, by_value: bool = False) -> bytes:
    """Return a message that holds an error: always its text, and itself if it survives being pickled.

    Args:
        by_value: as for `pack`; errors of classes that no module can be asked for survive as well.
    """
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    text = _text(lambda: str(error), "its text cannot be told")
    trace = _text(lambda: "".join(traceback.format_exception(error)), "its traceback cannot be told")
    message = _Error(
        1,
        _bounded(name, _MOST_MESSAGE),
        _bounded(text, _MOST_MESSAGE),
        _bounded(trace, _MOST_TRACEBACK),
        _surviving(error, by_value=by_value),
    )
    return msgspec.msgpack.encode(message)


def unpack_error(message: Bytes) -> tuple[BaseException | None, ErrorText]:
    """Return the error itself if it can be made here, and its text; this runs code of users.

    Raises:
        PayloadInvalid: these bytes are no such message.
    """
    outside = _read(message, _ERROR)
    text = ErrorText(outside.kind, outside.message, outside.traceback)
    if outside.pickled is None:
        return None, text
    try:
        error = loaded(outside.pickled, [], "error")
    except SerializationError:
        return None, text  # its class is not here; the text tells the same
    return error if isinstance(error, BaseException) else None, text


def error_text(message: Bytes) -> ErrorText:
    """Return the text of an error and run no code of users.

    Raises:
        PayloadInvalid: these bytes are no such message.
    """
    outside = _read(message, _ERROR)
    return ErrorText(outside.kind, outside.message, outside.traceback)


def _placed(buffer: memoryview, place: Place | None, threshold_bytes: int) -> Block | memoryview:
    block = place(buffer) if place is not None and buffer.nbytes >= threshold_bytes else None
    return buffer if block is None else block


def _read(message: Bytes, decoder: msgspec.msgpack.Decoder[_Outside]) -> _Outside:
    try:
        return decoder.decode(message)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise PayloadInvalid(str(exc)) from exc


def _read_value(message: Bytes) -> _Value:
    outside = _read(message, _VALUE)
    if outside.form != "pickle" and (len(outside.buffers) != 1 or outside.body):
        raise PayloadInvalid(f"the form {outside.form} has one buffer and no pickle")
    for buffer in outside.buffers:
        if isinstance(buffer, Block) and not (min(buffer) >= 0 and max(buffer) < _LARGEST):
            raise PayloadInvalid("there is no such block")
    return outside


def _text(tell: Callable[[], str], otherwise: str) -> str:
    try:
        # What cannot be encoded (half a surrogate pair) is spelled out: an error must always arrive.
        return str(tell()).encode("utf-8", "backslashreplace").decode()
    except Exception as exc:  # noqa: BLE001  code of users: `__str__`
        return f"<{otherwise}: {type(exc).__name__}>"


def _bounded(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    head = most // 4
    return f"{text[:head]}\n[{len(text) - most} characters left out]\n{text[head - most :]}"


def _surviving(error: BaseException, *, by_value: bool) -> bytes | None:
    """Return the pickled error if what comes out of it here is of the same class and reads the same."""
    try:
        content = pickled_within(error, _MOST_ERROR_BYTES, by_value=by_value)
        again = pickle.loads(content)  # noqa: S301  made by this process a line above
        same = type(again) is type(error) and str(again) == str(error)
    except Exception:  # noqa: BLE001  code of users: `__reduce__`, `__init__`, `__str__`
        return None
    return content if same else None
