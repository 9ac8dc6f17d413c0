# SPDX-License-Identifier: Apache-2.0
"""The HTTP face of a manager: all routes behind the guard, on a port of its own.

Nothing of the process is touched: no signal handlers, no logging, no event loop but the server's own.
"""

from types import TracebackType

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp

from penstock.errors import PenstockError
from penstock.managers.api import Manager
from penstock.rest import old, old_members, pages, v1, v1_manager, v1_sessions
from penstock.rest.answers import fault
from penstock.rest.connections import Listener
from penstock.rest.faults import RequestRefused
from penstock.rest.guard import Guard
from penstock.rest.openapi import add_document
from penstock.rest.service import Service
from penstock.rest.settings import RestSettings

__all__ = ["RestServer"]


class RestServer:
    """Serves one manager over HTTP, from `start` to `close`. It does not own the manager."""

    def __init__(self, manager: Manager, settings: RestSettings | None = None) -> None:
        self._settings = settings or RestSettings()
        self._service = Service(manager, self._settings)
        self._listener = Listener(self._build, self._service.end, self._settings)

    def __enter__(self) -> "RestServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Bind and serve; when this returns, requests are answered.

        Raises:
            StartRefused: the address cannot be bound.
        """
        self._listener.start()

    def close(self) -> None:
        """End requests and streams under way, and all threads, within `close_s` or so."""
        self._listener.close()
        self._service.close()

    @property
    def port(self) -> int:
        """The port that is bound."""
        return self._listener.port

    @property
    def url(self) -> str:
        """Where to ask."""
        host = self._settings.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def _build(self) -> ASGIApp:
        application = application_of(self._service)
        guard = Guard(application, self._settings)
        application.state.guard = guard
        application.state.connections = lambda: self._listener.count
        self._service.begin()
        return guard


def application_of(service: Service) -> FastAPI:
    """Return the routes of both interfaces over one service, unguarded."""
    application = FastAPI(
        title="Penstock", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    application.state.service = service
    # Order counts: /api/v1/sessions before the old /api/... with free parts.
    for module in (v1_sessions, v1, v1_manager, old, old_members, pages):
        application.include_router(module.router)
    add_document(application)
    application.add_exception_handler(PenstockError, _told)
    application.add_exception_handler(RequestValidationError, _invalid)
    application.add_exception_handler(HTTPException, _http)
    application.add_exception_handler(Exception, _unforeseen)
    return application


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, PenstockError)
    return fault(request.url.path, error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    text = "; ".join(f"{'/'.join(map(str, item['loc']))}: {item['msg']}" for item in found[:10])
    is_id = any("session_id" in item["loc"] for item in found)
    return fault(request.url.path, RequestRefused("bad_id" if is_id else "bad_request", text))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    word = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    detail = f"{request.method} {request.url.path[:200]}: {error.detail}"
    return fault(request.url.path, RequestRefused(word, detail, headers))


def _methods(request: Request) -> set[str]:
    # The framework tells the methods of the first route of this path only.
    return {
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


async def _unforeseen(request: Request, error: Exception) -> Response:
    # The class tells what to look for in the log; the text might hold what is nobody's business.
    return fault(
        request.url.path, RequestRefused("internal", f"{type(error).__name__}; see the manager's log")
    )
