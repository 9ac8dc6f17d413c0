# SPDX-License-Identifier: Apache-2.0
"""The bar of a run: how many drops are in which state, drawn a few times a second on a terminal only."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from rich.live import Live
from rich.text import Text

from penstock.cli.terminal import console
from penstock.engine.states import DropState

__all__ = ["progress"]

Show = Callable[[Mapping[DropState, int]], None]

# Groups of states in the order of the bar: word, look, signs (the second where a terminal knows no Unicode).
_GROUPS: tuple[tuple[str, str, str, frozenset[DropState]], ...] = (
    ("done", "green", "\u2501#", frozenset({DropState.COMPLETED, DropState.EXPIRED, DropState.DELETED})),
    ("failed", "bold red", "\u2573x", frozenset({DropState.ERROR})),
    ("skipped", "yellow", "\u254c~", frozenset({DropState.SKIPPED})),
    ("cancelled", "magenta", "\u254d/", frozenset({DropState.CANCELLED})),
    ("writing", "cyan", "\u2578>", frozenset({DropState.WRITING})),
)
_REST = ("bright_black", "\u2500-")
_BAR_WIDTH = 28


@contextmanager
def progress(stream: TextIO, drops: int) -> Iterator[Show]:
    """Draw a bar while inside; the function given takes the counts. Draws nothing but on a terminal."""
    out = console(stream)
    if not out.is_terminal:
        yield lambda _: None
        return
    began = monotonic()
    signs = 0 if out.encoding.lower().startswith("utf") else 1
    with Live(
        console=out, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as live:
        yield lambda counts: live.update(_line(counts, drops, monotonic() - began, signs), refresh=True)


def _line(counts: Mapping[DropState, int], drops: int, seconds: float, signs: int) -> Text:
    line = Text("run       ", overflow="ellipsis", no_wrap=True)
    tail = Text()
    ended, used = 0, 0
    for word, look, sign, states in _GROUPS:
        count = sum(counts[state] for state in states)
        if not count:
            continue
        ended += count if word != "writing" else 0
        # At least one sign each: the one drop of a million that failed must be seen.
        width = min(max(1, round(count / drops * _BAR_WIDTH)), _BAR_WIDTH - used)
        used += width
        line.append(sign[signs] * width, look)
        tail.append(f"  {word} {count:,}", look)
    line.append(_REST[1][signs] * (_BAR_WIDTH - used), _REST[0])
    minutes, rest = divmod(int(seconds), 60)
    line.append(f"  {ended:,}/{drops:,}")
    line.append_text(tail)
    line.append(f"  {minutes:02}:{rest:02}")
    return line
