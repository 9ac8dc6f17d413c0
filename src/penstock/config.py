# SPDX-License-Identifier: Apache-2.0
"""Settings with units and defaults. The process environment is read here, and only when asked."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["RESERVED", "Settings", "child_environment", "state_directory"]

RESERVED = ".penstock"
"""The part of a session's folder that is the session's own; no drop may live in it."""


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@dataclass(frozen=True)
class Settings:
    """What a session on this node may use.

    Attributes:
        workers: the number of apps that run at once: on threads, and as many in worker processes.
        batch_s: work that a slot takes at once, measured; seconds.
        watch_s: how long a slot may sit on others' work before it is taken away; seconds.
        close_s: how long closing waits for slots and killed commands; seconds.
        abandon_s: how long closing waits for slots whose app cannot be stopped; seconds.
        log_bytes_per_drop: captured output kept of one execution; the middle is left out beyond it.
        failures_kept: failures kept with traceback and inputs; later ones keep class and message.
        message_bytes: longest message or traceback kept.
        inputs_told: most inputs listed with a failure.
        retry_s: pause before the second try of an app; doubled for each further one; seconds.
        retry_most_s: the longest pause between two tries; seconds.
        grace_s: how long a worker process that shall end may take before it is killed; seconds.
        captures: whether what apps on threads print and log goes to their drops' logs, for which the streams of the
            process are routed while a session runs; a manager leaves them alone.
        shared_bytes: budget of the memory that workers share; beyond it data goes to the session's folder.
    """

    workers: int = max(8, os.cpu_count() or 1)
    batch_s: float = 0.001
    watch_s: float = 0.005
    close_s: float = 4.0
    abandon_s: float = 0.2
    log_bytes_per_drop: int = 1 << 16
    failures_kept: int = 1000
    message_bytes: int = 20_000
    inputs_told: int = 20
    retry_s: float = 0.1
    retry_most_s: float = 30.0
    grace_s: float = 2.0
    captures: bool = True
    shared_bytes: int = field(default_factory=_half_of_memory)


def child_environment(session_id: str) -> Mapping[str, str]:
    """Return the variables that graphs and child processes of a session see: a snapshot of ours and two more.

    `DLG_ROOT` is where graphs of the ecosystem expect shared files; `~/dlg` unless set.
    """
    environment = dict(os.environ)
    if "DLG_ROOT" not in environment:
        try:
            home = Path.home()
        except RuntimeError:  # a user without a home, as in containers
            home = Path("/")
        environment["DLG_ROOT"] = str(home / "dlg")
    environment["DLG_SESSION_ID"] = session_id
    return environment


def state_directory() -> Path:
    """Return the folder where this user's Penstock keeps what outlives its processes: keys, and files of nodes.

    `$XDG_STATE_HOME/penstock`, by default `~/.local/state/penstock`.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "penstock"
