# SPDX-License-Identifier: Apache-2.0
"""Users' classes looked up by a worker, and where each drop runs: what a session needs before it is made."""

from penstock.config import child_environment
from penstock.errors import GraphInvalid
from penstock.graph.problems import Problem
from penstock.ids import SessionId
from penstock.runtime.build import Prepared, import_classes
from penstock.runtime.isolation import Isolation, Placement, place
from penstock.runtime.lookup import look_up
from penstock.workers.pool import WorkerPool

__all__ = ["find_places"]


def find_places(
    prepared: Prepared,
    pool: WorkerPool,
    isolation: Isolation | None,
    session_id: SessionId,
    *,
    may_import: bool = True,
) -> tuple[Prepared, Placement | None]:
    """Let a worker look up users' classes, decide where drops run, and import the classes that are needed here.

    Args:
        may_import: whether this process may import users' code; a manager may not.
    Raises:
        GraphInvalid: a class is missing, or would have to be imported by a process that may not.
        PoolBroken: there are no workers.
    """
    own: dict[int, str] = {}
    if prepared.foreign:
        prepared, own = look_up(prepared, pool, dict(child_environment(session_id)))
    placement = place(prepared, isolation, own)
    away = bytes(len(prepared.class_of)) if placement is None else placement.away
    foreign = set(prepared.foreign)
    here = [i for i, n in enumerate(prepared.class_of) if n in foreign and not away[i]]
    if here and not may_import:
        raise GraphInvalid([_refused(prepared, i) for i in here])
    numbers = {prepared.class_of[i] for i in here}
    return (import_classes(prepared, numbers) if numbers else prepared), placement


def _refused(prepared: Prepared, index: int) -> Problem:
    text = "isolation cannot be 'thread': a manager runs code of users in worker processes only"
    path = f"/{prepared.graph.place(index)}/isolation"
    return Problem("PS403", text, prepared.graph.drops[index].key, path, "leave isolation out")
