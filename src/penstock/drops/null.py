# SPDX-License-Identifier: Apache-2.0
"""Drops without data: only that they complete matters."""

import io
from typing import BinaryIO, ClassVar

from penstock.drops.data import DataDrop

__all__ = ["EndDrop", "NullDrop"]


class NullDrop(DataDrop):
    """Takes any data and keeps none; its completion is an event."""

    holds_bytes: ClassVar[bool] = False

    moves: ClassVar[bool] = False

    def _append(self, data: memoryview) -> None:
        del data

    def _reader(self) -> BinaryIO:
        return io.BytesIO()

    @property
    def size(self) -> int:
        """Nothing, whatever was written."""
        return 0


class EndDrop(NullDrop):
    """Ends the session when it completes: what has not run by then is skipped or left."""

    ends_session: ClassVar[bool] = True
