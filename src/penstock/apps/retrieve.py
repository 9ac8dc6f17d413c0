# SPDX-License-Identifier: Apache-2.0
"""Fetching a URL into drops: http and https only, with a time-out, streamed piece by piece.

A URL comes from a graph; `file:` and `ftp:` addresses, also as the goal of a redirection, are refused.
"""

import http.client
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from penstock.drops.app import AppDrop
from penstock.drops.data import CHUNK_BYTES
from penstock.drops.ports import Parameter
from penstock.errors import DownloadFailed, ParameterInvalid

__all__ = ["UrlRetrieveApp"]


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _shown(url: str) -> str:
    """Return the address as messages may show it: without user, password, query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class UrlRetrieveApp(AppDrop):
    """Write the content of `url` to all outputs."""

    isolation = "thread"

    url = Parameter(str, "", "an http or https address")
    timeout_s = Parameter(float, 30.0, "seconds without an answer after which the app fails")

    def run(self) -> None:
        self.need(outputs=1)
        url = self.url.strip()
        if "@" in urlsplit(url).netloc:
            raise ParameterInvalid(self.uid, "url", f"must hold no user or password: {_shown(url)!r}")
        if urlsplit(url).scheme.lower() not in ("http", "https"):
            raise ParameterInvalid(
                self.uid, "url", f"must be an http or https address, not {_shown(url)[:200]!r}"
            )
        try:
            with _opener().open(url, timeout=self.timeout_s) as answer:
                self._store(url, answer)
        except urllib.error.HTTPError as exc:
            exc.close()  # it is an answer too, with a connection
            raise DownloadFailed(self.uid, _shown(url), str(exc)) from exc
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as exc:
            raise DownloadFailed(self.uid, _shown(url), str(exc) or type(exc).__name__) from exc

    def _store(self, url: str, answer: http.client.HTTPResponse) -> None:
        promised, received = answer.headers.get("Content-Length"), 0
        while chunk := answer.read(CHUNK_BYTES):
            received += len(chunk)
            for output in self.outputs:
                output.write(chunk)
        if promised is not None and promised.isdigit() and int(promised) != received:
            raise DownloadFailed(self.uid, _shown(url), f"ended after {received} of {promised} bytes")
