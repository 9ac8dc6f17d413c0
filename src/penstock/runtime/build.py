# SPDX-License-Identifier: Apache-2.0
"""A graph made ready to run: read, checked, its classes found. All that is wrong comes at once.

`prepare` is the one way from a file, a text, a list or a `Graph` to something that a session can deploy.
"""

import importlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from penstock.drops.base import Drop
from penstock.drops.data import DataDrop
from penstock.errors import GraphInvalid
from penstock.graph import analyse
from penstock.graph.links import APP, CONTAINER, Wiring
from penstock.graph.load import encode, read
from penstock.graph.problems import Problem
from penstock.graph.rules import Rules
from penstock.graph.spec import Graph
from penstock.runtime.members import Finding, Member, check_members, settling_members
from penstock.runtime.resolve import Unresolvable, is_known, resolve, resolve_storage

__all__ = ["GraphSource", "Prepared", "import_classes", "inspect", "prepare", "problem_of", "read_source"]

GraphSource = str | Path | bytes | Sequence[Mapping[str, Any]] | Graph


@dataclass(frozen=True)
class Prepared:
    """A graph that can be deployed.

    Attributes:
        classes: the classes that occur, each once.
        class_of: per drop the place of its class in `classes`.
        settling: data drops whose completion takes work.
        ends: data drops whose completion ends the session.
        warnings: problems that do not keep the graph from running.
        names: per class how to find it in another process (see `resolve.find_class`), and the kind of its drops.
        foreign: numbers of users' classes that were not imported; a bare base class stands for each.
    """

    graph: Graph
    wiring: Wiring
    rules: Rules
    classes: tuple[type[Drop], ...]
    class_of: list[int]
    settling: list[int]
    ends: list[int]
    warnings: tuple[Problem, ...]
    names: list[tuple[str, int]]
    foreign: list[int]

    def is_app(self, index: int) -> bool:
        """Whether a drop is an app."""
        return self.wiring.kinds[index] == APP


def prepare(source: GraphSource, *, import_users: bool = True, must_be_here: bool = True) -> Prepared:
    """Read and check a graph and find its classes.

    Args:
        source: path of a file, text as bytes, list of dicts, or a graph.
        import_users, must_be_here: as in `inspect`.
    Raises:
        GraphInvalid: with everything that is wrong with it.
    """
    prepared, problems = inspect(source, import_users=import_users, must_be_here=must_be_here)
    if prepared is None:
        raise GraphInvalid(problems)
    for library in {library for cls in prepared.classes for library in cls.libraries}:
        importlib.import_module(library)  # now, on one thread, rather than by all slots at once
    return prepared


def inspect(
    source: GraphSource, *, import_users: bool = False, must_be_here: bool = True
) -> tuple[Prepared | None, list[Problem]]:
    """Tell everything about a graph; what can be deployed is None where an error is among the problems.

    Args:
        import_users: whether users' modules are imported to find their classes, which runs their code. Whoever
            only looks at a graph need not trust its author: then their packages are looked for, no more.
        must_be_here: whether those packages must be found; not by managers, whose workers or nodes look them up.
    """
    problems: list[Problem] = []
    if isinstance(source, Graph):
        graph = source
    else:
        text, problems = read_source(source)
        if text is None:
            return None, problems
        reading = read(text)
        if reading.graph is None:
            return None, reading.problems
        graph, problems = reading.graph, reading.problems
    findings = analyse.check(graph)
    found = _Classes(graph, findings.wiring, import_users=import_users, must_be_here=must_be_here)
    settling, ends = found.settling()
    problems = [*problems, *findings.problems, *found.problems]
    if any(problem.is_error for problem in problems):
        return None, problems
    prepared = Prepared(
        graph,
        findings.wiring,
        findings.rules,
        tuple(found.classes),
        found.class_of,
        settling,
        ends,
        tuple(problems),
        found.names,
        found.foreign,
    )
    return prepared, problems


def import_classes(prepared: Prepared, numbers: Collection[int]) -> Prepared:
    """Return the graph with some of its users' classes imported into this process.

    Raises:
        GraphInvalid: a class cannot be imported.
    """
    classes = list(prepared.classes)
    problems: list[Problem] = []
    for number in numbers:
        name, kind = prepared.names[number]
        try:
            classes[number] = resolve(name, kind)
        except Unresolvable as exc:
            problems.append(Problem("PS206", str(exc), hint=exc.hint))
    if problems:
        raise GraphInvalid(problems)
    foreign = [number for number in prepared.foreign if number not in numbers]
    return replace(prepared, classes=tuple(classes), foreign=foreign)


