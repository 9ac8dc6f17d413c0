# SPDX-License-Identifier: Apache-2.0
"""The managers below: asked, followed, and watched for signs of life.

Who is followed is asked what is new whenever it says that something is, and with every beat; one question to each
is under way at a time. What is asked of somebody who is lost ends at once.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, BinaryIO, Protocol, TypeVar

from penstock.errors import NodeDown, NodeUnknown, PenstockError
from penstock.leases.membership import Back, Lost, Membership, PeerState, Restarted
from penstock.managers.api import NodeInfo, NodeState
from penstock.managers.orders import Follow, News, Request

__all__ = ["Below", "Events", "Sub"]

log = logging.getLogger(__name__)

A = TypeVar("A")

_FOLLOW_S = 30.0
_PAUSE_S = 0.01
"""From one question what is new to the next: where thousands of drops end in a second, many are told at once."""
_STATES = {
    PeerState.ALIVE: NodeState.ALIVE,
    PeerState.SUSPECT: NodeState.SUSPECT,
    PeerState.LOST: NodeState.LOST,
}


class Sub(Protocol):
    """One manager below, however it is reached."""

    @property
    def address(self) -> str: ...

    def ask(self, request: Request[A], timeout_s: float, text: bytes = b"") -> "Future[A]":
        """Ask something; the future ends with the answer, the error that was told, or `NodeDown`.

        Args:
            text: the share of a graph that goes with `Deploy`.
        """
        ...

    def open_data(self, session_id: str, uid: str) -> BinaryIO:
        """Return a file over the content of a drop that lives there."""
        ...

    def watch(self, news: Callable[[], None], beat: Callable[[int], None]) -> None:
        """Have calls told of news, and of each sign of life with its incarnation number; they do not wait."""

    def start(self) -> None: ...

    def close(self) -> None: ...


class Events(Protocol):
    """Who wants to know; called on threads that must not wait."""

    def known(self, sub: str) -> dict[str, tuple[int, int]]:
        """Return the sessions to ask a manager about: serial and version that are known of each."""
        ...

    def news(self, sub: str, news: News) -> None: ...

    def lost(self, sub: str, cause: str, epoch: int | None = None) -> None:
        """Take note that a manager is gone; `epoch` is that of its new incarnation where it was restarted."""

    def tick(self) -> None:
        """Do what is to be repeated."""


class _Watched:
    """What is known of one manager below."""

    def __init__(self, sub: Sub) -> None:
        self.sub = sub
        self.is_asked = False
        self.is_due = False
        """Whether it will be asked soon without any further doing."""
        self.asked_s = 0.0
        self.has_news = False
        self.waiting: set[Future[Any]] = set()  # Any: futures of all kinds of answers
        self.nodes: Mapping[str, str] = {}


class Below:
    """The managers below one.

    Args:
        later: makes a call after some time, on a thread that must not wait; the answer cancels it.
    """

    def __init__(
        self,
        subs: Mapping[str, Sub],
        membership: Membership,
        later: Callable[[float, Callable[[], None]], Callable[[], None]],
    ) -> None:
        self._watched = {name: _Watched(sub) for name, sub in subs.items()}
        self._membership = membership
        self._later = later
        self._lock = threading.Lock()
        self._events: Events | None = None
        self._cancel_tick: Callable[[], None] | None = None
        self._is_closed = False

    @property
    def names(self) -> tuple[str, ...]:
        """The addresses of all managers below."""
        return tuple(self._watched)

    def start(self, events: Events) -> None:
        """Begin to watch and to follow."""
        self._events = events
        for name, watched in self._watched.items():
            self._membership.expect(name, monotonic())
            watched.sub.watch(partial(self.follow, name), partial(self._heard, name))
            watched.sub.start()
        self._tick()

    def close(self) -> None:
        """End all connections."""
        with self._lock:
            self._is_closed = True
            if self._cancel_tick is not None:
                self._cancel_tick()
        for watched in self._watched.values():
            watched.sub.close()

    def add(self, name: str, sub: Sub) -> None:
        """Watch and follow one more manager; sessions that are there already do without it."""
        assert self._events is not None
        with self._lock:
            if name in self._watched:
                return
            self._watched = {**self._watched, name: _Watched(sub)}  # others may be walking over the old one
            self._membership.expect(name, monotonic())
        sub.watch(partial(self.follow, name), partial(self._heard, name))
        sub.start()

    def remove(self, name: str) -> None:
        """Let a manager go: nobody asks or watches it any more.

        Raises:
            NodeUnknown: it is none of those below.
        """
        with self._lock:
            watched = self._watched.get(name)
            if watched is None:
                raise NodeUnknown(name, list(self._watched))
            self._watched = {other: kept for other, kept in self._watched.items() if other != name}
            self._membership.forget(name)
        watched.sub.close()

    # Liveness

    def _heard(self, name: str, epoch: int) -> None:
        with self._lock:
            self._membership.heard(name, epoch, monotonic())

    def _tick(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            events = self._membership.tick(monotonic())
            self._cancel_tick = self._later(self._membership.beat_s, self._tick)
        assert self._events is not None
        for event in events:
            log.info("%s", event)
            if isinstance(event, Lost):
                self._lose(
                    event.peer, f"{event.peer} was lost: it has been silent for {event.silent_s:.1f} s"
                )
            elif isinstance(event, Restarted):
                cause = f"{event.peer} was restarted and has lost what it had of the session"
                self._lose(event.peer, cause, event.epoch)
            elif isinstance(event, Back):
                self.follow(event.peer)
        for name in self._watched:
            if self.state(name) is not NodeState.LOST:
                self.follow(name)
        self._events.tick()

    def _lose(self, name: str, cause: str, epoch: int | None = None) -> None:
        assert self._events is not None
        with self._lock:
            waiting = list(self._watched[name].waiting) if epoch is None else []
        for future in waiting:
            with suppress(InvalidStateError):  # its answer came just now
                future.set_exception(NodeDown(name, cause))
        self._events.lost(name, cause, epoch)

    def state(self, name: str) -> NodeState:
        """Return what is known of a manager below."""
        with self._lock:
            return _STATES[self._membership.state(name)]

    def epoch(self, name: str) -> int:
        """Return the incarnation number of a manager below, 0 where it was not heard yet."""
        with self._lock:
            return self._membership.epoch(name)

    def infos(self) -> list[NodeInfo]:
        """Return all nodes below, at any depth; what is behind a silent manager is as silent as it."""
        found: list[NodeInfo] = []
        for name, watched in self._watched.items():
            state = self.state(name)
            with self._lock:
                silent_s = (
                    self._membership.silent_s(name, monotonic()) if state is not NodeState.ALIVE else 0.0
                )
            for node, told in watched.nodes.items() or ((name, NodeState.ALIVE.value),):
                worse = state if state is not NodeState.ALIVE else NodeState(told)
                found.append(NodeInfo(node, worse, round(silent_s, 1)))
        return found

    def nodes_of(self, name: str) -> tuple[str, ...]:
        """Return the nodes at or below one manager."""
        return tuple(self._watched[name].nodes) or (name,)

    def behind(self) -> dict[str, tuple[str, ...]]:
        """Return the nodes behind each manager below that is none itself."""
        return {name: tuple(watched.nodes) for name, watched in self._watched.items() if watched.nodes}

    # Asking

    def ask(self, name: str, request: Request[A], timeout_s: float, text: bytes = b"") -> "Future[A]":
        """Ask one manager; the future also ends when it is lost."""
        answer: Future[A] = Future()
        if self.state(name) is NodeState.LOST:
            answer.set_exception(NodeDown(name, "it is lost: it does not answer any more"))
            return answer
        waiting = self._watched[name].waiting
        with self._lock:
            waiting.add(answer)

        def done(future: "Future[A]") -> None:
            with self._lock:
                waiting.discard(answer)
            with suppress(InvalidStateError):  # the manager was lost meanwhile
                error = future.exception()
                if error is None:
                    answer.set_result(future.result())
                else:
                    answer.set_exception(error)

        self._watched[name].sub.ask(request, timeout_s, text).add_done_callback(done)
        return answer

    def ask_all(
        self, requests: Mapping[str, Request[A]], timeout_s: float, texts: Mapping[str, bytes] | None = None
    ) -> tuple[dict[str, A], dict[str, PenstockError]]:
        """Ask several managers at once and wait for all; return the answers, and the errors of those that failed."""
        futures = {
            name: self.ask(name, request, timeout_s, (texts or {}).get(name, b""))
            for name, request in requests.items()
        }
        answers: dict[str, A] = {}
        errors: dict[str, PenstockError] = {}
        for name, future in futures.items():
            try:
                answers[name] = future.result(timeout_s + _FOLLOW_S)
            except PenstockError as error:
                errors[name] = error
            except TimeoutError:
                errors[name] = NodeDown(name, "no answer")
        return answers, errors

    def open_data(self, name: str, session_id: str, uid: str) -> BinaryIO:
        """Return a file over the content of a drop that lives at or below a manager."""
        if self.state(name) is NodeState.LOST:
            raise NodeDown(name, "it is lost: it does not answer any more")
        return self._watched[name].sub.open_data(session_id, uid)

    # Following

    def follow(self, name: str) -> None:
        """Ask a manager what is new, when it has answered the last such question, and not too often."""
        assert self._events is not None
        watched = self._watched.get(name)
        if watched is None:  # it was let go
            return
        with self._lock:
            watched.has_news = watched.is_asked
            if watched.is_asked or watched.is_due or self._is_closed:
                return
            now_s = monotonic()
            pause_s = watched.asked_s + _PAUSE_S - now_s
            if pause_s > 0:
                watched.is_due = True
                self._later(pause_s, partial(self._follow_due, name))
                return
            watched.is_asked, watched.asked_s = True, now_s
        request = Follow(known=self._events.known(name))
        self.ask(name, request, _FOLLOW_S).add_done_callback(partial(self._told, name))

    def _follow_due(self, name: str) -> None:
        watched = self._watched.get(name)
        if watched is not None:
            watched.is_due = False
            self.follow(name)

    def _told(self, name: str, future: "Future[News]") -> None:
        watched = self._watched[name]
        error = future.exception()
        if error is None:
            news = future.result()
            watched.nodes = news.nodes
            assert self._events is not None
            try:
                self._events.news(name, news)
            except Exception:  # what is wrong with one answer must not end the following
                log.exception("what %s tells cannot be taken", name)
        elif not isinstance(error, NodeDown):
            log.error("%s does not tell what is new: %s", name, error)
        with self._lock:
            watched.is_asked = False
            again = watched.has_news and error is None
        if again:
            self.follow(name)
