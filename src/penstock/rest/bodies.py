# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests: read as they come, inflated piece by piece, cut off as soon as a limit is passed.

Clients of the ecosystem say `Content-Encoding: gzip` and send a zlib stream, so the first bytes decide what a
body is, not its name. No more than one copy of a body is held; `BytesIO` hands out its buffer without one.
"""

import json
import zlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any, Protocol, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from penstock.rest.faults import RequestRefused
from penstock.rest.settings import Limits

__all__ = ["Inflater", "decode", "read_body", "read_json", "why_not_json"]

T = TypeVar("T")
InThread = Callable[..., Awaitable[Any]]  # Any: whatever the function given to it returns

_PIECE = 1 << 18
_GZIP, _ZLIB, _ZSTD = b"\x1f\x8b", 0x78, b"\x28\xb5\x2f\xfd"
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate", "zlib", "zstd"})


class _Stream(Protocol):
    """A decompressor, whatever the library."""

    @property
    def eof(self) -> bool: ...

    def feed(self, data: bytes) -> Iterator[bytes]: ...


class _Zlib:
    """zlib and gzip streams; gzip ones may have several members."""

    def __init__(self, *, gzip: bool) -> None:
        self._wbits = 31 if gzip else 15
        self._stream = zlib.decompressobj(self._wbits)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream.eof:
                if self._wbits != 31:
                    raise RequestRefused("bad_encoding", "there is more behind the end of the zlib stream")
                self._stream = zlib.decompressobj(self._wbits)
            yield self._stream.decompress(data, _PIECE)
            data = self._stream.unconsumed_tail or self._stream.unused_data
        while not self._stream.eof and (more := self._stream.decompress(b"", _PIECE)):
            yield more


class _Zstd:
    """A zstd frame. Four bytes may inflate to 128 kB and the library knows no limit, so it is fed in small bites."""

    _BITE = 64

    def __init__(self) -> None:
        try:
            import zstandard  # the optional library of the extra `zstd`
        except ImportError as exc:
            detail = "zstd is not installed here: send gzip, or install the library zstandard"
            raise RequestRefused("unsupported_media", detail) from exc
        self._error = zstandard.ZstdError
        self._stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), self._BITE):
            if self._stream.eof:
                raise RequestRefused("bad_encoding", "there is more behind the end of the zstd frame")
            try:
                yield self._stream.decompress(data[start : start + self._BITE])
            except self._error as exc:
                raise RequestRefused("bad_encoding", f"the compressed body cannot be read: {exc}") from exc
        if self._stream.unused_data:
            raise RequestRefused("bad_encoding", "there is more behind the end of the zstd frame")


class Inflater:
    """Turns what comes over the line into the body, within limits. Pure: no clock, no connection.

    Args:
        encoding: the header `Content-Encoding`, "" for none.
    """

    def __init__(self, encoding: str, limits: Limits) -> None:
        self._encoding = encoding.strip().lower()
        if self._encoding not in _ENCODINGS:
            detail = f"Content-Encoding {encoding[:80]!r}: use gzip, deflate, zstd or none"
            raise RequestRefused("unsupported_media", detail)
        self._limits = limits
        self._stream: _Stream | None = None
        self._head = b""
        self._begun = False
        self._sent = self._held = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what a piece inflates to, bit by bit.

        Raises:
            RequestRefused: a limit is passed, or the bytes are not what they should be.
        """
        self._sent += len(data)
        if not self._begun:
            self._head += data
            if len(self._head) < 4:
                return
            data = self._begin()
        yield from self._pass_on(data)

    def finish(self) -> Iterator[bytes]:
        """Yield what is left when the body has ended.

        Raises:
            RequestRefused: the body ends in the middle.
        """
        if not self._begun:
            yield from self._pass_on(self._begin())
        if self._stream is not None and not self._stream.eof:
            raise RequestRefused("bad_encoding", "the compressed body ends in the middle")

    @property
    def is_costly(self) -> bool:
        """Whether `feed` computes, so that it should not be done where others wait."""
        return self._encoding not in {"", "identity"}

    def _begin(self) -> bytes:
        data, self._head, self._begun = self._head, b"", True
        if self._encoding in {"", "identity"}:
            return data
        if data[:2] == _GZIP:
            self._stream = _Zlib(gzip=True)
        elif len(data) > 1 and data[0] == _ZLIB and (data[0] * 256 + data[1]) % 31 == 0:
            self._stream = _Zlib(gzip=False)
        elif data[:4] == _ZSTD:
            self._stream = _Zstd()
        return data  # else it is plain in spite of its header, as browsers send it

    def _pass_on(self, data: bytes) -> Iterator[bytes]:
        limits = self._limits
        most = limits.sent_bytes if self._stream is None else limits.compressed_bytes
        if self._sent > most:
            raise RequestRefused("too_large", f"the body is larger than {most} bytes")
        for piece in self._inflated(data):
            self._held += len(piece)
            if self._held > limits.inflated_bytes:
                raise RequestRefused(
                    "too_large", f"the body inflates to more than {limits.inflated_bytes} bytes"
                )
            if self._held > limits.ratio_from_bytes and self._held > self._sent * limits.ratio:
                raise RequestRefused(
                    "too_large", f"the body inflates to more than {limits.ratio} times its size"
                )
            yield piece

    def _inflated(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            yield data
            return
        try:
            yield from self._stream.feed(data)
        except zlib.error as exc:
            raise RequestRefused("bad_encoding", f"the compressed body cannot be read: {exc}") from exc


async def read_body(request: Request, limits: Limits, in_thread: InThread) -> bytes:
    """Return the body of a request, inflated.

    Args:
        in_thread: awaits a function run on another thread; inflating a piece may take milliseconds.

    Raises:
        RequestRefused: a limit is passed, the bytes are not what they should be, or the client went away.
    """
    inflater = Inflater(request.headers.get("content-encoding", ""), limits)
    most = limits.compressed_bytes if inflater.is_costly else limits.sent_bytes
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > most:
        raise RequestRefused("too_large", f"the body is {told} bytes, more than {most}")
    body = BytesIO()

    def take(pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            body.write(piece)

    try:
        async for data in request.stream():
            if inflater.is_costly:
                await in_thread(take, inflater.feed(data))
            else:
                take(inflater.feed(data))
    except ClientDisconnect as exc:
        raise RequestRefused("bad_request", "the client went away in the middle of the body") from exc
    take(inflater.finish())
    return body.getvalue()


async def read_json(  # Any: the type is the caller's
    request: Request, limits: Limits, in_thread: InThread, kind: Any, *, missing: Any = None
) -> Any:
    """Return a small JSON body as `kind`; `missing` where there is no body and `missing` is not None."""
    body = await read_body(request, _small(limits), in_thread)
    if not body.strip() and missing is not None:
        return missing
    return decode(body, kind)


def _small(limits: Limits) -> Limits:
    most = limits.small_bytes
    return replace(limits, sent_bytes=most, compressed_bytes=most, inflated_bytes=most)


def decode(body: bytes, kind: type[T]) -> T:
    """Return JSON text as a value of a type.

    Raises:
        RequestRefused: it is no JSON, or something else.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as exc:
        raise RequestRefused("bad_request", f"the body is JSON but not what is asked for: {exc}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        word, detail = why_not_json(body)
        raise RequestRefused(word, detail) from exc


def why_not_json(body: bytes) -> tuple[str, str]:
    """Return the word and the sentence for a text that is no JSON; for bodies that failed already."""
    if not body.strip():
        return "bad_request", "the body is empty"
    try:
        text = body.decode()
        json.loads(text)
    except UnicodeDecodeError as exc:
        return "bad_encoding", f"the body is not UTF-8 (byte {exc.start})"
    except json.JSONDecodeError as exc:
        reason = exc.msg[:1].lower() + exc.msg[1:]
        return "malformed_json", f"the body is not JSON: {reason} (line {exc.lineno}, column {exc.colno})"
    except RecursionError:
        return "too_deep", "the body is nested too deeply"
    # The standard library reads NaN and lone surrogates; JSON has neither.
    return "bad_value", "the body holds NaN, Infinity or another value that JSON has not"
