# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a session: drops made and linked by hand, each run by a call.

site = SoloSite(tmp_path)
source = site.add(MemoryDrop, "source")
app = site.add(CopyApp, "copy")
target = site.add(MemoryDrop, "target")
site.link(source, app); site.link(app, target)
site.fill(source, b"abc")
site.run(app)
assert target.read() == b"abc"
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from penstock.drops.app import AppDrop
from penstock.drops.base import Drop, Linked, Side
from penstock.drops.data import Buffer, DataDrop
from penstock.engine.states import ENDED, AppState, DropState
from penstock.errors import DropNotWritable

__all__ = ["SoloSite"]

D = TypeVar("D", bound=Drop)


class SoloSite:
    """Meets `penstock.drops.base.Site` for a handful of drops; nothing runs by itself. One thread only."""

    def __init__(
        self, directory: Path, session_id: str = "solo", environment: Mapping[str, str] | None = None
    ) -> None:
        self.session_id = session_id
        self.directory = directory
        self.environment: Mapping[str, str] = dict(os.environ) if environment is None else environment
        self.log: list[tuple[str, str, str]] = []
        self.errors: dict[str, BaseException] = {}
        self._fields: list[dict[str, Any]] = []
        self._drops: list[Drop] = []
        self._status: list[DropState] = []
        self._execution: list[AppState] = []
        self._links: dict[tuple[int, Side], list[Linked]] = {}

    def add(self, cls: type[D], uid: str, /, **fields: Any) -> D:
        """Make a drop of class `cls` whose JSON object holds `fields`."""
        index = len(self._drops)
        self._fields.append({"oid": uid, "uid": uid, **fields})
        self._status.append(DropState.INITIALIZED)
        self._execution.append(AppState.NOT_RUN)
        drop = cls(self, index)
        self._drops.append(drop)
        drop.initialize()
        return drop

    def link(
        self,
        left: Drop,
        right: Drop,
        port: str = "",
        left_port: str | None = None,
        *,
        streaming: bool = False,
    ) -> None:
        """Let data flow from `left` to `right`; `port` is the app's name for it, `left_port` the left end's."""
        after, before = (left.index, Side.AFTER), (right.index, Side.BEFORE)
        self._links.setdefault(after, []).append(
            Linked(port if left_port is None else left_port, right, streaming)
        )
        self._links.setdefault(before, []).append(Linked(port, left, streaming))

    def put(self, container: Drop, child: Drop) -> None:
        """Make `child` a member of `container`."""
        self._links.setdefault((container.index, Side.CHILDREN), []).append(Linked("", child))

    def fill(self, drop: DataDrop, data: Buffer | str = b"") -> None:
        """Write `data` and complete the drop."""
        if len(data):
            drop.write(data)
        if self._status[drop.index] not in ENDED:
            drop.complete()

    def run(self, app: AppDrop) -> None:
        """Run an app as a session would, and complete its outputs.

        Raises:
            Exception: whatever `run` raised; the app and its outputs are ERROR then.
        """
        self._execution[app.index] = AppState.RUNNING
        try:
            app.run()
        except BaseException as error:
            self._status[app.index], self._execution[app.index] = DropState.ERROR, AppState.ERROR
            for output in app.outputs:
                self.failed(output.index, error)
            raise
        self._status[app.index], self._execution[app.index] = DropState.COMPLETED, AppState.FINISHED
        for output in app.outputs:
            if self._status[output.index] not in ENDED:
                output.complete()

    # What drops ask

    def uid(self, index: int) -> str:
        return str(self._fields[index]["uid"])

    def fields(self, index: int) -> Mapping[str, Any]:
        return self._fields[index]

    def status(self, index: int) -> DropState:
        return self._status[index]

    def execution(self, index: int) -> AppState:
        return self._execution[index]

    def linked(self, index: int, side: Side) -> tuple[Linked, ...]:
        return tuple(self._links.get((index, side), ()))

    def stored(self, index: int) -> Buffer | None:
        del index  # all data is written here
        return None

    def place(self, index: int, parts: Sequence[Buffer]) -> memoryview | None:
        del index, parts  # likewise
        return None

    def writing(self, index: int, data: memoryview) -> bool:
        del data  # it is kept by the drop's own object
        if self._status[index] in ENDED:
            raise DropNotWritable(self.uid(index), f"is {self._status[index].name}")
        self._status[index] = DropState.WRITING
        return False

    def written(self, index: int, data: memoryview) -> None:
        for link in self.linked(index, Side.AFTER):
            if link.streaming and isinstance(link.drop, AppDrop):
                link.drop.data_written(self.uid(index), data)

    def completed(self, index: int) -> None:
        self._status[index] = DropState.COMPLETED

    def failed(self, index: int, error: BaseException) -> None:
        self._status[index] = DropState.ERROR
        self.errors[self.uid(index)] = error

    def note(self, index: int, stream: str, text: str) -> None:
        self.log.append((self.uid(index), stream, text))

    def skip(self, index: int) -> None:
        self._status[index] = DropState.SKIPPED
