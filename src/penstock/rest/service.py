# SPDX-License-Identifier: Apache-2.0
"""What all routes share: the manager, called on threads, and what is remembered of earlier requests."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, ParamSpec, TypeVar

from fastapi import Request
from starlette.responses import Response

from penstock.managers.api import Manager
from penstock.rest.answers import answer
from penstock.rest.bodies import read_body, read_json
from penstock.rest.events import Hub
from penstock.rest.faults import RequestRefused
from penstock.rest.recent import Recent
from penstock.rest.settings import RestSettings

__all__ = ["Deploy", "Keyed", "Service", "media_type", "service_of"]

P = ParamSpec("P")
R = TypeVar("R")

_DAY_S = 86_400.0


class Keyed(NamedTuple):
    """A request with an Idempotency-Key: what was asked, and the answer to it, which may still come."""

    digest: bytes
    answer: "asyncio.Future[Any]"  # Any: plain JSON values


class Deploy(NamedTuple):
    """A deployment that was asked for: with what, and whether it came about."""

    completed: frozenset[str] | None
    outcome: "asyncio.Future[None]"


class Service:
    """One manager behind one HTTP face. Its tables belong to the loop; calls of the manager run on threads."""

    def __init__(self, manager: Manager, settings: RestSettings) -> None:
        self.manager = manager
        self.settings = settings
        self.hub = Hub(settings.epoch, settings.beat_s)
        self.keyed: Recent[Keyed] = Recent(10_000, _DAY_S)
        self.deleted: Recent[bool] = Recent(10_000, _DAY_S)
        self.deploys: Recent[Deploy] = Recent(10_000, _DAY_S)
        self.is_ready = False
        self._pool = ThreadPoolExecutor(settings.threads, "penstock-rest-call")
        self._running: set[Future[Any]] = set()  # Any: what the manager returns
        self._unlisten: Callable[[], None] | None = None

    def begin(self) -> None:
        """Listen to the manager; on the loop."""
        self.hub.bind()
        self._unlisten = self.manager.listen(self.hub.publish)
        self.is_ready = True

    async def end(self) -> None:
        """End all streams; on the loop."""
        self.is_ready = False
        self.hub.close()
        if self._unlisten is not None:
            await self.ask(self._unlisten)
            self._unlisten = None

    def close(self) -> None:
        """Wait for calls of the manager, for a while; one that hangs is left to its thread."""
        _, late = wait(list(self._running), self.settings.close_s)
        self._pool.shutdown(wait=not late, cancel_futures=True)

    async def ask(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function that may block, on a thread."""
        future = self._pool.submit(function, *args, **kwargs)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return await asyncio.wrap_future(future)

    def later(self, function: Callable[[], object]) -> None:
        """Call a function on a thread, and wait for it no sooner than at the end."""
        future = self._pool.submit(function)
        self._running.add(future)
        future.add_done_callback(self._running.discard)

    async def told(self, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> Response:
        """Answer what a function returns, encoded on its thread too: it may be much."""

        def make() -> Response:
            return answer(function(*args, **kwargs))

        return await self.ask(make)

    async def body(self, request: Request) -> bytes:
        """Return a request's body, inflated."""
        return await read_body(request, self.settings.limits, self.ask)

    async def json(  # Any: `kind` says what it is
        self,
        request: Request,
        kind: Any,
        *,
        missing: Any = None,
        types: tuple[str, ...] = ("application/json",),
    ) -> Any:
        """Return a request's small JSON body as `kind`."""
        value = media_type(request)
        if value not in types and (value or missing is None):
            raise RequestRefused("unsupported_media", f"the body's type is {value[:80]!r}: use {types[0]}")
        return await read_json(request, self.settings.limits, self.ask, kind, missing=missing)

    def now_s(self) -> float:
        """Return the clock by which remembered requests grow old."""
        return time.monotonic()


def media_type(request: Request) -> str:
    """Return the type of a request's body without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def service_of(request: Request) -> Service:
    """Return the service that a request is for."""
    service: Service = request.app.state.service
    return service
