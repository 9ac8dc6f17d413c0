# SPDX-License-Identifier: Apache-2.0
"""The two streams of a command: width and colours by rich, silence when nobody reads any more.

Names of drops come from strangers' files: nothing here reads them as markup, and `plain` takes control
characters out of them, which could otherwise act on the terminal.
"""

import io
import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, Any, TextIO, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.cli.streams import KeptStream, plain, plain_text
from penstock.graph.picture import shorten

__all__ = [
    "ReservedStdout",
    "console",
    "human_bytes",
    "human_seconds",
    "plain",
    "plain_text",
    "print_json",
    "short",
    "table",
    "tell",
]

_UID_WIDTH = 44


class _Stream(io.TextIOBase):
    """A stream for rich that forgets what is written after its reader has gone; the command goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._broken = False

    @property
    def encoding(self) -> str:  # type: ignore[override]  # writable in the stub, for no use
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        self._guard(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._guard(self._stream.flush)

    def _guard(self, action: Any, *arguments: str) -> None:  # Any: write or flush
        if self._broken:
            return
        try:
            action(*arguments)
        except (OSError, ValueError):  # the stream has noted it; `main` tells it at the end
            self._broken = True


def console(stream: TextIO) -> Console:
    """Return a console on a stream; no colours unless it is a terminal, and none where NO_COLOR is set."""
    file = cast("IO[str]", _Stream(stream))  # it has all of IO that rich uses
    return Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=False)


def table(headings: Iterable[str], *, numbers: Iterable[int] = ()) -> Table:
    """Return an empty table without frame; the columns of `numbers` are aligned to the right."""
    right = set(numbers)
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, heading in enumerate(headings):
        grid.add_column(heading, justify="right" if place in right else "left", overflow="fold")
    return grid


def short(text: str, width: int = _UID_WIDTH) -> Text:
    """Return a name fit for a table: harmless, and shortened in the middle."""
    return Text(shorten(plain(text), width))


def tell(out: Console, heading: Text | str, body: Text | str, *, indent: int) -> None:
    """Print a text behind a heading: wrapped and indented on a terminal, in one line for programs.

    Args:
        indent: width of the heading, and how far further lines are indented.
    """
    if not out.is_terminal:
        out.print(Text.assemble(_padded(heading, indent), body), soft_wrap=True)
        return
    grid = Table.grid(padding=0)
    grid.add_column(width=indent, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(heading, body)
    out.print(grid)


def _padded(heading: Text | str, width: int) -> Text:
    text = Text.assemble(heading)
    text.pad_right(max(0, width - len(text)))
    return text


def human_bytes(size: int) -> str:
    """Return a size as people write it."""
    amount, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.0f} B" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def human_seconds(seconds: float) -> str:
    """Return a duration as people write it."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"


def print_json(value: object) -> None:
    """Print a value as one JSON object, indented for people who look at it."""
    print(json.dumps(value, indent=2))


class ReservedStdout:
    """Keeps standard output for one text; all that anybody else writes there goes to standard error.

    User code may print on threads of its own, and programs that it starts inherit the file itself; so
    the file is exchanged, not only `sys.stdout`.
    """

    def __init__(self) -> None:
        self._object = sys.stdout
        with suppress(OSError, ValueError):
            self._object.flush()
        self._kept = -1
        try:
            self._number = sys.stdout.fileno()
            self._kept = os.dup(self._number)
            os.dup2(sys.stderr.fileno(), self._number)
        except (OSError, ValueError):  # no real file stands behind: a stand-in, or it is closed
            sys.stdout = sys.stderr

    def write(self, text: str) -> None:
        """Write the one text to the true standard output."""
        if self._kept < 0:
            self._object.write(text)
            return
        data = memoryview(text.encode())
        try:
            while data:
                data = data[os.write(self._kept, data) :]
        except OSError as exc:
            self._note(exc)

    def _note(self, error: OSError) -> None:
        if isinstance(self._object, KeptStream):
            self._object.trouble = self._object.trouble or error

    def give_back(self) -> None:
        """Let others write to standard output again."""
        if self._kept < 0:
            sys.stdout = self._object
            return
        with suppress(OSError, ValueError):
            self._object.flush()
        os.dup2(self._kept, self._number)
        os.close(self._kept)
