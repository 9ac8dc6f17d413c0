"""Apps that stream, for `test_workers_streams.py`. Only workers import this module."""

import os
import signal

from penstock import AppDrop, Parameter

from .worker_apps import await_file, note


class Pieces(AppDrop):
    """Keeps the pieces of a stream, writes them in brackets when all have come."""

    def initialize(self) -> None:
        self.pieces: list[bytes] = []

    def data_written(self, uid: str, data: memoryview) -> None:
        self.pieces.append(bytes(data))

    def run(self) -> None:
        for output in self.outputs:
            output.write(b"".join(b"[%s]" % piece for piece in self.pieces))


class Parts(AppDrop):
    """Writes "0", "1", ... piece by piece."""

    count = Parameter(int, 5)
    first = Parameter(int, 0)
    fails_at = Parameter(int, -1)
    size = Parameter(int, 0)
    told = Parameter(bool, False)

    def run(self) -> None:
        for number in range(self.first, self.first + self.count):
            if number == self.fails_at:
                raise ValueError(f"no part {number}")
            for output in self.outputs:
                output.write(str(number % 10) * self.size if self.size else str(number))
            if self.told:
                note(self.site.directory / "written", str(number))


class Upper(AppDrop):
    """Passes each piece on at once."""

    def data_written(self, uid: str, data: memoryview) -> None:
        for output in self.outputs:
            output.write(b"<%s>" % bytes(data))


class Picky(Pieces):
    """Fails at a certain piece."""

    def data_written(self, uid: str, data: memoryview) -> None:
        super().data_written(uid, data)
        if bytes(data) == b"3":
            raise ValueError("no threes")
        note(self.site.directory / f"taken by {self.uid}", bytes(data).decode())


class Leave(Pieces):
    """Leaves at its first piece."""

    def data_written(self, uid: str, data: memoryview) -> None:
        raise SystemExit(3)


class BadStart(Pieces):
    """Cannot even begin."""

    def initialize(self) -> None:
        raise ValueError("not today")


class Dying(Pieces):
    """Kills its process over a certain piece."""

    def data_written(self, uid: str, data: memoryview) -> None:
        if bytes(data) == b"3":
            os.kill(os.getpid(), signal.SIGKILL)


class Slow(Pieces):
    """Takes a piece when the test allows it."""

    def data_written(self, uid: str, data: memoryview) -> None:
        await_file(self.site.directory / "go")
        super().data_written(uid, data)


class Talkative(Pieces):
    """Prints what it takes, and what its other input holds."""

    def data_written(self, uid: str, data: memoryview) -> None:
        inputs = {drop.uid: drop for drop in self.inputs}
        other = inputs["other"].read().decode() if "other" in inputs else ""
        print("took", bytes(data).decode(), "of", uid, other)


class Peeks(Pieces):
    """Tells in a file in what state it sees the stream that it takes."""

    def data_written(self, uid: str, data: memoryview) -> None:
        note(self.site.directory / "seen", self.inputs[0].status.name)


class Waits(AppDrop):
    """Writes a piece and waits until its consumer has taken it."""

    def run(self) -> None:
        self.outputs[0].write("one")
        await_file(self.site.directory / "seen")


class Sizes(Pieces):
    """Writes how long its pieces were, and which letter each had."""

    def run(self) -> None:
        assert all(set(piece) == {piece[0]} for piece in self.pieces)
        self.outputs[0].write(" ".join(f"{piece[:1].decode()}{len(piece)}" for piece in self.pieces))
