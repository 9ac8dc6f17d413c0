# SPDX-License-Identifier: Apache-2.0
"""Penstock: graphs of drops that run themselves when data arrives.

    import penstock

    result = penstock.run("graph.json")
    result.ok, result.states["uid"], result.read("uid"), result.errors

The map of this house, from the bottom up: `errors`, `ids`, `config` | `graph` (what shall run, as values) |
`engine` (what a graph does, pure) | `drops` (payload of data, base of apps) | `apps` (ready-made apps) |
`runtime` (one session on one node) | `cli` (commands), `testing` (components without a session). Imports point
down only. Names below are loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from penstock import errors

if TYPE_CHECKING:
    from penstock.drops.app import AppDrop
    from penstock.drops.data import DataDrop
    from penstock.drops.ports import Parameter
    from penstock.engine.states import AppState, DropState
    from penstock.graph.spec import Graph
    from penstock.runtime.result import RunResult, run

__version__ = "0.1.0"

__all__ = [
    "AppDrop",
    "AppState",
    "DataDrop",
    "DropState",
    "Graph",
    "Parameter",
    "RunResult",
    "__version__",
    "errors",
    "run",
]

_HOMES = {
    "AppDrop": "penstock.drops.app",
    "AppState": "penstock.engine.states",
    "DataDrop": "penstock.drops.data",
    "DropState": "penstock.engine.states",
    "Graph": "penstock.graph.spec",
    "Parameter": "penstock.drops.ports",
    "RunResult": "penstock.runtime.result",
    "run": "penstock.runtime.result",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
