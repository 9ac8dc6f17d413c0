# SPDX-License-Identifier: Apache-2.0
"""Python functions called in the slots of a pool: `Calls` for the process that wants it, `main` for the children.

    settings = PoolSettings(preload=("penstock.workers.calls",))  # imported once, not by each child
    with Arena(1 << 30) as arena, WorkerPool(settings, arena) as pool, Calls(pool) as calls:
        calls.submit(pow, 2, 10).result()

`Calls` is for a user's own process: it unpickles results. A manager must not use it, it hands bodies on unopened.

Rule 1: a body names its function by the digest of its code. A child that has not got it asks, and is answered
        from the call that it runs; so bodies are right whichever child gets them, and however often.
Rule 2: a call is in `_calls` until it has ended; who takes it out frees the blocks of its arguments. That happens
        on the pool's thread, between whose `begin` and loan they must not go, or when nothing of ours runs any more.
Rule 3: code of users (unpickling, callbacks of futures, handlers of logs) runs on the thread "penstock-calls".
Rule 4: results are copied out of shared memory before their future is set: they belong to the caller, can be
        written, and outlive everything here; shared memory is free again however long results are kept.
"""

import gc
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Any, Self, TypeVar, cast, overload
from weakref import WeakValueDictionary

from penstock.errors import (
    ArenaFull,
    BlockUnknown,
    CallFailed,
    CallLost,
    PenstockError,
    PoolBroken,
    SerializationError,
)
from penstock.wire.arena import Block
from penstock.wire.payload import (
    Function,
    FunctionTable,
    error_text,
    pack,
    pack_error,
    pack_function,
    unpack,
    unpack_error,
)
from penstock.workers.child import RequestFailed, Tools
from penstock.workers.customer import Answer, Begun, Death, Job, Outcome
from penstock.workers.frames import TOKEN, Status
from penstock.workers.pool import Holder, WorkerPool

__all__ = ["Calls", "main"]

log = logging.getLogger(__name__)

_ENTRY = "penstock.workers.calls:main"
_CLOSE_S = 10.0
_MOST_BYTES = 1 << 31  # of a body or a function; a frame takes twice that
_DIGEST_BYTES = 32
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})  # have no code to be sent
_RESULT = {"value": "result"}

_Result = TypeVar("_Result")


