# SPDX-License-Identifier: Apache-2.0
"""One session of the fake manager: its graph, its flow, and what its drops hold. The manager locks."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from penstock.engine.flow import Flow
from penstock.engine.states import DropState, LinkKind, SessionState
from penstock.errors import DropUnknown, GraphInvalid
from penstock.graph.analyse import roots
from penstock.graph.links import APP, link_target, wire
from penstock.graph.load import loads
from penstock.graph.problems import Problem
from penstock.graph.spec import Graph
from penstock.managers.api import NO_APP, States
from penstock.runtime.build import Prepared, inspect

__all__ = ["FakeSession"]

_KEY = {
    LinkKind.CONSUMER: "consumers",
    LinkKind.STREAMING_CONSUMER: "streamingConsumers",
    LinkKind.PRODUCER: "producers",
    LinkKind.PARENT: "parent",
    LinkKind.CHILD: "children",
    LinkKind.INPUT: "inputs",
    LinkKind.STREAMING_INPUT: "streamingInputs",
    LinkKind.OUTPUT: "outputs",
}
"""Where the right-hand drop of a relation names the left-hand one."""


class FakeSession:
    """A graph that grows until it is deployed, and then runs by itself."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.state = SessionState.PRISTINE
        self.graph = Graph(b"[]", (), has_record=False)
        self.record: bytes | None = None
        self.flow: Flow | None = None
        self.contents: dict[int, bytes] = {}
        self.log: list[dict[str, str]] = []
        self.began_s = 0.0
        self._prepared: Prepared | None = None
        self._changed: list[int] = []
        self._waiting: set[int] = set()

    @property
    def index(self) -> Mapping[str, int]:
        """Where each drop is, by name."""
        return self.graph.index if len(self.graph) else {}

    @property
    def version(self) -> int:
        """How many changes there were."""
        return len(self._changed)

    def text(self, index: int) -> bytes:
        """Return what was written about a drop."""
        return self.graph.raw(index)

    def indices(self, uids: Iterable[str]) -> list[int]:
        """Return the places of drops.

        Raises:
            DropUnknown: with all that are not here.
        """
        asked = list(uids)
        unknown = [uid for uid in asked if uid not in self.index]
        if unknown:
            raise DropUnknown(self.session_id, unknown)
        return [self.index[uid] for uid in asked]

    # The graph

    def taken(self, graph: Graph) -> Iterator[Problem]:
        """Yield a problem for each name that is here already."""
        for i, spec in enumerate(graph):
            for name in {spec.oid, spec.key} & self.index.keys():
                yield Problem(
                    "PS203", "the session has a drop of this name already", name, f"/{graph.place(i)}/oid"
                )

    def add(self, graph: Graph) -> None:
        """Take drops in."""
        self._replace([*_raw(self.graph), *_raw(graph)] if len(self.graph) else [*_raw(graph)])
        self.record = graph.record or self.record

    def _replace(self, pieces: Sequence[Any]) -> None:  # Any: raw JSON of drops
        self.graph = loads(msgspec.json.encode(list(pieces)))

    def dangling(self) -> Iterator[Problem]:
        """Yield a warning for each link to a drop that is not here yet."""
        return (found for found in wire(self.graph)[1] if not found.is_error)

    def link(self, left: str, kind: LinkKind, right: str) -> None:
        """Write a link into the right-hand drop.

        Raises:
            GraphInvalid: drops of these kinds cannot be linked so; nothing has changed.
        """
        at = self.index[right]
        fields = self.graph.fields(at)
        key = _KEY[kind]
        if key == "parent":
            fields[key] = left
        elif left not in map(link_target, fields.get(key) or ()):
            fields[key] = [*(fields.get(key) or ()), left]
        before, old = self.graph, {str(found) for found in wire(self.graph)[1]}
        pieces: list[Any] = [*_raw(self.graph)]
        pieces[at] = fields
        self._replace(pieces)
        wrong = [found for found in wire(self.graph)[1] if found.is_error and str(found) not in old]
        if wrong:
            self.graph = before
            raise GraphInvalid(wrong)

    # The run

    def prepare(self) -> None:
        """Check the whole graph and make its flow.

        Raises:
            GraphInvalid: with everything that is wrong.
        """
        prepared, problems = inspect(self.graph.text)
        if prepared is None or any(found.is_error for found in problems):
            raise GraphInvalid(problems)
        self._prepared = prepared
        self.flow = Flow(prepared.wiring, prepared.rules)
        self.began_s = time.monotonic()
        for i in range(len(self.graph)):
            if prepared.wiring.kinds[i] != APP and (content := self.graph.fields(i).get("content")):
                self.contents[i] = str(content).encode()

    def trigger(self, indices: Iterable[int] | None) -> None:
        """Start drops, all roots by default, and run whatever can run."""
        assert self.flow is not None
        assert self._prepared is not None
        self.flow.trigger(roots(self._prepared.wiring) if indices is None else indices)
        self._run()

    def finish(self, app: int) -> None:
        """End an app that waited."""
        if app in self._waiting:
            self._waiting.discard(app)
            self._end(app)
        self._run()

    def _run(self) -> None:
        flow = self.flow
        assert flow is not None
        while flow.ready:
            ready, flow.ready = flow.ready, []
            for app in flow.begin(ready):
                if self.graph.fields(app).get("waits"):
                    self._waiting.add(app)
                else:
                    self._end(app)
        if flow.leaves_have_ended() and not self._waiting and self.state is SessionState.RUNNING:
            flow.conclude()
            self.state = SessionState.FAILED if flow.has_failed() else SessionState.FINISHED
        self._collect()

    def _end(self, app: int) -> None:
        assert self.flow is not None
        assert self._prepared is not None
        uid, wiring = self.graph.drops[app].key, self._prepared.wiring
        fails = bool(self.graph.fields(app).get("fails"))
        now = datetime.now(UTC).isoformat()
        self.log.append({"drop": uid, "time": now, "stream": "log", "text": "failed" if fails else "ended"})
        if fails:
            self.flow.app_failed(app)
            return
        content = b"".join(self.contents.get(i, b"") for i in wiring.before[app])
        for data in wiring.after[app]:
            self.contents[data] = content
        self.flow.apps_finished([app])

    def cancel(self, state: SessionState) -> None:
        """End everything."""
        self.state = state
        self._waiting.clear()
        if self.flow is not None:
            self.flow.cancel()
            self._collect()

    def _collect(self) -> None:
        assert self.flow is not None
        self._changed += self.flow.changes
        self.flow.changes.clear()

    # Questions

    def state_of(self, index: int) -> tuple[int, int]:
        """Return the state and the execution of a drop."""
        assert len(self.graph)
        if self.flow is None:
            is_app = bool(wire(self.graph)[0].kinds[index] == APP)
            return int(DropState.INITIALIZED), 0 if is_app else NO_APP
        execution = self.flow.execution[index] if self.flow.is_app(index) else NO_APP
        return self.flow.state[index], execution

    def states(self, since: int | None) -> States:
        """Return all states, or those that have changed since a version that was told."""
        everything = since is None or not 0 <= since <= self.version
        indices = range(len(self.graph)) if everything else sorted(set(self._changed[since:]))
        pairs = [self.state_of(i) for i in indices]
        return States(
            self.version,
            None if everything else tuple(indices),
            tuple(self.graph.drops[i].key for i in indices),
            bytes(state for state, _ in pairs),
            bytes(execution for _, execution in pairs),
        )

    def causes(self) -> Iterator[str]:
        """Yield why it failed."""
        if self.state is SessionState.FAILED:
            yield from (f"drop {record['drop']} failed" for record in self.log if record["text"] == "failed")

    def is_stalled(self) -> bool:
        """Whether it runs and nothing in it can go on by itself."""
        return self.state is SessionState.RUNNING and not self._waiting


def _raw(graph: Graph) -> Iterator[msgspec.Raw]:
    return map(msgspec.Raw, graph.pieces())
