# SPDX-License-Identifier: Apache-2.0
"""What children print while an item runs long: read as it comes, so that nobody blocks on a full pipe.

A child reads its own pipes when an item ends, which tells whose print it is for certain. So the parent only
reads the pipes of a child that has told nothing for a while, and says it is of the item that runs.
"""

from collections.abc import Callable
from functools import partial
from time import monotonic

from penstock.workers.line import Line
from penstock.workers.loop import Loop

__all__ = ["Printed"]


class Printed:
    """Reads what children print. Used by the loop's thread.

    Args:
        loop: of the pool.
        look_s: how long an item runs before its prints are read here; seconds.
        empty: reads all there is of a child; False where nothing of it runs any more.
    """

    def __init__(self, loop: Loop, look_s: float, empty: Callable[[Line], bool]) -> None:
        self._loop = loop
        self._look_s = look_s
        self._empty = empty

    def look_later(self, line: Line) -> None:
        """See in a while whether what a child has begun takes long."""
        if not line.is_watched:
            line.is_watched = True
            self._loop.after(self._look_s, partial(self._look, line))

    def _look(self, line: Line) -> None:
        line.is_watched = False
        if line.is_closed or not line.items:
            self.stop(line)
            return
        if monotonic() - line.since_s >= self._look_s:
            if not line.is_heard:
                line.is_heard = True
                for fd in (line.out, line.err):
                    self._loop.watch(fd, partial(self._hear, line))
        else:
            self.stop(line)
        self.look_later(line)

    def _hear(self, line: Line) -> None:
        if line.is_closed or not self._empty(line):
            self.stop(line)

    def stop(self, line: Line) -> None:
        """Leave the pipes of a child to itself."""
        if line.is_heard:
            line.is_heard = False
            for fd in (line.out, line.err):
                self._loop.forget(fd)
