# SPDX-License-Identifier: Apache-2.0
"""The new interface: the life of sessions. Requests made again get the answer of the first time."""

import asyncio
import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from penstock.engine.states import LinkKind, SessionState
from penstock.errors import DropUnknown, GraphInvalid, PenstockError, SessionNotFound, WrongState
from penstock.graph.load import read
from penstock.graph.problems import Problem
from penstock.managers.api import Manager, SessionInfo
from penstock.rest import schema
from penstock.rest.answers import answer, fault, nothing
from penstock.rest.bodies import why_not_json
from penstock.rest.faults import RequestRefused
from penstock.rest.openapi import body, told
from penstock.rest.service import Deploy, Keyed, Service, media_type, service_of
from penstock.wire.faults import to_plain

__all__ = ["REPLAYED", "router"]

router = APIRouter(prefix="/api/v1/sessions", default_response_class=Response)

REPLAYED = {"Idempotent-Replayed": "true"}
"""Stands in answers to requests that had been carried out before."""

_TAKES_JSON = (400, 408, 413, 415)
_OPEN = frozenset({SessionState.PRISTINE, SessionState.BUILDING})


@router.post(
    "",
    status_code=201,
    responses={
        **told(201, schema.SessionAnswer, refusals=(*_TAKES_JSON, 409, 422)),
    },
    openapi_extra={**body(schema.Create), "x-422": True},
)
async def create(
    request: Request, idempotency_key: Annotated[str | None, Header(max_length=200)] = None
) -> Response:
    """Create a session. With an `Idempotency-Key` the same request gets the first answer again, for a day."""
    service = service_of(request)
    wanted = await service.json(request, dict[str, Any])
    if "session_id" not in wanted or wanted.keys() - {"session_id"}:
        raise RequestRefused("bad_request", 'the body must be {"session_id": ID}')
    session_id = wanted["session_id"]
    if not isinstance(session_id, str):
        raise RequestRefused("bad_id", f"a session id is a text, not {type(session_id).__name__}")
    if idempotency_key is None:
        return _created(await _create(service, session_id))
    return await _create_once(service, session_id, idempotency_key)


async def _create_once(service: Service, session_id: str, key: str) -> Response:
    digest = hashlib.sha256(session_id.encode()).digest()
    known = service.keyed.get(key, service.now_s())
    if known is not None:
        if known.digest != digest:
            raise RequestRefused("key_reused", "this Idempotency-Key was used for another session id")
        info = await asyncio.shield(known.answer)
        if any(other.session_id == session_id for other in await service.ask(service.manager.sessions)):
            return _created(info, REPLAYED)
        # It was deleted since: an answer that it was created would be untrue.
    keyed = Keyed(digest, asyncio.get_running_loop().create_future())
    service.keyed.put(key, keyed, service.now_s())
    try:
        info = await _create(service, session_id)
    except BaseException as exc:
        service.keyed.forget(key)  # what failed may be tried again under the same key
        if isinstance(exc, PenstockError):
            keyed.answer.set_exception(exc)
            keyed.answer.exception()  # others may wait for it, or nobody
        else:
            keyed.answer.cancel()
        raise
    keyed.answer.set_result(info)
    return _created(info)


async def _create(service: Service, session_id: str) -> SessionInfo:
    await service.ask(service.manager.create_session, session_id)
    service.deleted.forget(session_id)
    service.deploys.forget(session_id)
    return await service.ask(service.manager.session, session_id)


def _created(info: SessionInfo, headers: dict[str, str] | None = None) -> Response:
    place = {"Location": f"/api/v1/sessions/{info.session_id}"}
    return answer(schema.SessionAnswer.of(info), 201, {**place, **(headers or {})})


@router.get("", responses=told(200, schema.SessionsAnswer))
async def sessions(request: Request) -> Response:
    """List all sessions, in the order of their creation."""
    service = service_of(request)
    infos = await service.ask(service.manager.sessions)
    return answer(schema.SessionsAnswer([schema.SessionAnswer.of(info) for info in infos]))


