# SPDX-License-Identifier: Apache-2.0
"""Identifiers: parse, format, refuse."""

import re
from typing import NewType

from penstock.errors import SessionIdInvalid

__all__ = ["SessionId", "parse_session_id"]

SessionId = NewType("SessionId", str)

_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")


def parse_session_id(text: str) -> SessionId:
    """Return `text` as a session id.

    Raises:
        SessionIdInvalid: the text could leave its folder or not be put in a URL.
    """
    if not _SESSION_ID.fullmatch(text):
        raise SessionIdInvalid(text)
    return SessionId(text)
