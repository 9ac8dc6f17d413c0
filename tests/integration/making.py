"""Graphs for the tests of this folder, and apps that do what a test needs."""

import io
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import penstock
from penstock import AppDrop, DataDrop, Parameter
from penstock.drops.base import Drop
from penstock.drops.file import FileDrop
from penstock.drops.memory import MemoryDrop
from penstock.drops.null import EndDrop, NullDrop
from penstock.runtime import result
from penstock.runtime.session import Session

HANG_S = 60.0
"""How long anything in these tests may take before it counts as hanging."""

COMPLETED, ERROR, CANCELLED, SKIPPED = 2, 3, 6, 7
OVER = (COMPLETED, ERROR, 4, 5, CANCELLED, SKIPPED)

SHELL = "dlg.apps.bash_shell_app.BashShellApp"
STREAM_OUT = "dlg.apps.bash_shell_app.StreamingOutputBashApp"
STREAM_IN = "dlg.apps.bash_shell_app.StreamingInputBashApp"
STREAM_BOTH = "dlg.apps.bash_shell_app.StreamingInputOutputBashApp"

Fields = dict[str, Any]
Graph = list[Fields]


def data(uid: str, cls: type[Drop] | str = MemoryDrop, **fields: Any) -> Fields:
    return {"oid": uid, "categoryType": "Data", "dropclass": _name(cls), **fields}


def null(uid: str, **fields: Any) -> Fields:
    return data(uid, NullDrop, **fields)


def end(uid: str, **fields: Any) -> Fields:
    return data(uid, EndDrop, **fields)


def file(uid: str, filepath: str = "", **fields: Any) -> Fields:
    return data(uid, FileDrop, **({"filepath": filepath} if filepath else {}), **fields)


def app(uid: str, cls: type[Drop] | str, inputs: Any = (), outputs: Any = (), **fields: Any) -> Fields:
    links = {"inputs": list(inputs), "outputs": list(outputs)}
    return {"oid": uid, "categoryType": "Application", "dropclass": _name(cls), **links, **fields}


def shell(uid: str, command: str, inputs: Any = (), outputs: Any = (), **fields: Any) -> Fields:
    return app(uid, SHELL, inputs, outputs, command=command, **fields)


def _name(cls: type[Drop] | str) -> str:
    return cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__qualname__}"


def run(graph: Graph, **options: Any) -> penstock.RunResult:
    """Run a graph on threads unless told otherwise: most apps here share gates with their test."""
    options.setdefault("timeout_s", HANG_S)
    options.setdefault("isolation", "thread")
    return penstock.run(graph, **options)


def new_session(graph: Any, **options: Any) -> Session:
    """Make a session whose apps run on threads unless told otherwise."""
    options.setdefault("isolation", "thread")
    return result.new_session(graph, **options)


def codes(result: penstock.RunResult) -> dict[str, tuple[int, int | None]]:
    return {uid: (int(s), None if e is None else int(e)) for uid, (s, e) in result.states.items()}


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Call `work` in that many threads at once; what one of them raises is raised here."""
    results: list[Any] = [None] * count
    errors: list[BaseException] = []
    start = threading.Barrier(count)

    def one(number: int) -> None:
        try:
            start.wait(HANG_S)
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,), name=f"test-{number}") for number in range(count)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + HANG_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert not [thread.name for thread in threads if thread.is_alive()], "hangs"
    if errors:
        raise errors[0]
    return results


class Gates(dict[str, threading.Event]):
    """Events by name, made when first asked for."""

    def __missing__(self, name: str) -> threading.Event:
        return self.setdefault(name, threading.Event())

    def wait(self, name: str) -> None:
        if not self[name].wait(HANG_S):
            raise TimeoutError(f"nobody opened {name}")


gates = Gates()


class Give(AppDrop):
    """Writes a text to each output."""

    text = Parameter(str, "hello")

    def run(self) -> None:
        for output in self.outputs:
            output.write(self.text)


class Join(AppDrop):
    """Writes all inputs to each output."""

    def run(self) -> None:
        content = b"".join(source.read() for source in self.inputs if source.status == COMPLETED)
        for output in self.outputs:
            output.write(content)


class Nothing(AppDrop):
    """Does nothing."""


class Fail(AppDrop):
    """Fails."""

    def run(self) -> None:
        raise ValueError("it must be positive, got -1")


class Wait(AppDrop):
    """Says that it has begun and waits for a gate of the test; writes to its outputs then."""

    gate = Parameter(str, "gate")

    def run(self) -> None:
        gates[f"{self.gate} begun"].set()
        gates.wait(self.gate)
        for output in self.outputs:
            output.write(b"late")


class Open(AppDrop):
    """Opens a gate of the test."""

    gate = Parameter(str, "gate")

    def run(self) -> None:
        gates[self.gate].set()


class Later(AppDrop):
    """Waits on a timer."""

    delayed = True
    seconds = Parameter(float, 0.01)

    def delay_s(self) -> float:
        return self.seconds


class Count(AppDrop):
    """Counts how many of its kind run at once."""

    lock: ClassVar[threading.Lock] = threading.Lock()
    now: ClassVar[dict[str, int]] = {}
    most: ClassVar[dict[str, int]] = {}
    total: ClassVar[dict[str, int]] = {}

    def run(self) -> None:
        name = self.site.session_id
        with self.lock:
            self.now[name] = self.now.get(name, 0) + 1
            self.most[name] = max(self.most.get(name, 0), self.now[name])
            self.total[name] = self.total.get(name, 0) + 1
        time.sleep(0.0005)  # lets the others in, if there are any
        with self.lock:
            self.now[name] -= 1


class Pieces(AppDrop):
    """A streaming consumer in Python: keeps the pieces, writes them in brackets when all have come."""

    def initialize(self) -> None:
        self.pieces: list[bytes] = []

    def data_written(self, uid: str, data: memoryview) -> None:
        self.pieces.append(bytes(data))

    def run(self) -> None:
        for output in self.outputs:
            output.write(b"".join(b"[%s]" % piece for piece in self.pieces))


class Parts(AppDrop):
    """A producer in pieces: "0", "1", ..."""

    count = Parameter(int, 5)
    fails_at = Parameter(int, -1)

    def run(self) -> None:
        for number in range(self.count):
            if number == self.fails_at:
                raise ValueError(f"no part {number}")
            for output in self.outputs:
                output.write(str(number))


class StuckDrop(DataDrop):
    """Data whose write hangs, with the drop's lock held."""

    def _append(self, data: memoryview) -> None:
        gates["stuck begun"].set()
        gates.wait("stuck")

    def _reader(self) -> Any:
        return io.BytesIO()

    def release(self) -> None:
        with self._lock:
            pass