@router.put(
    "/{session_id}",
    status_code=201,
    responses={
        **told(201, schema.SessionAnswer, refusals=(400, 404)),
        200: told(200, schema.SessionAnswer)[200],
    },
)
async def put(request: Request, session_id: str) -> Response:
    """Make sure that there is a session of this id: 201 when it was created, 200 when it was there."""
    service = service_of(request)
    for info in await service.ask(service.manager.sessions):
        if info.session_id == session_id:
            return answer(schema.SessionAnswer.of(info))
    return _created(await _create(service, session_id))


@router.get("/{session_id}", responses=told(200, schema.SessionAnswer, refusals=(404,)))
@router.get("/{session_id}/status", responses=told(200, schema.SessionAnswer, refusals=(404,)))
async def session(request: Request, session_id: str) -> Response:
    """Tell what is known of a session."""
    service = service_of(request)
    return answer(schema.SessionAnswer.of(await service.ask(service.manager.session, session_id)))


@router.delete("/{session_id}", status_code=204, responses=told(204, refusals=(404,)))
async def destroy(request: Request, session_id: str) -> Response:
    """Cancel and forget a session. One that was deleted within a day is deleted: 204 again."""
    service = service_of(request)
    try:
        await service.ask(service.manager.destroy, session_id)
    except SessionNotFound:
        if service.deleted.get(session_id, service.now_s()):
            return nothing(REPLAYED)
        raise
    service.deploys.forget(session_id)
    service.deleted.put(session_id, True, service.now_s())
    return nothing()


@router.post(
    "/{session_id}/graph",
    responses=told(200, schema.AddedAnswer, refusals=(*_TAKES_JSON, 404, 409)),
    openapi_extra=body(None),
)
async def add_graph(request: Request, session_id: str, placed: bool = False) -> Response:
    """Add drops: a physical graph or a part of one, compressed or not. Links may lead to drops that still come.

    With `placed` an island or master refuses drops that do not say where they live; otherwise it places them.
    """
    service = service_of(request)
    if media_type(request) != "application/json":
        raise RequestRefused("unsupported_media", "a graph is application/json")
    await service.ask(service.manager.session, session_id)  # a body for nobody is not worth reading
    graph = await service.body(request)
    try:
        added = await service.ask(service.manager.add_graph, session_id, graph, placed=placed)
    except GraphInvalid as exc:
        status, word = await service.ask(_verdict, exc, graph)
        return fault(request.url.path, exc, status=status, word=word)
    return answer(schema.AddedAnswer.of(added))


def _verdict(error: GraphInvalid, graph: bytes) -> tuple[int, str]:
    """Return the status and the word of a refused graph where they depend on more than the problems."""
    codes = {found.code for found in error.problems if isinstance(found, Problem) and found.is_error}
    if codes == {"PS203"} and not any(found.code == "PS203" for found in read(graph).problems):
        return 409, "duplicate_oid"  # with drops that were there before: the state is what does not allow it
    if codes == {"PS101"}:
        word, _ = why_not_json(graph)
        return 400, word if word != "bad_request" else "malformed_json"
    return 0, ""


@router.get("/{session_id}/graph", responses=told(200, {"type": "object"}, refusals=(404,)))
async def graph(request: Request, session_id: str) -> Response:
    """Return the graph, {oid: specification}."""
    service = service_of(request)
    return Response(await service.ask(service.manager.graph, session_id), media_type="application/json")


@router.post(
    "/{session_id}/links",
    status_code=204,
    responses=told(204, refusals=(*_TAKES_JSON, 404, 409)),
    openapi_extra=body(schema.Link),
)
async def link(request: Request, session_id: str) -> Response:
    """Add a link between two drops of a session that is not deployed."""
    service = service_of(request)
    await service.ask(service.manager.session, session_id)
    wanted = await service.json(request, schema.Link)
    try:
        await service.ask(service.manager.link, session_id, wanted.left, LinkKind(wanted.kind), wanted.right)
    except DropUnknown as exc:
        return fault(request.url.path, exc, status=400)
    return nothing()


