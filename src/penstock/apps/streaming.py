# SPDX-License-Identifier: Apache-2.0
"""Bash apps that are joined by streams: the standard output of one is the standard input of the next.

Through the drop between them only an address travels (`pipes.py`). The producer's `run` writes the address;
that calls the consumer's `data_written`, which starts the consumer's command at once; its `run`, which the
session calls when the stream has ended, only waits for the command. So both commands run at the same time
even where the session has one slot.

A command that runs while its app does not needs somebody who reads what it prints: one thread per consumer,
which begins in `data_written` and ends with the command.
"""

import os
import threading
from typing import cast

from penstock.apps.command import Spool
from penstock.apps.pipes import OutgoingPipe, take_pipe
from penstock.apps.process import ShellProcess
from penstock.apps.shell import BashApp
from penstock.drops.base import Side
from penstock.drops.data import DataDrop
from penstock.errors import PortMissing, StreamFailed

__all__ = ["StreamingInputBashApp", "StreamingInputOutputBashApp", "StreamingOutputBashApp"]


class _StreamingApp(BashApp):
    """What streaming apps share: an event that tells that they were cancelled, and the stream they write."""

    def initialize(self) -> None:
        super().initialize()
        self._stop = threading.Event()

    def cancel(self) -> None:
        self._stop.set()
        super().cancel()

    def _announce(self) -> OutgoingPipe:
        """Make a pipe and let the consumer of the first output with one know; the caller closes it."""
        pipe = OutgoingPipe(self.uid, self.site.directory)
        pipe.open()
        try:
            self._streaming_output().write(pipe.address)
        except BaseException:
            pipe.close()
            raise
        return pipe

    def _streaming_output(self) -> DataDrop:
        for link in self.output_links:
            readers = [reader for reader in self.site.linked(link.drop.index, Side.AFTER) if reader.streaming]
            if len(readers) > 1:
                raise StreamFailed(
                    link.drop.uid, f"can have one streaming consumer, the graph links {len(readers)}"
                )
            if readers:
                return cast("DataDrop", link.drop)
        raise PortMissing(self.uid, "needs an output with a streaming consumer")


class StreamingOutputBashApp(_StreamingApp):
    """Run `command` with its standard output as a stream to the consumer of the output."""

    def run(self) -> None:
        spool = Spool(self.site.directory)
        try:
            process = self.prepare(spool)
            pipe = self._announce()
            try:
                pipe.wait_taken(self._stop)
                process.start(stdout=pipe.fd)
            finally:
                pipe.close()
            self.finish(process)
            spool.deliver()
        finally:
            spool.remove()


class StreamingInputBashApp(_StreamingApp):
    """Run `command` with a stream as its standard input, while the stream is written."""

    def initialize(self) -> None:
        super().initialize()
        self._spool = Spool(self.site.directory)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def data_written(self, uid: str, data: memoryview) -> None:
        """Take the stream's address and start the command; what goes wrong is raised by `run`."""
        if self._thread is not None or self._error is not None:
            self._error = self._error or StreamFailed(
                self.uid, f"can take one stream; drop {uid} brings another"
            )
            return
        try:
            stdin = take_pipe(self.uid, self.site.directory, bytes(data))
        except StreamFailed as exc:
            self._error = exc
            return
        try:
            process = self.prepare(self._spool)
            outgoing = self._outgoing()
        except Exception as exc:  # noqa: BLE001  not the writer's fault: reported by `run`
            os.close(stdin)
            self._error = exc
            return
        name = f"stream-{self.uid}"
        self._thread = threading.Thread(target=self._consume, args=(process, stdin, outgoing), name=name)
        self._thread.start()

    def _outgoing(self) -> OutgoingPipe | None:
        """Return the stream that the command writes itself; none here."""
        return None

    def _consume(self, process: ShellProcess, stdin: int, outgoing: OutgoingPipe | None) -> None:
        try:
            try:
                if outgoing is not None:
                    outgoing.wait_taken(self._stop)
                process.start(stdin=stdin, stdout=None if outgoing is None else outgoing.fd)
            finally:
                os.close(stdin)
                if outgoing is not None:
                    outgoing.close()
            self.finish(process)
        except Exception as exc:  # noqa: BLE001  end of a thread: reported by `run`
            self._error = exc
        finally:
            if self._stop.is_set():  # perhaps nobody calls `run`
                self._spool.remove()

    def run(self) -> None:
        try:
            if self._thread is not None:
                self._thread.join()
            if self._error is not None:
                raise self._error
            if self._thread is None:
                raise StreamFailed(
                    self.uid, "no stream came: link a streaming input from a streaming bash app"
                )
            self._spool.deliver()
        finally:
            self._spool.remove()


class StreamingInputOutputBashApp(StreamingInputBashApp):
    """Run `command` between two streams: its standard input and its standard output."""

    def _outgoing(self) -> OutgoingPipe:
        return self._announce()
