# SPDX-License-Identifier: Apache-2.0
"""The drops of a session that is being built: parts are added until it is deployed, each wholly or not at all."""

from collections.abc import Callable, Container, Iterable
from itertools import islice
from typing import Any

import msgspec

from penstock.engine.states import LinkKind
from penstock.errors import DropUnknown, GraphConflict, GraphInvalid
from penstock.graph.cutting import TURN
from penstock.graph.links import APP, DATA, kind_of
from penstock.graph.load import read
from penstock.graph.problems import Problem
from penstock.graph.spec import DropSpec, Graph

__all__ = ["Gathered"]

_EMPTY = "PS104"

_SIDES: dict[LinkKind, tuple[str, int]] = {
    LinkKind.CONSUMER: ("consumers", DATA),
    LinkKind.STREAMING_CONSUMER: ("streamingConsumers", DATA),
    LinkKind.PRODUCER: ("producers", DATA),
    LinkKind.INPUT: ("inputs", APP),
    LinkKind.STREAMING_INPUT: ("streamingInputs", APP),
    LinkKind.OUTPUT: ("outputs", APP),
    LinkKind.CHILD: ("children", DATA),
    LinkKind.PARENT: ("parent", DATA),
}
"""Where a link is written down at its right-hand drop, and which kind of drop that is."""


class Gathered:
    """What was added to one session so far. Not thread safe."""

    def __init__(self) -> None:
        self._parts: list[Graph] = []
        self._names: set[str] | None = None  # of all parts, where there are several
        self._added: dict[str, dict[str, list[str]]] = {}  # links by uid of the drop that they are written at
        self._record: bytes | None = None

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def __contains__(self, uid: object) -> bool:
        return uid in self._known()

    def _known(self) -> Container[object]:
        """Return a table of all names."""
        if self._names is not None:
            return self._names
        return self._parts[0].index if self._parts else ()

    @property
    def graphs(self) -> list[Graph]:
        """The parts as they are."""
        return list(self._parts)

    @property
    def record(self) -> dict[str, Any] | None:  # Any: JSON as the translator wrote it
        """The graph-wide reproducibility record, None where no part has one."""
        return None if self._record is None else msgspec.json.decode(self._record, type=dict)

    def add(self, text: bytes, check: Callable[[Graph], None] | None = None) -> int:
        """Add a part and return how many drops it has.

        Args:
            check: looks at the part before it counts, and raises what is wrong with it.
        Raises:
            GraphInvalid: with everything that is wrong with it by itself.
            GraphConflict: with every drop that is there already.
        """
        reading = read(text)
        graph, problems = reading.graph, reading.problems
        if graph is None and [problem.code for problem in problems] == [_EMPTY]:
            return 0
        if graph is None or any(problem.is_error for problem in problems):
            raise GraphInvalid(problems)
        known = self._known()
        if taken := [uid for uid in graph.index if uid in known]:
            raise GraphConflict([_taken(uid) for uid in sorted(taken)])
        if check is not None:
            check(graph)
        self._parts.append(graph)
        if len(self._parts) > 1:
            self._join_names(graph)
        if graph.record not in (None, b"{}"):
            self._record = graph.record
        return len(graph)

    def _join_names(self, graph: Graph) -> None:
        """Keep the names of all parts in one table, now that a look into each part's own would be a long way."""
        new = self._parts if self._names is None else [graph]
        self._names = self._names or set()
        for part in new:
            names = iter(part.index)
            while some := tuple(islice(names, TURN)):
                self._names.update(some)

    def link(self, session_id: str, left: str, kind: LinkKind, right: str) -> None:
        """Add a link: `left` is a `kind` of `right`.

        Raises:
            DropUnknown: one of them is not there.
            GraphInvalid: `right` is no drop that has such links.
        """
        if missing := [uid for uid in (left, right) if uid not in self]:
            raise DropUnknown(session_id, missing)
        key, wanted = _SIDES[kind]
        found = kind_of(self._spec(right).category_type)
        if (found == APP) != (wanted == APP):
            word = "an app" if wanted == APP else "data"
            raise GraphInvalid([Problem("PS301", f"only {word} has {key}", right)])
        self._added.setdefault(right, {}).setdefault(key, []).append(left)

    def _spec(self, uid: str) -> DropSpec:
        part = next(part for part in self._parts if uid in part.index)
        return part.drops[part.index[uid]]

    def graph(self) -> Graph | None:
        """Return all drops as one graph, None where there are none; the parts become one.

        Raises:
            GraphInvalid: links that were added cannot be written down.
        """
        if not self._parts:
            return None
        if len(self._parts) > 1 or self._added:
            texts = [text for part in self._parts for text in self._texts(part)]
            graph = read(b"[" + b",\n".join(texts) + b"]").graph
            assert graph is not None  # each of its drops was read before
            self._parts, self._names = [graph], None
            self._added = {}
        return self._parts[0]

    def _texts(self, part: Graph) -> Iterable[bytes]:
        for spec, piece in zip(part.drops, part.pieces(), strict=True):
            links = self._added.get(spec.key) or self._added.get(spec.oid)
            yield piece if links is None else _with_links(msgspec.json.decode(piece), links)


def _with_links(fields: dict[str, Any], links: dict[str, list[str]]) -> bytes:  # Any: the drop's JSON
    for key, uids in links.items():
        if key == "parent":
            fields[key] = uids[-1]
        else:
            fields[key] = [*(fields.get(key) or ()), *uids]
    return msgspec.json.encode(fields)


def _taken(uid: str) -> Problem:
    return Problem("PS203", "the session has a drop of this name already", uid, hint="rename one of them")
