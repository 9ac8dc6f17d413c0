# SPDX-License-Identifier: Apache-2.0
"""The ecosystem's routes for what is below a composite, and for ending a manager."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.responses import Response

from penstock.errors import NodeUnknown, SessionNotFound
from penstock.managers.api import Level, Manager, SessionInfo
from penstock.rest.answers import SUCCESS, answer
from penstock.rest.extras import CompositeExtras, PastSessions
from penstock.rest.faults import RequestRefused
from penstock.rest.old import plain_states, plain_status, session_row
from penstock.rest.service import service_of

__all__ = ["router"]

router = APIRouter(prefix="/api", include_in_schema=False)

_NODE = "/node/{node}"
_DEFAULT_PORTS = ("8000", "5555", "6666")


def _composite(manager: Manager) -> CompositeExtras:
    if not isinstance(manager, CompositeExtras):
        raise RequestRefused("not_offered", "this manager has no members that come and go")
    return manager


@router.get("/nodes")
async def nodes(request: Request) -> Response:
    """List the addresses of all nodes."""
    service = service_of(request)
    return answer([node.address for node in await service.ask(service.manager.nodes)])


@router.get("/islands")
async def islands(request: Request) -> Response:
    """List the addresses of the islands."""
    service = service_of(request)
    return answer({"islands": await service.ask(_composite(service.manager).islands)})


@router.post(_NODE)
@router.post("/island/{node}")
async def add_node(request: Request, node: str) -> Response:
    """Take a member in."""
    service = service_of(request)
    await service.ask(_composite(service.manager).add_node, node)
    return answer(SUCCESS)


@router.delete(_NODE)
@router.delete("/island/{node}")
async def remove_node(request: Request, node: str) -> Response:
    """Let a member go."""
    service = service_of(request)
    await service.ask(_composite(service.manager).remove_node, node)
    return answer(SUCCESS)


@router.api_route("/managers/{rest:path}", methods=["GET", "POST", "DELETE"])
async def daemon(rest: str) -> Response:
    """Start and stop managers elsewhere: the work of the ecosystem's daemon, which is not part of this."""
    raise RequestRefused("not_offered", f"managers/{rest[:100]}: managers are started by `penstock` commands")


@router.get(_NODE + "/sessions")
async def node_sessions(request: Request, node: str) -> Response:
    """List the sessions of one node."""
    service = service_of(request)
    infos = await service.ask(_composite(service.manager).sub_sessions, node)
    return answer([session_row(info) for info in infos])


@router.get(_NODE + "/sessions/{sid}")
async def node_session(request: Request, node: str, sid: str) -> Response:
    """Tell a session as it is on one node."""
    service = service_of(request)
    info = await service.ask(_on_node, service.manager, node, sid)
    graph = await service.ask(_graph_of, service.manager, node, sid)
    return answer({"status": plain_status(info.status), "graph": graph, "dir": {"dir": info.directory}})


@router.get(_NODE + "/sessions/{sid}/status")
async def node_session_status(request: Request, node: str, sid: str) -> Response:
    """Tell a session's status on one node."""
    service = service_of(request)
    return answer(plain_status((await service.ask(_on_node, service.manager, node, sid)).status))


@router.get(_NODE + "/sessions/{sid}/graph")
async def node_graph(request: Request, node: str, sid: str) -> Response:
    """Return the drops of one node."""
    service = service_of(request)
    await service.ask(_on_node, service.manager, node, sid)
    return answer(await service.ask(_graph_of, service.manager, node, sid))


@router.get(_NODE + "/sessions/{sid}/graph/status")
async def node_graph_status(request: Request, node: str, sid: str) -> Response:
    """Return the states of the drops of one node."""
    service = service_of(request)
    await service.ask(_on_node, service.manager, node, sid)
    own = await service.ask(_graph_of, service.manager, node, sid)
    states = plain_states(await service.ask(service.manager.graph_status, sid))
    return answer({uid: state for uid, state in states.items() if uid in own})


def _on_node(manager: Manager, node: str, sid: str) -> SessionInfo:
    for info in _composite(manager).sub_sessions(node):
        if info.session_id == sid:
            return info
    raise SessionNotFound(sid, f"{node} has none of this name")


def _graph_of(
    manager: Manager, node: str, sid: str
) -> dict[str, Any]:  # Any: JSON as the graph's author wrote it
    if not any(_is_same(node, info.address) for info in manager.nodes()):
        raise NodeUnknown(node, [info.address for info in manager.nodes()])
    graph: dict[str, dict[str, Any]] = msgspec.json.decode(manager.graph(sid))
    return {uid: drop for uid, drop in graph.items() if _is_same(str(drop.get("node", "")), node)}


def _is_same(left: str, right: str) -> bool:
    return _full(left) == _full(right)


def _full(address: str) -> tuple[str, ...]:
    host, *ports = address.split(":")
    return (host, *ports, *_DEFAULT_PORTS[len(ports) :])


@router.get("/past_sessions")
async def past_sessions(request: Request) -> Response:
    """List sessions of which only a folder is left."""
    service = service_of(request)
    manager = service.manager
    names = await service.ask(manager.past_sessions) if isinstance(manager, PastSessions) else []
    return answer([{"sessionId": name} for name in names])


@router.get("/submission_method")
async def submission_method() -> Response:
    """Tell how graphs may be submitted."""
    return answer({"methods": ["BROWSER", "SERVER"]})


@router.post("/stop")
async def stop(request: Request) -> Response:
    """End this manager once the answer is out."""
    service = service_of(request)
    done = answer(SUCCESS)
    done.background = BackgroundTask(service.ask, service.settings.stop)
    return done


@router.get("/shutdown")
async def shutdown(request: Request) -> Response:
    """End this node; the ecosystem's clients ask so. The guard lets no page of another site do it."""
    if service_of(request).manager.level is not Level.NODE:
        raise RequestRefused("not_found", "only a node is ended this way: use POST /api/stop")
    return await stop(request)
