"""Frames: what is put together comes apart again, however the bytes arrive."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.workers.frames import HEADER, OUTCOME_HEADER, TOKEN, Frame, Status, cut, frame, outcome

numbers = st.integers(0, 2**64 - 1)
frames = st.lists(
    st.tuples(st.sampled_from(Frame), st.sampled_from(Status), numbers, st.binary(max_size=300)), max_size=12
)


def made(parts: list[tuple[Frame, Status, int, bytes]]) -> bytes:
    return b"".join(frame(kind, number, body, status) for kind, status, number, body in parts)


def test_a_frame_is_a_header_and_a_body():
    assert frame(Frame.ITEM, 7, b"abc") == HEADER.pack(3, Frame.ITEM, 0, 0, 7) + b"abc"
    assert len(frame(Frame.READY, 0)) == HEADER.size == 16


def test_an_outcome_tells_seconds_and_memory_before_its_body():
    data = bytearray(outcome(9, Status.FAILED, 1.5, 2048, b"why"))
    ((kind, status, token, body),) = cut(data)
    assert (kind, status, token) == (Frame.OUTCOME, Status.FAILED, 9)
    assert OUTCOME_HEADER.unpack_from(body) == (1.5, 2048)
    assert body[OUTCOME_HEADER.size :] == b"why"
    assert data == b""


@given(frames, st.data())
def test_frames_come_out_whole_and_in_order_however_they_arrive(parts, data):
    content = made(parts)
    bounds = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=30)))
    buffer, found = bytearray(), []
    for begin, end in zip([0, *bounds], [*bounds, len(content)], strict=True):
        buffer += content[begin:end]
        found += cut(buffer)
    assert found == [tuple(part) for part in parts]
    assert buffer == b""


@given(frames, st.binary(max_size=300), st.data())
def test_what_is_not_whole_stays(parts, body, data):
    last = frame(Frame.LOG, 1, body)
    kept = last[: data.draw(st.integers(0, len(last) - 1))]
    buffer = bytearray(made(parts) + kept)
    assert len(list(cut(buffer))) == len(parts)
    assert buffer == kept


def test_a_reader_that_stops_early_loses_nothing_but_what_it_has_seen():
    buffer = bytearray(made([(Frame.LOG, Status.GOOD, number, b"x") for number in range(3)]))
    rows = cut(buffer)
    assert next(rows)[2] == 0
    rows.close()
    assert [number for _, _, number, _ in cut(buffer)] == [1, 2]


def test_bodies_are_copies():
    buffer = bytearray(frame(Frame.LOG, 1, b"before"))
    ((_, _, _, body),) = cut(buffer)
    buffer += b"after, and much more of it"
    assert body == b"before"
    assert type(body) is bytes


@given(numbers)
def test_a_token_is_eight_bytes(number):
    assert TOKEN.unpack(TOKEN.pack(number)) == (number,)
    assert TOKEN.size == 8