def read_source(
    source: str | Path | bytes | Sequence[Mapping[str, Any]],
) -> tuple[bytes | None, list[Problem]]:
    """Return the text of a graph, or why there is none."""
    if isinstance(source, bytes):
        return source, []
    if isinstance(source, str | Path):
        try:
            return Path(source).read_bytes(), []
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            return None, [
                Problem("PS105", f"{source}: {reason}", hint="give the path of a physical graph's JSON file")
            ]
    try:
        return encode(source), []
    except GraphInvalid as exc:
        return None, [problem for problem in exc.problems if isinstance(problem, Problem)]


class _Classes:
    """Finds the class of every drop, each name looked up once, and checks what classes can check."""

    def __init__(self, graph: Graph, wiring: Wiring, *, import_users: bool, must_be_here: bool) -> None:
        self._import_users = import_users
        self._must_be_here = must_be_here
        self.problems: list[Problem] = []
        self.classes: list[type[Drop]] = []
        self.names: list[tuple[str, int]] = []
        self.foreign: list[int] = []
        self._graph = graph
        self._wiring = wiring
        self._known: tuple[dict[str | None, int], ...] = ({}, {}, {})  # by kind of drop
        self._wrong: dict[tuple[str, int], Unresolvable] = {}
        self._members: list[list[int]] | None = None
        known = self._known
        self.class_of: list[int] = [
            number if (number := known[kind].get(spec.dropclass)) is not None else self._look_up(i)
            for i, (spec, kind) in enumerate(zip(graph.drops, wiring.kinds, strict=True))
        ]
        for number, cls in enumerate(self.classes):
            self._check_members(number, cls)

    def _look_up(self, index: int) -> int:
        spec, kind = self._graph.drops[index], self._wiring.kinds[index]
        name = spec.dropclass or ""
        key = (name or f"storage {spec.storage}", kind)
        if key[0] not in self._known[kind] and key not in self._wrong:
            try:
                cls = self._resolve(name, spec.storage or "", kind)
            except Unresolvable as exc:
                self._wrong[key] = exc
            else:
                self._known[kind][key[0]] = len(self.classes)
                self.classes.append(cls)
                is_users = bool(name) and not is_known(name)
                if is_users and not self._import_users:
                    self.foreign.append(len(self.names))
                self.names.append((name if is_users else f"{cls.__module__}:{cls.__qualname__}", kind))
        if key in self._wrong:
            if name or kind != APP:  # an app without a class is told about by the graph's own check
                reason, path = (
                    self._wrong[key],
                    f"/{self._graph.place(index)}/{'dropclass' if name else 'storage'}",
                )
                self.problems.append(Problem("PS206", str(reason), spec.key, path, reason.hint))
            return -1
        return self._known[kind][key[0]]

    def _resolve(self, name: str, storage: str, kind: int) -> type[Drop]:
        if name or kind == APP:
            return resolve(name, kind, import_users=self._import_users, must_be_here=self._must_be_here)
        return resolve_storage("container" if kind == CONTAINER else storage)

    def members(self, number: int) -> list[int]:
        """Return the drops of one class."""
        if self._members is None:
            self._members = [[] for _ in self.classes]
            for i, k in enumerate(self.class_of):
                if k >= 0:
                    self._members[k].append(i)
        return self._members[number]

    def _check_members(self, number: int, cls: type[Drop]) -> None:
        for finding in check_members(cls, self._asked(number), self._graph.may_hold):
            self.problems.append(problem_of(self._graph, finding))

    def _asked(self, number: int) -> Iterator[Member]:
        drops, fields = self._graph.drops, self._graph.fields
        return (Member(i, drops[i].key, partial(fields, i)) for i in self.members(number))

    def settling(self) -> tuple[list[int], list[int]]:
        """Return the data drops whose completion takes work, and those that end the session."""
        settling: list[int] = []
        ends: list[int] = []
        for number, cls in enumerate(self.classes):
            if not issubclass(cls, DataDrop):
                continue
            if cls.ends_session:
                ends += self.members(number)
            found, findings = settling_members(cls, self._asked(number), self._graph.may_hold)
            settling += found
            self.problems += [problem_of(self._graph, finding) for finding in findings]
        return settling, ends


def problem_of(graph: Graph, finding: Finding) -> Problem:
    """Return what was found about a drop as a problem of its graph."""
    path = f"/{graph.place(finding.drop)}" + (f"/{finding.field}" if finding.field else "")
    return Problem(finding.code, finding.reason, graph.drops[finding.drop].key, path)
