# SPDX-License-Identifier: Apache-2.0
"""Streaming links between nodes: pieces go to the home of their data, and from there to whoever takes them.

An app that writes to data elsewhere writes to its home, piece by piece; the home keeps the data and sends the pieces
on to every node with a streaming consumer. Each way is one stream with back-pressure: who writes waits for the
slowest who takes. Data that streams in is complete when its streams have ended.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Protocol, cast

from penstock.drops.data import Buffer, DataDrop
from penstock.engine.states import DropState
from penstock.errors import DropNotReadable, DropNotWritable, PenstockError, StreamFailed, WireError
from penstock.runtime.ghosts import Ghosts
from penstock.runtime.session import Session

__all__ = ["Pieces", "Relay", "Streams", "Taken"]

_RETRY_S = 0.1
_JOIN_S = 2.0


class Pieces(Protocol):
    """The writing end of a stream to another node."""

    def write(self, piece: bytes) -> None:
        """Hand on a piece; waits while too much is not taken. Raises `WireError` when nobody takes any more."""

    def end(self) -> None: ...
    def abort(self, error: PenstockError) -> None: ...


class Taken(Protocol):
    """The reading end of a stream from another node."""

    def __iter__(self) -> Iterator[Buffer]: ...

    def close(self) -> None:
        """Take no more; who writes learns of it."""


class Streams(Protocol):
    """How streams leave this node and come to it."""

    def lend(self, name: str) -> Pieces:
        """Make a stream that another node may read."""
        ...

    def withdraw(self, name: str) -> None:
        """Stop a stream; whoever reads it learns of it."""

    def stream(self, node: str, name: str) -> Taken:
        """Read a stream of another node; the first piece raises `WireError` where there is none of that name."""
        ...


class Relay:
    """The streams of one session between this node and others.

    Args:
        own: the address by which the other nodes know this one.
        epoch: number of the deployment.
    """

    def __init__(self, session: Session, ghosts: Ghosts, own: str, epoch: int, streams: Streams) -> None:
        self._session = session
        self._homes = ghosts.homes
        self._own = own
        self._epoch = epoch
        self._streams = streams
        self._wiring = session.prepared.wiring
        self._out: dict[int, dict[str, Pieces]] = {}  # by data, by node
        self._in: dict[int, list[threading.Event]] = {}  # by data; set when its stream has ended
        self._errors: dict[int, Exception] = {}
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        for index in {*self._wiring.streaming, *ghosts.forwarded}:
            self._lay(index, is_forwarded=index in ghosts.forwarded)

    def _lay(self, index: int, *, is_forwarded: bool) -> None:
        """Make the streams of one data drop."""
        wiring, homes = self._wiring, self._homes
        takers = wiring.streaming.get(index, ())
        home = homes.get(index)
        if home is None:
            to = {homes[i] for i in takers if i in homes}
            sources = {homes[i] for i in wiring.before[index] if i in homes}
        else:
            to = {home} if is_forwarded else set()
            sources = {home} if any(i not in homes for i in takers) else set()
        for node in sorted(to):
            self._out.setdefault(index, {})[node] = self._streams.lend(self._name(index, self._own, node))
        for node in sorted(sources):
            ended = threading.Event()
            self._in.setdefault(index, []).append(ended)
            self._threads.append(
                threading.Thread(
                    target=self._take, args=(index, node, ended), name="penstock-stream", daemon=True
                )
            )

    def _name(self, index: int, writer: str, reader: str) -> str:
        return "\n".join(
            (self._session.session_id, str(self._epoch), self._session.uid(index), writer, reader)
        )

    def __bool__(self) -> bool:
        return bool(self._out or self._in)

    def start(self) -> None:
        """Begin to take what streams in."""
        for thread in self._threads:
            thread.start()

    # Writing

    def write(self, index: int, data: memoryview) -> None:
        """Send a piece to all nodes that want it; waits for them.

        Raises:
            DropNotWritable: one of them does not take any more.
        """
        piece = bytes(data)
        for node, pieces in self._out.get(index, {}).items():
            try:
                pieces.write(piece)
            except WireError as exc:
                uid = self._session.uid(index)
                raise DropNotWritable(uid, f"takes no more data: its stream to {node} has ended") from exc

    def ended(self, index: int, state: int) -> None:
        """Note that a drop has ended here: the streams that it fed end with it."""
        wiring, flow = self._wiring, self._session.flow
        if not flow.is_app(index):
            self._end(index, is_good=state == DropState.COMPLETED)
            return
        for data in wiring.after[index]:
            writers = [i for i in wiring.before[data] if i not in self._homes]
            if data in self._homes and all(flow.state[i] > DropState.WRITING for i in writers):
                self._end(data, is_good=all(flow.state[i] == DropState.COMPLETED for i in writers))

    def _end(self, index: int, *, is_good: bool) -> None:
        for node, pieces in self._out.get(index, {}).items():
            if is_good:
                pieces.end()
            else:
                uid = self._session.uid(index)
                pieces.abort(StreamFailed(uid, f"its stream to {node} ended before its end"))

    # Taking

    def brings(self, index: int) -> bool:
        """Whether the content of data streams in."""
        return index in self._in

    def wait(self, index: int) -> None:
        """Wait until all that streams into data has come.

        Raises:
            DropNotReadable: not all of it came.
        """
        for ended in self._in.get(index, ()):
            ended.wait()
        error = self._errors.get(index)
        if error is not None:
            raise DropNotReadable(self._session.uid(index), f"did not come whole: {error}") from error

    def _take(self, index: int, node: str, ended: threading.Event) -> None:
        try:
            drop = cast("DataDrop", self._session.drop(index))
            keep = self._deliver(drop) if index in self._homes else self._write(drop)
            self._read(node, self._name(index, node, self._own), keep)
        except Exception as error:  # noqa: BLE001  the boundary of a thread; `wait` raises it
            self._errors[index] = error
        finally:
            ended.set()

    def _read(self, node: str, name: str, keep: Callable[[Buffer], None]) -> None:
        while True:
            taken = self._streams.stream(node, name)
            has_begun = False
            try:
                for piece in taken:
                    has_begun = True
                    keep(piece)
                return
            except WireError:  # at first: the other node has not been told of its share yet
                if has_begun or self._closed.wait(_RETRY_S):
                    raise
            except BaseException:
                taken.close()
                raise

    def _deliver(self, drop: DataDrop) -> Callable[[Buffer], None]:
        def keep(piece: Buffer) -> None:
            drop.receive([piece])
            self._session.deliver(drop.index, memoryview(piece))

        return keep

    def _write(self, drop: DataDrop) -> Callable[[Buffer], None]:
        def keep(piece: Buffer) -> None:
            drop.write(piece)

        return keep

    def end(self) -> None:
        """End all streams: nobody waits for anybody any more."""
        self._closed.set()
        for index, ways in self._out.items():
            for node, pieces in ways.items():
                with suppress(PenstockError):  # it has ended before
                    pieces.abort(StreamFailed(self._session.uid(index), "its session has ended"))
                self._streams.withdraw(self._name(index, self._own, node))

    def close(self) -> None:
        """Wait for the threads to end, after `end`."""
        for thread in self._threads:
            thread.join(_JOIN_S)
