# SPDX-License-Identifier: Apache-2.0
"""What the system knows of processes."""

from pathlib import Path


def children(pid: int | str = "self") -> list[int]:
    """Return the children of a process; threads that end while we look have none."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                found += [int(child) for child in (task / "children").read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
    except (FileNotFoundError, ProcessLookupError):
        return found
    return found
