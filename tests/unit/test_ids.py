"""Session ids, and addresses of nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import SessionIdInvalid, StartRefused
from penstock.ids import NodeAddress, parse_session_id


@pytest.mark.parametrize("text", ["a", "7", "HelloWorld-2026.01_02:03+1", "x" * 128])
def test_plain_ids_are_taken(text: str):
    assert parse_session_id(text) == text


@pytest.mark.parametrize(
    "text", ["", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "å", "x" * 129, "../../evil", "a\0"]
)
def test_ids_that_could_leave_their_folder_are_refused(text: str):
    with pytest.raises(SessionIdInvalid):
        parse_session_id(text)


def test_the_refusal_of_a_long_text_stays_short():
    with pytest.raises(SessionIdInvalid) as refusal:
        parse_session_id("x" * 100_000)
    assert len(str(refusal.value)) < 400


@given(st.text())
def test_what_is_taken_is_one_word_of_a_path_and_of_a_url(text: str):
    try:
        taken = parse_session_id(text)
    except SessionIdInvalid:
        return
    assert taken == text
    assert taken.isascii()
    assert not set(taken) & set("/\\?#% \n\0")
    assert taken not in (".", "..")


HOSTS = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
PORTS = st.integers(1, 65535)


@given(HOSTS, PORTS, PORTS, PORTS)
def test_an_address_survives_its_text(host: str, rest: int, events: int, rpc: int):
    address = NodeAddress(host, rest, events, rpc)
    assert NodeAddress.parse(str(address)) == address


@given(HOSTS, st.lists(PORTS, max_size=3))
def test_ports_that_are_missing_are_the_usual_ones(host: str, ports: list[int]):
    written = f"[{host}]" if ":" in host else host
    address = NodeAddress.parse(":".join([written, *map(str, ports)]))
    assert address.host == host
    assert list(address[1:]) == ports + [8000, 5555, 6666][len(ports) :]


@pytest.mark.parametrize(
    "text",
    ["", ":8000", "a:", "a:0", "a:65536", "a:08", "a:-1", "a:1:2:3:4", "a b", "a/b", "::1", "[::1", "[a]", "[::1]8000",
     "[::1%lo]x", "a:१", "-a", "x" * 400, "a\n", "a:1\n"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(StartRefused) as refusal:
        NodeAddress.parse(text)
    assert len(str(refusal.value)) < 800


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str):
    try:
        address = NodeAddress.parse(text)
    except StartRefused:
        return
    assert NodeAddress.parse(str(address)) == address
