# SPDX-License-Identifier: Apache-2.0
"""Classes of users, looked up by a child process: do they exist, of what kind are they, what do they say of drops.

The session's process keeps the answers and never imports the classes. In its place stands one of ours: the bare
`AppDrop`, `MemoryDrop` for data whose content is bytes in memory, `ForeignData` for all other data.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO, ClassVar

import msgspec

from penstock.drops.base import Drop
from penstock.drops.data import DataDrop
from penstock.drops.memory import MemoryDrop
from penstock.drops.null import EndDrop
from penstock.errors import DropNotReadable, GraphInvalid, PoolBroken
from penstock.graph.links import APP
from penstock.graph.problems import Problem
from penstock.runtime.build import Prepared, problem_of
from penstock.runtime.image import image_parts
from penstock.runtime.mainscope import save_main
from penstock.runtime.members import Finding
from penstock.runtime.messages import DESCRIBE, ClassFacts, Setup, Task, decode_facts, encode
from penstock.wire.arena import Block
from penstock.workers.customer import Answer, Begun, Death, Job, Outcome
from penstock.workers.frames import Status
from penstock.workers.pool import WorkerPool

__all__ = ["ENTRY", "ForeignData", "look_up"]

ENTRY = "penstock.runtime.inside:main"
_LOOK_S = 0.5
_CLOSE_S = 10.0


class ForeignData(DataDrop):
    """Stands for data of a user's class: only worker processes have the class, and only they can read the data."""

    holds_bytes: ClassVar[bool] = False

    def _reader(self) -> BinaryIO:
        raise DropNotReadable(
            self.uid, "is of a class of its author; let an app with isolation process read it"
        )


def look_up(
    prepared: Prepared, pool: WorkerPool, environment: dict[str, str]
) -> tuple[Prepared, dict[int, str]]:
    """Let a child look up the classes that stand in no table of ours.

    Returns:
        The graph with what was found, and per number of a class the isolation that it asks for.
    Raises:
        GraphInvalid: a class is missing, or finds something wrong with its drops.
        PoolBroken: there are no children.
    """
    asked = _Asked(prepared, pool, environment)
    facts = asked.answers()
    problems = [*prepared.warnings]
    classes, settling, ends = list(prepared.classes), list(prepared.settling), list(prepared.ends)
    for number, told in facts.items():
        problems += _problems(prepared, number, told)
        if prepared.names[number][1] != APP:
            classes[number] = _stand_in(told)
            settling += told.settling
            ends += [i for i, k in enumerate(prepared.class_of) if k == number and told.ends_session]
    if any(problem.is_error for problem in problems):
        raise GraphInvalid(problems)
    found = replace(prepared, classes=tuple(classes), settling=settling, ends=ends, warnings=tuple(problems))
    return found, {number: told.isolation for number, told in facts.items() if told.isolation}


def _stand_in(told: ClassFacts) -> type[Drop]:
    if told.ends_session:
        return EndDrop
    return MemoryDrop if told.in_memory else ForeignData


def _problems(prepared: Prepared, number: int, told: ClassFacts) -> list[Problem]:
    graph = prepared.graph
    if told.reason:
        members = [i for i, k in enumerate(prepared.class_of) if k == number]
        return [
            Problem("PS206", told.reason, graph.drops[i].key, f"/{graph.place(i)}/dropclass", told.hint)
            for i in members
        ]
    return [problem_of(graph, Finding(*finding)) for finding in told.findings]


class _Asked:
    """Asks a child about classes; meets `penstock.workers.customer.Customer`."""

    def __init__(self, prepared: Prepared, pool: WorkerPool, environment: dict[str, str]) -> None:
        self._pool = pool
        self._facts: dict[int, ClassFacts] = {}
        self._asked = prepared.foreign
        self._ended = threading.Event()
        self._reason = ""
        parts = image_parts(prepared)
        self._image = pool.arena.allocate(sum(map(len, parts)))
        pool.arena.write(self._image, parts)
        image = (self._image.segment, self._image.offset, self._image.size)
        setup = Setup("", ".", environment, prepared.names, image, {}, {}, save_main(prepared.graph.text))
        self._holder = pool.open(
            "classes", ENTRY, encode(setup), self, setup_blocks=(self._image,), priority=1
        )

    def answers(self) -> dict[int, ClassFacts]:
        """Wait until all classes have been described.

        Raises:
            PoolBroken: there are no children.
        """
        try:
            self._holder.submit([Job(number, alone=True) for number in self._asked])
            while not self._ended.wait(_LOOK_S):
                pass  # importing users' modules may take as long as it likes; signals come in between
        finally:
            self._holder.close(_CLOSE_S)
            self._pool.arena.free(self._image)
        if self._reason:
            raise PoolBroken(self._reason)
        return self._facts

    def _take(self, number: int, facts: ClassFacts) -> None:
        self._facts[number] = facts
        if len(self._facts) == len(self._asked):
            self._ended.set()

    # Customer

    def begin(self, idents: Sequence[int]) -> Sequence[Begun]:
        return [Begun(number, encode(Task(DESCRIBE, number))) for number in idents]

    def returned(self, idents: Sequence[int]) -> None:
        """Do nothing: they will be asked again."""

    def ended(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.status == Status.GOOD:
                try:
                    facts = decode_facts(outcome.body)
                except msgspec.MsgspecError as exc:
                    facts = ClassFacts(reason=f"it cannot be looked up: {exc}")
                self._take(outcome.ident, facts)
            else:
                reason = outcome.body.decode(errors="replace").strip().rpartition("\n")[2]
                self._take(outcome.ident, ClassFacts(reason=f"it cannot be looked up: {reason}"))

    def died(self, ident: int, death: Death) -> None:
        if not death.again:
            self._take(ident, ClassFacts(reason=f"while it was imported the process {death}"))

    def asked(self, ident: int, body: bytes, answer: Answer) -> Sequence[Block]:
        del ident, body
        answer(Status.FAILED, b"a class is looked up, there is no session yet", ())
        return ()

    def said(self, ident: int, stream: str, text: str) -> None:
        """Do nothing: what modules print while they are imported has no drop's log to go to."""

    def broken(self, reason: str) -> None:
        self._reason = reason
        self._ended.set()
