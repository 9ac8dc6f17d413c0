# SPDX-License-Identifier: Apache-2.0
"""Who is below an island may change while it runs."""

from pathlib import Path

import httpx2
import pytest

from penstock.engine.states import SessionState
from penstock.errors import GraphInvalid, NodeUnknown
from penstock.managers.api import Level
from penstock.managers.composite import CompositeManager

from .manager_making import above_here, copies, node_here, run_graph, text, wait_alive


def test_nodes_come_and_go(tmp_path: Path) -> None:
    with (
        node_here(tmp_path / "a") as first,
        node_here(tmp_path / "b") as second,
        above_here(Level.ISLAND, [first]) as island,
    ):
        manager = island.manager
        assert isinstance(manager, CompositeManager)
        both = [str(first.address), str(second.address)]
        manager.create_session("before")
        with pytest.raises(GraphInvalid, match="does not belong"):
            manager.add_graph("before", text(copies(2, both)), placed=True)
        manager.add_node(both[1])
        manager.add_node(both[1])
        wait_alive(manager)
        assert [info.address for info in manager.nodes()] == both
        assert run_graph(manager, "both", copies(4, both)) is SessionState.FINISHED
        assert [(info.session_id, info.size) for info in manager.sub_sessions(both[1])] == [("both", 4)]
        told = httpx2.get(f"{island.url}/api/node/{both[1]}/sessions").json()
        assert told == [{"sessionId": "both", "status": 4, "size": 4}]
        assert httpx2.get(f"{island.url}/api/node/{both[1]}/sessions/both/status").json() == 4
        assert manager.islands() == []
        manager.remove_node(both[1])
        assert [info.address for info in manager.nodes()] == both[:1]
        with pytest.raises(NodeUnknown):
            manager.remove_node(both[1])
        manager.destroy("before")
        manager.destroy("both")
