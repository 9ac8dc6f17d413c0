"""When a session over several nodes is over, and what its nodes are told."""

import pytest

from penstock.engine.states import SessionState
from penstock.engine.whole import OWNER, Command, Report, Whole

QUIET = Report(quiet=True, leaves_ended=True)
ALL = [("a", Command.CONCLUDE), ("b", Command.CONCLUDE)]


def _report(*, sent: int = 0, received: int = 0, to: str = "", **fields: bool) -> Report:
    return Report(
        **{"quiet": True, "leaves_ended": True, **fields},
        sent={to: sent} if to else {},
        received={to: received} if to else {},
    )


def test_it_is_over_when_all_is_quiet_and_all_nodes_have_concluded() -> None:
    whole = Whole("ab")
    whole.report("a", QUIET)
    assert (whole.verdict, whole.commands()) == (None, [])
    whole.report("b", QUIET)
    assert (whole.verdict, whole.commands()) == (SessionState.FINISHED, ALL)
    assert not whole.over
    whole.acknowledged("a", Command.CONCLUDE)
    whole.acknowledged("a", Command.CONCLUDE)
    whole.acknowledged("b", Command.SKIP_REST)
    assert whole.commands() == ALL[1:]
    whole.acknowledged("b", Command.CONCLUDE)
    assert whole.over


@pytest.mark.parametrize("late", [{"quiet": False}, {"leaves_ended": False}])
def test_it_goes_on_while_a_node_works_or_waits(late: dict[str, bool]) -> None:
    whole = Whole("ab")
    whole.report("a", QUIET)
    whole.report("b", _report(**late))
    assert whole.verdict is None
    assert whole.stalled == ("leaves_ended" in late)
    whole.report("b", QUIET)
    assert whole.verdict is SessionState.FINISHED
    assert not whole.stalled


def test_it_goes_on_while_a_fact_is_on_its_way() -> None:
    whole = Whole("ab")
    whole.report("a", _report(to="b", sent=2))
    whole.report("b", _report(to="a", received=1))
    assert (whole.verdict, whole.stalled) == (None, False)
    whole.report("b", _report(to="a", received=2))
    assert whole.verdict is SessionState.FINISHED


def test_a_count_that_is_too_high_is_of_a_report_that_is_too_old() -> None:
    whole = Whole("ab")
    whole.report("a", _report(to="b", sent=1))
    whole.report("b", _report(to="a", received=2))
    assert whole.verdict is None


def test_a_trigger_on_its_way_counts() -> None:
    whole = Whole("a")
    whole.triggered("a")
    whole.report("a", QUIET)
    assert whole.verdict is None
    whole.report("a", Report(quiet=True, leaves_ended=True, received={OWNER: 1}))
    assert whole.verdict is SessionState.FINISHED


def test_a_failed_drop_fails_the_session() -> None:
    whole = Whole("ab")
    whole.report("a", _report(failed=True))
    whole.report("b", QUIET)
    assert (whole.verdict, whole.causes) == (SessionState.FAILED, [])


@pytest.mark.parametrize("failed", [False, True])
def test_an_end_drop_at_one_node_skips_the_rest_at_the_others(failed: bool) -> None:
    whole = Whole("abc")
    whole.report("b", _report(quiet=False, leaves_ended=False))
    whole.report("a", _report(closed=True, quiet=False, leaves_ended=False))
    assert whole.commands() == [("b", Command.SKIP_REST), ("c", Command.SKIP_REST)]
    whole.acknowledged("b", Command.SKIP_REST)
    whole.report("a", _report(closed=True, failed=failed))
    whole.report("b", QUIET)
    whole.report("c", _report(closed=True))
    assert (whole.verdict, whole.stalled) == (None, False)
    whole.report("b", _report(closed=True))
    assert whole.verdict is (SessionState.FAILED if failed else SessionState.FINISHED)
    assert [command for _, command in whole.commands()] == [Command.CONCLUDE] * 3


def test_a_lost_node_ends_the_session_and_is_not_waited_for() -> None:
    whole = Whole("ab")
    whole.node_lost("a", "node a is silent")
    whole.node_lost("a", "said again")
    whole.report("a", QUIET)
    assert (whole.verdict, whole.causes) == (SessionState.FAILED, ["node a is silent"])
    assert whole.commands() == [("a", Command.CANCEL), ("b", Command.CANCEL)]
    whole.acknowledged("b", Command.CANCEL)
    assert whole.over
    assert whole.commands() == [("a", Command.CANCEL)]


def test_a_restarted_node_ends_the_session_and_needs_no_command() -> None:
    whole = Whole("ab")
    whole.node_restarted("a")
    assert whole.verdict is SessionState.FAILED
    assert "node a was restarted" in whole.causes[0]
    assert whole.commands() == [("b", Command.CANCEL)]


def test_the_client_cancels() -> None:
    whole = Whole("ab")
    whole.cancelled()
    assert whole.verdict is SessionState.CANCELLED
    assert whole.commands() == [("a", Command.CANCEL), ("b", Command.CANCEL)]


def test_the_first_verdict_stays() -> None:
    whole = Whole("a")
    whole.report("a", QUIET)
    whole.cancelled()
    whole.report("a", _report(failed=True))
    whole.node_lost("a", "node a is silent")
    whole.node_lost("z", "no node of this session")
    assert (whole.verdict, whole.causes) == (SessionState.FINISHED, [])
    assert whole.over
