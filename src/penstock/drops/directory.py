# SPDX-License-Identifier: Apache-2.0
"""A folder as data: programs read and write in it, the drop itself moves no bytes."""

import os
import socket
from collections.abc import Container, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn
from urllib.parse import quote

from penstock.drops.base import Side
from penstock.drops.data import Buffer, DataDrop
from penstock.drops.paths import Location, locate, make_folder, path_from_port, remove
from penstock.drops.ports import Parameter, parse_arguments
from penstock.errors import DropNotReadable, DropNotWritable, ParameterInvalid, PathInvalid

if TYPE_CHECKING:
    from penstock.drops.data import Reader

__all__ = ["DirectoryDrop"]


class DirectoryDrop(DataDrop):
    """A folder; named like files are, see `paths.py`."""

    settles: ClassVar[bool] = True

    holds_bytes: ClassVar[bool] = False

    persist = Parameter(bool, True, "keep the folder after the session")
    dirname = Parameter(str, "", "the folder; relative in the session's folder")
    check_exists = Parameter(bool, False, "fail where the folder is not there")
    create_if_missing = Parameter(bool, False, "make the folder")

    @classmethod
    def check(cls, uid: str, fields: Mapping[str, Any]) -> None:  # Any: the drop's JSON
        """Refuse a graph that says nothing of `dirname`.

        Raises:
            ParameterInvalid: it says nothing.
        """
        _check_named(uid, fields, parse_arguments(uid, fields))

    @cached_property
    def location(self) -> Location:
        """Where the folder is; asking makes nothing.

        Raises:
            ParameterInvalid: the graph says nothing of `dirname`.
            PathInvalid: the graph's name cannot be a path.
        """
        _check_named(self.uid, self.fields, self.arguments)
        name = self.dirname or path_from_port(self, "dirname")
        return locate(self, name.rstrip("/") or name)

    @property
    def path(self) -> Path:
        """The folder for programs; made, where `create_if_missing` asks for it, when the path is asked first.

        Raises:
            ParameterInvalid: the graph says nothing of `dirname`.
            PathInvalid: the graph's name cannot be a path.
            StorageFailed: the folder cannot be made.
        """
        location = self.location
        if self.create_if_missing:
            self._make(location.path)
        elif location.is_inside:
            self._make(location.path.parent)
        return location.path

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            make_folder(self.uid, folder)

    @property
    def url(self) -> str:
        """A file URL with this host's name."""
        return f"file://{socket.gethostname()}{quote(os.fsencode(self.location.path))}"

    def settle(self) -> None:
        """Make the folder or see that it is there, as the graph asks.

        Raises:
            PathInvalid: `check_exists` is set and it is not there.
            StorageFailed: it cannot be made.
        """
        path = self.path
        if self.check_exists and not path.is_dir():
            raise PathInvalid(self.uid, f"{path} is not a folder (check_exists is set)")

    def write(self, data: Buffer | str) -> NoReturn:
        """Refuse.

        Raises:
            DropNotWritable: always.
        """
        del data
        raise DropNotWritable(self.uid, "is a folder; write files into its path")

    def open(self) -> "Reader":
        """Refuse.

        Raises:
            DropNotReadable: always.
        """
        raise DropNotReadable(self.uid, "is a folder; read the files in its path")

    def exists(self) -> bool:
        """Whether the folder is there."""
        return self.location.path.is_dir()

    def discard(self) -> None:
        """Empty the folder, before its only producer tries again."""
        path = self.location.path
        for member in path.iterdir() if path.is_dir() else ():
            remove(self, member)

    def delete(self) -> None:
        """Remove the folder and all that is in it, unless it is an input from outside of the session."""
        location = self.location
        if location.is_inside or self.site.linked(self.index, Side.BEFORE):
            remove(self, location.path)


def _check_named(uid: str, fields: Container[str], arguments: Container[str]) -> None:
    if "dirname" not in fields and "dirname" not in arguments:
        reason = "is missing; give the folder's name, or empty text for a new"
        raise ParameterInvalid(uid, "dirname", reason)