class Calls:
    """Calls functions in slots of a pool; every method may be called on any thread.

    Used as a context manager, or closed by `close`. What functions print and log goes to the logger
    `penstock.workers.calls`.

    Args:
        name: for people.
        threshold_bytes: buffers of arguments and results from this size on go through shared memory.
        spill: folder for those for which there is no room in it.
    """

    def __init__(
        self,
        pool: WorkerPool,
        *,
        name: str = "calls",
        threshold_bytes: int = 64 << 10,
        spill: Path | None = None,
    ) -> None:
        self._pool = pool
        self._arena = pool.arena
        self._name = name
        self._threshold_bytes = threshold_bytes
        self._spill = spill
        self._lock = threading.Lock()
        self._idents = count(1)
        self._calls: dict[int, _Call] = {}
        self._jobs: list[Job] = []  # the pool has not got yet
        self._codes: WeakValueDictionary[bytes, _Code] = WeakValueDictionary()
        self._refusal = ""
        self._holder: Holder | None = None
        self._thread: threading.Thread | None = None
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @overload
    def submit(
        self, fn: Callable[..., _Result], /, *args: object, writable: bool = False, **kwargs: object
    ) -> "Future[_Result]": ...

    @overload
    def submit(
        self, fn: Function, /, *args: object, writable: bool = False, **kwargs: object
    ) -> "Future[Any]": ...  # a packed function does not tell what it returns

    def submit(
        self, fn: Callable[..., Any] | Function, /, *args: object, writable: bool = False, **kwargs: object
    ) -> "Future[Any]":
        """Let a slot call `fn(*args, **kwargs)`, and return its future.

        The function and its arguments are taken as they are now. Functions that cannot be imported go by their code,
        with the globals that they use; a child keeps them, so what they write to globals is seen by later calls
        there. A function that is submitted often can be packed once, by `penstock.wire.payload.pack_function`.

        The future: what the function raises is raised by `result`, with the traceback in its notes; `CallFailed`
        stands for what cannot be sent, and for what would end the caller (`SystemExit`, `StopIteration`, ...).
        `cancel` works until the result is there: a call that runs is ended with its process. Callbacks run on
        a thread of this object and must not wait for other calls.

        A function runs more than once only if a signal ended its process: after the third time it is `CallLost`,
        and at once where it ended its process itself.

        Args:
            writable: arrays in arguments can be written, in a copy of its own; otherwise they are read only
                and those in shared memory are not copied.
        Raises:
            SerializationError: the function or an argument cannot be sent.
            ArenaFull: there is no room for the arguments.
            PoolBroken: the pool cannot go on, or this is closed.
        """
        holder = self._opened()
        function = fn if isinstance(fn, Function) else pack_function(fn)
        _check_size("function", function.code)
        blocks: list[Block] = []
        try:
            head = function.digest + bytes([writable])
            body = head + (self._packed(args, kwargs, blocks) if args or kwargs else b"")
            _check_size("args", body)
            ident = next(self._idents)
            future = _Future(self._forget_later, ident)
            job = Job(ident, int.from_bytes(function.digest[:8]))
            with self._lock:
                self._check_open()
                code = self._codes.setdefault(function.digest, _Code(function.code))
                self._calls[ident] = _Call(future, code, body, blocks)
                self._jobs.append(job)
                is_first = len(self._jobs) == 1
        except BaseException:
            self._free(blocks)
            raise
        if is_first:  # the others go with it
            self._pool.post(partial(self._hand_on, holder))
        return future

    def close(self, timeout_s: float = _CLOSE_S) -> bool:
        """Cancel what has not ended, and end what runs; False when the time was up first.

        Wait for futures before that if they matter. Results that are there already stay valid.
        """
        until = monotonic() + timeout_s
        with self._lock:
            self._refusal = self._refusal or "these calls are closed"
            holder, thread = self._holder, self._thread
        if holder is None or thread is None:
            return True
        ended = holder.close(timeout_s, "its calls were closed")
        if ended:
            self._end()
        else:
            self._pool.post(self._end)
        if thread is not threading.current_thread():
            thread.join(max(0.0, until - monotonic()))
        return ended and not thread.is_alive()

    # What is sent

    def _check_open(self) -> None:
        if self._refusal:
            raise PoolBroken(self._refusal)

    def _opened(self) -> Holder:
        with self._lock:
            self._check_open()
            if self._holder is None:
                self._holder = self._pool.open(
                    self._name, _ENTRY, TOKEN.pack(self._threshold_bytes), self, spill=self._spill
                )
                self._thread = threading.Thread(target=self._serve, name="penstock-calls", daemon=True)
                self._thread.start()
            return self._holder

    def _hand_on(self, holder: Holder) -> None:
        with self._lock:
            jobs, self._jobs = self._jobs, []
        holder.submit(jobs)

    def _packed(self, args: tuple[object, ...], kwargs: dict[str, object], blocks: list[Block]) -> bytes:
        """Return arguments as a message, and append the blocks that it mentions."""

        def place(buffer: memoryview) -> Block:
            block = self._arena.allocate(buffer.nbytes, spill=self._spill)
            blocks.append(block)
            self._arena.write(block, [buffer])
            return block

        by_value = any(type(one) not in _PLAIN for one in (*args, *kwargs.values()))
        try:
            return pack((args, kwargs), place=place, threshold_bytes=self._threshold_bytes, by_value=by_value)
        except SerializationError as exc:
            raise _renamed(exc, {"value[0]": "args", "value[1]": "kwargs", "value": "args"}) from exc

    def _free(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            with suppress(BlockUnknown):  # the arena was closed meanwhile
                self._arena.free(block)

    # Where calls end

    def _take(self, ident: int) -> "_Call | None":
        """Take a call out, see rule 2; None where it has ended."""
        with self._lock:
            call = self._calls.pop(ident, None)
        if call is not None:
            self._free(call.blocks)
        return call

    def _forget_later(self, ident: int) -> None:
        self._pool.post(partial(self._forget, ident))

    def _forget(self, ident: int) -> None:
        """End a call whose future was cancelled."""
        call = self._take(ident)
        if call is None:
            return
        self._tell(call, None)
        if call.is_sent and self._holder is not None:  # else `begin` leaves it out
            self._holder.kill(ident, "the call was cancelled")

    def _end(self) -> None:
        """Cancel all calls that are left, and let the thread end."""
        for call in self._take_all():
            self._tell(call, None)
        self._work.put(None)

    def _take_all(self) -> "list[_Call]":
        with self._lock:
            idents = list(self._calls)
        return [call for ident in idents if (call := self._take(ident)) is not None]

    def _tell(self, call: "_Call", ending: "_Ending") -> None:
        self._work.put(partial(self._settle, call.future, ending))

    # Customer

    def begin(self, idents: Sequence[int]) -> Sequence[Begun]:
        begun = []
        for ident in idents:
            call = self._calls.get(ident)
            if call is not None:
                call.is_sent = True
                begun.append(Begun(ident, call.body, call.blocks))
        return begun

    def returned(self, idents: Sequence[int]) -> None:
        for ident in idents:
            call = self._calls.get(ident)
            if call is not None:
                call.is_sent = False

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            call = self._take(outcome.ident)
            if call is None:
                self._free(outcome.blocks)
            else:
                self._tell(call, outcome)

    def died(self, ident: int, death: Death) -> None:
        if death.again:
            self.returned([ident])
        elif (call := self._take(ident)) is not None:
            self._tell(call, CallLost(str(death), max(1, death.deaths)))

    def asked(self, ident: int, body: bytes, answer: Answer) -> Sequence[Block]:
        del body  # the digest of the function of the call that runs
        call = self._calls.get(ident)
        if call is None:
            answer(Status.FAILED, b"the call was cancelled", ())
        else:
            answer(Status.GOOD, call.code.content, ())
        return ()

    def said(self, ident: int, stream: str, text: str) -> None:
        level = logging.getLevelNamesMapping().get(stream, logging.INFO)
        self._work.put(partial(log.log, level, "call %d: %s", ident, text.rstrip("\n")))

    def broken(self, reason: str) -> None:
        with self._lock:
            self._refusal = self._refusal or reason
        for call in self._take_all():
            self._tell(call, PoolBroken(reason))

    # The thread

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except BaseException:  # code of users: callbacks, handlers of logs; other calls wait for us
                log.exception("a callback of a call raised")

    def _settle(self, future: "_Future", ending: "_Ending") -> None:
        blocks = ending.blocks if isinstance(ending, Outcome) else ()
        if ending is None:
            Future.cancel(future)  # no change where that is what ended it
        if not future.set_running_or_notify_cancel():
            self._free(blocks)
            return
        result, error = self._result(ending) if isinstance(ending, Outcome) else (None, ending)
        self._free(blocks)
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def _result(self, outcome: Outcome) -> tuple[object, Exception | None]:
        """Return what a function returned, or what it raised; runs code of users."""
        try:
            if outcome.status != Status.GOOD:
                return None, _error(outcome)
            return unpack(outcome.body, view=self._copied, writable=True), None
        except SerializationError as exc:
            return None, _renamed(exc, _RESULT)
        except PenstockError as exc:  # the arena was closed meanwhile
            return None, exc
        except BaseException as exc:  # noqa: BLE001  code of users: `__setstate__`
            return None, CallFailed(*error_text(pack_error(exc)))

    def _copied(self, block: Block, private: bool) -> memoryview:
        if not private:
            return memoryview(self._arena.read(block))
        import numpy as np  # not at the top: it takes long, and only large results need it

        # It copies without the lock of the interpreter, and takes its memory from the system in large pages.
        return np.frombuffer(self._arena.view(block), np.uint8).copy().data


class _Future(Future[Any]):
    """A future of a call: pending until the result is there, so that it can be cancelled until then."""

    def __init__(self, forget: Callable[[int], None], ident: int) -> None:
        super().__init__()
        self._forget = forget
        self._ident = ident

    def cancel(self) -> bool:
        """Cancel the call, also one that runs: its process is ended."""
        is_cancelled = super().cancel()
        if is_cancelled:
            self._forget(self._ident)
        return is_cancelled


_Ending = Outcome | Exception | None
"""How a call ended: as its child told, without a word, or by being cancelled."""


class _Code:
    """The code of a function, shared by the calls of it that have not ended."""

    __slots__ = ("__weakref__", "content")

    def __init__(self, content: bytes) -> None:
        self.content = content


class _Call:
    """A call that has not ended; `is_sent` tells whether a child has it."""

    __slots__ = ("blocks", "body", "code", "future", "is_sent")

    def __init__(self, future: _Future, code: _Code, body: bytes, blocks: Sequence[Block]) -> None:
        self.future = future
        self.code = code
        self.body = body
        self.blocks = blocks
        self.is_sent = False


def _check_size(path: str, content: bytes) -> None:
    if len(content) > _MOST_BYTES:
        raise SerializationError(path, f"{len(content)} bytes are too many to be sent; pass arrays instead")


def _renamed(exc: SerializationError, names: Mapping[str, str]) -> SerializationError:
    """Return the error with the beginning of its path as the caller knows it."""
    old = next((old for old in names if exc.path.startswith(old)), "")
    return SerializationError(names.get(old, "") + exc.path.removeprefix(old), exc.reason)


def _error(outcome: Outcome) -> Exception:
    """Return what a call raised, with the traceback in its notes."""
    if outcome.status == Status.BROKEN:
        text = outcome.body.decode(errors="replace")
        return CallFailed("WorkerBroken", text.strip().rpartition("\n")[2], text)
    found, told = unpack_error(outcome.body)
    # `StopIteration` cannot be raised out of a generator or a coroutine, which may be where the caller waits.
    if not isinstance(found, Exception) or isinstance(found, StopIteration):
        found = CallFailed(told.kind, told.message, told.traceback)
    with suppress(Exception):  # code of users: a class of theirs
        found.add_note(f"in worker process {outcome.pid}:\n{told.traceback}")
    return found


# In the child


def main(tools: Tools) -> "_Inside":
    """Return what runs calls in this child."""
    return _Inside(tools)


class _Inside:
    """Meets `penstock.workers.child.Entry`."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._functions = FunctionTable()
        self._thresholds: dict[int, int] = {}

    def open(self, holder: int, setup: bytes) -> None:
        (self._thresholds[holder],) = TOKEN.unpack(setup)

    def close(self, holder: int) -> None:
        del self._thresholds[holder]

    def run(self, holder: int, body: bytes) -> tuple[Status, bytes]:
        _, looked_at = self._tools.memory.lent
        try:
            answer = Status.GOOD, self._called(body, self._thresholds[holder])
        except BaseException as error:  # noqa: BLE001  the boundary to user code, which may raise anything
            answer = Status.FAILED, pack_error(error, by_value=True)
        if self._tools.memory.lent[1] > looked_at:
            gc.collect()  # arguments that only a cycle keeps would hold their blocks for as long as we are idle
        return answer

    def _called(self, body: bytes, threshold_bytes: int) -> bytes:
        digest, is_writable = body[:_DIGEST_BYTES], bool(body[_DIGEST_BYTES])
        function = self._functions.get(digest)
        if function is None:
            self._functions.add(self._tools.request(digest))
            function = self._functions.get(digest)
            assert function is not None
        if len(body) == _DIGEST_BYTES + 1:
            result = function()
        else:
            message = memoryview(body)[_DIGEST_BYTES + 1 :]
            arguments = unpack(message, view=self._view, writable=is_writable)
            args, kwargs = cast(
                "tuple[Sequence[object], Mapping[str, object]]", arguments
            )  # so it was packed
            result = function(*args, **kwargs)
        return self._packed(result, threshold_bytes)

    def _packed(self, result: object, threshold_bytes: int) -> bytes:
        by_value = type(result) not in _PLAIN
        try:
            message = pack(result, place=self._place, threshold_bytes=threshold_bytes, by_value=by_value)
        except SerializationError as exc:
            raise _renamed(exc, _RESULT) from exc
        _check_size("result", message)
        return message

    def _view(self, block: Block, private: bool) -> memoryview:
        return self._tools.memory.view(block, private=private)

    def _place(self, buffer: memoryview) -> Block:
        try:
            block = self._tools.allocate(buffer.nbytes)
        except RequestFailed as exc:
            raise ArenaFull(buffer.nbytes, 0, 0, "nothing is left of the memory budget for a result") from exc
        self._tools.memory.write(block, [buffer])
        return block
