"""Apps and data classes of users for `test_workers_data.py`. Only workers import this module."""

import hashlib
import io
import json
import os
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from penstock import AppDrop, DataDrop, Parameter
from penstock.apps.flow import BranchApp
from penstock.drops.file import FileDrop
from penstock.drops.memory import MemoryDrop
from penstock.errors import DropNotReadable, DropNotWritable

from .worker_apps import await_file, note

PATTERN = bytes(range(256)) * 16


def pattern(size: int, first: int = 0) -> bytes:
    return (PATTERN[first:] + PATTERN * (size // len(PATTERN) + 1))[:size]


class Fill(AppDrop):
    """Writes that many bytes, in pieces if need be."""

    bytes_ = Parameter(int, 0)
    first = Parameter(int, 0)
    pieces = Parameter(int, 1)

    def run(self) -> None:
        content = pattern(self.bytes_, self.first)
        step = max(1, -(-len(content) // self.pieces))
        for at in range(0, max(1, len(content)), step):
            for output in self.outputs:
                output.write(content[at : at + step])


class Digest(AppDrop):
    """Writes size and hash of its inputs, read in all ways there are."""

    def run(self) -> None:
        found = {}
        for source in self.inputs:
            with source.open() as reader:
                chunks = b"".join(iter(lambda: reader.read(1000), b""))
            ways = {source.read(), bytes(source.buffer()), chunks}
            found[source.uid] = [source.size, hashlib.sha256(ways.pop()).hexdigest(), len(ways)]
        self.outputs[0].write(json.dumps(found))


class Early(AppDrop):
    """Completes its first output at once, tries to add to it, and ends when the test has seen it."""

    def run(self) -> None:
        first = self.outputs[0]
        first.write(pattern(100_000))
        first.complete()
        try:
            first.write("more")
        except DropNotWritable as error:
            note(self.site.directory / "refused", str(error))
        await_file(self.site.directory / "go")


class Late(AppDrop):
    """Makes a file when it runs."""

    def run(self) -> None:
        (self.site.directory / "go").touch()


class WaitsThen(AppDrop):
    """Writes as many bytes as were expected and then waits until its consumer has run."""

    def run(self) -> None:
        self.outputs[0].write("12345")
        await_file(self.site.directory / "go")


class Choose(BranchApp):
    """Takes the second way."""

    def condition(self) -> bool:
        return False


class WritesInput(AppDrop):
    """Writes to what it should read."""

    def run(self) -> None:
        self.inputs[0].write("more")


class ReadsOutput(AppDrop):
    """Reads what it has just written."""

    def run(self) -> None:
        self.outputs[0].write("some")
        self.outputs[0].read()


class Looks(AppDrop):
    """Writes what it sees of its drops."""

    def run(self) -> None:
        source, target = self.inputs[0], self.outputs[0]
        with source.open():
            being_read = source.is_being_read
        seen: list[Any] = [source.status.name, being_read, source.is_being_read, target.status.name]
        target.write("[")
        seen += [target.status.name, self.exec_status.name, [drop.uid for drop in source.producers]]
        seen += [[drop.uid for drop in target.consumers], source.checksum, self.fields["extra"], self.uid]
        target.write(json.dumps(seen)[1:])


class Members(AppDrop):
    """Writes what the members of a container hold."""

    def run(self) -> None:
        container = self.inputs[0]
        children = container.children  # type: ignore[attr-defined]
        self.outputs[0].write(b"|".join(child.read() for child in children))


class ListFolder(AppDrop):
    """Puts a file into a folder, or lists one."""

    def run(self) -> None:
        for output in self.outputs:
            if hasattr(output, "path") and output.uid == "folder":
                Path(output.path).mkdir(exist_ok=True)
                (Path(output.path) / "inside").write_text("x")
            else:
                names = sorted(os.listdir(self.inputs[0].path))  # type: ignore[attr-defined]
                output.write(" ".join(names))


class WritesJson(AppDrop):
    """Writes JSON."""

    def run(self) -> None:
        self.outputs[0].write('{"a": [1, 2]}')


class ReadsJson(AppDrop):
    """Looks into JSON."""

    def run(self) -> None:
        self.outputs[0].write(str(self.inputs[0]["a"][1]))  # type: ignore[index]


class Backwards(MemoryDrop):
    """Memory that is read backwards."""

    def _reader(self) -> BinaryIO:
        return io.BytesIO(self._joined()[::-1])


class Stamped(FileDrop):
    """A file with a line at its beginning."""

    def _append(self, data: memoryview) -> None:
        if not self._written_bytes:
            super()._append(memoryview(b"stamp\n"))
        super()._append(data)


class Elsewhere(DataDrop):
    """Keeps its bytes in a file of its own."""

    def _place(self) -> Path:
        return self.site.directory / f"elsewhere-{self.uid}"

    def _append(self, data: memoryview) -> None:
        with self._place().open("ab") as file:
            file.write(data)

    def _reader(self) -> BinaryIO:
        try:
            return self._place().open("rb")
        except OSError as exc:
            raise DropNotReadable(self.uid, "is gone") from exc


class Opened:
    """A value that tells in which process it is opened."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return opened, (self.path,)


def opened(path: str) -> str:
    note(path, str(os.getpid()))
    return path


def make_canary(path: str) -> Opened:
    return Opened(path)


def take(value: str) -> str:
    """Take what another function returned."""
    return f"{os.getpid()} {value}"


def canary_pickle(path: str) -> bytes:
    return pickle.dumps(Opened(path))


def make_array(count: int = 100_000) -> np.ndarray[Any, Any]:
    return np.arange(count, dtype=np.float64)


def sum_array(x: np.ndarray[Any, Any]) -> float:
    return float(x.sum())


def double_array(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    x *= 2  # an input is the function's own
    return x


kept: list[tuple[memoryview, str]] = []


class Keeps(AppDrop):
    """Keeps the buffer of its input beyond its own end, and looks whether those kept before are as they were."""

    def run(self) -> None:
        view = self.inputs[0].buffer()
        kept.append((view, hashlib.sha256(view).hexdigest()))
        good = [hashlib.sha256(view).hexdigest() == digest for view, digest in kept]
        self.outputs[0].write(f"{sum(good)} of {len(good)}")
        note(self.site.directory / "kept", f"{sum(good)} of {len(good)}")
