# SPDX-License-Identifier: Apache-2.0
"""Penstock: graphs of drops that run themselves when data arrives.

    import penstock

    result = penstock.run("graph.json")
    result.ok, result.states["uid"], result.read("uid"), result.errors

    with penstock.ManagerClient("http://127.0.0.1:8000", token) as manager:  # a node, island or master
        manager.create_session("s")
        manager.add_graph("s", open("graph.json", "rb").read())
        manager.deploy("s")
        manager.trigger("s")
        manager.wait("s", 60)

The map of this house, from the bottom up: `errors`, `ids`, `config` | `graph` (what shall run, as values) |
`engine`, `leases` (what a graph does, who is there; pure) | `wire` (bytes between processes) | `workers` (child
processes) | `drops` (payload of data, base of apps) | `apps` (ready-made apps) | `runtime` (one session on one node) |
`managers` (node, island, master) | `rest` (HTTP and its client) | `assemble` (what wires) | `cli` (commands), `testing`
(components without a session). Imports point down only. Names below are loaded when first used.
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
    from penstock.rest.async_client import AsyncManagerClient
    from penstock.rest.client import ManagerClient
    from penstock.runtime.result import RunResult, run

__version__ = "0.1.0"

__all__ = [
    "AppDrop",
    "AppState",
    "AsyncManagerClient",
    "DataDrop",
    "DropState",
    "Graph",
    "ManagerClient",
    "Parameter",
    "RunResult",
    "__version__",
    "errors",
    "run",
]

_HOMES = {
    "AppDrop": "penstock.drops.app",
    "AppState": "penstock.engine.states",
    "AsyncManagerClient": "penstock.rest.async_client",
    "DataDrop": "penstock.drops.data",
    "DropState": "penstock.engine.states",
    "Graph": "penstock.graph.spec",
    "ManagerClient": "penstock.rest.client",
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
