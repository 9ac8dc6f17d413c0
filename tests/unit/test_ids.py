"""Session ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import SessionIdInvalid
from penstock.ids import parse_session_id


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
