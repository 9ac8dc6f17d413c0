# SPDX-License-Identifier: Apache-2.0
"""What a data drop holds here, raw: told to other nodes, and taken from them.

Data travels as it is kept: the bytes of memory, the bytes of a file. Small contents of memory travel inside the
fact that tells of them; of all else the fact says where it is held, and who needs it reads it there.
"""

import os
import shutil
import socket
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import msgspec

from penstock.drops.data import Buffer, DataDrop
from penstock.drops.directory import DirectoryDrop
from penstock.drops.file import FileDrop
from penstock.drops.memory import MemoryDrop
from penstock.drops.paths import make_folder
from penstock.errors import DropNotReadable, PenstockError, StorageFailed

__all__ = ["INLINE_BYTES", "HeldHere", "Holding", "held_here", "holding_of", "is_here", "take"]

INLINE_BYTES = 1 << 15
"""Contents of memory up to this size travel inside facts."""


class Holding(msgspec.Struct, frozen=True, array_like=True):
    """Where the content of a drop is, as told to another node.

    Attributes:
        size: bytes; of a folder 0.
        data: the content itself where it is small and in memory, else None.
        host: of the file or folder, "" for memory.
        path: of the file or folder.
        device, inode: of the file or folder, so that nobody mistakes another one for it.
        trouble: why the content cannot be had, "" where it can.
    """

    size: int
    data: bytes | None = None
    host: str = ""
    path: str = ""
    device: int = 0
    inode: int = 0
    trouble: str = ""


@cache
def host_name() -> str:
    """Return a name of this host that no other has."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


HeldHere = list[Buffer] | Path
"""What is held: pieces of memory, one behind the other, none where nothing is, or a file."""


def held_here(drop: DataDrop) -> HeldHere:
    """Return what a drop holds on this node, whether it is complete or not.

    Raises:
        DropNotReadable: nothing that could be brought elsewhere.
        PathInvalid, StorageFailed: a file that cannot be closed or made.
    """
    if isinstance(drop, MemoryDrop):
        return drop.parts()
    if isinstance(drop, FileDrop | DirectoryDrop):
        drop.settle()
        path = drop.location.path
        return path if path.exists() and str(path) != os.devnull else []
    raise DropNotReadable(drop.uid, f"{type(drop).__name__} is of this node alone; place it with its readers")


def holding_of(drop: DataDrop) -> Holding:
    """Return what other nodes are told of the content of a drop; what is wrong with it too."""
    try:
        held = held_here(drop)
        if isinstance(held, list):
            size = sum(memoryview(piece).nbytes for piece in held)
            return Holding(size, b"".join(held) if size <= INLINE_BYTES else None)
        status = held.stat()
    except (PenstockError, OSError) as exc:
        return Holding(0, trouble=str(exc))
    size = status.st_size if held.is_file() else 0
    return Holding(size, None, host_name(), str(held), status.st_dev, status.st_ino)


Read = Callable[[], AbstractContextManager[Iterable[Buffer]]]


def take(drop: DataDrop, holding: Holding, node: str, read: Read) -> None:
    """Bring content that another node holds into a drop of this one.

    Args:
        node: who holds it, for errors.
        read: reads it over the wire.
    Raises:
        DropNotReadable: it cannot be had.
    """
    if holding.trouble:
        raise DropNotReadable(drop.uid, f"cannot be brought from {node}: {holding.trouble}")
    if holding.data is not None:
        if holding.data:
            drop.receive([holding.data])
    elif is_here(drop, holding):
        return
    elif isinstance(drop, DirectoryDrop):
        _copy_folder(drop, holding, node)
    elif isinstance(drop, FileDrop) and not drop.size and _is_shared(Path(holding.path), holding):
        _link(drop, Path(holding.path))
    else:
        with read() as pieces:
            drop.receive(pieces)


def is_here(drop: DataDrop, holding: Holding) -> bool:
    """Whether what another node holds is the very file or folder that a drop means on this one."""
    return isinstance(drop, FileDrop | DirectoryDrop) and _is_shared(drop.location.path, holding)


def _is_shared(path: Path, holding: Holding) -> bool:
    """Whether what a path means here is what the other node holds: on the same host, or on a shared file system."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return False
    if holding.host == host_name():
        return (status.st_dev, status.st_ino) == (holding.device, holding.inode)
    same_file = str(path) == holding.path and status.st_ino == holding.inode
    return same_file and (path.is_dir() or status.st_size == holding.size)


def _link(drop: FileDrop, source: Path) -> None:
    """Give a file of this host a second name: one host needs one copy."""
    target = drop.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, target)
    except OSError as exc:
        raise StorageFailed(drop.uid, str(target), f"cannot be made from {source}: {exc.strerror}") from exc


def _copy_folder(drop: DirectoryDrop, holding: Holding, node: str) -> None:
    if not _is_shared(Path(holding.path), holding):
        reason = f"is a folder on {node}; put it on a file system that all nodes share"
        raise DropNotReadable(drop.uid, reason)
    target = drop.location.path
    make_folder(drop.uid, target.parent)
    try:
        shutil.copytree(holding.path, target, symlinks=True, dirs_exist_ok=True)
    except (OSError, shutil.Error) as exc:
        raise StorageFailed(drop.uid, str(target), f"cannot be copied from {holding.path}: {exc}") from exc
