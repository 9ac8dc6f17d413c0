# SPDX-License-Identifier: Apache-2.0
"""A session as a child process has it: runs its apps, and is the `Site` that their drops ask.

The counterpart in the session's process is `outside.py`; `messages.py` has what passes between the two.

Rule 1: data that one app alone writes, and nobody takes piece by piece, is written here: memory in this process
        and told with the outcome, files where they are. All other data lives with the session: what is written
        to it goes there at once, and what the session raises is raised here.
Rule 2: what the app raised is told as text. Only its own process has seen the exception.
Rule 3: an app that takes a stream lives here from its first piece to its end; this child is then its own.
"""

import gc
import os
import pickle
import signal
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec

from penstock.drops.app import AppDrop
from penstock.drops.base import Drop, Linked, Side
from penstock.drops.data import Buffer, DataDrop
from penstock.drops.encodings import DEFAULT_ENCODING, store_value
from penstock.drops.memory import MemoryDrop
from penstock.engine.states import ENDED, AppState, DropState
from penstock.errors import DropNotWritable
from penstock.runtime.failures import Failure, failure_of
from penstock.runtime.image import GraphImage
from penstock.runtime.linking import Neighbours
from penstock.runtime.mainscope import restore_main
from penstock.runtime.members import Member, check_members, settling_members
from penstock.runtime.messages import (
    DESCRIBE,
    FINISH,
    PIECE,
    RUN,
    SETTLE,
    ClassFacts,
    Content,
    Report,
    Request,
    Setup,
    Task,
    decode_task,
    encode,
    to_content,
)
from penstock.runtime.quick import NOT_QUICK, QuickFunctions, stored
from penstock.runtime.resolve import Unresolvable, find_class
from penstock.wire.arena import Block
from penstock.workers.child import RequestFailed, Tools
from penstock.workers.frames import Status

__all__ = ["main"]

_INLINE_BYTES = 1 << 15
_decode_setup = msgspec.msgpack.Decoder(Setup).decode
_decode_content = msgspec.msgpack.Decoder(Content).decode


def main(tools: Tools) -> "_Inside":
    """Return what runs the items of graph sessions in this child."""
    return _Inside(tools)


