# SPDX-License-Identifier: Apache-2.0
"""The two streams of a command, kept from its start to its end whatever user code does to `sys.stdout`.

Rule 1: rich is not imported here: `main.py` needs this module before it knows the verb.
"""

import errno
import io
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TextIO, cast

__all__ = ["KeptStream", "Streams", "plain", "plain_text"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return a text without characters that act instead of being seen."""
    return _CONTROL.sub(_seen, text)


def plain_text(text: str) -> str:
    """Return a text of many lines likewise; its line ends and tabs stay."""
    return _CONTROL_IN_LINES.sub(_seen, text.replace("\r\n", "\n"))


def _seen(match: "re.Match[str]") -> str:
    return f"\\x{ord(match.group()):02x}"


class KeptStream:
    """A text stream that nobody can close; in everything else it is the stream it stands for.

    Attributes:
        trouble: the first error of writing; from then on what is written is forgotten.
    """

    def __init__(self, stream: TextIO | None, number: int) -> None:
        self.trouble: OSError | None = None
        self._number = number
        self._like = stream
        self._stream = stream or self._opened()
        if stream is None:  # it was closed when we started; `_fill_closed` made it lead nowhere
            self.trouble = OSError(errno.EBADF, "it is closed")
            return
        with suppress(AttributeError, OSError, ValueError):  # a stand-in for a stream has no descriptor
            self._stream.flush()
            self._number = self._stream.fileno()
            self._stream = self._opened()

    def _opened(self) -> TextIO:
        # A wrapper of our own that leaves the descriptor alone when user code closes it.
        raw = os.fdopen(self._number, "wb", closefd=False)
        return io.TextIOWrapper(
            raw,
            encoding=getattr(self._like, "encoding", None) or "utf-8",
            errors="backslashreplace",  # no name in a graph can make printing fail, whatever the encoding
            line_buffering=bool(getattr(self._like, "line_buffering", False)),
            write_through=bool(getattr(self._like, "write_through", False)),
        )

    def write(self, text: str) -> int:
        """Write, and raise an `OSError` the first time that fails."""
        self._guard("write", text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write out, and raise an `OSError` the first time that fails."""
        self._guard("flush")

    def close(self) -> None:
        """Write out: this stream stays open."""
        with suppress(OSError):
            self.flush()

    def note(self, error: OSError) -> None:
        """Forget what is written from now on; what is still held must go somewhere at the end."""
        self.trouble = self.trouble or error
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._number)
            os.close(nowhere)

    def _guard(self, name: str, *words: str) -> None:
        try:
            try:
                getattr(self._stream, name)(*words)
            except ValueError:  # user code closed what stands behind
                self._stream = self._opened()
                getattr(self._stream, name)(*words)
        except OSError as exc:
            if self.trouble is None:
                self.note(exc)
                raise

    def __getattr__(self, name: str) -> Any:  # Any: whatever the stream behind has
        if name in ("_like", "_stream"):  # not yet there
            raise AttributeError(name)
        return getattr(self._stream, name)


class Streams:
    """Standard output and standard error of one command."""

    def __init__(self) -> None:
        _fill_closed()
        self._before = (sys.stdout, sys.stderr)
        self.out = KeptStream(sys.stdout, 1)
        self.err = KeptStream(sys.stderr, 2)

    def __enter__(self) -> Self:
        self.put()
        return self

    def put(self) -> None:
        """Let `sys` have them, also after user code put something else there."""
        sys.stdout, sys.stderr = cast("TextIO", self.out), cast("TextIO", self.err)

    def __exit__(self, *_: object) -> None:
        sys.stdout, sys.stderr = self._before

    def end(self) -> OSError | None:
        """Write out what is left; return what standard output could not be written for."""
        for stream in (self.out, self.err):
            with suppress(OSError, ValueError):
                stream.flush()
        return self.out.trouble


def _fill_closed() -> None:
    """Occupy the three standard descriptors, so that no file of a drop becomes standard output by chance."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115  as long as the process
