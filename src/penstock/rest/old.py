# SPDX-License-Identifier: Apache-2.0
"""The ecosystem's own routes for sessions, the same at nodes, islands and masters.

Unmodified clients take 200 only, want `Content-Length`, and send bodies in pieces; see `spec` of each answer in
the functions. What is left out here stands in `old_members.py` (nodes, islands, stop) and `pages.py`.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from penstock.engine.states import LinkKind, SessionState
from penstock.errors import DropUnknown, GraphInvalid, SessionIdInvalid
from penstock.managers.api import NO_APP, Level, Manager, SessionInfo, States, StatusTree
from penstock.rest.answers import SUCCESS, answer
from penstock.rest.bodies import decode
from penstock.rest.downloads import download, open_log
from penstock.rest.extras import NodeExtras
from penstock.rest.faults import RequestRefused
from penstock.rest.service import Service, media_type, service_of

__all__ = ["plain_states", "plain_status", "router", "session_row", "whole_session"]

router = APIRouter(prefix="/api", include_in_schema=False)

_GRAPH_TYPES = frozenset({"application/json", "text/plain"})  # browsers without CORS send text/plain
_FORM = "application/x-www-form-urlencoded"


def plain_status(status: StatusTree) -> Any:  # Any: a number, or nested dicts of them
    """Return a status as numbers, nested as the managers are."""
    if isinstance(status, dict):
        return {name: plain_status(inner) for name, inner in status.items()}
    return int(status)


def plain_states(states: States) -> dict[str, dict[str, int]]:
    """Return states as {uid: {"status": n, "execStatus": m}}, the second of apps only."""
    return {
        uid: {"status": state} if execution == NO_APP else {"status": state, "execStatus": execution}
        for uid, state, execution in zip(states.uids, states.state, states.execution, strict=True)
    }


def session_row(info: SessionInfo) -> dict[str, Any]:  # Any: plain JSON values
    """Return one session as it stands in lists."""
    return {"sessionId": info.session_id, "status": plain_status(info.status), "size": info.size}


def whole_session(manager: Manager, session_id: str) -> dict[str, Any]:  # Any: plain JSON values
    """Return a session with its graph; a composite has nothing to tell before there is one."""
    info = manager.session(session_id)
    if manager.level is not Level.NODE and info.state is SessionState.PRISTINE:
        return {"status": 0, "graph": {}, "dir": ""}
    graph = msgspec.Raw(manager.graph(session_id))
    return {"status": plain_status(info.status), "graph": graph, "dir": {"dir": info.directory}}


@router.get("")
async def overview(request: Request) -> Response:
    """Tell what is here."""
    service = service_of(request)
    infos = await service.ask(service.manager.sessions)
    if service.manager.level is Level.NODE:
        return answer({"sessions": [session_row(info) for info in infos]})
    nodes = await service.ask(service.manager.nodes)
    return answer({"hosts": [node.address for node in nodes], "sessionIds": [i.session_id for i in infos]})


@router.post("/sessions")
async def create(request: Request) -> Response:
    """Create a session: {"sessionId": id} in, the same out."""
    service = service_of(request)
    body = await service.json(request, dict[str, Any])
    if "sessionId" not in body:
        raise RequestRefused("bad_request", 'the body has no "sessionId"')
    session_id = body["sessionId"]
    if not isinstance(session_id, str):
        raise SessionIdInvalid(repr(session_id))
    await service.ask(service.manager.create_session, session_id)
    service.deleted.forget(session_id)
    return answer({"sessionId": session_id})


@router.get("/sessions")
async def sessions(request: Request) -> Response:
    """List all sessions."""
    service = service_of(request)
    return answer([session_row(info) for info in await service.ask(service.manager.sessions)])


@router.get("/sessions/{sid}")
async def session(request: Request, sid: str) -> Response:
    """Tell a session's status, graph and folder."""
    service = service_of(request)
    return await service.told(whole_session, service.manager, sid)


@router.delete("/sessions/{sid}")
async def destroy(request: Request, sid: str) -> Response:
    """Cancel and forget a session."""
    service = service_of(request)
    await service.ask(service.manager.destroy, sid)
    service.deploys.forget(sid)
    service.deleted.put(sid, True, service.now_s())
    return answer(SUCCESS)


@router.get("/sessions/{sid}/status")
async def status(request: Request, sid: str) -> Response:
    """Tell a session's status: a number, or nested as the managers are."""
    service = service_of(request)
    return answer(plain_status((await service.ask(service.manager.session, sid)).status))


@router.post("/sessions/{sid}/deploy")
async def deploy(request: Request, sid: str) -> Response:
    """Deploy, and trigger `completed`: a form with commas, or JSON, or nothing."""
    service = service_of(request)
    completed = _completed(await service.body(request), media_type(request))
    await service.ask(service.manager.deploy, sid, completed)
    return answer(SUCCESS)


def _completed(body: bytes, kind: str) -> list[str]:
    if not body.strip():
        return []
    if kind == _FORM:
        try:
            fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=100)
        except ValueError as exc:
            raise RequestRefused("bad_request", f"the form cannot be read: {exc}") from exc
        return [uid for text in fields.get("completed", ()) for uid in text.split(",") if uid]
    if kind == "application/json":
        value = decode(body, dict[str, list[str] | None])
        return value.get("completed") or []
    raise RequestRefused(
        "unsupported_media", f"the body's type is {kind[:80]!r}: use a form or application/json"
    )


@router.post("/sessions/{sid}/cancel")
async def cancel(request: Request, sid: str) -> Response:
    """Cancel a session."""
    service = service_of(request)
    await service.ask(service.manager.cancel, sid)
    return answer(SUCCESS)


