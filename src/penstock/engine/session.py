# SPDX-License-Identifier: Apache-2.0
"""The life cycle of a session as a table.

Source: `dlg.manager.session.SessionStates`; the ancestor strands sessions that fail while DEPLOYING and refuses
to cancel what does not run yet, so here every state that has not ended can be cancelled and can fail.
"""

from enum import Enum

from penstock.engine.states import SessionState
from penstock.errors import IllegalTransition

__all__ = ["LIFE_CYCLE", "SessionEvent", "advance"]


class SessionEvent(Enum):
    """What can happen to a session."""

    GRAPH_ADDED = "graph added"
    DEPLOY_STARTED = "deploy started"
    DEPLOY_FAILED = "deploy failed"
    DEPLOYED = "deployed"
    ENDED_WELL = "ended well"
    ENDED_WITH_ERRORS = "ended with errors"
    CANCELLED = "cancelled"


_S, _E = SessionState, SessionEvent

LIFE_CYCLE: dict[SessionState, dict[SessionEvent, SessionState]] = {
    _S.PRISTINE: {
        _E.GRAPH_ADDED: _S.BUILDING,
        _E.DEPLOY_STARTED: _S.FINISHED,  # nothing to do is done
        _E.CANCELLED: _S.CANCELLED,
    },
    _S.BUILDING: {
        _E.GRAPH_ADDED: _S.BUILDING,
        _E.DEPLOY_STARTED: _S.DEPLOYING,
        _E.CANCELLED: _S.CANCELLED,
    },
    _S.DEPLOYING: {
        _E.DEPLOYED: _S.RUNNING,
        _E.DEPLOY_FAILED: _S.BUILDING,  # the graph may be mended and deployed again
        _E.CANCELLED: _S.CANCELLED,
    },
    _S.RUNNING: {
        _E.ENDED_WELL: _S.FINISHED,
        _E.ENDED_WITH_ERRORS: _S.FAILED,
        _E.CANCELLED: _S.CANCELLED,
    },
    _S.FINISHED: {},
    _S.FAILED: {},
    _S.CANCELLED: {_E.CANCELLED: _S.CANCELLED},
}


def advance(state: SessionState, event: SessionEvent) -> SessionState:
    """Return the state after an event.

    Raises:
        IllegalTransition: the event is not possible in this state.
    """
    try:
        return LIFE_CYCLE[state][event]
    except KeyError:
        raise IllegalTransition(state.name, event.value, "session") from None
