"""What every manager does, whichever it is: one suite, run over each kind by a subclass that makes it.

class TestMine(ManagerContract):
    @pytest.fixture
    def manager(self): ...
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from penstock.engine.states import AppState, DropState, LinkKind, SessionState
from penstock.errors import (
    DropNotReadable,
    DropUnknown,
    GraphInvalid,
    PenstockError,
    SessionExists,
    SessionIdInvalid,
    SessionNotFound,
    WrongState,
)
from penstock.managers.api import NO_APP, Change, Manager, StatusTree

LIMIT_S = 60.0
NODE = "localhost:8000:5555:6666"
MEMORY = "dlg.data.drops.memory.InMemoryDROP"
COPY = "dlg.apps.simple.CopyApp"


def data(uid: str, /, **fields: Any) -> dict[str, Any]:
    return {"oid": uid, "categoryType": "Data", "dropclass": MEMORY, "node": NODE, **fields}


def app(uid: str, /, cls: str = COPY, **fields: Any) -> dict[str, Any]:
    return {"oid": uid, "categoryType": "Application", "dropclass": cls, "node": NODE, **fields}


CHAIN = [data("A", consumers=["B"]), app("B", inputs=["A"], outputs=["C"]), data("C", producers=["B"])]
CYCLE = [
    data("A", consumers=["B"], producers=["D"]),
    app("B", inputs=["A"], outputs=["C"]),
    data("C", producers=["B"], consumers=["D"]),
    app("D", inputs=["C"], outputs=["A"]),
]


def text(drops: list[Any]) -> bytes:
    return msgspec.json.encode(drops)


def numbers(status: StatusTree) -> set[int]:
    """The numbers at the leaves of a status, whatever its depth."""
    if isinstance(status, dict):
        return set().union(*(numbers(inner) for inner in status.values()))
    return {int(status)}


class Ear:
    """Keeps what a manager tells, and waits for it."""

    def __init__(self) -> None:
        self.heard: list[Change] = []
        self._news = threading.Condition()

    def __call__(self, change: Change) -> None:
        with self._news:
            self.heard.append(change)
            self._news.notify_all()

    def wait(self, condition: Callable[[list[Change]], bool]) -> None:
        """Wait until a condition holds; it is asked without a lock, so it may ask the manager."""
        end_s = time.monotonic() + LIMIT_S
        while True:
            count = len(self.heard)
            if condition(list(self.heard)):
                return
            with self._news:
                left_s = end_s - time.monotonic()
                assert self._news.wait_for(lambda n=count: len(self.heard) > n, left_s), self.heard


def ended(manager: Manager, session_id: str, ear: Ear) -> SessionState:
    """Wait until a session has ended; `ear` has listened since before it was deployed."""
    ear.wait(lambda _: manager.session(session_id).state >= SessionState.FINISHED)
    return manager.session(session_id).state


def answers(manager: Manager, session_id: str) -> list[object]:
    """Everything that a manager says about a session that is not deployed."""
    info = manager.session(session_id)
    try:
        states: object = manager.graph_status(session_id)
    except PenstockError as exc:
        states = (type(exc), str(exc))
    return [
        [(other.session_id, other.state, other.size) for other in manager.sessions()],
        (info.state, info.status, info.size, info.causes),
        msgspec.json.decode(manager.graph(session_id)),
        manager.graph_size(session_id),
        states,
        manager.repro_data(session_id),
    ]


class ManagerContract:
    """The suite. Subclasses have a fixture `manager`, and name the places where drops may live.

    Attributes:
        node: address of a node below, where there are any.
        island: address of the island that it belongs to, for masters.
    """

    node = NODE
    island = ""

    def placed(self, drops: list[Any]) -> bytes:
        """A graph whose drops live where this manager has a node."""
        place = {"node": self.node, **({"island": self.island} if self.island else {})}
        return text([{**drop, **place} for drop in drops])

    @pytest.fixture
    def ear(self, manager: Manager) -> Any:
        ear = Ear()
        unlisten = manager.listen(ear)
        yield ear
        unlisten()

    # The life cycle and its numbers

    def test_a_session_lives_from_pristine_to_finished(self, manager: Manager, ear: Ear) -> None:
        manager.create_session("s")
        assert numbers(manager.session("s").status) == {0}
        added = manager.add_graph("s", self.placed(CHAIN))
        assert (added.drops, added.size, added.warnings) == (3, 3, ())
        assert manager.session("s").state is SessionState.BUILDING
        manager.deploy("s", ["A"])
        assert ended(manager, "s", ear) is SessionState.FINISHED
        info = manager.session("s")
        assert numbers(info.status) == {4}
        assert (info.session_id, info.size, info.causes, info.stalled) == ("s", 3, (), False)
        states = manager.graph_status("s")
        assert states.indices is None
        assert list(states.uids) == ["A", "B", "C"]
        assert states.state == bytes([DropState.COMPLETED] * 3)
        assert states.execution == bytes([NO_APP, AppState.FINISHED, NO_APP])

    def test_a_session_without_a_graph_is_finished_by_its_deployment(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.deploy("s")
        assert manager.session("s").state is SessionState.FINISHED

    def test_what_nobody_triggers_waits(self, manager: Manager, ear: Ear) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        manager.deploy("s")
        assert manager.session("s").state is SessionState.RUNNING
        manager.trigger("s", ["A"])
        assert ended(manager, "s", ear) is SessionState.FINISHED

    def test_all_roots_are_triggered_when_none_is_named(self, manager: Manager, ear: Ear) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        manager.deploy("s")
        manager.trigger("s")
        assert ended(manager, "s", ear) is SessionState.FINISHED

    def test_a_running_session_is_cancelled_and_stays_so(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        manager.deploy("s")
        manager.cancel("s")
        manager.cancel("s")
        assert manager.session("s").state is SessionState.CANCELLED
        assert manager.graph_status("s").state == bytes([DropState.CANCELLED] * 3)

    def test_a_session_that_was_never_deployed_can_be_cancelled(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        manager.cancel("s")
        assert manager.session("s").state is SessionState.CANCELLED

    def test_a_destroyed_session_is_gone_and_its_name_is_free(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.destroy("s")
        assert manager.sessions() == []
        manager.create_session("s")
        assert manager.session("s").state is SessionState.PRISTINE

    def test_sessions_are_listed_in_the_order_of_their_creation(self, manager: Manager) -> None:
        for name in ("b", "a", "c"):
            manager.create_session(name)
        assert [info.session_id for info in manager.sessions()] == ["b", "a", "c"]

    # Graphs

    def test_a_graph_comes_in_parts_and_links_may_lead_to_later_ones(
        self, manager: Manager, ear: Ear
    ) -> None:
        manager.create_session("s")
        first = manager.add_graph("s", self.placed(CHAIN[:1]))
        assert first.drops == 1
        assert manager.add_graph("s", self.placed(CHAIN[1:])).size == 3
        manager.deploy("s", ["A"])
        assert ended(manager, "s", ear) is SessionState.FINISHED

    def test_an_empty_part_adds_nothing(self, manager: Manager) -> None:
        manager.create_session("s")
        assert manager.add_graph("s", b"[]").drops == 0
        assert manager.session("s").state is SessionState.PRISTINE

    def test_the_graph_comes_back_as_it_was_given(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        told = msgspec.json.decode(manager.graph("s"))
        assert list(told) == ["A", "B", "C"]
        assert all(
            told[drop["oid"]].items() >= {k: drop[k] for k in ("oid", "dropclass")}.items() for drop in CHAIN
        )

    def test_drops_are_linked_one_by_one(self, manager: Manager, ear: Ear) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed([data("A"), app("B"), data("C")]))
        manager.link("s", "A", LinkKind.INPUT, "B")
        manager.link("s", "C", LinkKind.OUTPUT, "B")
        manager.deploy("s", ["A"])
        assert ended(manager, "s", ear) is SessionState.FINISHED

    # Atomicity

    @pytest.mark.parametrize(
        "part",
        [
            b"",
            b"{",
            b"{}",
            b"[1]",
            b"null",
            b"\xff",
            b"[" * 100_000,
            text([data("X"), {"oid": "Y"}]),
            text([data("X"), data("X")]),
            text([data("X"), data("A")]),
            text([data("X", consumers=7)]),
        ],
        ids=range(11),
    )
    def test_a_refused_part_leaves_all_as_it_was(self, manager: Manager, part: bytes) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        before = answers(manager, "s")
        with pytest.raises(GraphInvalid) as caught:
            manager.add_graph("s", part)
        assert any(problem.is_error for problem in caught.value.problems)
        assert answers(manager, "s") == before

    def test_a_first_part_that_is_refused_leaves_the_session_pristine(self, manager: Manager) -> None:
        manager.create_session("s")
        with pytest.raises(GraphInvalid):
            manager.add_graph("s", b"{")
        assert manager.session("s").state is SessionState.PRISTINE

    def test_a_cycle_is_named_at_deployment_and_nothing_changes(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CYCLE))
        before = answers(manager, "s")
        with pytest.raises(GraphInvalid) as caught:
            manager.deploy("s")
        assert "PS303" in {problem.code for problem in caught.value.problems}
        assert answers(manager, "s") == before

    def test_an_unknown_root_is_named_at_deployment_and_nothing_changes(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        before = answers(manager, "s")
        with pytest.raises(DropUnknown) as caught:
            manager.deploy("s", ["A", "nope"])
        assert tuple(caught.value.uids) == ("nope",)
        assert answers(manager, "s") == before
        manager.deploy("s", ["A"])

    def test_a_link_of_the_wrong_kind_is_refused_and_nothing_changes(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed([data("A"), data("C")]))
        before = answers(manager, "s")
        with pytest.raises(GraphInvalid):
            manager.link("s", "A", LinkKind.INPUT, "C")
        with pytest.raises(DropUnknown):
            manager.link("s", "A", LinkKind.INPUT, "nope")
        assert answers(manager, "s") == before

    # The same fault, the same class

    @pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "x" * 129, "a\0", "ä"])
    def test_what_is_no_id_makes_no_session(self, manager: Manager, name: str) -> None:
        with pytest.raises(SessionIdInvalid):
            manager.create_session(name)
        assert manager.sessions() == []

    def test_an_id_is_taken_once(self, manager: Manager) -> None:
        manager.create_session("s")
        with pytest.raises(SessionExists) as caught:
            manager.create_session("s")
        assert caught.value.session_id == "s"

    @pytest.mark.parametrize("name", ["nope", "../x", "", "a b"])
    @pytest.mark.parametrize(
        ("method", "arguments"),
        [
            ("add_graph", (b"[]",)),
            ("link", ("A", LinkKind.INPUT, "B")),
            ("deploy", ()),
            ("trigger", ()),
            ("cancel", ()),
            ("destroy", ()),
            ("session", ()),
            ("graph", ()),
            ("graph_size", ()),
            ("graph_status", ()),
            ("drop", ("A",)),
            ("open_data", ("A",)),
            ("log", ()),
            ("log_file", ()),
            ("repro_data", ()),
            ("repro_status", ()),
        ],
    )
    def test_an_unknown_session_is_unknown_to_every_method(
        self, manager: Manager, method: str, arguments: tuple[Any, ...], name: str
    ) -> None:
        with pytest.raises(SessionNotFound):
            list(getattr(manager, method)(name, *arguments) or ())

    def test_destroying_twice_tells_that_the_session_is_unknown(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.destroy("s")
        with pytest.raises(SessionNotFound):
            manager.destroy("s")

    def test_what_has_ended_takes_no_commands(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.deploy("s")
        for method, arguments in (
            ("add_graph", (self.placed(CHAIN),)),
            ("link", ("A", LinkKind.INPUT, "B")),
            ("deploy", ()),
            ("trigger", ()),
            ("cancel", ()),
        ):
            with pytest.raises(WrongState) as caught:
                getattr(manager, method)("s", *arguments)
            assert caught.value.state == "FINISHED"

    def test_what_is_not_deployed_has_no_states_and_cannot_be_triggered(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        for method in (manager.graph_status, manager.trigger):
            with pytest.raises(WrongState) as caught:
                method("s")
            assert caught.value.state == "BUILDING"

    def test_deploying_twice_is_refused(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        manager.deploy("s")
        with pytest.raises(WrongState):
            manager.deploy("s")
        with pytest.raises(WrongState):
            manager.deploy("s", ["A"])
        assert manager.session("s").state is SessionState.RUNNING

    @pytest.mark.parametrize("uid", ["nope", "a/b", "..", "ä ?#%"])
    def test_an_unknown_drop_is_unknown_to_every_method(self, manager: Manager, uid: str) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        manager.deploy("s")
        for call in (
            lambda: manager.drop("s", uid),
            lambda: manager.open_data("s", uid),
            lambda: manager.trigger("s", [uid]),
        ):
            with pytest.raises(DropUnknown) as caught:
                call()
            assert tuple(caught.value.uids) == (uid,)

    # Drops

    def test_a_drop_tells_what_it_is(self, manager: Manager, ear: Ear) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        manager.deploy("s", ["A"])
        ended(manager, "s", ear)
        info = manager.drop("s", "B")
        assert (info.uid, info.state, info.execution) == ("B", DropState.COMPLETED, AppState.FINISHED)
        assert info.fields["dropclass"] == COPY
        assert manager.drop("s", "C").execution == NO_APP

    def test_content_that_is_not_complete_and_apps_cannot_be_read(self, manager: Manager) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        manager.deploy("s")
        for uid in ("A", "B"):
            with pytest.raises(DropNotReadable) as caught:
                manager.open_data("s", uid)
            assert caught.value.uid == uid

    def test_complete_content_is_read(self, manager: Manager, ear: Ear) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        manager.deploy("s", ["A"])
        ended(manager, "s", ear)
        with manager.open_data("s", "C") as file:
            content = file.read()
        assert content == b""

    # Deltas and events

    def test_deltas_tell_what_changed_and_nothing_else(self, manager: Manager, ear: Ear) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed([*CHAIN, data("Z")]))
        manager.deploy("s")
        first = manager.graph_status("s")
        assert len(first.state) == 4
        nothing = manager.graph_status("s", since=first.version)
        assert nothing.indices is not None
        assert (list(nothing.indices), list(nothing.uids), nothing.state) == ([], [], b"")
        manager.trigger("s", ["A"])
        ear.wait(lambda _: manager.drop("s", "C").state == DropState.COMPLETED)
        later = manager.graph_status("s", since=first.version)
        assert list(later.indices or ()) == [0, 1, 2]
        assert list(later.uids) == ["A", "B", "C"]
        assert later.state == bytes([DropState.COMPLETED] * 3)
        assert later.version > first.version

    def test_an_ear_hears_of_a_session_from_its_creation_to_its_end(self, manager: Manager, ear: Ear) -> None:
        manager.create_session("s")
        manager.add_graph("s", self.placed(CHAIN))
        manager.deploy("s", ["A"])
        ended(manager, "s", ear)
        manager.destroy("s")
        ear.wait(lambda heard: any(change.detail.get("state") == "DELETED" for change in heard))
        assert {change.session_id for change in ear.heard} <= {"s", ""}
        assert {"session", "drops"} <= {change.kind for change in ear.heard}

    def test_an_ear_that_was_taken_away_hears_nothing_more(self, manager: Manager, ear: Ear) -> None:
        other = Ear()
        unlisten = manager.listen(other)
        unlisten()
        unlisten()
        manager.create_session("s")
        ear.wait(lambda heard: bool(heard))
        assert other.heard == []

    def test_fifty_creations_of_one_id_make_one_session(self, manager: Manager) -> None:
        outcomes: list[type[BaseException] | None] = []
        start = threading.Barrier(50)

        def create() -> None:
            start.wait(LIMIT_S)
            try:
                manager.create_session("s")
                outcomes.append(None)
            except PenstockError as exc:
                outcomes.append(type(exc))

        threads = [threading.Thread(target=create) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        assert outcomes.count(None) == 1, outcomes
        assert outcomes.count(SessionExists) == 49
