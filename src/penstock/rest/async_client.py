# SPDX-License-Identifier: Apache-2.0
"""A manager behind HTTP, for programs that have an event loop: the methods of `Manager` as coroutines."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar

import httpx2

from penstock.engine.states import LinkKind
from penstock.errors import NodeDown
from penstock.managers.api import Added, Change, DropInfo, Level, NodeInfo, SessionInfo, States
from penstock.rest import calls
from penstock.rest.calls import Ask, Reply, SseReader, error_of, is_near, needs_certificates

__all__ = ["AsyncManagerClient"]

T = TypeVar("T")

_PREFIX = "/api/v1"
_PIECE = 1 << 18
_SILENT_S = 35.0  # three beats of a stream of events, and some
_PAUSE_S, _PAUSE_MOST_S = 0.1, 5.0


class AsyncManagerClient:
    """Asks the manager at `url`. Close it with `aclose`, or use it as a context.

    Args:
        token: the manager's token, None where it wants none.
        timeout_s: how long one answer may take; None for no limit.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float | None = 60.0) -> None:
        self._url = url.rstrip("/")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx2.AsyncClient(
            base_url=self._url + _PREFIX,
            headers=headers,
            timeout=timeout_s,
            trust_env=False,
            verify=needs_certificates(url),
        )

    async def __aenter__(self) -> "AsyncManagerClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def ask(self, ask: Ask[T]) -> T:
        """Send a request and read its answer.

        Raises:
            NodeDown: nothing answers, or not in time.
        """
        try:
            response = await self._http.request(
                ask.method, ask.path, content=ask.body or None, params=ask.query, headers=ask.headers
            )
        except httpx2.TransportError as exc:
            raise NodeDown(self._url, f"{type(exc).__name__}: {exc}") from exc
        reply = Reply(response.status_code, response.headers, response.content)
        if reply.status >= 400:
            raise error_of(reply, self._url)
        return ask.read(reply)

    async def level(self) -> Level:
        """Return where in the hierarchy the manager stands."""
        return await self.ask(calls.level())

    async def create_session(self, session_id: str) -> None:
        """See `Manager`, likewise below."""
        await self.ask(calls.create_session(session_id))

    async def add_graph(self, session_id: str, graph: bytes, *, placed: bool = False) -> Added:
        return await self.ask(
            calls.add_graph(session_id, graph, placed=placed, is_far=not is_near(self._url))
        )

    async def link(self, session_id: str, left: str, kind: LinkKind, right: str) -> None:
        await self.ask(calls.link(session_id, left, kind, right))

    async def deploy(self, session_id: str, completed: Iterable[str] = ()) -> None:
        await self.ask(calls.deploy(session_id, completed))

    async def trigger(self, session_id: str, uids: Iterable[str] | None = None) -> None:
        await self.ask(calls.trigger(session_id, uids))

    async def cancel(self, session_id: str) -> None:
        await self.ask(calls.cancel(session_id))

    async def destroy(self, session_id: str) -> None:
        await self.ask(calls.destroy(session_id))

    async def sessions(self) -> list[SessionInfo]:
        return await self.ask(calls.sessions())

    async def session(self, session_id: str) -> SessionInfo:
        return await self.ask(calls.session(session_id))

    async def graph(self, session_id: str) -> bytes:
        return await self.ask(calls.graph(session_id))

    async def graph_size(self, session_id: str) -> int:
        return (await self.session(session_id)).size

    async def graph_status(self, session_id: str, since: int | None = None) -> States:
        return await self.ask(calls.graph_status(session_id, since))

    async def drop(self, session_id: str, uid: str) -> DropInfo:
        return await self.ask(calls.drop(session_id, uid))

    async def open_data(self, session_id: str, uid: str) -> AsyncIterator[bytes]:
        """Return the content of a data drop piece by piece; the request is made by the first step."""
        path = calls.data_path(session_id, uid)

        async def pieces() -> AsyncIterator[bytes]:
            async with self._http.stream("GET", path) as response:
                if response.status_code >= 400:
                    raise error_of(
                        Reply(response.status_code, response.headers, await response.aread()), self._url
                    )
                async for piece in response.aiter_bytes(_PIECE):
                    yield piece

        return pieces()

    async def log(self, session_id: str) -> list[Mapping[str, str]]:
        return await self.ask(calls.log(session_id))

    async def repro_data(self, session_id: str) -> Mapping[str, Any] | None:  # Any: plain JSON values
        return (await self.ask(calls.repro(session_id))).data

    async def repro_status(self, session_id: str) -> bool:
        return (await self.ask(calls.repro(session_id))).complete

    async def nodes(self) -> list[NodeInfo]:
        return await self.ask(calls.nodes())

    async def changes(self, connected: Callable[[], None] | None = None) -> AsyncIterator[Change]:
        """Yield everything that happens, for ever; a lost connection is taken up again where it ended.

        A change of kind "gap" says that some are lost and everything must be asked for anew.

        Args:
            connected: called each time a connection stands; what happens after the first call is told.

        Raises:
            PenstockError: the manager refuses, or the first connection fails.
        """
        reader, pause_s = SseReader(), _PAUSE_S
        has_been = False
        while True:
            try:
                async for line in self._lines(reader.last_id):
                    if line is None:
                        has_been, pause_s = True, _PAUSE_S
                        if connected is not None:
                            connected()
                        continue
                    for change in reader.feed(line):
                        yield change
            except httpx2.TransportError as exc:
                if not has_been:
                    raise NodeDown(self._url, f"{type(exc).__name__}: {exc}") from exc
            await asyncio.sleep(pause_s)  # between two tries to connect again, longer each time
            pause_s = min(pause_s * 2, _PAUSE_MOST_S)

    async def _lines(self, last_id: str) -> AsyncIterator[str | None]:
        """Yield None when the stream stands, then its lines."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        timeout = httpx2.Timeout(_SILENT_S)
        async with self._http.stream("GET", "/events", headers=headers, timeout=timeout) as response:
            if response.status_code >= 400:
                raise error_of(
                    Reply(response.status_code, response.headers, await response.aread()), self._url
                )
            is_first = True
            async for line in response.aiter_lines():
                if is_first:
                    is_first = False
                    yield None
                yield line
