# SPDX-License-Identifier: Apache-2.0
"""Data in a file of this host.

Producers write through the drop or, as programs do, to its `path`; either way the drop is settled when they
have ended: the writer closed, the size taken, an empty file made where there is none. Devices and pipes stay
as they are. Names are built in `paths.py`.
"""

import contextlib
import io
import os
import socket
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, ClassVar
from urllib.parse import quote

from penstock.drops.base import Side, Site
from penstock.drops.data import DataDrop
from penstock.drops.paths import Location, is_special, locate, make_folder, path_from_port, remove
from penstock.drops.ports import Parameter
from penstock.engine.states import DropState
from penstock.errors import DropNotReadable, DropNotWritable, PathInvalid, StorageFailed

__all__ = ["FileDrop"]


class FileDrop(DataDrop):
    """A file; `path` is what programs need of it."""

    settles: ClassVar[bool] = True

    persist = Parameter(bool, True, "keep the file after the session")
    filepath = Parameter(
        str, "", "the file; relative in the session's folder, a name is made after a final /"
    )
    dirname = Parameter(str, "", "the folder of a relative filepath; old graphs have it")
    check_filepath_exists = Parameter(bool, False, "fail where an absolute filepath is not there")
    delete_parent_directory = Parameter(bool, False, "remove an empty parent folder together with the file")

    def __init__(self, site: Site, index: int) -> None:
        super().__init__(site, index)
        self._writer: BinaryIO | None = None
        self._made = False

    @cached_property
    def location(self) -> Location:
        """Where the file is; asking makes nothing.

        Raises:
            PathInvalid: the graph's name cannot be a path.
        """
        return locate(self, self.filepath or path_from_port(self, "filepath"), self.dirname)

    @property
    def path(self) -> Path:
        """The file for programs that read or write it themselves; asking makes the folder it is in.

        Raises:
            PathInvalid: the graph's name cannot be a path.
            StorageFailed: the folder cannot be made.
        """
        location = self.location
        # The graph's own key is looked at: asking the session for producers would make app objects.
        if location.is_inside or (location.is_absolute and self.fields.get("producers")):
            self._make_parent()
        return location.path

    @property
    def url(self) -> str:
        """A file URL with this host's name."""
        return f"file://{socket.gethostname()}{quote(os.fsencode(self.location.path))}"

    def _make_parent(self) -> None:
        parent = self.location.path.parent
        if not parent.is_dir():
            make_folder(self.uid, parent)

    # Writing

    def _append(self, data: memoryview) -> None:
        try:
            if self._writer is None:
                self._writer = self._open_writer()
            self._writer.write(data)
        except OSError as exc:
            raise self._refused("cannot be written", exc) from exc

    def _open_writer(self) -> BinaryIO:
        path = self.location.path
        if path.is_fifo():
            raise DropNotWritable(self.uid, f"{path} is a pipe; let a program write to it")
        self._make_parent()
        self._made = True
        return path.open("wb")

    def _refused(self, what: str, exc: OSError) -> StorageFailed:
        return StorageFailed(self.uid, str(self.location.path), f"{what}: {exc.strerror or exc}")

    def settle(self) -> None:
        """Close what is open, make an empty file where there is none, and take the size.

        Raises:
            PathInvalid: the graph says that the file must be there and it is not, or names no path.
            StorageFailed: the disk is full, or the folder takes no files.
        """
        with self._lock:
            try:
                self._close_writer()
                self._written_bytes = self._measure()
            except OSError as exc:
                raise self._refused("cannot be completed", exc) from exc

    @property
    def size(self) -> int:
        """Bytes of the file; what was written so far while the drop is not complete."""
        if not self._written_bytes and self.status == DropState.COMPLETED:
            # Another object of this drop may have settled it, in another process.
            with contextlib.suppress(OSError):
                self._written_bytes = self.location.path.stat().st_size if self.location.path.is_file() else 0
        return self._written_bytes

    def _measure(self) -> int:
        """Return the size of the file, which is made where that is wanted."""
        path = self.location.path
        if not path.exists():
            if self.check_filepath_exists and self.location.is_absolute:
                raise PathInvalid(self.uid, f"{path} does not exist (check_filepath_exists is set)")
            if self.location.may_be_made:
                self._make_parent()
                path.touch()
                self._made = True
            return 0
        return path.stat().st_size if path.is_file() else 0

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()  # also where flushing fails the descriptor is given back

    def release(self) -> None:
        """Close what is open; the file stays as far as it was written."""
        with self._lock, contextlib.suppress(OSError):  # the data is lost already, and that was reported
            self._close_writer()

    def discard(self) -> None:
        """Remove what was written, before the only producer tries again."""
        with self._lock:
            self.release()
            self._written_bytes = 0
            remove(self, self.location.path)

    # Reading and removing

    def _reader(self) -> BinaryIO:
        path = self.location.path
        if str(path) == os.devnull or not (path.exists() or self.location.may_be_made):
            return io.BytesIO()
        if is_special(path):
            raise DropNotReadable(
                self.uid, f"{path} is a device or pipe and may never end; use the encoding path"
            )
        if path.is_dir():
            raise DropNotReadable(self.uid, f"{path} is a folder; use the encoding path, or a directory drop")
        try:
            return path.open("rb")
        except OSError as exc:
            raise DropNotReadable(self.uid, f"{path} cannot be read: {exc.strerror}") from exc

    def exists(self) -> bool:
        """Whether something is there."""
        return self.location.path.exists()

    def delete(self) -> None:
        """Remove the file, unless it was there before the session and nobody in the session wrote it."""
        self.release()
        location = self.location
        if not (self._made or location.is_inside or self.site.linked(self.index, Side.BEFORE)):
            return
        remove(self, location.path)
        if self.delete_parent_directory and location.path.parent != self.site.directory.absolute():
            with contextlib.suppress(OSError):  # other files are in it: not ours to remove
                location.path.parent.rmdir()
