# SPDX-License-Identifier: Apache-2.0
"""What children ask of their session, answered on threads of its own: an answer may wait, the pool may not.

Data that several apps write, or that streams, lives with the session: what a child writes to it is written
here, by the same calls as on threads, and what they raise is raised in the child.
"""

import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import msgspec

from penstock.drops.base import Drop
from penstock.drops.data import DataDrop
from penstock.engine.flow import Flow
from penstock.runtime.contents import Contents
from penstock.runtime.messages import Content, Request, decode_request, encode
from penstock.wire.arena import Arena, Block
from penstock.workers.customer import Answer
from penstock.workers.frames import Status

__all__ = ["Asked", "Requests"]

_MOST = 10_000  # threads are made when they are needed; a limit could make two streams wait for each other


class Asked(Protocol):
    """The session, as far as children ask it."""

    @property
    def flow(self) -> Flow: ...

    def drop(self, index: int) -> Drop: ...
    def completed(self, index: int) -> None: ...
    def skip(self, index: int) -> None: ...
    def note(self, index: int, stream: str, text: str) -> None: ...


class Requests:
    """Answers the children of one session.

    Args:
        session: that is asked.
        arena: where large pieces come from.
        contents: of the session.
    """

    def __init__(self, session: Asked, arena: Arena, contents: Contents) -> None:
        self._session = session
        self._arena = arena
        self._contents = contents
        self._threads: ThreadPoolExecutor | None = None

    def take(self, body: bytes, answer: Answer) -> Sequence[Block]:
        """Begin to answer; return the blocks that the request hands over."""
        try:
            request = decode_request(body)
        except msgspec.MsgspecError as exc:
            answer(Status.FAILED, f"this is no request: {exc}".encode(), ())
            return ()
        content = request.content
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_MOST, thread_name_prefix="penstock-request")
        try:
            self._threads.submit(self._serve, request, answer)
        except RuntimeError:  # the session is being closed
            answer(Status.FAILED, b"the session has ended", ())
            return ()
        return [Block(*content)] if isinstance(content, tuple) else []

    def close(self, *, wait: bool) -> None:
        """Answer no more; wait for what is being answered where asked to."""
        if self._threads is not None:
            self._threads.shutdown(wait=wait, cancel_futures=True)

    def _serve(self, request: Request, answer: Answer) -> None:
        try:
            content, blocks = self._answer_to(request)
        except BaseException as error:  # noqa: BLE001  the boundary of a thread; raised again in the child
            answer(Status.FAILED, _pickled(error), ())
        else:
            answer(Status.GOOD, content, blocks)

    def _answer_to(self, request: Request) -> tuple[bytes, Sequence[Block]]:
        session, index = self._session, request.index
        match request.what:
            case "write":
                self._write(index, request.content)
            case "complete":
                self._complete(index, request.content)
            case "skip":
                session.skip(index)
            case "note":
                session.note(index, *(request.text or ("note", "")))
            case "status":
                return bytes([session.flow.state[index]]), ()
            case "execution":
                return bytes([session.flow.execution[index]]), ()
            case "content":
                content = self._contents.of(index)
                return encode(content), (content,) if isinstance(content, Block) else ()
        return b"", ()

    def _write(self, index: int, content: Content | None) -> None:
        drop = self._session.drop(index)
        assert isinstance(drop, DataDrop)
        if content is None or isinstance(content, bytes):
            drop.write(content or b"")
            return
        block = Block(*content)
        try:
            drop.write(self._arena.view(block))
        finally:
            self._arena.free(block)

    def _complete(self, index: int, content: Content | None) -> None:
        if content is not None:
            self._contents.keep(index, content)
            self._session.completed(index)
            return
        drop = self._session.drop(index)
        assert isinstance(drop, DataDrop)
        drop.complete()


def _pickled(error: BaseException) -> bytes:
    try:
        return pickle.dumps(error)
    except Exception:  # noqa: BLE001  an error that holds what cannot be pickled is told as text
        return f"{type(error).__name__}: {error}".encode(errors="replace")
