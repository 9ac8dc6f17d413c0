"""Rows whose home is another node: nothing here decides about them, and once told they count like any row."""

import pytest

from penstock.engine.flow import Flow
from penstock.engine.states import AppState, DropState
from penstock.errors import IllegalTransition
from penstock.graph.links import APP, DATA, Wiring
from penstock.graph.rules import Rules

C, E, S = DropState.COMPLETED, DropState.ERROR, DropState.SKIPPED


class Script:
    """A part told in uids: drops are written as "a -> x", upper case for ghosts; apps are x, y, z."""

    def __init__(self, *links: str, settling: str = "", ends: str = "", block_skip: str = "") -> None:
        pairs = [tuple(link.split(" -> ")) for link in links]
        self.uids = sorted({uid for pair in pairs for uid in pair})
        self.index = {uid: i for i, uid in enumerate(self.uids)}
        kinds = bytearray(APP if uid.lower() in "xyz" else DATA for uid in self.uids)
        before = [tuple(self.index[a] for a, b in pairs if b == uid) for uid in self.uids]
        after = [tuple(self.index[b] for a, b in pairs if a == uid) for uid in self.uids]
        self.flow = Flow(
            Wiring(kinds, before, after, {}, {}),
            Rules(block_skip=set(self._ids(block_skip))),
            settling=self._ids(settling),
            ends=self._ids(ends),
            remote=[i for i, uid in enumerate(self.uids) if uid.isupper()],
        )

    def _ids(self, uids: str) -> list[int]:
        return [self.index[uid] for uid in uids]

    def trigger(self, uids: str) -> "Script":
        self.flow.trigger(self._ids(uids))
        return self

    def told(self, uids: str, state: DropState = C) -> "Script":
        self.flow.remote_ended(self._ids(uids), state)
        return self

    def finish(self, uids: str) -> "Script":
        self.flow.begin(self._ids(uids))
        self.flow.apps_finished(self._ids(uids))
        return self

    def do(self, event: str, uid: str) -> "Script":
        getattr(self.flow, event)(self.index[uid])
        return self

    def ready(self) -> str:
        ready, self.flow.ready = self.flow.ready, []
        return "".join(sorted(self.uids[i] for i in ready))

    def changes(self) -> str:
        changes, self.flow.changes = self.flow.changes, []
        return "".join(self.uids[i] for i in changes)

    def asked(self) -> list[tuple[str, DropState]]:
        return [(self.uids[i], DropState(state)) for i, state in self.flow.asked]

    def states(self, uids: str) -> list[DropState]:
        return [DropState(self.flow.state[i]) for i in self._ids(uids)]


def test_an_app_is_ready_when_its_last_input_was_told_complete() -> None:
    script = Script("A -> x", "B -> x", "x -> c").told("A")
    assert script.ready() == ""
    assert script.told("AA").ready() == ""
    assert script.told("B").ready() == "x"
    assert script.told("B").ready() == ""
    assert script.finish("x").changes() == "xc"
    assert script.flow.is_remote(script.index["A"])
    assert not script.flow.is_remote(script.index["x"])


@pytest.mark.parametrize("state", [E, S])
def test_how_a_ghost_ended_goes_on_here(state: DropState) -> None:
    script = Script("A -> x", "x -> c").told("A", state)
    assert script.states("Axc") == [state, state, state]
    assert script.changes() == "xc"
    assert script.told("A").states("A") == [state]


def test_an_app_with_a_rule_is_decided_when_told() -> None:
    script = Script("A -> x", "B -> x", "x -> c", block_skip="x").told("A", S)
    assert script.told("B").ready() == "x"


def test_a_ghost_is_not_triggered_and_not_made_ready() -> None:
    script = Script("a -> X", "X -> c", "B -> y").trigger("aXB")
    assert (script.ready(), script.states("aXB")) == ("", [C, DropState.INITIALIZED, DropState.INITIALIZED])


def test_ghost_data_is_not_decided_by_its_producers_here() -> None:
    script = Script("a -> x", "x -> D", "b -> y", "y -> D", "D -> z").trigger("ab")
    script.finish("x").do("skip", "y")
    assert script.states("D") == [DropState.INITIALIZED]
    assert script.ready() == "xy"
    assert script.told("D").ready() == "z"


@pytest.mark.parametrize(
    ("state", "execution"), [(C, AppState.FINISHED), (E, AppState.ERROR), (S, AppState.SKIPPED)]
)
def test_a_ghost_app_counts_for_its_outputs_here(state: DropState, execution: AppState) -> None:
    script = Script("a -> X", "X -> c", "y -> c").trigger("y")
    script.finish("y")
    assert script.states("c") == [DropState.INITIALIZED]
    script.told("X", state)
    assert script.states("Xc") == [state, state]
    assert script.flow.execution[script.index["X"]] == execution
    assert script.changes() == "yc"


