"""What a client asks, before anything is sent."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import SessionIdInvalid, SessionNotFound
from penstock.rest import calls
from penstock.rest.calls import SseReader


@given(st.text(min_size=1, max_size=20))
def test_the_name_of_a_drop_is_one_step_of_the_path(uid: str) -> None:
    path = calls.data_path("s", uid)
    assert path.startswith("/sessions/s/drops/")
    assert path.count("/") == 5
    assert path.isascii()
    assert path.split("/")[4] not in {".", ".."}


def test_ids_that_cannot_be_are_not_sent() -> None:
    with pytest.raises(SessionNotFound):
        calls.session("../x")
    with pytest.raises(SessionIdInvalid):
        calls.create_session("../x")


def test_graphs_are_squeezed_when_they_go_far() -> None:
    near, far = calls.add_graph("s", b"[]", is_far=False), calls.add_graph("s", b"[]", is_far=True)
    assert near.body == b"[]"
    assert "Content-Encoding" not in near.headers
    assert zlib.decompress(far.body) == b"[]"
    assert far.headers["Content-Encoding"] == "deflate"


@pytest.mark.parametrize(
    ("url", "is_near"),
    [
        ("http://localhost:8000", True),
        ("http://127.0.0.1", True),
        ("http://[::1]:80", True),
        ("http://10.0.0.1", False),
        ("https://example.org", False),
        ("http://localhost.evil", False),
    ],
)
def test_what_is_near(url: str, is_near: bool) -> None:
    assert calls.is_near(url) is is_near


def test_events_are_read_line_by_line() -> None:
    reader, told = SseReader(), []
    text = (
        'retry: 1000\n: hello\n\nid: e-1\nevent: session\ndata: {"session_id": "s", "detail": {"a": 1}}\n\n'
        ': beat\n\nid: e-2\nevent: drops\ndata: {"session_id": "s",\ndata: "detail": {}}\n\nevent: gap\ndata: {}\n\n'
    )
    for line in text.split("\n"):
        told += reader.feed(line)
    assert [(change.kind, change.session_id, dict(change.detail)) for change in told] == [
        ("session", "s", {"a": 1}),
        ("drops", "s", {}),
        ("gap", "", {}),
    ]
    assert reader.last_id == "e-2"
