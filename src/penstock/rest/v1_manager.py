# SPDX-License-Identifier: Apache-2.0
"""The new interface: the manager itself — who it is, how it is, and what it counts."""

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter, Request
from starlette.responses import Response

from penstock.engine.states import SessionState
from penstock.managers.api import NodeState, SessionInfo
from penstock.rest import schema
from penstock.rest.answers import answer
from penstock.rest.guard import Guard
from penstock.rest.openapi import told
from penstock.rest.service import service_of

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", default_response_class=Response)

_METRICS = "text/plain; version=0.0.4; charset=utf-8"


def _version() -> str:
    try:
        return version("penstock")
    except PackageNotFoundError:
        return "0"  # run from a checkout that is not installed


@router.get("/manager", responses=told(200, schema.ManagerAnswer))
async def manager(request: Request) -> Response:
    """Tell who answers here."""
    service = service_of(request)
    settings = service.settings
    level = service.manager.level.value
    told_ = schema.ManagerAnswer(
        level, settings.address, _version(), settings.epoch, settings.token is not None
    )
    return answer(told_)


@router.get("/nodes", responses=told(200, schema.NodesAnswer))
async def nodes(request: Request) -> Response:
    """List all nodes below, at any depth, and how they are; at a node none."""
    service = service_of(request)
    infos = await service.ask(service.manager.nodes)
    return answer(
        schema.NodesAnswer(
            [schema.NodeAnswer(info.address, info.state.value, info.silent_s) for info in infos]
        )
    )


@router.get("/health", responses=told(200, schema.Health))
@router.get("/health/live", responses=told(200, schema.Health))
async def health(request: Request) -> Response:
    """Tell that the process answers, and whether it takes work."""
    return answer(schema.Health(live=True, ready=service_of(request).is_ready))


@router.get("/health/ready", responses=told(200, schema.Health))
async def ready(request: Request) -> Response:
    """Answer 200 while this manager takes work, else 503."""
    is_ready = service_of(request).is_ready
    return answer(schema.Health(live=True, ready=is_ready), 200 if is_ready else 503)


@router.get("/metrics", responses=told(200, media_type="text/plain"))
async def metrics(request: Request) -> Response:
    """Return what is counted, in the text format of Prometheus."""
    service = service_of(request)
    infos = await service.ask(service.manager.sessions)
    states = Counter(node.state for node in await service.ask(service.manager.nodes))
    guard: Guard = request.app.state.guard
    lines = [
        *_family("penstock_sessions", "gauge", "Sessions by state.", _by_state(infos)),
        *_family(
            "penstock_drops", "gauge", "Drops of all sessions.", [("", sum(info.size for info in infos))]
        ),
        *_family(
            "penstock_nodes",
            "gauge",
            "Nodes below by state.",
            [(f'{{state="{state.value}"}}', states[state]) for state in NodeState],
        ),
        *_family(
            "penstock_http_requests_total",
            "counter",
            "Answers by status.",
            [(f'{{status="{status}"}}', count) for status, count in sorted(guard.served.items())],
        ),
        *_family(
            "penstock_http_refused_total",
            "counter",
            "Requests that the guard refused.",
            [("", guard.refused)],
        ),
        *_family(
            "penstock_http_connections", "gauge", "Open connections.", [("", request.app.state.connections())]
        ),
        *_family("penstock_event_readers", "gauge", "Open streams of events.", [("", service.hub.readers)]),
        *_family("penstock_events_total", "counter", "Events told.", [("", service.hub.version)]),
    ]
    return Response("".join(lines), media_type=_METRICS)


def _by_state(infos: list[SessionInfo]) -> list[tuple[str, int]]:
    count = Counter(info.state for info in infos)
    return [(f'{{state="{state.name.lower()}"}}', count[state]) for state in SessionState]


def _family(name: str, kind: str, text: str, samples: list[tuple[str, int]]) -> Iterator[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    for labels, value in samples:
        yield f"{name}{labels} {value}\n"