def test_ghost_data_whose_content_must_be_fetched_comes_out_as_work_once() -> None:
    script = Script("A -> x", settling="A").told("A").told("A").told("A", E)
    assert script.ready() == "A"
    assert script.flow.begin(script._ids("A")) == script._ids("A")
    script.do("data_writing", "A").do("data_completed", "A")
    assert (script.ready(), script.states("A"), script.changes()) == ("x", [C], "")


def test_content_that_cannot_be_fetched_fails_the_consumers_here() -> None:
    script = Script("A -> x", settling="A").told("A").do("data_failed", "A")
    assert script.states("Ax") == [E, E]
    assert script.flow.has_failed()


def test_failures_elsewhere_are_not_failures_here() -> None:
    script = Script("X -> a", "B -> y", "D -> y", "y -> c", block_skip="y").told("X", E).told("B", E)
    assert script.states("a") == [E]
    assert script.flow.has_failed()
    assert not Script("A -> x", "B -> x").told("A", E).flow.has_failed()


def test_what_is_asked_of_ghost_data_is_left_to_its_home() -> None:
    script = Script("a -> x", "x -> D", "x -> F", "x -> G").trigger("a")
    script.do("skip", "D").do("data_completed", "F").do("data_failed", "G")
    assert script.asked() == [("D", S), ("F", C), ("G", E)]
    assert script.states("DFG") == [DropState.INITIALIZED] * 3


def test_a_skip_of_a_ghost_is_asked_even_while_its_content_comes() -> None:
    script = Script("x -> D", "D -> y", settling="D").told("D").do("skip", "D")
    assert script.asked() == [("D", S)]


def test_an_app_elsewhere_cannot_be_skipped_here() -> None:
    with pytest.raises(IllegalTransition):
        Script("a -> X").do("skip", "X")


def test_home_data_takes_what_an_app_elsewhere_asks() -> None:
    script = Script("X -> a", "X -> b", "X -> c", "X -> d", "d -> y", "Y -> d", settling="b", block_skip="d")
    script.told("a", E).told("b").told("c").told("d", S)
    assert script.states("abcd") == [E, DropState.INITIALIZED, C, DropState.INITIALIZED]
    assert script.ready() == "b"
    script.told("XY")
    assert script.states("ad") == [E, C]
    assert script.ready() == "y"
    script.do("data_completed", "b").told("b", S)
    assert script.states("b") == [C]


def test_home_data_that_settles_is_not_judged_again_by_its_producers() -> None:
    script = Script("X -> b", settling="b").told("b").told("X", E)
    assert script.ready() == "b"
    assert script.do("data_completed", "b").states("b") == [C]


def test_nobody_elsewhere_decides_about_an_app_or_tells_of_a_cancel() -> None:
    with pytest.raises(IllegalTransition, match="at home"):
        Script("A -> x").told("x", S)
    with pytest.raises(IllegalTransition, match="CANCELLED"):
        Script("A -> x").told("A", DropState.CANCELLED)


def test_leaves_and_open_drops_are_those_at_home() -> None:
    script = Script("a -> x", "x -> D", "B -> y")
    assert [script.uids[i] for i in script.flow.waiting()] == ["a", "x", "y"]
    assert not script.flow.leaves_have_ended()
    assert script.told("B").finish("y").flow.leaves_have_ended()
    script.flow.conclude()
    assert script.changes() == "yax"
    assert script.told("D", E).states("D") == [C]


def test_a_cancel_closes_ghosts_without_telling_of_them() -> None:
    script = Script("A -> x", "x -> D", settling="A").told("A")
    script.flow.cancel()
    assert script.states("AxD") == [DropState.CANCELLED] * 3
    assert script.changes() == "x"
    assert script.flow.over
    assert script.told("D").do("data_completed", "A").ready() == ""


def test_the_rest_is_skipped_but_what_settles() -> None:
    script = Script("A -> x", "x -> D", "B -> x", "y -> c", settling="A").told("A")
    script.flow.skip_rest()
    assert script.states("ABDxyc") == [DropState.INITIALIZED, S, S, S, S, S]
    assert script.changes() == "cxy"
    assert script.ready() == "A"
    assert not script.flow.over
    assert script.told("B").do("data_completed", "A").states("A") == [C]
    assert script.flow.over
    script.flow.skip_rest()
    assert script.changes() == ""


def test_an_end_drop_elsewhere_ends_the_session_here_when_told() -> None:
    script = Script("A -> x", "b -> y", ends="A").told("A")
    assert (script.flow.closed, script.states("by")) == (True, [S, S])


def test_complete_data_cannot_fail() -> None:
    with pytest.raises(IllegalTransition, match="COMPLETED"):
        Script("a -> x").trigger("a").do("data_failed", "a")


def test_complete_data_expires_and_is_deleted_once() -> None:
    script = Script("a -> x").trigger("a")
    script.changes()
    script.do("expired", "a").do("expired", "a").do("deleted", "a").do("expired", "a")
    assert (script.states("a"), script.changes()) == ([DropState.DELETED], "aa")
