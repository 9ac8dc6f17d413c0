# SPDX-License-Identifier: Apache-2.0
"""The new interface: what is in a session — drops, their content, its log, and what happens to it."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from penstock.rest import schema
from penstock.rest.answers import answer
from penstock.rest.downloads import download, open_log
from penstock.rest.openapi import told
from penstock.rest.service import Service, service_of

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", default_response_class=Response)

_LINES = 1000
_EVENTS = "text/event-stream"
LastId = Annotated[str, Header(alias="last-event-id", max_length=200)]


@router.get(
    "/sessions/{session_id}/drops", responses=told(200, schema.StatesAnswer, refusals=(400, 404, 409))
)
async def drops(
    request: Request,
    session_id: str,
    since: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    *,
    uids: bool = True,
) -> Response:
    """Tell the states of all drops, or of those that have changed since a version that was told before.

    `state` and `execution` are base64 of a byte per drop. A version that was never told gets all drops.
    """
    service = service_of(request)

    def states() -> schema.StatesAnswer:
        return schema.StatesAnswer.of(service.manager.graph_status(session_id, since), named=uids)

    return await service.told(states)


@router.get(
    "/sessions/{session_id}/drops/{uid:path}/data",
    responses=told(200, refusals=(404, 409), media_type="application/octet-stream"),
)
async def data(request: Request, session_id: str, uid: str) -> Response:
    """Return the content of a complete data drop."""
    service = service_of(request)
    size = (await service.ask(service.manager.drop, session_id, uid)).size_bytes
    file = await service.ask(service.manager.open_data, session_id, uid)
    name = uid.rpartition("/")[2] or "data"
    return await download(service, file, name, "application/octet-stream", size)


@router.get(
    "/sessions/{session_id}/drops/{uid:path}", responses=told(200, schema.DropAnswer, refusals=(404,))
)
async def drop(request: Request, session_id: str, uid: str) -> Response:
    """Tell what is known of a drop."""
    service = service_of(request)
    return answer(schema.DropAnswer.of(await service.ask(service.manager.drop, session_id, uid)))


@router.get(
    "/sessions/{session_id}/log", responses=told(200, refusals=(404,), media_type="application/x-ndjson")
)
async def log(request: Request, session_id: str) -> Response:
    """Return the session's log: a JSON object per line with drop, time, stream, text and node."""
    service = service_of(request)
    records = iter(await service.ask(service.manager.log, session_id))
    first = await service.ask(_some, records)  # a manager may tell only now that there is no such session
    return StreamingResponse(_lines(service, first, records), media_type="application/x-ndjson")


async def _lines(
    service: Service, batch: list[dict[str, str]], records: Iterator[Mapping[str, str]]
) -> AsyncIterator[bytes]:
    encoder = msgspec.json.Encoder()
    while batch:
        yield encoder.encode_lines(batch)
        batch = await service.ask(_some, records)


def _some(records: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    return [dict(record) for record in islice(records, _LINES)]


@router.get(
    "/sessions/{session_id}/log/file",
    responses=told(200, refusals=(404,), media_type="application/octet-stream"),
)
async def log_file(request: Request, session_id: str) -> Response:
    """Return the session's log as a file: text of a node, an archive of a composite."""
    service = service_of(request)
    file, name, _ = await service.ask(open_log, service.manager, session_id)
    return await download(service, file, name, "application/octet-stream")


@router.get("/sessions/{session_id}/repro", responses=told(200, schema.ReproAnswer, refusals=(404,)))
async def repro(request: Request, session_id: str) -> Response:
    """Return the graph-wide reproducibility record, and whether it is complete."""
    service = service_of(request)
    record = await service.ask(service.manager.repro_data, session_id)
    is_complete = await service.ask(service.manager.repro_status, session_id)
    return answer(schema.ReproAnswer(is_complete, None if record is None else dict(record)))


@router.get("/events", responses=told(200, refusals=(400,), media_type=_EVENTS))
async def events(request: Request, last_event_id: LastId = "") -> Response:
    """Tell everything that happens, as server-sent events; it goes on until one side closes.

    Take it up again with the header `Last-Event-ID`. An event `gap` says that some are lost: ask for all anew.
    """
    service = service_of(request)
    return StreamingResponse(service.hub.stream(None, last_event_id), media_type=_EVENTS)


@router.get("/sessions/{session_id}/events", responses=told(200, refusals=(400, 404), media_type=_EVENTS))
async def session_events(request: Request, session_id: str, last_event_id: LastId = "") -> Response:
    """Tell what happens to one session, as server-sent events; it ends when the session is deleted."""
    service = service_of(request)
    await service.ask(service.manager.session, session_id)
    return StreamingResponse(service.hub.stream(session_id, last_event_id), media_type=_EVENTS)
