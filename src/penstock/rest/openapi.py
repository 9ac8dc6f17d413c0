# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document of the new interface, made from the routes and the types of `schema.py`, and a page of it.

The page is made here, without scripts and without anything from elsewhere.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from penstock.rest import schema
from penstock.rest.answers import answer, html
from penstock.rest.pages import page

__all__ = ["add_document", "body", "told"]

Plain = dict[str, Any]  # Any: plain JSON values

_TYPES = [getattr(schema, name) for name in schema.__all__ if not name.isupper() and name[0].isupper()]
_ALWAYS = (401, 403, 421, 429, 503)
_MEANING = {
    200: "Done",
    201: "Created",
    202: "Begun",
    204: "Done, nothing to tell",
    400: "The request cannot be understood or the graph cannot run",
    401: "A token is needed",
    403: "This origin may not ask",
    404: "No such session, drop or node",
    405: "No such method",
    408: "The body came too slowly",
    409: "The present state does not allow that",
    413: "The body is too large",
    415: "The body's type is not understood",
    421: "The server is not known by this name",
    422: "The Idempotency-Key was used for another request",
    429: "Too many wrong tokens",
    503: "Overloaded, or a node below does not answer",
}


def _ref(kind: type) -> Plain:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def told(
    status: int,
    kind: type | Plain | None = None,
    *,
    refusals: tuple[int, ...] = (),
    media_type: str = "application/json",
) -> dict[int | str, Plain]:
    """Return the `responses` of a route: one good answer and what it may refuse with.

    Args:
        kind: the type of the good answer, or its schema; None for one without a body, or one that is no JSON.
    """
    good: Plain = {"description": _MEANING[status]}
    if kind is not None:
        good["content"] = {media_type: {"schema": kind if isinstance(kind, dict) else _ref(kind)}}
    elif media_type != "application/json":
        good["content"] = {media_type: {"schema": {"type": "string"}}}
    problem = {"application/problem+json": {"schema": _ref(schema.ProblemDocument)}}
    refused = {code: {"description": _MEANING[code], "content": problem} for code in (*refusals, *_ALWAYS)}
    return {status: good, **dict(sorted(refused.items()))}


def body(kind: type | None, *, required: bool = True) -> Plain:
    """Return the `openapi_extra` of a route whose body is read by hand; None for a graph."""
    content = _ref(kind) if kind else {"type": "array", "items": {"type": "object"}}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": content}}}}


def add_document(application: FastAPI) -> None:
    """Add the document and its page to an application whose other routes are complete."""

    @cache
    def document() -> Plain:  # made when somebody asks: it takes longer than the start of the server
        return _document(application)

    async def as_json(_: Request) -> Response:
        return answer(document())

    async def as_page(_: Request) -> Response:
        return html(page("Penstock's interface", "".join(_rows(document()))))

    application.add_route("/api/v1/openapi.json", as_json, include_in_schema=False)
    application.add_route("/api/v1/docs", as_page, include_in_schema=False)


def _document(application: FastAPI) -> Plain:
    document = get_openapi(
        title="Penstock",
        version="1",
        openapi_version="3.1.0",
        description="Sessions of graphs at a node, an island or a master; the same at each of them.",
        routes=application.routes,
    )
    _, components = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    for path in document["paths"].values():
        for operation in path.values():
            if not operation.pop("x-422", False):
                operation["responses"].pop(
                    "422", None
                )  # the framework's own; invalid parameters get 400 here
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "session_id":
                    parameter["schema"]["pattern"] = schema.SESSION_ID
    document["components"] = {
        "schemas": components,
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    }
    document["security"] = [{"token": []}, {}]
    return document


def _rows(document: Mapping[str, Any]) -> Iterator[str]:  # Any: plain JSON values
    yield '<p>As a document: <a href="/api/v1/openapi.json">openapi.json</a></p>'
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"<h3><code>{escape(method.upper())} {escape(path)}</code></h3>"
            yield f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>"
            answers = operation["responses"].items()
            yield (
                "<ul>"
                + "".join(f"<li>{code}: {escape(a['description'])}</li>" for code, a in answers)
                + "</ul>"
            )
    yield "<h2>Types</h2>"
    for name, kind in document["components"]["schemas"].items():
        yield f"<h3>{escape(name)}</h3><p>{escape(kind.get('description', ''))}</p><ul>"
        for field, what in kind.get("properties", {}).items():
            yield f"<li><code>{escape(field)}</code> {escape(what.get('description', ''))}</li>"
        yield "</ul>"
