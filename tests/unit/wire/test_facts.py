"""Facts as frames: every message survives, and whatever comes is a message or junk."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.part import Ack, Batch
from penstock.errors import WireError
from penstock.wire.facts import decode, encode

NUMBERS = st.integers(0, 1 << 40)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SESSION_IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,20}", fullmatch=True)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    count = draw(st.integers(0, 50))
    return Batch(
        draw(NUMBERS),
        draw(NUMBERS),
        tuple(draw(st.lists(st.text(), max_size=5))),
        draw(st.binary(min_size=4 * count, max_size=4 * count)),
        draw(st.binary(min_size=count, max_size=count)),
        tuple(draw(st.lists(st.tuples(NUMBERS, NUMBERS, PLAIN), max_size=3))),
    )


@given(SESSION_IDS, batches() | st.builds(Ack, NUMBERS, NUMBERS))
def test_a_message_survives(session_id: str, message: Batch | Ack):
    assert decode(list(encode(session_id, message))) == ("", session_id, message)


@given(SESSION_IDS, batches(), st.data())
def test_a_frame_too_few_or_another_one_is_a_message_or_junk(
    session_id: str, message: Batch, data: st.DataObject
):
    frames = list(encode(session_id, message))
    place = data.draw(st.integers(0, len(frames) - 1))
    change = data.draw(st.sampled_from(["drop", "cut", "other"]))
    if change == "drop":
        del frames[place]
    elif change == "cut":
        frames[place] = frames[place][: data.draw(st.integers(0, len(frames[place])))]
    else:
        frames[place] = data.draw(st.binary())
    if len(frames) < 2:
        return  # the wire hands on none of one frame
    try:
        decoded = decode(frames)[2]
    except WireError:
        return
    assert isinstance(decoded, Batch | Ack)


@given(st.lists(st.binary(max_size=50), min_size=2, max_size=6))
def test_any_frames_are_a_message_or_junk(frames: list[bytes]):
    try:
        decode(list(frames))
    except WireError:
        return


def test_more_states_than_numbers_are_junk():
    frames = list(encode("s", Batch(1, 1, (), b"\0" * 8, b"\2\2")))
    frames[3] = b"\2"
    with pytest.raises(WireError, match="as many"):
        decode(frames)
