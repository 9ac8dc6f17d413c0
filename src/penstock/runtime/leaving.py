# SPDX-License-Identifier: Apache-2.0
"""How a session leaves what it has touched: apps told to stop, files closed, data removed.

Users' code may hang or raise in all of it; what it raises goes to the drop's log, what hangs is waited for a while.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from penstock.drops.app import AppDrop
from penstock.drops.data import DataDrop
from penstock.drops.directory import DirectoryDrop
from penstock.drops.file import FileDrop
from penstock.engine.states import DropState
from penstock.errors import PenstockError
from penstock.runtime.failures import in_a_line

__all__ = ["Note", "cancel_app", "release", "remove_data"]

Note = Callable[[str, str, str], None]
"""Adds to a log: uid, stream, text."""


def cancel_app(app: AppDrop, note: Note, patience_s: float) -> None:
    """Tell an app to stop."""
    cancel = type(app).cancel
    if cancel is AppDrop.cancel:
        return
    if cancel.__module__.startswith("penstock."):
        _call_cancel(app, note)
        return
    # It must return at once, and if it does not it must not hold up timers, limits or the end of the session.
    thread = threading.Thread(target=_call_cancel, args=(app, note), name="penstock-cancel", daemon=True)
    thread.start()
    thread.join(patience_s)


def _call_cancel(app: AppDrop, note: Note) -> None:
    try:
        app.cancel()
    except Exception as error:  # noqa: BLE001  the boundary to user code; the app is given up anyway
        note(app.uid, "penstock", f"cancel failed: {in_a_line(error)}\n")


def release(drops: Sequence[DataDrop], note: Note, patience_s: float | None) -> None:
    """Let data that will never be complete close its files.

    Args:
        patience_s: how long to wait for it; None where nothing can hold it up.
    """
    if patience_s is None:
        _release_each(drops, note)
        return
    thread = threading.Thread(target=_release_each, args=(drops, note), name="penstock-release", daemon=True)
    thread.start()
    thread.join(patience_s)


def _release_each(drops: Sequence[DataDrop], note: Note) -> None:
    for drop in drops:
        try:
            drop.release()
        except Exception as error:  # noqa: BLE001  the boundary to user code; the data is given up anyway
            note(drop.uid, "penstock", f"release failed: {in_a_line(error)}\n")


def remove_data(drops: Iterable[DataDrop]) -> bool:
    """Remove files and folders in the session's folder that are not to be kept; whether any is kept."""
    kept = False
    for drop in drops:
        if drop.status == DropState.COMPLETED and drop.persist:
            kept = True
        elif isinstance(drop, FileDrop | DirectoryDrop) and drop.location.is_inside:
            with suppress(PenstockError):  # what cannot be removed stays
                drop.delete()
    return kept
