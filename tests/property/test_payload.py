"""Whatever comes in: a message that is read, or `PayloadInvalid`."""

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import PayloadInvalid
from penstock.wire.payload import Block, blocks, error_text, pack, pack_error, unpack

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
nearly = st.tuples(
    st.sampled_from(["penstock.value", "penstock.error", "x"]),
    st.sampled_from([1, 2, "1"]),
    st.sampled_from(["pickle", "bytes", "bytearray", "no"]) | plain,
    st.binary() | plain,
    st.lists(st.binary() | st.tuples(*[st.integers(-(2**63), 2**64 - 1)] * 3) | plain, max_size=3),
)
MESSAGES = [pack({"a": [1, b"x"]}), pack_error(ValueError("x")), pack(b"x" * 10)]


def reads_or_refuses(message: bytes) -> None:
    for read in (blocks, error_text):
        try:
            found = read(message)
        except PayloadInvalid:
            continue
        assert isinstance(found, tuple) or all(isinstance(block, Block) for block in found)


@given(st.binary(max_size=200))
@example(b"\x91" * 100_000)
@example(b"\x95" + b"\x91" * 100_000)
def test_any_bytes(message: bytes) -> None:
    reads_or_refuses(message)


@given(plain | nearly)
def test_any_msgpack(content: object) -> None:
    reads_or_refuses(msgspec.msgpack.encode(content))


@given(st.sampled_from(MESSAGES), st.integers(0, 1000), st.integers(0, 255), st.booleans())
def test_a_message_with_one_byte_changed_or_cut_short(message: bytes, at: int, byte: int, cut: bool) -> None:
    at %= len(message)
    reads_or_refuses(message[:at] if cut else message[:at] + bytes([byte]) + message[at + 1 :])


@given(plain, st.integers(0, 40))
def test_values_arrive_as_they_were(value: object, threshold: int) -> None:
    kept: list[bytes] = []

    def place(buffer: memoryview) -> Block:
        kept.append(bytes(buffer))
        return Block(len(kept) - 1, 0, buffer.nbytes)

    message = pack(value, place=place, threshold_bytes=threshold)
    assert [block.size for block in blocks(message)] == [len(content) for content in kept]
    again = unpack(message, view=lambda block, _: memoryview(kept[block.segment]))
    assert again == value or repr(again) == repr(value)  # a nan is not equal to itself
