# SPDX-License-Identifier: Apache-2.0
"""Two plain pages without scripts: the sessions of a manager, and one session with the states of its drops."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from penstock.engine.states import AppState, DropState, SessionState
from penstock.errors import PenstockError, WrongState
from penstock.managers.api import NO_APP, Manager, SessionInfo, States, StatusTree
from penstock.rest.answers import html
from penstock.rest.faults import problem
from penstock.rest.service import service_of

__all__ = ["page", "router"]

router = APIRouter(include_in_schema=False)

_MOST_ROWS = 2000
_STYLE = "body{font:16px sans-serif;margin:2em;max-width:70em}td,th{text-align:left;padding:.2em 1em .2em 0}"


def page(title: str, body: str) -> str:
    """Return a whole page; `body` is HTML, `title` text."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>"
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def _told(status: StatusTree) -> str:
    if isinstance(status, dict):
        return "<br>".join(f"{escape(name)}: {_told(inner)}" for name, inner in status.items())
    return SessionState(status).name.lower()


def _row(info: SessionInfo) -> tuple[str, ...]:
    link = f'<a href="/session?sessionId={quote(info.session_id, safe="")}">{escape(info.session_id)}</a>'
    return link, info.state.name.lower(), str(info.size), f"{info.seconds:.1f}"


@router.get("/")
async def sessions(request: Request) -> Response:
    """Show all sessions, and the nodes of a composite."""
    service = service_of(request)
    infos = await service.ask(service.manager.sessions)
    nodes = await service.ask(service.manager.nodes)
    body = _table(("session", "state", "drops", "seconds"), [_row(info) for info in infos])
    if nodes:
        rows = [(escape(node.address), node.state.value) for node in nodes]
        body += "<h2>Nodes</h2>" + _table(("address", "state"), rows)
    body += '<p><a href="/api/v1/docs">The interface for programs</a></p>'
    return html(page(f"Penstock {service.manager.level.value}", body))


@router.get("/session")
async def session(request: Request, sessionId: str = "") -> Response:  # noqa: N803  # the ecosystem's name
    """Show one session; clients of the ecosystem send browsers here."""
    service = service_of(request)
    try:
        info = await service.ask(service.manager.session, sessionId)
        states = await service.ask(_states, service.manager, sessionId)
    except PenstockError as exc:
        status, document = problem(exc)
        return html(page(document["title"], f"<p>{escape(str(exc))}</p>"), status)
    return html(page(f"Session {info.session_id}", _session_body(info, states)))


def _states(manager: Manager, session_id: str) -> States | None:
    try:
        return manager.graph_status(session_id)
    except WrongState:
        return None  # not deployed: it has no states yet


def _session_body(info: SessionInfo, states: States | None) -> str:
    body = f"<p>{_told(info.status)}</p><p>{info.size} drops, {info.seconds:.1f} s</p>"
    if info.directory:
        body += f"<p>Folder: <code>{escape(info.directory)}</code></p>"
    if info.causes:
        body += "<ul>" + "".join(f"<li>{escape(cause)}</li>" for cause in info.causes) + "</ul>"
    if states is None:
        return body
    counts = Counter(states.state)
    total = [(DropState(state).name.lower(), str(count)) for state, count in sorted(counts.items())]
    rows = [
        (escape(uid), DropState(state).name.lower(), "" if run == NO_APP else AppState(run).name.lower())
        for uid, state, run in zip(states.uids[:_MOST_ROWS], states.state, states.execution, strict=False)
    ]
    more = f"<p>The first {_MOST_ROWS} drops of {info.size}.</p>" if info.size > _MOST_ROWS else ""
    return body + _table(("state", "drops"), total) + more + _table(("drop", "state", "execution"), rows)
