# SPDX-License-Identifier: Apache-2.0
"""A manager behind HTTP, as a manager: it can stand wherever a `Manager` can, below a composite too.

Errors come back as the classes that were raised over there.
"""

import asyncio
import io
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar, cast

import httpx2

from penstock.engine.states import LinkKind, SessionState
from penstock.errors import NodeDown, PenstockError
from penstock.managers.api import (
    Added,
    Change,
    DropInfo,
    Level,
    Listener,
    NodeInfo,
    SessionInfo,
    States,
)
from penstock.rest import calls
from penstock.rest.async_client import AsyncManagerClient
from penstock.rest.calls import Ask, Reply, error_of, is_near, needs_certificates

__all__ = ["ManagerClient"]

T = TypeVar("T")

log = logging.getLogger(__name__)

_PREFIX = "/api/v1"
_PIECE = 1 << 18
_LOOK_S = 10.0
_CLOSE_S = 5.0


class ManagerClient:
    """Asks the manager at `url`; may be used on any thread. Close it, or use it as a context.

    Args:
        token: the manager's token, None where it wants none.
        timeout_s: how long one answer may take; None for no limit.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float | None = 60.0) -> None:
        self._level: Level | None = None
        self._url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx2.Client(
            base_url=self._url + _PREFIX,
            headers=headers,
            timeout=timeout_s,
            trust_env=False,
            verify=needs_certificates(url),
        )
        self._listening: _Listening | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> "ManagerClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End listening and close all connections."""
        with self._lock:
            listening, self._listening = self._listening, None
        if listening is not None:
            listening.close()
        self._http.close()

    def ask(self, ask: Ask[T]) -> T:
        """Send a request and read its answer.

        Raises:
            NodeDown: nothing answers, or not in time.
        """
        try:
            response = self._http.request(
                ask.method, ask.path, content=ask.body or None, params=ask.query, headers=ask.headers
            )
        except httpx2.TransportError as exc:
            raise NodeDown(self._url, f"{type(exc).__name__}: {exc}") from exc
        reply = Reply(response.status_code, response.headers, response.content)
        if reply.status >= 400:
            raise error_of(reply, self._url)
        return ask.read(reply)

    @property
    def level(self) -> Level:
        """Where in the hierarchy the manager stands; asked once."""
        if self._level is None:
            self._level = self.ask(calls.level())
        return self._level

    def create_session(self, session_id: str) -> None:
        self.ask(calls.create_session(session_id))

    def add_graph(self, session_id: str, graph: bytes, *, placed: bool = False) -> Added:
        return self.ask(calls.add_graph(session_id, graph, placed=placed, is_far=not is_near(self._url)))

    def link(self, session_id: str, left: str, kind: LinkKind, right: str) -> None:
        self.ask(calls.link(session_id, left, kind, right))

    def deploy(self, session_id: str, completed: Iterable[str] = ()) -> None:
        self.ask(calls.deploy(session_id, completed))

    def trigger(self, session_id: str, uids: Iterable[str] | None = None) -> None:
        self.ask(calls.trigger(session_id, uids))

    def cancel(self, session_id: str) -> None:
        self.ask(calls.cancel(session_id))

    def destroy(self, session_id: str) -> None:
        self.ask(calls.destroy(session_id))

    def sessions(self) -> list[SessionInfo]:
        return self.ask(calls.sessions())

    def session(self, session_id: str) -> SessionInfo:
        return self.ask(calls.session(session_id))

    def graph(self, session_id: str) -> bytes:
        return self.ask(calls.graph(session_id))

    def graph_size(self, session_id: str) -> int:
        return self.session(session_id).size

    def graph_status(self, session_id: str, since: int | None = None) -> States:
        return self.ask(calls.graph_status(session_id, since))

    def drop(self, session_id: str, uid: str) -> DropInfo:
        return self.ask(calls.drop(session_id, uid))

    def open_data(self, session_id: str, uid: str) -> BinaryIO:
        request = self._http.build_request("GET", calls.data_path(session_id, uid).lstrip("/"))
        try:
            response = self._http.send(request, stream=True)
            if response.status_code >= 400:
                # Reading a stream to its end closes it.
                raise error_of(Reply(response.status_code, response.headers, response.read()), self._url)
        except httpx2.TransportError as exc:
            raise NodeDown(self._url, f"{type(exc).__name__}: {exc}") from exc
        # `BufferedReader` has all of `BinaryIO` but is not declared so.
        return cast("BinaryIO", io.BufferedReader(_Content(response, self._url), _PIECE))

    def log(self, session_id: str) -> Iterable[Mapping[str, str]]:
        return self.ask(calls.log(session_id))

    def log_file(self, session_id: str) -> Path | None:
        """Return None: whatever file there is, it is not on this host."""
        self.session(session_id)
        return None

    def repro_data(self, session_id: str) -> Mapping[str, Any] | None:  # Any: plain JSON values
        return self.ask(calls.repro(session_id)).data

    def repro_status(self, session_id: str) -> bool:
        return self.ask(calls.repro(session_id)).complete

    def nodes(self) -> list[NodeInfo]:
        return self.ask(calls.nodes())

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of what happens there; a lost connection is taken up again where it ended.

        A change of kind "gap" says that some are lost and everything must be asked for anew.
        """
        with self._lock:
            if self._listening is None:
                self._listening = _Listening(self._url, self._token, self._timeout_s)
                try:
                    self._listening.start()
                except PenstockError:
                    self._listening = None
                    raise
            return self._listening.add(listener)

    def wait(self, session_id: str, timeout_s: float | None = None) -> SessionInfo:
        """Return what is known of a session when it has ended.

        Raises:
            TimeoutError: it has not in time.
        """
        news = threading.Event()
        end = None if timeout_s is None else time.monotonic() + timeout_s

        def hear(change: Change) -> None:
            if change.kind != "drops":  # of which there may be thousands, and none of them ends a session
                news.set()

        unlisten = self.listen(hear)
        try:
            while (info := self.session(session_id)).state < SessionState.FINISHED:
                left_s = _LOOK_S if end is None else end - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError(f"session {session_id!r} is {info.state.name} after {timeout_s} s")
                news.wait(min(left_s, _LOOK_S))
                news.clear()
        finally:
            unlisten()
        return info


class _Content(io.RawIOBase):
    """The content of a drop as it comes over the line."""

    def __init__(self, response: httpx2.Response, url: str) -> None:
        self._response = response
        self._url = url
        self._pieces: Iterator[bytes] = response.iter_bytes(_PIECE)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:  # Any: whatever takes bytes
        try:
            while not self._rest:
                self._rest = memoryview(next(self._pieces))
        except StopIteration:
            return 0
        except httpx2.TransportError as exc:
            raise NodeDown(self._url, f"the content ends in the middle: {exc}") from exc
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            self._response.close()
        super().close()


class _Listening:
    """A thread with a loop that reads the events of one manager and tells listeners."""

    def __init__(self, url: str, token: str | None, timeout_s: float | None) -> None:
        self._client = (url, token, timeout_s)
        self._listeners: list[Listener] = []
        self._thread = threading.Thread(target=self._run, name="penstock-events")
        self._up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._fault: PenstockError | None = None

    def start(self) -> None:
        """Connect; when this returns, what happens from now on will be told."""
        self._thread.start()
        is_up = self._up.wait(self._client[2])
        if self._fault is not None:
            self._thread.join(_CLOSE_S)
            raise self._fault
        if not is_up:
            self.close()
            raise NodeDown(self._client[0], "it does not tell events in time")

    def add(self, listener: Listener) -> Callable[[], None]:
        """Tell one more; the answer ends that."""
        self._listeners = [*self._listeners, listener]

        def end() -> None:
            self._listeners = [other for other in self._listeners if other is not listener]

        return end

    def close(self) -> None:
        """End the stream and join the thread."""
        if self._loop is not None and self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)
        if self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._read())
        except asyncio.CancelledError:
            log.debug("no longer listening to %s", self._client[0])
        except PenstockError as exc:
            self._fault = exc
            if self._up.is_set():
                log.warning("events of %s have ended: %s", self._client[0], exc)
                self._tell(Change("gap", "", {}))
        finally:
            self._up.set()

    async def _read(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        async with AsyncManagerClient(*self._client) as client:
            async for change in client.changes(self._up.set):
                self._tell(change)

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)
