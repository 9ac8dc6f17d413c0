"""Who may ask: tokens, names, origins, on every route there is."""

from collections.abc import Iterator

import pytest

from penstock.errors import Unauthorized
from penstock.rest.client import ManagerClient
from penstock.rest.server import RestServer
from penstock.rest.settings import RestSettings
from penstock.testing.fake_manager import FakeManager

from .rest_raw import Raw, ask

TOKEN = "the-one-token"
ROUTES = [
    ("GET", "/"),
    ("GET", "/session?sessionId=s"),
    ("GET", "/api"),
    ("GET", "/api/sessions"),
    ("POST", "/api/sessions"),
    ("DELETE", "/api/sessions/s"),
    ("POST", "/api/sessions/s/graph/append"),
    ("POST", "/api/sessions/s/deploy"),
    ("GET", "/api/sessions/s/logs"),
    ("POST", "/api/stop"),
    ("GET", "/api/shutdown"),
    ("GET", "/api/v1/sessions"),
    ("GET", "/api/v1/events"),
    ("GET", "/api/v1/metrics"),
    ("GET", "/api/v1/health"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/api/v1/docs"),
    ("GET", "/no/such/path"),
]


@pytest.fixture
def manager() -> FakeManager:
    manager = FakeManager()
    manager.create_session("s")
    manager.calls.clear()
    return manager


@pytest.fixture
def guarded(manager: FakeManager) -> Iterator[int]:
    with RestServer(manager, RestSettings(token=TOKEN)) as server:
        yield server.port


@pytest.fixture
def open_to_all(manager: FakeManager) -> Iterator[int]:
    settings = RestSettings(allow_origins=("https://eagle.example",), allow_hosts=("penstock.example",))
    with RestServer(manager, settings) as server:
        yield server.port


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "given", [None, "Bearer wrong", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"]
)
def test_no_route_answers_without_the_token(
    guarded: int, manager: FakeManager, method: str, path: str, given: str | None
) -> None:
    headers = {} if given is None else {"Authorization": given}
    answer = ask(guarded, method, path, b"" if method == "POST" else None, **headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert manager.calls == []
    assert TOKEN.encode() not in answer.body


def test_the_token_opens_and_stands_in_no_url(guarded: int) -> None:
    assert ask(guarded, "GET", "/api/sessions", Authorization=f"Bearer {TOKEN}").status == 200
    assert ask(guarded, "GET", "/", Authorization=f"bearer {TOKEN}").status == 200
    assert ask(guarded, "GET", f"/?token={TOKEN}").status == 401
    assert b"Authorization: Bearer" in ask(guarded, "GET", "/").body


def test_after_ten_wrong_tokens_an_address_waits(guarded: int) -> None:
    for _ in range(10):
        assert ask(guarded, "GET", "/api", Authorization="Bearer wrong").status == 401
    for token in ("wrong", TOKEN):
        answer = ask(guarded, "GET", "/api/v1/sessions", Authorization=f"Bearer {token}")
        assert answer.status == 429
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert answer.json["code"] == "too_many_tries"


def test_requests_without_a_token_shut_nobody_out(guarded: int) -> None:
    for _ in range(20):
        assert ask(guarded, "GET", "/api").status == 401
    assert ask(guarded, "GET", "/api", Authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "", "evil@localhost", "169.254.169.254"],
)
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_to_a_foreign_name(
    open_to_all: int, manager: FakeManager, host: str, method: str, path: str
) -> None:
    answer = ask(open_to_all, method, path, b"" if method == "POST" else None, Host=host)
    assert answer.status == 421
    assert manager.calls == []


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:80", "127.0.0.1:1", "[::1]:8000", "penstock.example:99"]
)
def test_our_own_names_are_known(open_to_all: int, host: str) -> None:
    assert ask(open_to_all, "GET", "/api", Host=host).status == 200


def cross(answer: Raw) -> str | None:
    return answer.headers.get("access-control-allow-origin")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "https://dlg-tm.localhost"]
)
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_pages_of_other_origins_may_not_ask_even_without_authentication(
    open_to_all: int, manager: FakeManager, origin: str, method: str, path: str
) -> None:
    for asked in (method, "OPTIONS"):
        answer = ask(open_to_all, asked, path, b"" if asked == "POST" else None, Origin=origin)
        assert answer.status == 403
        assert cross(answer) is None
        assert "access-control-allow-credentials" not in answer.headers
    assert manager.calls == []


def test_allowed_origins_may_ask(open_to_all: int) -> None:
    own = f"http://127.0.0.1:{open_to_all}"
    for origin in (own, "http://dlg-tm.localhost", "https://eagle.example"):
        answer = ask(open_to_all, "GET", "/api", Origin=origin)
        assert (answer.status, cross(answer), answer.headers["vary"]) == (200, origin, "Origin")
        before = ask(
            open_to_all, "OPTIONS", "/api/sessions", Origin=origin, Access_Control_Request_Method="POST"
        )
        assert (before.status, cross(before), before.json) == (200, origin, {})
    assert cross(ask(open_to_all, "GET", "/api")) is None


def test_browsers_may_ask_beforehand_without_a_token(guarded: int) -> None:
    asked = {"Origin": "http://dlg-tm.localhost", "Access-Control-Request-Method": "POST"}
    answer = ask(guarded, "OPTIONS", "/api/v1/sessions", **asked)
    assert answer.status == 200
    assert "Authorization" in answer.headers["access-control-allow-headers"]


def test_a_form_of_another_site_starts_nothing(open_to_all: int, manager: FakeManager) -> None:
    form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": "http://evil.example"}
    answer = ask(open_to_all, "POST", "/api/sessions/s/deploy", b"completed=A", **form)
    assert (answer.status, answer.json["type"]) == (403, "DaliugeException")
    assert manager.calls == []


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_an_image_of_another_site_stops_nothing(open_to_all: int, site: str) -> None:
    answer = ask(open_to_all, "GET", "/api/shutdown", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors")
    assert answer.status == 403
    assert ask(open_to_all, "GET", "/session?sessionId=s", Sec_Fetch_Site=site).status == 200


def test_every_answer_keeps_browsers_in_check(open_to_all: int) -> None:
    for method, path in ROUTES[:4]:
        headers = ask(open_to_all, method, path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_the_token_is_in_no_description_of_the_settings() -> None:
    assert TOKEN not in repr(RestSettings(token=TOKEN))


def test_a_client_with_the_wrong_token_is_told_so(guarded: int) -> None:
    url = f"http://127.0.0.1:{guarded}"
    with ManagerClient(url, "wrong") as client, pytest.raises(Unauthorized):
        client.sessions()
    with ManagerClient(url, TOKEN) as client:
        assert [info.session_id for info in client.sessions()] == ["s"]
        heard: list[object] = []
        unlisten = client.listen(heard.append)
        unlisten()
