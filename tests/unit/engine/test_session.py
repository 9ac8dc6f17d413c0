"""The life cycle of a session."""

import pytest

from penstock.engine.session import LIFE_CYCLE, SessionEvent, advance
from penstock.engine.states import SessionState
from penstock.errors import IllegalTransition


def test_a_good_life() -> None:
    state = SessionState.PRISTINE
    for event in ("GRAPH_ADDED", "GRAPH_ADDED", "DEPLOY_STARTED", "DEPLOYED", "ENDED_WELL"):
        state = advance(state, SessionEvent[event])
    assert state is SessionState.FINISHED


def test_a_failed_deploy_can_be_mended() -> None:
    assert advance(SessionState.DEPLOYING, SessionEvent.DEPLOY_FAILED) is SessionState.BUILDING


@pytest.mark.parametrize("state", list(SessionState))
def test_whatever_has_not_ended_can_be_cancelled(state: SessionState) -> None:
    ended = state in (SessionState.FINISHED, SessionState.FAILED)
    assert (SessionEvent.CANCELLED in LIFE_CYCLE[state]) is not ended


def test_what_the_table_lacks_is_refused() -> None:
    with pytest.raises(IllegalTransition, match="deployed is not possible in state FINISHED"):
        advance(SessionState.FINISHED, SessionEvent.DEPLOYED)
