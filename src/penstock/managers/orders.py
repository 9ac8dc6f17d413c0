# SPDX-License-Identifier: Apache-2.0
"""What a manager of managers asks of those below it, and what it is told: values, in the form in which they travel.

All requests may be repeated: doing one again is no different from doing it once.
"""

from typing import Any, Generic, TypeVar

import msgspec

from penstock.engine.states import SessionState
from penstock.engine.whole import Command, Report

__all__ = [
    "REQUESTS",
    "Claim",
    "Deploy",
    "Destroy",
    "Done",
    "Follow",
    "LogPage",
    "LookAt",
    "News",
    "Obey",
    "ReadLog",
    "Request",
    "SeenDrop",
    "SessionNews",
    "Trigger",
    "Withdraw",
]

A = TypeVar("A")


class Request(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """A request about one session; `A` is what it is answered with."""

    session_id: str = ""


class Done(msgspec.Struct, frozen=True):
    """It is done.

    Attributes:
        news: how the session stands after it, where that was asked for and is not known.
    """

    news: "SessionNews | None" = None


class Claim(Request[Done], frozen=True, kw_only=True):
    """Have a session, for whoever knows this claim."""

    claim: str


class Deploy(Request[Done], frozen=True, kw_only=True):
    """Run a share of a graph; nothing is triggered. The share's text comes beside the request.

    Attributes:
        epoch: number of this deployment, higher than those of all before it.
        own: the address by which the managers above and other nodes know this one.
        homes: uid of each drop that lives elsewhere, with the address of its node.
    """

    claim: str
    epoch: int
    own: str
    homes: dict[str, str]


class Withdraw(Request[Done], frozen=True, kw_only=True):
    """Forget what was deployed: the session is as it was after `Claim`."""

    claim: str


class Trigger(Request[Done], frozen=True, kw_only=True):
    """Complete data and start apps.

    Attributes:
        number: 1 for the first of the session, and so on; one that was done already is passed over.
    """

    claim: str
    uids: tuple[str, ...]
    number: int


class Obey(Request[Done], frozen=True, kw_only=True):
    """Do what the owner of the session has decided.

    Attributes:
        verdict: how the session as a whole has ended; RUNNING with a command after which it goes on.
        causes: why it failed.
        known: serial and version of the session that are known.
    """

    claim: str
    command: Command
    verdict: SessionState
    causes: tuple[str, ...] = ()
    known: tuple[int, int] = (0, 0)


class Destroy(Request[Done], frozen=True, kw_only=True):
    """Forget the session, if it is of this claim."""

    claim: str


class SessionNews(msgspec.Struct, frozen=True, kw_only=True):
    """How a session stands.

    Attributes:
        epoch: of the deployment that this is about; 0 before.
        serial: grows with everything that happens to it.
        status: number of its state, or per manager below, as clients of the old interface see it.
        version: of the changes that are told, see `api.States`.
        indices: places in the share that was deployed: 32-bit integers of the sender's order.
        states, execution: a byte per index.
        reports: the last one of each node below.
        lost: nodes below that are gone, with the cause.
        causes: what failed, named.
    """

    epoch: int
    serial: int
    status: Any  # int, or dict[str, status]
    version: int
    indices: bytes
    states: bytes
    execution: bytes
    reports: dict[str, Report]
    lost: dict[str, str]
    causes: tuple[str, ...]


class News(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is new.

    Attributes:
        nodes: all nodes below with their state, see `api.NodeState`.
        sessions: those that have changed.
        gone: those that were asked for and are not there.
    """

    nodes: dict[str, str]
    sessions: dict[str, SessionNews]
    gone: tuple[str, ...]


class Follow(Request[News], frozen=True, kw_only=True):
    """Tell what is new.

    Attributes:
        known: serial and version that are known, per session.
    """

    known: dict[str, tuple[int, int]]


class SeenDrop(msgspec.Struct, frozen=True, kw_only=True):
    """One drop, as `api.DropInfo`."""

    uid: str
    state: int
    execution: int
    node: str
    fields: dict[str, Any]  # JSON as the graph's author wrote it
    size_bytes: int | None
    url: str
    log: list[dict[str, str]]
    failure: str


class LookAt(Request[SeenDrop], frozen=True, kw_only=True):
    """Tell about one drop."""

    uid: str


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a session's log.

    Attributes:
        after: give it to get the next piece; 0 when this was the last.
    """

    records: list[dict[str, str]]
    after: int


class ReadLog(Request[LogPage], frozen=True, kw_only=True):
    """Return a piece of the session's log, from record `after` on."""

    after: int = 0


REQUESTS: dict[str, tuple[type[Request[Any]], type[msgspec.Struct]]] = {
    "claim": (Claim, Done),
    "deploy": (Deploy, Done),
    "withdraw": (Withdraw, Done),
    "trigger": (Trigger, Done),
    "obey": (Obey, Done),
    "destroy": (Destroy, Done),
    "follow": (Follow, News),
    "look": (LookAt, SeenDrop),
    "log": (ReadLog, LogPage),
}
"""By the name under which each travels: the request and its answer."""
