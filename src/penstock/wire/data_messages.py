# SPDX-License-Identifier: Apache-2.0
"""What readers and servers of drops' contents say to each other, and how they find out that they share a host."""

import os
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from penstock.errors import WireError

__all__ = [
    "CLOSE",
    "OPEN",
    "READ",
    "Close",
    "FileHere",
    "MemoryHere",
    "Open",
    "Opened",
    "Read",
    "decoded",
    "encoded",
    "host_mark",
]

OPEN: Final = "data.open"
READ: Final = "data.read"
CLOSE: Final = "data.close"


class Open(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Open a drop's content; `mark` tells where the reader is, "" if it wants all over the wire."""

    session_id: str
    uid: str
    mark: str


class FileHere(msgspec.Struct, array_like=True, tag="file", forbid_unknown_fields=True, frozen=True):
    """The content is a file that the reader may open itself, if it finds this one."""

    path: str
    device: int
    inode: int


class MemoryHere(msgspec.Struct, array_like=True, tag="memory", forbid_unknown_fields=True, frozen=True):
    """The content is memory that the reader may open by the server's descriptor, as long as the handle is open."""

    pid: int
    descriptor: int
    offset: int
    device: int
    inode: int


class Opened(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A handle on a content. Without a size it can be read from the beginning to the end only, piece by piece."""

    handle: int
    size_bytes: int | None
    here: FileHere | MemoryHere | None


class Read(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Read so many bytes there; the answer is one buffer, shorter only at the end."""

    handle: int
    offset: int
    size_bytes: int


class Close(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Close a handle; the body of the answer is `1`, or `0` if the server had given it up before."""

    handle: int


S = TypeVar("S", bound=msgspec.Struct)

encoded = msgspec.msgpack.encode


def decoded(body: bytes, kind: type[S]) -> S:
    """Return what a body says.

    Raises:
        WireError: it says nothing of this kind.
    """
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise WireError(f"the body of a message is no {kind.__name__}") from exc


@cache
def host_mark() -> str:
    """Return what processes of one user on one running host have in common, and no others; "" where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return f"{boot}/{os.getuid()}"
