# SPDX-License-Identifier: Apache-2.0
"""Who may ask: names, origins and tokens, looked at before any route.

Rule 1: the name in `Host` is ours (against DNS rebinding), else 421.
Rule 2: a web page may ask only from an allowed origin, without authentication as well, else 403. Browsers send
        `Origin` with every request that could change something; other programs send none.
Rule 3: a wrong token counts; after too many the address waits (429), the right token or not. Requests without
        any token do not count, so a page that cannot know it shuts nobody out.
Rule 4: tokens are compared in constant time and stand in a header, never in a URL.
"""

import asyncio
import hmac
import ipaddress
import math
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.errors import PenstockError, Unauthorized
from penstock.rest.answers import answer, fault, html
from penstock.rest.faults import RequestRefused
from penstock.rest.settings import RestSettings

__all__ = ["Guard", "Tries", "host_is_ours", "origin_is_allowed"]

TRANSLATOR = "http://dlg-tm.localhost"
"""Where clients of the ecosystem say that they come from, whatever they are."""

_WINDOW_S = 60.0
_MOST_ADDRESSES = 10_000
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0:0:0:0:0:0:0:1"})

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",
}
_CORS = {
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS, HEAD",
    "Access-Control-Allow-Headers": "Origin, Accept, Authorization, Content-Type, Content-Encoding, "
    "Idempotency-Key, Last-Event-ID, X-Requested-With, X-CSRF-Token",
}

_LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Penstock</title>
<h1>A token is needed</h1><p>Send the manager's token as the header
<code>Authorization: Bearer TOKEN</code>, for instance:</p>
<pre>curl -H "Authorization: Bearer $TOKEN" http://HOST:PORT/</pre>
<p>The manager wrote the token to a file when it started, and told where.</p></html>"""


class Tries:
    """How many wrong tokens each address sent lately. Pure: times are arguments, in seconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bad: dict[str, list[float]] = {}

    def wait_s(self, address: str, now_s: float) -> float:
        """Return how long an address must wait, 0 for not at all."""
        recent = [at for at in self._bad.get(address, ()) if now_s - at < _WINDOW_S]
        if len(recent) < self._most:
            return 0.0
        return _WINDOW_S - (now_s - recent[-self._most])

    def failed(self, address: str, now_s: float) -> None:
        """Note a wrong token."""
        if len(self._bad) >= _MOST_ADDRESSES and address not in self._bad:
            self._bad = {key: at for key, at in self._bad.items() if now_s - at[-1] < _WINDOW_S}
            while len(self._bad) >= _MOST_ADDRESSES:
                del self._bad[next(iter(self._bad))]  # whoever began first
        self._bad[address] = [*self._bad.get(address, [])[-self._most :], now_s]


