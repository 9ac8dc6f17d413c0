# SPDX-License-Identifier: Apache-2.0
"""Memory that apps in other processes of this host can reach without a copy.

All apps run in the session's process today, so an ordinary buffer has all that a segment would have, and
nothing can be left behind in /dev/shm.
"""

from typing import ClassVar

from penstock.drops.memory import MemoryDrop

__all__ = ["SharedMemoryDrop"]


class SharedMemoryDrop(MemoryDrop):
    """Bytes in memory, named after session and drop in full."""

    scheme: ClassVar[str] = "shmem"
