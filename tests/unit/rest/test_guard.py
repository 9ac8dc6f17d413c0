"""Names, origins and tries, without a connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.rest.guard import Tries, host_is_ours, origin_is_allowed
from penstock.rest.settings import RestSettings

HOME = RestSettings(host="10.0.0.7", allow_hosts=("Penstock.Example",))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1",
        "[::1]",
        "[::1]:8000",
        "10.0.0.7:8000",
        "penstock.example",
        "localhost.",
    ],
)
def test_names_that_are_ours(host: str) -> None:
    assert host_is_ours(host, HOME)


@pytest.mark.parametrize(
    "host",
    ["", "evil", "10.0.0.8", "a@localhost", "localhost/x", "localhost#", "[::1", "localhost evil", "[::2]"],
)
def test_names_that_are_not(host: str) -> None:
    assert not host_is_ours(host, HOME)


def test_bound_to_all_addresses_any_address_is_ours_and_no_name() -> None:
    everywhere = RestSettings(host="0.0.0.0")
    assert host_is_ours("192.168.1.5:8000", everywhere)
    assert host_is_ours("[fe80::1]", everywhere)
    assert not host_is_ours("evil.example", everywhere)


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_none(host: str) -> None:
    assert host_is_ours(host, HOME) in {True, False}


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        (None, True),
        ("http://localhost:8000", True),
        ("http://dlg-tm.localhost", True),
        ("https://localhost:8000", False),
        ("http://localhost", False),
        ("http://dlg-tm.localhost.evil", False),
        ("null", False),
        ("", False),
        ("*", False),
    ],
)
def test_origins(origin: str | None, is_allowed: bool) -> None:
    assert origin_is_allowed(origin, "localhost:8000", "http", RestSettings()) is is_allowed


def test_an_address_waits_after_too_many_tries_until_the_oldest_is_a_minute_old() -> None:
    tries = Tries(3)
    for now_s in (0.0, 10.0, 20.0):
        assert tries.wait_s("a", now_s) == 0
        tries.failed("a", now_s)
    assert tries.wait_s("a", 21.0) == 39
    assert tries.wait_s("b", 21.0) == 0
    assert tries.wait_s("a", 60.0) == 0
    tries.failed("a", 60.0)
    assert tries.wait_s("a", 60.0) == 10


def test_the_table_of_addresses_is_bounded() -> None:
    tries = Tries(1)
    for i in range(10_001):
        tries.failed(str(i), 0.0)
    assert tries.wait_s("0", 0.0) == 0
    assert tries.wait_s("10000", 0.0) == 60
    tries.failed("later", 100.0)
    assert tries.wait_s("10000", 0.0) == 0  # too old, gone
