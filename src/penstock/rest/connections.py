# SPDX-License-Identifier: Apache-2.0
"""Connections: uvicorn's protocol with bounds, on a loop and a thread of their own.

uvicorn's own server would install signal handlers and wake up ten times a second; its protocol needs neither.
A connection that closes without a word, as the port probes of the ecosystem's clients do, is nothing worth telling.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from penstock.errors import StartRefused
from penstock.rest.settings import RestSettings

__all__ = ["Listener"]

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%s"
)
_FULL_BODY = (
    b'{"type":"about:blank","title":"Too many requests at once","status":503,'
    b'"detail":"all connections are in use","code":"overloaded","errors":[]}'
)
_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_START_S = 30.0


class _Connection(H11Protocol):
    """One connection: its head must come in time, and there are only so many of them."""

    def __init__(self, config: Config, state: ServerState, settings: RestSettings) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self.access_log = False  # the process decides about logs, not the presence of some handler
        self._most = settings.connections
        self._header_s = settings.header_s
        self._begun = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if len(self.connections) > self._most:
            transport.write(_FULL % (len(_FULL_BODY), _FULL_BODY))
            transport.close()
            return
        self._timer = self.loop.call_later(self._header_s, self._too_late)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._begun = True
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle  # which is not declared to be None at first
        is_answered = cycle is None or cycle.response_complete
        if is_answered and self._timer is None:
            self._timer = self.loop.call_later(self._header_s, self._too_late)  # the next head has begun
        elif not is_answered:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._stop_timer()
        super().on_response_complete()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            if self._begun:
                self.transport.write(_LATE)
            self.transport.close()


class Listener:
    """A bound port, and the thread with the loop that serves it.

    Args:
        application: made on the thread of the loop, once.
        closing: awaited first when the listener closes; ends streams that would never end.

    Attributes:
        port: what is or was bound, 0 before the start.
    """

    def __init__(
        self,
        application: Callable[[], ASGIApp],
        closing: Callable[[], Awaitable[None]],
        settings: RestSettings,
    ) -> None:
        self._application = application
        self._closing = closing
        self._settings = settings
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._up = threading.Event()
        self._fault: BaseException | None = None
        self._state = ServerState()
        self.port = 0

    @property
    def count(self) -> int:
        """How many connections there are."""
        return len(self._state.connections)

    def start(self) -> None:
        """Bind, and serve on a thread of our own.

        Raises:
            StartRefused: the address cannot be bound.
        """
        self._socket = self._bind()
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(self._socket,), name="penstock-rest")
        self._thread.start()
        if not self._up.wait(_START_S) or self._fault is not None:
            self.close()
            raise StartRefused("the HTTP server does not start", f"see its log ({self._fault!r})")

    def _bind(self) -> socket.socket:
        host, port = self._settings.host, self._settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # The protocol is named so that asyncio sets TCP_NODELAY: without it each answer waits 40 ms for an
        # acknowledgement between its head and its body.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
            bound.listen(self._settings.backlog)
            bound.setblocking(False)
        except OSError as exc:
            bound.close()
            raise StartRefused(
                f"{host}:{port} cannot be bound: {exc}", "choose another address or port"
            ) from exc
        return bound

    def _run(self, listening: socket.socket) -> None:
        with asyncio.Runner() as runner:
            try:
                runner.run(self._serve(listening))
            except Exception as exc:  # noqa: BLE001  # the boundary of the thread; `start` tells it
                self._fault = exc
            finally:
                self._up.set()

    async def _serve(self, listening: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        config = Config(
            self._application(),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            date_header=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(self._settings.keep_alive_s),
        )
        config.load()
        server = await self._loop.create_server(
            lambda: _Connection(config, self._state, self._settings),
            sock=listening,
            backlog=self._settings.backlog,
        )
        self._up.set()
        await self._stop.wait()
        # asyncio loses a connection that it is about to accept when its server closes, so first no more are
        # accepted, then those get the turns of the loop that they take (two or three).
        self._loop.remove_reader(listening.fileno())
        for _ in range(10):
            await asyncio.sleep(0)
        server.close()
        await self._drain()

    async def _drain(self) -> None:
        """Let requests under way end, for a while; then end them."""
        await self._closing()
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = set(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._settings.close_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)
        for connection in list(self._state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    def close(self) -> None:
        """Stop to listen, end what runs, and join the thread; may be called again."""
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(self._settings.close_s + 5.0)
        if self._socket is not None:
            self._socket.close()
