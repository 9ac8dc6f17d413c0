# SPDX-License-Identifier: Apache-2.0
"""The bar of a run: how many drops are in which state, drawn a few times a second on a terminal only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from rich.console import Group
from rich.live import Live
from rich.text import Text

from penstock.cli.streams import plain
from penstock.cli.terminal import console
from penstock.engine.states import DropState
from penstock.workers.pool import SlotState

__all__ = ["progress"]

Slots = Sequence[tuple[SlotState, str]]
Show = Callable[[Mapping[DropState, int], Slots], None]

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
_TELL_S = 2.0
_LONG_S, _MOST_LINES = 1.0, 8
"""Apps that run so long are named, and so many of them."""


@contextmanager
def progress(stream: TextIO, drops: int, *, always: bool = False) -> Iterator[Show]:
    """Draw a bar while inside; the function given takes the counts.

    Where the stream is no terminal nothing is drawn, or with `always` a line now and then.
    """
    out = console(stream)
    began = monotonic()
    signs = 0 if out.encoding.lower().startswith("utf") else 1
    if not out.is_terminal:
        told_s = began

        def tell(counts: Mapping[DropState, int], slots: Slots) -> None:
            nonlocal told_s
            if always and monotonic() - told_s >= _TELL_S:
                told_s = monotonic()
                for line in (_line(counts, drops, told_s - began, signs), *_workers(slots)):
                    out.print(line, soft_wrap=True)

        yield tell
        return
    with Live(
        console=out, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as live:
        yield lambda counts, slots: live.update(
            Group(_line(counts, drops, monotonic() - began, signs), *_workers(slots)), refresh=True
        )


def _workers(slots: Slots) -> Iterator[Text]:
    """Yield what worker processes do: one line for all, one for each that has been busy for a while."""
    if not slots:
        return
    busy = [(row, uid) for row, uid in slots if row.ident >= 0]
    restarts = sum(row.restarts for row, _ in slots)
    told = f"  {len(busy)} busy  {len(slots) - len(busy)} idle" + (
        f"  {restarts} restarts" if restarts else ""
    )
    yield Text.assemble(("workers ", "bold"), told)
    long = sorted((pair for pair in busy if pair[0].seconds >= _LONG_S), key=lambda pair: -pair[0].seconds)
    for row, uid in long[:_MOST_LINES]:
        line = f"          slot {row.slot}  pid {row.pid}  {row.seconds:.0f} s  {plain(uid or row.holder)}"
        yield Text(line, overflow="ellipsis", no_wrap=True)
    if len(long) > _MOST_LINES:
        yield Text(f"          and {len(long) - _MOST_LINES} more")


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
