# SPDX-License-Identifier: Apache-2.0
"""Errors as HTTP shows them: one table for both interfaces.

The new interface tells problems (RFC 9457) with a stable word; the old one tells {"type", "args"}, from which
clients of the ecosystem make their own exceptions, so `args` must fit those by position.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from penstock.errors import (
    DropError,
    DropUnknown,
    GraphInvalid,
    NodeUnknown,
    PenstockError,
    SessionExists,
    SessionIdInvalid,
    SessionNotFound,
    SubManagersFailed,
    WrongState,
)
from penstock.graph.problems import Problem
from penstock.wire.faults import to_plain

__all__ = ["PROBLEM_WORDS", "RequestRefused", "old_fault", "problem", "word_of"]

MOST_TOLD = 100

_TITLES: dict[str, tuple[int, str]] = {
    "bad_request": (400, "The request is not understood"),
    "malformed_json": (400, "The body is not JSON"),
    "bad_encoding": (400, "The body is not encoded as it says, or not UTF-8"),
    "bad_value": (400, "The body holds a value that JSON cannot"),
    "too_deep": (400, "The body is nested too deeply"),
    "bad_id": (400, "This cannot be the id of a session"),
    "bad_graph": (400, "The graph cannot run"),
    "unauthorized": (401, "A token is needed"),
    "bad_origin": (403, "Pages of this origin may not ask"),
    "not_member": (403, "This address is no member of the deployment"),
    "not_found": (404, "There is nothing under this path"),
    "no_session": (404, "There is no such session"),
    "unknown_uid": (404, "The session has no such drop"),
    "unknown_node": (404, "This is no node of ours"),
    "method_not_allowed": (405, "This path has no such method"),
    "too_slow": (408, "The request came too slowly"),
    "session_exists": (409, "The id is taken"),
    "wrong_state": (409, "The state of the session does not allow that"),
    "not_readable": (409, "The drop has no content that can be read"),
    "too_large": (413, "The body is too large"),
    "unsupported_media": (415, "The body's type or encoding is not understood"),
    "misdirected": (421, "We are not known by this name"),
    "key_reused": (422, "The Idempotency-Key was used for another request"),
    "too_many_tries": (429, "Too many wrong tokens"),
    "internal": (500, "Something went wrong here"),
    "not_offered": (501, "This manager does not offer that"),
    "overloaded": (503, "Too many requests at once"),
}
"""Words that the HTTP face itself uses, with status and title."""

PROBLEM_WORDS: dict[str, str] = {
    "PS101": "malformed_json",
    "PS102": "bad_graph",
    "PS103": "bad_graph",
    "PS104": "bad_graph",
    "PS105": "too_deep",
    "PS201": "bad_graph",
    "PS202": "missing_field",
    "PS203": "duplicate_oid",
    "PS204": "unknown_category",
    "PS205": "missing_field",
    "PS206": "unknown_class",
    "PS207": "bad_value",
    "PS301": "bad_link_kind",
    "PS302": "dangling_link",
    "PS303": "cycle",
    "PS304": "bad_link_kind",
    "PS401": "bad_parameter",
    "PS402": "bad_parameter",
    "PS403": "bad_parameter",
    "PS501": "missing_field",
    "PS502": "unknown_node",
}
"""What is wrong with a graph, as clients of the new interface see it."""

_ERROR_WORDS: dict[str, str] = {
    "session-id-invalid": "bad_id",
    "session-not-found": "no_session",
    "session-exists": "session_exists",
    "wrong-state": "wrong_state",
    "drop-unknown": "unknown_uid",
    "node-unknown": "unknown_node",
    "drop-not-readable": "not_readable",
    "unauthorized": "unauthorized",
    "illegal-transition": "wrong_state",
}


class RequestRefused(PenstockError):
    """A request that does not reach the manager: `word` stands in the table of this module."""

    code: ClassVar[str] = "request-refused"

    def __init__(self, word: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.word = word
        self.headers = dict(headers or {})
        super().__init__(detail)

    @property
    def http_status(self) -> int:
        """The status that goes with the word."""
        return _TITLES[self.word][0]


def word_of(error: PenstockError) -> str:
    """Return the stable word for an error."""
    if isinstance(error, RequestRefused):
        return error.word
    if isinstance(error, GraphInvalid):
        first = next((found for found in error.problems if found.is_error), None)
        return PROBLEM_WORDS.get(first.code, "bad_graph") if isinstance(first, Problem) else "bad_graph"
    return _ERROR_WORDS.get(error.code, error.code.replace("-", "_"))


def problem(  # Any: plain JSON values
    error: PenstockError, *, status: int = 0, word: str = "", args: Any = None
) -> tuple[int, dict[str, Any]]:
    """Return the status and the problem document of an error.

    Args:
        status: instead of the error's own, where the place decides.
        word: likewise.
        args: whatever else a program may want; the document's member "args".
    """
    word = word or word_of(error)
    known = _TITLES.get(word)
    status = status or (error.http_status if isinstance(error, RequestRefused) else error.status)
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": known[1] if known else type(error).__name__,
        "status": status,
        "detail": str(error),
        "code": word,
        "errors": list(_details(error)),
        "error": to_plain(error),
    }
    if args is not None:
        document["args"] = args
    return status, document


def _details(error: PenstockError) -> list[dict[str, str]]:
    if isinstance(error, GraphInvalid):
        found = [item for item in error.problems if isinstance(item, Problem)]
        return [
            {
                "pointer": item.path,
                "code": PROBLEM_WORDS.get(item.code, item.code),
                "message": f"{item.message}; {item.hint}" if item.hint else item.message,
                "uid": item.uid,
            }
            for item in sorted(found, key=lambda item: not item.is_error)[:MOST_TOLD]
        ]
    if isinstance(error, DropUnknown):
        return [
            {"pointer": "", "code": "unknown_uid", "message": "no such drop", "uid": uid}
            for uid in error.uids[:MOST_TOLD]
        ]
    if isinstance(error, SubManagersFailed):
        return [
            {"pointer": address, "code": word_of(inner), "message": str(inner), "uid": ""}
            for address, inner in list(error.errors.items())[:MOST_TOLD]
        ]
    return []


class _OldFace(NamedTuple):
    status: int
    name: str
    args: Callable[[Any], Any]  # Any: the error of the row in, plain JSON out


_OLD: tuple[tuple[type[PenstockError], _OldFace], ...] = (
    (SessionNotFound, _OldFace(404, "NoSessionException", lambda e: [e.name])),
    (SessionExists, _OldFace(409, "SessionAlreadyExistsException", lambda e: [e.session_id])),
    (SessionIdInvalid, _OldFace(400, "InvalidSessionException", lambda e: [e.text[:140], str(e)])),
    (WrongState, _OldFace(400, "InvalidSessionState", lambda e: [e.session_id, str(e)])),
    (DropUnknown, _OldFace(404, "NoDropException", lambda e: [", ".join(e.uids[:MOST_TOLD]), str(e)])),
    (GraphInvalid, _OldFace(400, "InvalidGraphException", lambda e: [str(e)])),
    (NodeUnknown, _OldFace(404, "DaliugeException", lambda e: [str(e)])),
    (DropError, _OldFace(409, "InvalidDropException", lambda e: [[e.uid, e.uid], str(e)])),
)
"""Which exception of the ecosystem stands for an error; the first row that fits."""


def old_fault(error: PenstockError, depth: int = 0) -> tuple[int, dict[str, Any]]:  # Any: plain JSON values
    """Return the status and the body {"type", "args"} of an error in the old interface."""
    if isinstance(error, SubManagersFailed):
        inner = {} if depth > 0 else {host: old_fault(e, depth + 1)[1] for host, e in error.errors.items()}
        if depth > 0:
            # The client makes inner exceptions by position from a list; deeper maps it cannot read.
            return 555, {"type": "DaliugeException", "args": [str(error)]}
        return 555, {"type": "SubManagerException", "args": inner}
    if isinstance(error, RequestRefused):
        name = "InvalidGraphException" if error.http_status == 400 else "DaliugeException"
        return error.http_status, {"type": name, "args": [str(error)]}
    for cls, face in _OLD:
        if isinstance(error, cls):
            return face.status, {"type": face.name, "args": _args(face, error)}
    status = error.status if error.status in {401, 503, 507} else 555
    return status, {"type": "DaliugeException", "args": [str(error)]}


def _args(face: _OldFace, error: PenstockError) -> Any:  # Any: plain JSON values
    try:
        return face.args(error)
    except AttributeError:  # told by a peer of another version, without its fields
        return [str(error)] if face.name != "InvalidDropException" else [["", ""], str(error)]