@router.post(
    "/{session_id}/deploy",
    status_code=202,
    responses={
        **told(202, schema.DeployAnswer, refusals=(*_TAKES_JSON, 404, 409)),
        200: told(200, schema.DeployAnswer)[200],
    },
    openapi_extra=body(schema.Deploy, required=False),
)
async def deploy(request: Request, session_id: str) -> Response:
    """Check the graph, make it run, and trigger. The same request again: 200, and nothing more happens."""
    service = service_of(request)
    await service.ask(service.manager.session, session_id)
    wanted = await service.json(request, schema.Deploy, missing=schema.Deploy())
    completed = None if wanted.completed is None else frozenset(wanted.completed)
    earlier = service.deploys.get(session_id, service.now_s())
    if earlier is not None and earlier.completed == completed and await _came_about(earlier):
        info = await service.ask(service.manager.session, session_id)
        if info.state not in _OPEN:
            error = WrongState(session_id, "deploying", info.state.name, [state.name for state in _OPEN])
            told_ = schema.DeployAnswer("already_deployed", schema.SessionAnswer.of(info), to_plain(error))
            return answer(told_, 200, REPLAYED)
    try:
        await _deploy(service, session_id, completed)
    except DropUnknown as exc:
        return fault(request.url.path, exc, status=400)
    info = await service.ask(service.manager.session, session_id)
    return answer(schema.DeployAnswer("deployed", schema.SessionAnswer.of(info)), 202)


async def _came_about(earlier: Deploy) -> bool:
    # Waits for an equal request that is under way.
    await asyncio.wait([earlier.outcome])
    return not earlier.outcome.cancelled() and earlier.outcome.exception() is None


async def _deploy(service: Service, session_id: str, completed: frozenset[str] | None) -> None:
    known = service.deploys.get(session_id, service.now_s())
    mine = Deploy(completed, asyncio.get_running_loop().create_future())
    if known is None or (known.outcome.done() and not await _came_about(known)):
        service.deploys.put(session_id, mine, service.now_s())
    try:
        await service.ask(_deploy_and_trigger, service.manager, session_id, completed)
    except BaseException:
        if service.deploys.get(session_id, service.now_s()) is mine:
            service.deploys.forget(session_id)
        mine.outcome.cancel()
        raise
    mine.outcome.set_result(None)


def _deploy_and_trigger(manager: Manager, session_id: str, completed: frozenset[str] | None) -> None:
    manager.deploy(session_id, completed or ())
    if completed is None and manager.session(session_id).state is SessionState.RUNNING:
        try:
            manager.trigger(session_id)
        except WrongState:
            # It was cancelled or ended in the meantime: deployed it was, and there is nothing left to start.
            return


@router.post(
    "/{session_id}/trigger",
    status_code=202,
    responses=told(202, schema.SessionAnswer, refusals=(*_TAKES_JSON, 404, 409)),
    openapi_extra=body(schema.Trigger, required=False),
)
async def trigger(request: Request, session_id: str) -> Response:
    """Complete data and start apps that nobody else starts; all roots by default."""
    service = service_of(request)
    await service.ask(service.manager.session, session_id)
    wanted = await service.json(request, schema.Trigger, missing=schema.Trigger())
    try:
        await service.ask(service.manager.trigger, session_id, wanted.uids)
    except DropUnknown as exc:
        return fault(request.url.path, exc, status=400)
    return answer(schema.SessionAnswer.of(await service.ask(service.manager.session, session_id)), 202)


@router.post(
    "/{session_id}/cancel", status_code=202, responses=told(202, schema.SessionAnswer, refusals=(404, 409))
)
async def cancel(request: Request, session_id: str) -> Response:
    """End everything that has not ended."""
    service = service_of(request)
    await service.ask(service.manager.cancel, session_id)
    return answer(schema.SessionAnswer.of(await service.ask(service.manager.session, session_id)), 202)
