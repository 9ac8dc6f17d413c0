# SPDX-License-Identifier: Apache-2.0
"""Identifiers: parse, format, refuse."""

import ipaddress
import re
from typing import NamedTuple, NewType, Self

from penstock.errors import SessionIdInvalid, StartRefused

__all__ = ["NodeAddress", "SessionId", "parse_session_id"]

SessionId = NewType("SessionId", str)

_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_REST, _EVENTS, _RPC = 8000, 5555, 6666
_HIGHEST_PORT = 65535


def parse_session_id(text: str) -> SessionId:
    """Return `text` as a session id.

    Raises:
        SessionIdInvalid: the text could leave its folder or not be put in a URL.
    """
    if not _SESSION_ID.fullmatch(text):
        raise SessionIdInvalid(text)
    return SessionId(text)


class NodeAddress(NamedTuple):
    """Where a node is: one host, and the ports of its three doors. As text `host:rest:events:rpc`.

    Attributes:
        host: a name or an address; of IPv6 without the brackets that stand around it in the text.
        rest: HTTP.
        events: facts of other nodes.
        rpc: calls of managers.
    """

    host: str
    rest: int = _REST
    events: int = _EVENTS
    rpc: int = _RPC

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address that a text tells; ports that are missing at its end are the usual ones.

        Raises:
            StartRefused: it is no such text.
        """
        if text.startswith("["):
            host, bracket, ports = text[1:].partition("]")
            is_host = bool(bracket) and _is_ipv6(host) and (not ports or ports[0] == ":")
        else:
            host, colon, ports = text.partition(":")
            ports = colon + ports
            is_host = _HOST.fullmatch(host) is not None
        numbers = ports.split(":")[1:]
        if not is_host or len(numbers) > len(cls._fields) - 1 or not all(map(_is_port, numbers)):
            raise StartRefused(
                f"{text[:300]!r} is not the address of a node",
                "write host, host:rest, host:rest:events or host:rest:events:rpc, IPv6 hosts in brackets",
            )
        return cls(host, *map(int, numbers))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.rest}:{self.events}:{self.rpc}"


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and int(text) <= _HIGHEST_PORT
