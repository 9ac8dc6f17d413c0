# SPDX-License-Identifier: Apache-2.0
"""Long texts and tables worked on in pieces, so that the threads beside it have their turns.

While a call into a library lasts no other Python thread of the process runs: decoding a million drops takes half a
second, and a look at each entry of a table of a million a tenth. Pieces take a few milliseconds each.

Rule 1: the outcome is that of decoding the whole text at once, errors included (but for what they say).
Rule 2: where to cut is guessed, by what stands between two objects. A cut inside a string, or inside an object
        or a list, cannot be decoded: brackets or quotes are open. So what can be decoded was cut rightly.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

__all__ = ["TURN", "decoded", "holds", "pieces", "turns"]

T = TypeVar("T")

TURN = 1 << 14
"""How many entries of a table are worth one call into a library."""

_PIECE_BYTES = 1 << 20
_SEARCH_BYTES = 1 << 23
_TRIES = 8
_OPENING = re.compile(rb"[ \t\r\n]*\[")
_FIRST_KEY = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*("[^"\\]*")')
_BETWEEN_ANY = re.compile(rb"\}[ \t\r\n]*,(?=[ \t\r\n]*\{)")


def decoded(
    text: bytes,
    decoder: "msgspec.json.Decoder[tuple[T, ...]]",
    shorten: Callable[[tuple[T, ...]], None] | None = None,
) -> Sequence[T]:
    """Return the elements of a list: a tuple, or where there are many a list of the caller's own.

    (A tuple could only be made and freed in one go.)

    Args:
        decoder: for the type of the list.
        shorten: makes elements smaller; called for those of each piece, where the text is cut at all.
    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: the text is no such list.
    """
    if len(text) < 2 * _PIECE_BYTES:
        _check_encoding(text)
        return decoder.decode(text)
    elements: list[T] = []
    for _, part in pieces(text, decoder):
        if shorten is not None:
            shorten(part)
        elements += part
    return elements


def pieces(
    text: bytes, decoder: "msgspec.json.Decoder[tuple[T, ...]]"
) -> Iterator[tuple[int, tuple[T, ...]]]:
    """Yield the elements of a list some at a time, with the place in the text from which on they stand.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: as `decoded`.
    """
    opening = _OPENING.match(text)
    start = opening.end() if opening else 0
    between = _between(text, start)
    while opening and len(text) - start >= 2 * _PIECE_BYTES:
        end, elements = _next(text, start, between, decoder)
        if not end:
            break
        yield start, elements
        start = end + 1  # behind the comma
    rest = b"[" + text[start:] if opening else text
    _check_encoding(rest)
    yield start, decoder.decode(rest)


def turns(table: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the entries of a table, `TURN` at a time."""
    for start in range(0, len(table), TURN):
        yield table[start : start + TURN]


def holds(text: bytes, word: bytes) -> bool:
    """Whether a word is in a text."""
    # From behind: forwards, JSON is full of false beginnings, and searching it takes twice the time.
    end = len(text)
    while end > 0:
        start = max(0, end - _SEARCH_BYTES)
        if text.rfind(word, start, end + len(word)) >= 0:
            return True
        end = start
    return False


def _between(text: bytes, start: int) -> "re.Pattern[bytes]":
    """Return what stands between two elements: objects that begin as the first one does, as nearly all lists have."""
    key = _FIRST_KEY.match(text, start)
    if key is None:
        return _BETWEEN_ANY
    return re.compile(rb"\}[ \t\r\n]*,(?=[ \t\r\n]*\{[ \t\r\n]*" + re.escape(key.group(1)) + rb")")


def _next(
    text: bytes,
    start: int,
    between: "re.Pattern[bytes]",
    decoder: "msgspec.json.Decoder[tuple[T, ...]]",
) -> tuple[int, tuple[T, ...]]:
    """Return the next elements and the place of the comma behind them, 0 where no cut was found.

    Raises:
        msgspec.ValidationError, UnicodeDecodeError: elements are not what they should be.
    """
    at = start + _PIECE_BYTES
    for _ in range(_TRIES):
        # No further than another piece: a search of all the rest would be one long call too.
        found = between.search(text, at, at + _PIECE_BYTES)
        if found is None:
            at += _PIECE_BYTES
            continue
        piece = b"[" + text[start : found.start() + 1] + b"]"
        try:
            _check_encoding(piece)
            return found.end() - 1, decoder.decode(piece)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            at = found.end()  # a cut in the middle of an element, or the text is no JSON
    return 0, ()


def _check_encoding(text: bytes) -> None:
    if not text.isascii():
        text.decode()  # what is passed over in decoding would else be found bad only when somebody asks for it
