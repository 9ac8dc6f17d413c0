# SPDX-License-Identifier: Apache-2.0
"""Errors as plain values, and back: the same class with the same fields on the other side of a wire.

Nothing is unpickled and no constructor is called with what a peer sent: a code of the table in `errors.py`
chooses the class, the fields are plain values, and an unknown code becomes a plain `PenstockError`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from penstock import errors
from penstock.errors import GraphInvalid, PenstockError, SubManagersFailed
from penstock.graph.problems import CATALOGUE, Problem

__all__ = ["from_plain", "to_plain"]

_DEEPEST = 8  # managers of managers; what is nested deeper is told as text


def _classes(root: type[PenstockError]) -> Iterator[type[PenstockError]]:
    for cls in root.__subclasses__():
        if cls.__module__ == errors.__name__:
            yield cls
            yield from _classes(cls)


_BY_CODE: dict[str, type[PenstockError]] = {
    PenstockError.code: PenstockError,
    **{cls.code: cls for cls in _classes(PenstockError)},
}

Plain = Mapping[str, Any]  # Any: plain JSON values


def to_plain(error: BaseException, depth: int = 0) -> dict[str, Any]:  # Any: plain JSON values
    """Return an error as {"code", "message", "fields"}; one that is none of ours tells its class and text."""
    if not isinstance(error, PenstockError):
        return {"code": PenstockError.code, "message": f"{type(error).__name__}: {error}", "fields": {}}
    fields: dict[str, Any] = {}
    for name, value in vars(error).items():
        if isinstance(error, GraphInvalid) and name == "problems":
            fields[name] = [list(problem) for problem in value]
        elif isinstance(error, SubManagersFailed) and name == "errors":
            fields[name] = (
                {key: to_plain(inner, depth + 1) for key, inner in value.items()} if depth < _DEEPEST else {}
            )
        elif isinstance(value, tuple):
            fields[name] = [str(item) for item in value]
        elif value is None or isinstance(value, str | int | float | bool):
            fields[name] = value
    return {"code": error.code, "message": str(error), "fields": fields}


def from_plain(plain: object, depth: int = 0) -> PenstockError:
    """Return the error that a peer told; whatever it sent, an error comes out and nothing else happens."""
    value: Plain = plain if isinstance(plain, dict) else {}
    told, code = value.get("fields"), str(value.get("code", ""))
    fields: Plain = told if isinstance(told, dict) else {}
    cls = _BY_CODE.get(code, PenstockError)
    error = cls.__new__(cls)
    error.args = (str(value.get("message", "an error without a message")),)
    for name, item in fields.items():
        if name.isidentifier() and not name.startswith("_"):
            error.__dict__[name] = _field(cls, name, item, depth)
    if issubclass(cls, GraphInvalid):
        error.__dict__.setdefault("problems", ())
    if issubclass(cls, SubManagersFailed):
        error.__dict__.setdefault("errors", {})
    return error


def _field(
    cls: type[PenstockError], name: str, item: Any, depth: int
) -> Any:  # Any: plain JSON in, field out
    if issubclass(cls, GraphInvalid) and name == "problems":
        return tuple(_problems(item))
    if issubclass(cls, SubManagersFailed) and name == "errors":
        is_told = isinstance(item, dict) and depth < _DEEPEST
        return {str(key): from_plain(inner, depth + 1) for key, inner in item.items()} if is_told else {}
    return tuple(item) if isinstance(item, list) else item


def _problems(rows: object) -> Iterator[Problem]:
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, list | tuple) and len(row) == len(Problem._fields):
            problem = Problem(*(str(item) for item in row))
            if problem.code in CATALOGUE:
                yield problem
