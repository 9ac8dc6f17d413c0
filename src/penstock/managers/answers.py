# SPDX-License-Identifier: Apache-2.0
"""What a manager does when the one above asks: one method per request of `orders.py`, for nodes and for composites."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol

import msgspec

from penstock.engine.whole import Command
from penstock.errors import GraphInvalid, SessionNotFound
from penstock.graph.load import read
from penstock.managers.composite import CompositeManager
from penstock.managers.composite_session import CompositeSession
from penstock.managers.node import NodeManager
from penstock.managers.node_session import NodeSession
from penstock.managers.orders import (
    Claim,
    Deploy,
    Destroy,
    Done,
    Follow,
    LogPage,
    LookAt,
    News,
    Obey,
    ReadLog,
    Request,
    SeenDrop,
    SessionNews,
    Trigger,
    Withdraw,
)

__all__ = ["Answers", "CompositeAnswers", "NodeAnswers", "answer"]

_DONE = Done()
_RECORDS = 1000


class _Manager(Protocol):
    """What both kinds of managers can be asked alike."""

    def claim_session(self, session_id: str, claim: str) -> None: ...
    def find(self, session_id: str) -> NodeSession | CompositeSession: ...
    def destroy(self, session_id: str) -> None: ...
    def drop(self, session_id: str, uid: str) -> Any: ...  # Any: DropInfo, read by its fields
    def log(self, session_id: str) -> Any: ...  # Any: an iterable of records


class Answers(Protocol):
    """A manager as the one above sees it. All methods may wait; requests may be repeated."""

    def claim(self, request: Claim, text: bytes) -> Done: ...
    def deploy(self, request: Deploy, text: bytes) -> Done: ...
    def withdraw(self, request: Withdraw, text: bytes) -> Done: ...
    def trigger(self, request: Trigger, text: bytes) -> Done: ...
    def obey(self, request: Obey, text: bytes) -> Done: ...
    def destroy(self, request: Destroy, text: bytes) -> Done: ...
    def follow(self, request: Follow, text: bytes) -> News: ...
    def look(self, request: LookAt, text: bytes) -> SeenDrop: ...
    def log(self, request: ReadLog, text: bytes) -> LogPage: ...


def answer(
    answers: Answers, name: str, request: Request[Any], text: bytes
) -> msgspec.Struct:  # Any: of any kind
    """Answer a request by its name in `orders.REQUESTS`."""
    method: Callable[[Request[Any], bytes], msgspec.Struct] = getattr(answers, name)
    return method(request, text)


class _Alike(ABC):
    """What nodes and composites answer alike."""

    def __init__(self, manager: _Manager) -> None:
        self._any = manager

    def look(self, request: LookAt, text: bytes) -> SeenDrop:
        del text
        info = self._any.drop(request.session_id, request.uid)
        return SeenDrop(
            uid=info.uid,
            state=info.state,
            execution=info.execution,
            node=info.node,
            fields=dict(info.fields),
            size_bytes=info.size_bytes,
            url=info.url,
            log=[dict(record) for record in info.log],
            failure=info.failure,
        )

    def log(self, request: ReadLog, text: bytes) -> LogPage:
        del text
        records = self._any.log(request.session_id)
        page = [dict(record) for record in islice(records, request.after, request.after + _RECORDS)]
        return LogPage(records=page, after=request.after + _RECORDS if len(page) == _RECORDS else 0)

    def claim(self, request: Claim, text: bytes) -> Done:
        del text
        self._any.claim_session(request.session_id, request.claim)
        return _DONE

    def destroy(self, request: Destroy, text: bytes) -> Done:
        del text
        try:
            session = self._any.find(request.session_id)
        except SessionNotFound:
            return _DONE
        if session.claim == request.claim:
            self._any.destroy(request.session_id)
        return _DONE

    def follow(self, request: Follow, text: bytes) -> News:
        del text
        sessions: dict[str, SessionNews] = {}
        gone = []
        for session_id, known in request.known.items():
            try:
                news = self._news(session_id, known)
            except SessionNotFound:
                gone.append(session_id)
            else:
                if news is not None:
                    sessions[session_id] = news
        return News(nodes=self._nodes(), sessions=sessions, gone=tuple(gone))

    @abstractmethod
    def _news(self, session_id: str, known: tuple[int, int]) -> SessionNews | None:
        """Return what is new of a session; raises `SessionNotFound`."""

    @abstractmethod
    def _nodes(self) -> dict[str, str]:
        """Return the nodes below with their states."""


class NodeAnswers(_Alike):
    """A node, as the manager above sees it."""

    def __init__(self, manager: NodeManager) -> None:
        super().__init__(manager)
        self._manager = manager

    def _claimed(self, request: Trigger | Obey) -> NodeSession:
        session = self._manager.find(request.session_id)
        if session.claim != request.claim:
            raise SessionNotFound(request.session_id, "another manager has created the one that is here")
        return session

    def deploy(self, request: Deploy, text: bytes) -> Done:
        self._manager.claim_session(request.session_id, request.claim)  # gone where this node was restarted
        session = self._manager.find(request.session_id)
        session.deploy_share(text or b"[]", request.homes, request.own, request.epoch)
        return _DONE

    def withdraw(self, request: Withdraw, text: bytes) -> Done:
        del text
        self._manager.withdraw_session(request.session_id, request.claim)
        return _DONE

    def trigger(self, request: Trigger, text: bytes) -> Done:
        del text
        self._claimed(request).trigger_once(request.number, request.uids)
        return _DONE

    def obey(self, request: Obey, text: bytes) -> Done:
        del text
        session = self._claimed(request)
        session.obey(request.command, request.verdict, request.causes)
        if request.command is Command.CANCEL:
            session.close_run()
        return Done(session.news(request.known))

    def _news(self, session_id: str, known: tuple[int, int]) -> SessionNews | None:
        return self._manager.find(session_id).news(known)

    def _nodes(self) -> dict[str, str]:
        return {}


class CompositeAnswers(_Alike):
    """A manager of managers, as the one above sees it."""

    def __init__(self, manager: CompositeManager) -> None:
        super().__init__(manager)
        self._manager = manager

    def _claimed(self, request: Deploy | Withdraw | Trigger | Obey) -> CompositeSession:
        session = self._manager.find(request.session_id)
        if session.claim != request.claim:
            raise SessionNotFound(request.session_id, "another manager has created the one that is here")
        return session

    def deploy(self, request: Deploy, text: bytes) -> Done:
        self._manager.claim_session(
            request.session_id, request.claim
        )  # gone where this manager was restarted
        session = self._claimed(request)
        with session.operating:
            if text:
                reading = read(text)
                if reading.graph is None:
                    raise GraphInvalid(reading.problems)
                self._manager.spread.deploy(session, reading.graph, request.homes, request.epoch)
            self._manager.spread.begin(session)
        return _DONE

    def withdraw(self, request: Withdraw, text: bytes) -> Done:
        del text
        session = self._claimed(request)
        with session.operating:
            self._manager.spread.withdraw(session)
        return _DONE

    def trigger(self, request: Trigger, text: bytes) -> Done:
        del text
        session = self._claimed(request)
        with session.operating:
            if request.number > session.done_triggers:
                self._manager.spread.trigger(session, request.uids)
                session.done_triggers = request.number
        return _DONE

    def obey(self, request: Obey, text: bytes) -> Done:
        del text
        session = self._claimed(request)
        with session.operating:
            self._manager.spread.obey(session, request.command, request.verdict, request.causes)
        return Done(self._manager.told(session, request.known))

    def _news(self, session_id: str, known: tuple[int, int]) -> SessionNews | None:
        return self._manager.told(self._manager.find(session_id), known)

    def _nodes(self) -> dict[str, str]:
        return {info.address: info.state.value for info in self._manager.nodes()}
