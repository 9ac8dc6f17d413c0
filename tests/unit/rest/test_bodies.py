"""Bodies: whatever wrapping, whatever pieces, whatever limits."""

import gzip
import zlib
from collections.abc import Callable

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from penstock.rest.bodies import Inflater, decode, why_not_json
from penstock.rest.faults import RequestRefused
from penstock.rest.settings import Limits

SQUEEZERS: list[Callable[[bytes], bytes]] = [bytes, zlib.compress, gzip.compress, zstandard.compress]


def inflate(data: bytes, encoding: str = "gzip", limits: Limits | None = None, size: int = 7) -> bytes:
    inflater = Inflater(encoding, limits or Limits())
    body = b"".join(piece for i in range(0, len(data), size) for piece in inflater.feed(data[i : i + size]))
    return body + b"".join(inflater.finish())


def word_or_body(data: bytes, encoding: str, size: int) -> str | bytes:
    try:
        return inflate(data, encoding, size=size)
    except RequestRefused as exc:
        return exc.word


@given(st.binary(max_size=300), st.sampled_from(SQUEEZERS[1:]), st.integers(1, 40))
def test_what_was_squeezed_comes_back(content: bytes, squeeze: Callable[[bytes], bytes], size: int) -> None:
    assert inflate(squeeze(content), size=size) == content


@given(st.binary(max_size=60), st.integers(1, 40), st.sampled_from(["", "gzip", "zstd", "identity"]))
def test_any_bytes_are_read_or_refused(content: bytes, size: int, encoding: str) -> None:
    assert (
        word_or_body(content, encoding, size) in {"bad_encoding", content} or content[:1] in b"\x1f\x78\x28"
    )


@given(st.binary(max_size=300), st.integers(0, 400), st.sampled_from(SQUEEZERS[1:]))
def test_a_part_is_never_taken_for_the_whole(
    content: bytes, at: int, squeeze: Callable[[bytes], bytes]
) -> None:
    whole = squeeze(content)
    part = whole[: at % len(whole)]
    if len(part) < 2:
        return  # too little to know that it was squeezed: it is refused as JSON
    # No more than the mark of its format may be taken for a plain text.
    assert word_or_body(part, "gzip", 7) == "bad_encoding" or len(part) < 4


def test_gzip_of_several_members_is_one_body() -> None:
    assert inflate(gzip.compress(b"one") + gzip.compress(b"two")) == b"onetwo"


@pytest.mark.parametrize("squeeze", [zlib.compress, zstandard.compress])
def test_more_behind_the_end_is_refused(squeeze: Callable[[bytes], bytes]) -> None:
    with pytest.raises(RequestRefused, match="behind the end"):
        inflate(squeeze(b"x") + b"more")


def test_plain_text_is_plain_in_spite_of_its_header() -> None:
    assert inflate(b'[{"oid": "A"}]') == b'[{"oid": "A"}]'
    assert inflate(b"") == b""
    assert inflate(b"[]") == b"[]"


@pytest.mark.parametrize("squeeze", SQUEEZERS)
def test_no_more_than_the_limit_is_ever_inflated(squeeze: Callable[[bytes], bytes]) -> None:
    limits = Limits(sent_bytes=1 << 16, inflated_bytes=1 << 16, ratio=10**9)
    sizes: list[int] = []
    with pytest.raises(RequestRefused) as caught:
        sizes.extend(len(piece) for piece in Inflater("gzip", limits).feed(squeeze(bytes(1 << 24))))
    assert caught.value.word == "too_large"
    assert sum(sizes) <= 1 << 16


def test_the_compressed_size_has_a_limit_of_its_own() -> None:
    with pytest.raises(RequestRefused, match="larger than 10 bytes"):
        inflate(zlib.compress(bytes(range(256))), limits=Limits(compressed_bytes=10))


def test_small_bodies_may_be_squeezed_well() -> None:
    assert len(inflate(zlib.compress(bytes(1 << 20)))) == 1 << 20
    with pytest.raises(RequestRefused, match="200 times"):
        inflate(zlib.compress(bytes((1 << 20) + 1)))


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(RequestRefused) as caught:
        Inflater("br", Limits())
    assert caught.value.word == "unsupported_media"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "bad_request"),
        (b"{", "malformed_json"),
        (b'"\xff"', "bad_encoding"),
        (b"NaN", "bad_value"),
        (b"[" * 100_000, "too_deep"),
    ],
)
def test_it_is_told_why_a_text_is_no_json(body: bytes, word: str) -> None:
    assert why_not_json(body)[0] == word
    with pytest.raises(RequestRefused) as caught:
        decode(body, object)
    assert caught.value.word == word


def test_json_of_another_shape_is_a_bad_request() -> None:
    with pytest.raises(RequestRefused, match=r"Expected `int`") as caught:
        decode(b'{"a": "x"}', dict[str, int])
    assert caught.value.word == "bad_request"
    assert isinstance(caught.value.__cause__, msgspec.ValidationError)
