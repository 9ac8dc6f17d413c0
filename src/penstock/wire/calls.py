# SPDX-License-Identifier: Apache-2.0
"""The headers of calls, of their answers, and of messages that nobody answers.

The frame after the header is the body, all others are buffers.
"""

from typing import Literal

import msgspec

__all__ = ["Answer", "Ask", "Push"]


class Ask(msgspec.Struct, array_like=True, tag="call", forbid_unknown_fields=True, frozen=True):
    """A call: after `timeout_s` nobody waits for it; with `repeat` it may come again under its number."""

    version: Literal[1]
    number: int
    method: str
    timeout_s: float
    repeat: bool


class Answer(msgspec.Struct, array_like=True, tag="answer", forbid_unknown_fields=True, frozen=True):
    """What came of a call: not `ok`, the body is an error as plain values in msgpack."""

    version: Literal[1]
    number: int
    ok: bool


class Push(msgspec.Struct, array_like=True, tag="push", forbid_unknown_fields=True, frozen=True):
    """A message that nobody answers."""

    version: Literal[1]