def host_is_ours(host: str, settings: RestSettings) -> bool:
    """Whether a `Host` header names this server; the port does not matter, as requests may be forwarded."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if not name or any(mark in host for mark in "/@?#\\ "):
        return False
    name = name.rstrip(".").lower()
    known = {settings.host.lower(), *(allowed.lower() for allowed in settings.allow_hosts)}
    if name in _LOOPBACK or name in known:
        return True
    # Bound to all addresses, any of them may be asked for; a name never.
    return settings.host in {"0.0.0.0", "::", ""} and _is_address(name)  # noqa: S104  # compared, not bound


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def origin_is_allowed(origin: str | None, host: str, scheme: str, settings: RestSettings) -> bool:
    """Whether a request with this `Origin` header may pass; None for a request without one."""
    if origin is None:
        return True
    return origin in {TRANSLATOR, f"{scheme}://{host}", *settings.allow_origins}


def _is_from_elsewhere(scope: Scope, headers: Headers) -> bool:
    # Images, scripts and links of other sites make browsers send GET without `Origin`; pages may be linked to.
    is_foreign = headers.get("sec-fetch-site", "none") in {"cross-site", "same-site"}
    path: str = scope["path"]
    return is_foreign and path.startswith("/api")


def _is_asked_beforehand(scope: Scope, headers: Headers) -> bool:
    # Browsers ask so before they send what a page wants, always without a token. The old interface answers all.
    is_old = not scope["path"].startswith("/api/v1")
    return scope["method"] == "OPTIONS" and (is_old or "access-control-request-method" in headers)


class Guard:
    """The outermost layer of the server: checks a request, adds headers to the answer, bounds pauses in bodies."""

    def __init__(
        self, app: ASGIApp, settings: RestSettings, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._settings = settings
        self._now_s = now_s
        self._tries = Tries(settings.bad_tries)
        self._token = None if settings.token is None else settings.token.encode()
        self.refused = 0
        self.served: dict[int, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._refuse_socket(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        refusal = self._refusal(scope, headers)
        is_allowed = origin is not None and not isinstance(refusal, RequestRefused)
        sending = self._adding(send, origin if is_allowed else None)
        if refusal is not None:
            self.refused += 1
            await self._refused(scope, refusal)(scope, receive, sending)
        elif _is_asked_beforehand(scope, headers):
            await answer({})(scope, receive, sending)
        else:
            await self._app(scope, self._bounded(receive), sending)

    def _refusal(self, scope: Scope, headers: Headers) -> PenstockError | None:
        hosts = headers.getlist("host")
        host = hosts[0] if len(hosts) == 1 else ""
        if not host_is_ours(host, self._settings):
            return RequestRefused("misdirected", f"this server does not answer to {host[:200]!r}")
        origins = headers.getlist("origin")
        origin = ", ".join(origins) if origins else None
        if not origin_is_allowed(origin, host, scope["scheme"], self._settings):
            return RequestRefused("bad_origin", f"pages of {str(origin)[:200]!r} may not ask this server")
        if origin is None and _is_from_elsewhere(scope, headers):
            return RequestRefused(
                "bad_origin", "a page of another site may not make browsers ask this server"
            )
        if self._token is None or _is_asked_beforehand(scope, headers):
            return None
        return self._wrong_token(scope, headers)

    def _wrong_token(self, scope: Scope, headers: Headers) -> PenstockError | None:
        address, now_s = (scope.get("client") or ("", 0))[0], self._now_s()
        if wait_s := self._tries.wait_s(address, now_s):
            told = {"Retry-After": str(math.ceil(wait_s))}
            return RequestRefused("too_many_tries", "too many wrong tokens came from this address", told)
        given = headers.get("authorization", "")
        if not given:
            return Unauthorized("the request has no token")
        scheme, _, token = given.partition(" ")
        expected = self._token or b""
        is_right = hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), expected)
        if scheme.lower() == "bearer" and is_right:
            return None
        self._tries.failed(address, now_s)
        return Unauthorized("the token is wrong")

    def _refused(self, scope: Scope, refusal: PenstockError) -> Response:
        path: str = scope["path"]
        if isinstance(refusal, Unauthorized) and not path.startswith("/api"):
            page = html(_LOGIN, 401)
            page.headers["WWW-Authenticate"] = 'Bearer realm="penstock"'
            return page
        return fault(path, refusal)

    async def _refuse_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._app(scope, receive, send)

    def _bounded(self, receive: Receive) -> Receive:
        # A pause is bounded only while a body is awaited: afterwards `receive` waits for the client to go away.
        done = False

        async def bounded() -> Message:
            nonlocal done
            if done:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self._settings.idle_s)
            except TimeoutError:
                done = True
                raise RequestRefused(
                    "too_slow", "the body paused for too long", {"Connection": "close"}
                ) from None
            done = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        return bounded

    def _adding(self, send: Send, origin: str | None) -> Send:
        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                status: int = message["status"]
                self.served[status] = self.served.get(status, 0) + 1
                _add(message, _SECURITY)
                if origin is not None:
                    _add(message, {"Access-Control-Allow-Origin": origin, "Vary": "Origin", **_CORS})
            await send(message)

        return adding


def _add(message: MutableMapping[str, Any], more: Mapping[str, str]) -> None:  # Any: an ASGI message
    headers = MutableHeaders(scope=message)
    for name, value in more.items():
        headers.setdefault(name, value)