@router.get("/sessions/{sid}/graph")
async def graph(request: Request, sid: str) -> Response:
    """Return the graph, {oid: specification}."""
    service = service_of(request)
    return Response(await service.ask(service.manager.graph, sid), media_type="application/json")


@router.get("/sessions/{sid}/graph/size")
async def graph_size(request: Request, sid: str) -> Response:
    """Return the number of drops."""
    service = service_of(request)
    return answer(await service.ask(service.manager.graph_size, sid))


@router.get("/sessions/{sid}/graph/status")
async def graph_status(request: Request, sid: str) -> Response:
    """Return the states of all drops."""
    service = service_of(request)
    return await service.told(_states, service.manager, sid)


def _states(manager: Manager, sid: str) -> dict[str, dict[str, int]]:
    return plain_states(manager.graph_status(sid))


@router.post("/sessions/{sid}/graph/append")
async def append(request: Request, sid: str) -> Response:
    """Add drops: a JSON list, compressed or not; links may lead to what comes later."""
    service = service_of(request)
    if media_type(request) not in _GRAPH_TYPES:
        raise RequestRefused("unsupported_media", "a graph is application/json or text/plain")
    await service.ask(service.manager.session, sid)  # a body for nobody is not worth reading
    body = await service.body(request)
    await service.ask(service.manager.add_graph, sid, body, placed=True)
    return answer(SUCCESS)


@router.post("/sessions/{sid}/graph/link")
async def link(request: Request, sid: str) -> Response:
    """Link two drops: `lhOID` is a `linkType` of `rhOID`."""
    service = service_of(request)
    query = request.query_params
    try:
        kind = LinkKind(int(query["linkType"]))
        left, right = query["lhOID"], query["rhOID"]
    except (KeyError, ValueError) as exc:
        raise RequestRefused("bad_request", "lhOID, rhOID and linkType (0 to 7) are needed") from exc
    try:
        await service.ask(service.manager.link, sid, left, kind, right)
    except GraphInvalid as exc:
        relation = {"type": "InvalidRelationshipException", "args": [[left, int(kind), right], str(exc)]}
        return answer(relation, 409)
    return answer(SUCCESS)


@router.post("/sessions/{sid}/trigger")
async def trigger(request: Request, sid: str) -> Response:
    """Trigger the drops of a JSON list."""
    service = service_of(request)
    uids = await service.json(request, list[str])
    await service.ask(service.manager.trigger, sid, uids)
    return answer(SUCCESS)


@router.post("/sessions/{sid}/subscriptions")
async def subscriptions(request: Request, sid: str) -> Response:
    """Note links to drops of peers; only peers that belong to the deployment."""
    service = service_of(request)
    relations = await service.json(request, dict[str, list[tuple[str, int, str]]])
    manager = service.manager
    await service.ask(manager.session, sid)
    strangers = [address for address in relations if not service.settings.is_member(address)]
    if strangers:
        raise RequestRefused("not_member", f"{strangers[0][:200]!r} is no member of this deployment")
    if not isinstance(manager, NodeExtras):
        raise RequestRefused("not_offered", "this manager takes no subscriptions")
    await service.ask(manager.subscribe, sid, relations)
    return answer(SUCCESS)


@router.get("/sessions/{sid}/dir")
async def directory(request: Request, sid: str) -> Response:
    """Tell a session's folder."""
    service = service_of(request)
    return answer({"dir": (await service.ask(service.manager.session, sid)).directory})


@router.get("/sessions/{sid}/repro/status")
async def repro_status(request: Request, sid: str) -> Response:
    """Tell whether the reproducibility record is complete."""
    service = service_of(request)
    return answer(await service.ask(service.manager.repro_status, sid))


@router.get("/sessions/{sid}/repro/data")
async def repro_data(request: Request, sid: str) -> Response:
    """Return the graph with its reproducibility record."""
    service = service_of(request)
    return await service.told(_repro, service.manager, sid)


def _repro(manager: Manager, sid: str) -> dict[str, Any]:  # Any: plain JSON values
    return {"graph": msgspec.Raw(manager.graph(sid)), "reprodata": manager.repro_data(sid)}


@router.get("/sessions/{sid}/logs")
async def logs(request: Request, sid: str) -> Response:
    """Return the session's log: a file of a node, an archive of a composite."""
    service = service_of(request)
    file, name, kind = await service.ask(open_log, service.manager, sid)
    return await download(service, file, name, kind)


@router.api_route("/sessions/{sid}/graph/drop/data/{uid:path}", methods=["GET", "POST", "PUT"])
async def drop_data(request: Request, sid: str, uid: str) -> Response:
    """Tell the file that holds a drop's data, "" for none."""
    service = service_of(request)
    info = await service.ask(service.manager.drop, sid, uid)
    return answer({"filepath": _file_path(info.url)})


def _file_path(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return "/" + rest.partition("/")[2] if scheme == "file" else ""


@router.api_route("/sessions/{sid}/graph/drop/{uid:path}", methods=["GET", "POST", "PUT"])
async def drop(request: Request, sid: str, uid: str) -> Response:
    """Tell a drop's status and what it logged."""
    service = service_of(request)
    return answer(await service.ask(_drop, service, sid, uid))


def _drop(service: Service, sid: str, uid: str) -> dict[str, Any]:  # Any: plain JSON values
    info = service.manager.drop(sid, uid)
    if not info.uid:
        raise DropUnknown(sid, [uid])
    records = list(_records(info.log))
    return {"session": sid, "status": info.state, "oid": info.uid, "logs": records}


def _records(log: Any) -> Iterator[Mapping[str, str]]:  # Any: records as managers keep them
    for record in log:
        yield {
            "time": record.get("time", ""),
            "Level": record.get("stream", ""),
            "Module": "",
            "Function/Method": "",
            "Line #": "",
            "Message": record.get("text", ""),
        }
