# SPDX-License-Identifier: Apache-2.0
"""Bash apps that are joined by streams: the standard output of one is the standard input of the next.

Through the drop between them only an address travels (`pipes.py`). The producer's `run` writes the address;
that calls the consumer's `data_written`, which starts the consumer's command at once; its `run`, which the
session calls when the stream has ended, only waits for the command. So both commands run at the same time
even where the session has one slot.

A command that runs while its app does not needs somebody who reads what it prints: one thread per consumer,
which begins in `data_written` and ends with the command.

A reader may end before it has read all (`yes | head -1`); SIGPIPE then ends the command that writes. As in a
shell this is no failure of the writer where the reader ended well; else the writer's error names the reader.
"""

import os
import signal
import threading
from typing import cast

from penstock.apps.command import Spool
from penstock.apps.pipes import OutgoingPipe, take_pipe
from penstock.apps.process import ShellProcess
from penstock.apps.shell import BashApp
from penstock.drops.base import Drop, Linked, Side
from penstock.drops.data import DataDrop
from penstock.errors import CommandFailed, PortMissing, StreamFailed

__all__ = ["StreamingInputBashApp", "StreamingInputOutputBashApp", "StreamingOutputBashApp"]


_BROKEN_PIPE = (-signal.SIGPIPE, 128 + signal.SIGPIPE)
"""How a command ends that nobody reads any more: by the signal, or as bash tells of what it started."""

_LOOK_S = 0.05


class _StreamingApp(BashApp):
    """What streaming apps share: an event that tells that they were cancelled, and the stream they write."""

    def initialize(self) -> None:
        super().initialize()
        self._stop = threading.Event()
        self._reader: Linked | None = None

    def cancel(self) -> None:
        self._stop.set()
        super().cancel()

    def _announce(self) -> OutgoingPipe:
        """Make a pipe and let the consumer of the first output with one know; the caller closes it."""
        pipe = OutgoingPipe(self.uid, self.site.directory)
        pipe.open()
        try:
            output = self._streaming_output()
            output.write(pipe.address)
            # Only now: writing has called the reader, and before that each look makes another object of an app.
            self._reader = next(iter(self._readers(output)), None)
        except BaseException:
            pipe.close()
            raise
        return pipe

    def _streaming_output(self) -> DataDrop:
        for link in self.output_links:
            readers = self._readers(link.drop)
            if len(readers) > 1:
                raise StreamFailed(
                    link.drop.uid, f"can have one streaming consumer, the graph links {len(readers)}"
                )
            if readers:
                return cast("DataDrop", link.drop)
        raise PortMissing(self.uid, "needs an output with a streaming consumer")

    def _readers(self, output: Drop) -> list[Linked]:
        return [reader for reader in self.site.linked(output.index, Side.AFTER) if reader.streaming]

    def _finish_writing(self, process: ShellProcess, pipe: OutgoingPipe) -> None:
        """Wait for the command that fills `pipe`, which is still open.

        Raises:
            CommandFailed: it ended badly; not if it could not write because its reader had ended well.
        """
        try:
            self.finish(process)
        except CommandFailed as exc:
            if exc.exit_code not in _BROKEN_PIPE or not pipe.is_left or self._stop.is_set():
                raise
            blame = self._blame_of_reader()
            if blame is not None:
                tail = "\n".join(text for text in (blame, process.stderr.text[-4096:].strip()) if text)
                raise CommandFailed(self.uid, exc.command, exc.exit_code, tail) from exc
            self.note("its reader had read enough and ended well, so the command was ended by SIGPIPE")

    def _blame_of_reader(self) -> str | None:
        """Wait for the end of the reader, which has stopped reading; None if it ended well."""
        if self._reader is None:
            return "its reader ended first"
        reader = self._reader.drop
        if not isinstance(reader, StreamingInputBashApp) or not reader.has_taken:
            return f"its reader {reader.uid} ended first"
        # The reader's command needs no slot of the session: it ends by itself, or both apps are cancelled.
        while not reader.command_ended.wait(_LOOK_S):
            if self._stop.is_set():
                break
        error = reader.command_error
        if error is None and not self._stop.is_set():
            return None
        cause = str(getattr(error, "reason", error or "")).partition("\n")[0]
        return f"its reader {reader.uid} ended first" + (f": {cause}" if cause else "")


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
                self._finish_writing(process, pipe)
            finally:
                pipe.close()
            spool.deliver()
        finally:
            spool.remove()


class StreamingInputBashApp(_StreamingApp):
    """Run `command` with a stream as its standard input, while the stream is written.

    Attributes:
        command_ended: set when the command has ended, or will never begin; `run` may come much later.
    """

    def initialize(self) -> None:
        super().initialize()
        self._spool = Spool(self.site.directory)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self.command_ended = threading.Event()

    @property
    def has_taken(self) -> bool:
        """Whether a stream has come; only then will `command_ended` ever be set."""
        return self._thread is not None or self._error is not None

    @property
    def command_error(self) -> BaseException | None:
        """What went wrong, for `run` to raise; None if nothing did."""
        return self._error

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
            self.command_ended.set()
            return
        try:
            process = self.prepare(self._spool)
            outgoing = self._outgoing()
        except Exception as exc:  # noqa: BLE001  not the writer's fault: reported by `run`
            self._error = exc
            self.command_ended.set()
            os.close(stdin)
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
            if outgoing is None:
                self.finish(process)
            else:
                self._finish_writing(process, outgoing)
        except Exception as exc:  # noqa: BLE001  end of a thread: reported by `run`
            self._error = exc
        finally:
            if outgoing is not None:
                outgoing.close()
            self.command_ended.set()
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
