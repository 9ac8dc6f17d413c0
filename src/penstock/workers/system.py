# SPDX-License-Identifier: Apache-2.0
"""What workers ask of the system: who dies with whom, whose orphans are whose, who was out of memory.

On Linux all of it works. Elsewhere nothing is adopted and nobody dies with a parent that is killed: processes
that left their group can then not be found again, everything else holds.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["adopt_orphans", "children", "die_with_parent", "kill_group", "memory_kills"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_VMSTAT = Path("/proc/vmstat")
_LOOKS = 8
_TASKS = Path("/proc/self/task")

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Let the calling process be sent a signal when the thread that forked it ends.

    Args:
        parent: the pid of who forked; where it is gone already, the calling process ends at once.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, also of those that left group and session."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> list[int]:
    """Return the living and the unreaped children of this process; none where the system does not list them."""
    found = _listed()
    for _ in range(_LOOKS):  # the system passes one over where another ends while it lists them
        before, found = found, _listed()
        if found == before:
            break
    return found


def _listed() -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in _TASKS.iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_bytes().split())
    return found


def kill_group(leader: int, number: int) -> None:
    """Send a signal to a process group, and to its leader where it has not made the group yet."""
    for send in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            send(leader, number)


def memory_kills() -> int:
    """Return how many processes the system has killed for want of memory since it began; 0 if it does not tell."""
    with suppress(OSError, ValueError):
        for line in _VMSTAT.read_bytes().splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return 0
