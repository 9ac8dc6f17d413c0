# SPDX-License-Identifier: Apache-2.0
"""Fetching URLs from a server on this machine."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from penstock.apps.retrieve import UrlRetrieveApp
from penstock.drops.memory import MemoryDrop
from penstock.errors import DownloadFailed, ParameterInvalid, PortMissing
from penstock.testing.solo import SoloSite

CONTENT = bytes(range(256)) * 1000


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        goals = {"/moved": "/data", "/secret": "file:///etc/passwd", "/ftp": "ftp://localhost/x"}
        if self.path in goals:
            self.send_response(302)
            self.send_header("Location", goals[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) + (7 if self.path == "/short" else 0)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as web:
        thread = threading.Thread(target=web.serve_forever, name="web")
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join(60)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def fetch(site: SoloSite, url: str, outputs: int = 1) -> list[bytes]:
    app = site.add(UrlRetrieveApp, "app", url=url)
    drops = [site.add(MemoryDrop, f"out{place}") for place in range(outputs)]
    for drop in drops:
        site.link(app, drop)
    site.run(app)
    return [drop.read() for drop in drops]


@pytest.mark.parametrize("path", ["/data", "/moved"])
def test_the_content_goes_to_all_outputs(site: SoloSite, server: str, path: str) -> None:
    assert fetch(site, server + path, 2) == [CONTENT, CONTENT]


@pytest.mark.parametrize("path", ["/missing", "/secret", "/ftp", "/short"])
def test_answers_that_are_no_content_fail(site: SoloSite, server: str, path: str) -> None:
    with pytest.raises(DownloadFailed):
        fetch(site, server + path)


def test_a_server_that_is_not_there(site: SoloSite) -> None:
    with pytest.raises(DownloadFailed, match="refused") as caught:
        fetch(site, "http://127.0.0.1:9/x?key=secret")
    assert "secret" not in str(caught.value)


def test_a_password_is_refused_and_not_repeated(site: SoloSite) -> None:
    with pytest.raises(ParameterInvalid, match="no user") as caught:
        fetch(site, "http://user:word@host/x")
    assert "word" not in str(caught.value).partition("password")[2]


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "ftp://host/x", "/etc/passwd", "data:,x"])
def test_other_schemes_are_refused(site: SoloSite, url: str) -> None:
    with pytest.raises(ParameterInvalid, match="url"):
        fetch(site, url)


def test_an_output_is_needed(site: SoloSite) -> None:
    with pytest.raises(PortMissing):
        fetch(site, "http://x", 0)
