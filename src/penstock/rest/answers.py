# SPDX-License-Identifier: Apache-2.0
"""Answers: JSON with its length known, problems, faults of the old interface."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from penstock.errors import PenstockError, Unauthorized
from penstock.rest.faults import RequestRefused, old_fault, problem

__all__ = ["SUCCESS", "answer", "fault", "html", "nothing"]

SUCCESS = {"Status": "Success"}
"""What commands without a result answer in the old interface."""

_ENCODER = msgspec.json.Encoder()


def answer(  # Any: JSON values, structs among them
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON answer; its length is always told, as the ecosystem's clients take no other."""
    return Response(_ENCODER.encode(value), status, headers, media_type="application/json")


def nothing(headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer 204."""
    return Response(None, 204, headers)


def html(text: str, status: int = 200) -> Response:
    """Return a page; the guard adds the headers that keep scripts out."""
    return Response(text, status, media_type="text/html; charset=utf-8")


def fault(  # Any: see `problem`
    path: str, error: PenstockError, *, status: int = 0, word: str = "", args: Any = None
) -> Response:
    """Return an error in the form of the interface that `path` belongs to."""
    headers = dict(error.headers) if isinstance(error, RequestRefused) else {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="penstock"'
    if path.startswith("/api/v1") or not path.startswith("/api"):
        code, document = problem(error, status=status, word=word, args=args)
        return Response(_ENCODER.encode(document), code, headers, media_type="application/problem+json")
    code, document = old_fault(error)
    return Response(_ENCODER.encode(document), code, headers, media_type="application/json")
