# SPDX-License-Identifier: Apache-2.0
"""A drop that stands for several others."""

from typing import TYPE_CHECKING, ClassVar, NoReturn, cast

from penstock.drops.base import Side
from penstock.drops.data import Buffer, DataDrop
from penstock.errors import DropNotReadable, DropNotWritable

if TYPE_CHECKING:
    from penstock.drops.data import Reader

__all__ = ["ContainerDrop"]


class ContainerDrop(DataDrop):
    """Data that is the data of its children; it has no bytes of its own."""

    holds_bytes: ClassVar[bool] = False

    moves: ClassVar[bool] = False

    @property
    def children(self) -> tuple[DataDrop, ...]:
        """The members, in the order of the graph."""
        links = self.site.linked(self.index, Side.CHILDREN)
        return cast("tuple[DataDrop, ...]", tuple(link.drop for link in links))

    def write(self, data: Buffer | str) -> NoReturn:
        """Refuse.

        Raises:
            DropNotWritable: always.
        """
        del data
        raise DropNotWritable(self.uid, "is a container without bytes of its own; write to its children")

    def open(self) -> "Reader":
        """Refuse.

        Raises:
            DropNotReadable: always.
        """
        raise DropNotReadable(self.uid, "is a container without bytes of its own; read its children")

    @property
    def size(self) -> int:
        """Bytes of all children together."""
        return sum(child.size for child in self.children)

    def delete(self) -> None:
        """Delete all children."""
        for child in self.children:
            child.delete()

    def exists(self) -> bool:
        """Whether every child is there."""
        return all(child.exists() for child in self.children)