class _Inside:
    """Meets `penstock.workers.child.Entry`."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._sites: dict[int, _InsideSite] = {}
        self._last: _InsideSite | None = None

    def open(self, holder: int, setup: bytes) -> None:
        self._sites[holder] = _InsideSite(_decode_setup(setup), self._tools)

    def run(self, holder: int, body: bytes) -> tuple[Status, bytes]:
        task = decode_task(body)
        if task.kind == DESCRIBE:
            return Status.GOOD, encode(self._sites[holder].describe(task.index))
        site = self._sites[holder]
        if site is not self._last:  # sessions may take turns in one child; their apps see their own variables
            self._last = site
            os.environ.update(site.environment)
        report = site.work(task)
        return (Status.GOOD if report is _NOTHING else Status.FAILED), encode(report)

    def close(self, holder: int) -> None:
        site = self._sites.pop(holder, None)
        if site is self._last:
            self._last = None
        if site is not None and site.is_large:
            del site
            gc.collect()  # it is full of cycles, and the node waits for its memory


_NOTHING = Report()

_SMALL_IMAGE_BYTES = 1 << 20


def _image(tools: Tools, block: Block) -> memoryview:
    """Return the image of a graph: a copy of a small one, so that its block need not wait for this process."""
    if block.size <= _SMALL_IMAGE_BYTES:
        return memoryview(bytearray(tools.memory.read(block)))
    return tools.memory.view(block, private=True)


_Kept = tuple[dict[int, Drop], dict[int, DropState], dict[int, tuple[memoryview, Content]]]
"""Of an app that takes a stream: its own object and those of its outputs, states and places of these."""


class _InsideSite:
    """One session in this child; meets `penstock.drops.base.Site` for the item that runs."""

    def __init__(self, setup: Setup, tools: Tools) -> None:
        self.session_id = setup.session_id
        self.directory = Path(setup.directory)
        self.environment: Mapping[str, str] = setup.environment
        self._tools = tools
        self._setup = setup
        self._classes: dict[int, type[Drop]] = {}
        self.graph = GraphImage(_image(tools, Block(*setup.image)), setup.streaming, setup.children)
        self.is_large = setup.image[2] > _SMALL_IMAGE_BYTES
        self._neighbours = Neighbours(self.graph, self.graph.spec)
        self._quick = QuickFunctions(self.graph, self._neighbours, self._class)
        self._task = Task(RUN, -1)
        self._objects: dict[int, Drop] = {}
        self._states: dict[int, DropState] = {}
        self._placed: dict[int, tuple[memoryview, Content]] = {}
        self._resident: dict[int, _Kept] = {}
        self._failed: set[int] = set()
        restore_main(setup.main)

    # Classes

    def describe(self, number: int) -> ClassFacts:
        """Look up a class, and let it look at its drops."""
        try:
            cls = self._class(number)
        except Unresolvable as exc:
            return ClassFacts(reason=str(exc), hint=exc.hint)
        graph = self.graph
        drops = [i for i, k in enumerate(graph.class_of) if k == number]
        members = [Member(i, self.uid(i), partial(self.fields, i)) for i in drops]
        findings = list(check_members(cls, members, _anything))
        settling: list[int] = []
        if issubclass(cls, DataDrop):
            settling, more = settling_members(cls, members, _anything)
            findings += more
        return ClassFacts(
            findings=[(f.drop, f.code, f.reason, f.field) for f in findings],
            in_memory=issubclass(cls, MemoryDrop),
            settling=settling,
            ends_session=issubclass(cls, DataDrop) and cls.ends_session,
            isolation=_own_isolation(cls),
        )

    # Items

    def work(self, task: Task) -> Report:
        """Do what a task asks for; whatever the app raises is in the report."""
        self._task = task
        kept = self._resident.get(task.index) if task.kind in (PIECE, FINISH) else None
        self._objects, self._states, self._placed = ({}, {}, {}) if kept is None else kept
        if task.index in self._failed and task.kind == PIECE:
            return _NOTHING  # it was on its way already
        try:
            if task.kind == RUN and not task.states:
                report = self._run_quick(task.index)
                if report is not None:
                    return report
            if task.kind == SETTLE:
                cast("DataDrop", self.drop(task.index)).settle()
                return self._report(None, (task.index,))
            return self._run(task)
        except BaseException as error:  # noqa: BLE001  the boundary to user code, which may raise anything
            if task.kind == PIECE:
                self._failed.add(task.index)
            return self._report(error, ())
        finally:
            self._objects, self._placed = {}, {}

    def _run_quick(self, index: int) -> Report | None:
        """Run a function without making drop objects; None where that is not possible, and nothing was done."""
        outputs = self.graph.after[index]
        if outputs and self._is_shared(outputs[0]):
            return None
        result = self._quick.call(index, outputs, self.stored)
        if result is NOT_QUICK:
            return None
        if not outputs:
            return _NOTHING
        try:
            parts = stored(result)
        except Exception:  # raised again here, with what to do about it
            store_value(cast("DataDrop", self.drop(outputs[0])), result, DEFAULT_ENCODING)
            raise
        return Report({outputs[0]: self._place(parts)})

    def _run(self, task: Task) -> Report:
        index = task.index
        app = cast("AppDrop", self.drop(index))
        can_stop = type(app).cancel is not AppDrop.cancel
        if can_stop:
            signal.signal(signal.SIGTERM, _Canceller(app))
        if task.kind == PIECE:
            assert task.piece is not None
            data, content = task.piece
            app.data_written(self.uid(data), memoryview(self._bytes(content)))
            mine = {index, *self.graph.after[index]}  # inputs will hold more by the next piece
            objects = {i: drop for i, drop in self._objects.items() if i in mine}
            self._resident[index] = objects, self._states, self._placed
            return _NOTHING
        if task.kind == FINISH:
            self._resident.pop(index, None)
        elif app.delayed:
            time.sleep(max(0.0, app.delay_s()))
        try:
            app.run()
        finally:
            if can_stop:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return self._report(None, self.graph.after[index])

    # What is told

    def _report(self, error: BaseException | None, outputs: Sequence[int]) -> Report:
        """Gather what was written. After a failure files are closed and nothing is completed."""
        contents: dict[int, Content] = {}
        unsettled: dict[int, Failure] = {}
        for index in outputs:
            drop = self._objects.get(index)
            if not isinstance(drop, DataDrop) or self._is_shared(index):
                continue
            if self._states.get(index) == DropState.COMPLETED:
                continue  # the session has it since then, and others may be looking at it
            try:
                drop.settle()
                if isinstance(drop, MemoryDrop):
                    contents[index] = self._ship(drop)
            except BaseException as exc:  # noqa: BLE001  user code, or no room: the data fails, not its app
                unsettled[index] = failure_of(drop.uid, exc)
        if error is not None:
            self._release()
        elif not contents and not unsettled:
            return _NOTHING
        return Report(
            contents, None if error is None else failure_of(self.uid(self._task.index), error), unsettled
        )

    def _release(self) -> None:
        for drop in self._objects.values():
            if isinstance(drop, DataDrop):
                try:
                    drop.release()
                except Exception as error:  # noqa: BLE001  user code; the data is given up anyway
                    self._tools.log("penstock", f"release of {drop.uid} failed: {error!r}\n")

    def _ship(self, drop: MemoryDrop) -> Content:
        """Return the content of a drop as it travels: small ones inside, others through shared memory."""
        parts = drop.parts()
        placed = self._placed.get(drop.index)
        if placed is not None and len(parts) == 1 and parts[0] is placed[0]:
            return placed[1]
        return self._place(parts)

    def _place(self, parts: Sequence[Buffer]) -> Content:
        size = sum(memoryview(part).nbytes for part in parts)
        if size <= _INLINE_BYTES:
            return b"".join(parts)
        try:
            block = self._tools.allocate(size)
        except RequestFailed as exc:
            raise _error_of(exc) from None
        self._tools.memory.write(block, parts)
        return to_content(block)

    def _bytes(self, content: Content) -> Buffer:
        if isinstance(content, bytes):
            return content
        return self._tools.memory.view(Block(*content), private=True)

    def _ask(
        self, what: str, index: int, content: Content | None = None, text: tuple[str, str] | None = None
    ) -> bytes:
        try:
            return self._tools.request(encode(Request(what, index, content, text)))
        except RequestFailed as exc:
            raise _error_of(exc) from None

    # Drop objects

    def drop(self, index: int) -> Drop:
        """Return the object of a drop for the item that runs."""
        found = self._objects.get(index)
        if found is None:
            found = self._objects[index] = self._class(self.graph.class_of[index])(self, index)
            found.initialize()
        return found

    def _class(self, number: int) -> type[Drop]:
        cls = self._classes.get(number)
        if cls is None:
            name, kind = self._setup.classes[number]
            cls = self._classes[number] = find_class(name, kind)
        return cls

    def _is_shared(self, index: int) -> bool:
        return index in self.graph.streaming or len(self.graph.before[index]) > 1

    def _is_mine(self, index: int) -> bool:
        return index in self.graph.after[self._task.index]

    # What drops ask (drops.base.Site)

    def uid(self, index: int) -> str:
        return self.graph.spec(index).key

    def fields(self, index: int) -> Mapping[str, Any]:
        return self.graph.fields(index)

    def linked(self, index: int, side: Side) -> tuple[Linked, ...]:
        return self._neighbours.linked(index, side, self.drop)

    def status(self, index: int) -> DropState:
        known = self._states.get(index)
        if known is not None:
            return known
        if index in self.graph.before[self._task.index] and self._task.kind != PIECE:
            return DropState(self._task.states.get(index, DropState.COMPLETED))
        if self._is_mine(index) and not self._is_shared(index):
            return DropState.INITIALIZED
        return DropState(int.from_bytes(self._ask("status", index)))

    def execution(self, index: int) -> AppState:
        if index == self._task.index:
            return AppState.RUNNING
        return AppState(int.from_bytes(self._ask("execution", index)))

    def stored(self, index: int) -> Buffer | None:
        content = self._task.contents.get(index)
        if content is not None:
            return self._bytes(content)
        was_sent = index in self.graph.before[self._task.index] and self._task.kind != PIECE
        if not was_sent and not self._is_mine(index):
            content = _decode_content(self._ask("content", index))
        return None if content is None else self._bytes(content)

    def place(self, index: int, parts: Sequence[Buffer]) -> memoryview | None:
        if not self._is_mine(index) or self._is_shared(index):
            return None
        content = self._place(parts)
        if isinstance(content, bytes):
            return None
        view = memoryview(self._bytes(content)).toreadonly()
        self._placed[index] = view, content
        return view

    def writing(self, index: int, data: memoryview) -> bool:
        if not self._is_mine(index) or self._is_shared(index):
            self._ask("write", index, self._place([data]))
            return True
        state = self._states.get(index, DropState.INITIALIZED)
        if state in ENDED:
            raise DropNotWritable(self.uid(index), f"is {state.name} and takes no more data")
        self._states[index] = DropState.WRITING
        return False

    def written(self, index: int, data: memoryview) -> None:
        """Do nothing: streaming consumers have been served by the session, see `writing`."""

    def completed(self, index: int) -> None:
        content: Content | None = None
        drop = self.drop(index)
        if isinstance(drop, MemoryDrop) and not self._is_shared(index):
            content = self._ship(drop)
        self._ask("complete", index, content)
        self._states[index] = DropState.COMPLETED

    def skip(self, index: int) -> None:
        self._ask("skip", index)
        self._states[index] = DropState.SKIPPED

    def note(self, index: int, stream: str, text: str) -> None:
        if index == self._task.index:
            self._tools.log(stream, text)
        else:
            self._ask("note", index, None, (stream, text))


def _anything(name: str) -> bool:
    del name  # each drop is looked at
    return True


def _own_isolation(cls: type[Drop]) -> str:
    """Return what users' classes say of their isolation; what ours say is not meant for those derived from them."""
    for base in cls.__mro__:
        if base.__module__.startswith("penstock."):
            break
        if "isolation" in vars(base):
            return str(vars(base)["isolation"])
    return ""


class _Canceller:
    """Lets an app that can stop by itself do so when its process is asked to end."""

    def __init__(self, app: AppDrop) -> None:
        self._app = app

    def __call__(self, *_: object) -> None:
        try:
            self._app.cancel()
        finally:
            os._exit(128 + signal.SIGTERM)


def _error_of(refused: RequestFailed) -> BaseException:
    """Return the error that the session raised; it comes pickled, from the process that we belong to."""
    body = refused.body
    try:
        error = pickle.loads(body)  # noqa: S301  the session's process may tell its children what it likes
    except Exception:  # noqa: BLE001  the pool's own refusals are text
        return refused
    return error if isinstance(error, BaseException) else refused
