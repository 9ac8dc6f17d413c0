# SPDX-License-Identifier: Apache-2.0
"""What a client asks, as values: the request, and how its answer is read. Nothing is sent here.

Both clients are made of these, so they ask the same and read the same.
"""

import ipaddress
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from penstock.engine.states import LinkKind
from penstock.errors import NodeDown, PenstockError, SessionIdInvalid, SessionNotFound
from penstock.ids import parse_session_id
from penstock.managers.api import Added, Change, DropInfo, Level, NodeInfo, SessionInfo, States
from penstock.rest import schema
from penstock.wire.faults import from_plain

__all__ = ["Ask", "Reply", "SseReader", "error_of", "is_near", "needs_certificates"]

T = TypeVar("T")

_JSON = {"Content-Type": "application/json"}


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Ask(NamedTuple, Generic[T]):
    """One request; `read` turns a good answer into what the caller wants."""

    method: str
    path: str
    read: Callable[[Reply], T]
    body: bytes = b""
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}


def error_of(reply: Reply, url: str) -> PenstockError:
    """Return the error that an answer tells; whatever it is, an error comes out."""
    try:
        document = msgspec.json.decode(reply.content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NodeDown(url, f"it answered {reply.status} without saying why")
    told = document.get("error")
    if isinstance(told, dict) and told:
        return from_plain(told)
    return NodeDown(url, f"it answered {reply.status}: {document.get('detail', '')}")


def is_near(url: str) -> bool:
    """Whether a URL leads to this host over the loopback, where squeezing bodies costs more than it saves."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def needs_certificates(url: str) -> bool:
    """Whether certificates must be loaded to ask at a URL; that takes longer than a request without."""
    return not url.lower().startswith("http://")


def _of_session(session_id: str, rest: str = "") -> str:
    try:
        return f"/sessions/{quote(parse_session_id(session_id), safe='')}{rest}"
    except SessionIdInvalid:
        raise SessionNotFound(session_id, "no session can have this id") from None


def _of_drop(session_id: str, uid: str, rest: str = "") -> str:
    name = quote(uid.encode("utf-8", "replace"), safe="")
    if uid in {".", ".."}:
        name = uid.replace(".", "%2E")  # else it would be a step in the path
    return _of_session(session_id, f"/drops/{name}{rest}")


def _nothing(_: Reply) -> None:
    return None


def _as(kind: type[T]) -> Callable[[Reply], T]:
    return lambda reply: msgspec.json.decode(reply.content, type=kind)


def create_session(session_id: str) -> Ask[None]:
    body = msgspec.json.encode(schema.Create(parse_session_id(session_id)))
    return Ask("POST", "/sessions", _nothing, body, headers=_JSON)


def add_graph(session_id: str, graph: bytes, *, placed: bool = False, is_far: bool) -> Ask[Added]:
    headers, body = dict(_JSON), graph
    if is_far:
        headers["Content-Encoding"], body = "deflate", zlib.compress(graph, 1)
    read = _as(schema.AddedAnswer)
    path = _of_session(session_id, "/graph?placed=true" if placed else "/graph")
    return Ask("POST", path, lambda r: read(r).plain(), body, headers=headers)


def link(session_id: str, left: str, kind: LinkKind, right: str) -> Ask[None]:
    body = msgspec.json.encode(schema.Link(left, int(kind), right))
    return Ask("POST", _of_session(session_id, "/links"), _nothing, body, headers=_JSON)


def _deployed(reply: Reply) -> None:
    told = msgspec.json.decode(reply.content, type=schema.DeployAnswer)
    if told.error:  # repeated requests are answered well; to whoever asks a manager it is an error
        raise from_plain(told.error)


def deploy(session_id: str, completed: Iterable[str]) -> Ask[None]:
    body = msgspec.json.encode(schema.Deploy(list(completed)))
    return Ask("POST", _of_session(session_id, "/deploy"), _deployed, body, headers=_JSON)


def trigger(session_id: str, uids: Iterable[str] | None) -> Ask[None]:
    body = msgspec.json.encode(schema.Trigger(None if uids is None else list(uids)))
    return Ask("POST", _of_session(session_id, "/trigger"), _nothing, body, headers=_JSON)


def cancel(session_id: str) -> Ask[None]:
    return Ask("POST", _of_session(session_id, "/cancel"), _nothing)


def destroy(session_id: str) -> Ask[None]:
    def read(reply: Reply) -> None:
        if "idempotent-replayed" in reply.headers:
            raise SessionNotFound(session_id, "it was deleted before")

    return Ask("DELETE", _of_session(session_id), read)


def sessions() -> Ask[list[SessionInfo]]:
    read = _as(schema.SessionsAnswer)
    return Ask("GET", "/sessions", lambda reply: [item.info() for item in read(reply).sessions])


def session(session_id: str) -> Ask[SessionInfo]:
    read = _as(schema.SessionAnswer)
    return Ask("GET", _of_session(session_id), lambda reply: read(reply).info())


def graph(session_id: str) -> Ask[bytes]:
    return Ask("GET", _of_session(session_id, "/graph"), lambda reply: reply.content)


def graph_status(session_id: str, since: int | None) -> Ask[States]:
    query = {} if since is None else {"since": str(since)}
    read = _as(schema.StatesAnswer)
    return Ask("GET", _of_session(session_id, "/drops"), lambda reply: read(reply).plain(), query=query)


def drop(session_id: str, uid: str) -> Ask[DropInfo]:
    read = _as(schema.DropAnswer)
    return Ask("GET", _of_drop(session_id, uid), lambda reply: read(reply).plain())


def data_path(session_id: str, uid: str) -> str:
    return _of_drop(session_id, uid, "/data")


def log(session_id: str) -> Ask[list[Mapping[str, str]]]:
    def read(reply: Reply) -> list[Mapping[str, str]]:
        return [msgspec.json.decode(line, type=dict[str, str]) for line in reply.content.splitlines()]

    return Ask("GET", _of_session(session_id, "/log"), read)


def repro(session_id: str) -> Ask[schema.ReproAnswer]:
    return Ask("GET", _of_session(session_id, "/repro"), _as(schema.ReproAnswer))


def nodes() -> Ask[list[NodeInfo]]:
    read = _as(schema.NodesAnswer)
    return Ask("GET", "/nodes", lambda reply: [item.plain() for item in read(reply).nodes])


def level() -> Ask[Level]:
    read = _as(schema.ManagerAnswer)
    return Ask("GET", "/manager", lambda reply: read(reply).kind())


class SseReader:
    """Turns lines of server-sent events into changes, and remembers where to go on."""

    def __init__(self) -> None:
        self.last_id = ""
        self._kind = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Iterator[Change]:
        """Yield what a line completes, if it does; `line` is without its end."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id":
                self.last_id = value
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
            case "" if not line:
                yield from self._complete()
            case _:
                return  # comments, and what later versions may add

    def _complete(self) -> Iterator[Change]:
        kind, text = self._kind, "\n".join(self._data)
        self._kind, self._data = "", []
        if not text:
            return
        told = msgspec.json.decode(text, type=dict[str, Any])
        yield Change(kind, str(told.get("session_id", "")), told.get("detail") or {})
