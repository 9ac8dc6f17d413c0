# SPDX-License-Identifier: Apache-2.0
"""The frames between a pool and its children: one header, then opaque bytes.

To the child, on a socket:      ITEM, SETUP, FORGET, SEGMENT and LISTENER (each with a descriptor), DROP, REPLY
To the parent, on a pipe:       READY, OUTCOME, LOG, REQUEST, ALLOCATE, HOLDING

Both ends are the same release of Penstock, started one from the other, so there is no version here; nothing
in a frame is ever unpickled by the parent.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum

__all__ = ["HEADER", "OUTCOME_HEADER", "TOKEN", "Frame", "Status", "cut", "frame", "outcome"]

HEADER = struct.Struct("<IBBHQ")
"""Bytes that follow, kind, status, unused, token (of an item) or number (of a holder, segment, request)."""

OUTCOME_HEADER = struct.Struct("<dQ")
"""Behind the header of an outcome: seconds, peak memory of the process in KiB."""

TOKEN = struct.Struct("<Q")


class Frame(IntEnum):
    """What a frame is."""

    ITEM = 1  # token, body: the number of its holder, then what the entry runs
    SETUP = 2  # holder, body: name of the entry, NUL, what it opens
    FORGET = 3  # holder
    SEGMENT = 4  # segment; a descriptor comes along
    LISTENER = 5  # a descriptor comes along
    DROP = 7  # segment: it is gone
    REPLY = 6  # status, body: the answer to REQUEST and ALLOCATE

    READY = 16
    OUTCOME = 17  # token, status, OUTCOME_HEADER, body
    LOG = 18  # token, body: stream, NUL, text
    REQUEST = 19  # token, body
    ALLOCATE = 20  # token, body: bytes wanted, as TOKEN
    HOLDING = 21  # body: TOKENs, triples of blocks that are still looked at


class Status(IntEnum):
    """How an item or a request ended."""

    GOOD = 0
    FAILED = 1  # the entry says so, in the body
    BROKEN = 2  # the entry itself failed: the body is text


def frame(kind: Frame, number: int, body: bytes = b"", status: int = 0) -> bytes:
    """Return the bytes of one frame."""
    return HEADER.pack(len(body), kind, status, 0, number) + body


def outcome(token: int, status: int, seconds: float, peak_kib: int, body: bytes) -> bytes:
    """Return the bytes of the frame that tells how an item ended."""
    head = HEADER.pack(OUTCOME_HEADER.size + len(body), Frame.OUTCOME, status, 0, token)
    return head + OUTCOME_HEADER.pack(seconds, peak_kib) + body


def cut(data: bytearray) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (kind, status, number, body) of all frames that are whole, and take them out of `data`."""
    at, end = 0, len(data)
    head = HEADER.size
    try:
        while end - at >= head:
            size, kind, status, _, number = HEADER.unpack_from(data, at)
            if end - at - head < size:
                break
            at += head + size
            yield kind, status, number, bytes(data[at - size : at])
    finally:
        del data[:at]
