# SPDX-License-Identifier: Apache-2.0
"""Nodes that a manager of the ecosystem wires up: parts with links cut, and relations told apart from them."""

from collections.abc import Iterator

import pytest

from penstock.assemble.managers import Assembled
from penstock.engine.states import LinkKind, SessionState
from penstock.errors import DropUnknown, GraphInvalid, WrongState
from penstock.graph.load import loads
from penstock.managers.node import NodeManager
from penstock.managers.relations import check_kinds, wired

from .manager_making import app, content, data, node_here, states_of, text, wait_ended


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Assembled]]:
    with node_here(tmp_path_factory.mktemp("a")) as first, node_here(tmp_path_factory.mktemp("b")) as second:
        yield [first, second]


def node_of(made: Assembled) -> NodeManager:
    assert isinstance(made.manager, NodeManager)
    return made.manager


@pytest.mark.parametrize("fails", [False, True])
def test_two_nodes_that_know_only_relations_end_alike(pair: list[Assembled], fails: bool) -> None:
    first, second = map(node_of, pair)
    cls = "dlg.apps.simple.CopyApp"
    missing = {"cls": "dlg.apps.bash_shell_app.BashShellApp", "command": "exit 3"} if fails else {"cls": cls}
    parts = {
        first: [data("A", pydata="hello"), app("X", inputs=["A"], outputs=[], **missing), data("C"),
                app("Z", inputs=["C"], outputs=["D"]), data("D")],
        second: [data("B"), app("Y", inputs=["B"], outputs=[], cls=cls)],
    }  # fmt: skip
    name = f"relations-{fails}"
    told = {
        first: {second.address: [("X", LinkKind.PRODUCER, "B"), ("Y", LinkKind.PRODUCER, "C")]},
        second: {first.address: [("X", LinkKind.PRODUCER, "B"), ("C", LinkKind.OUTPUT, "Y")]},
    }
    for manager, drops in parts.items():
        manager.create_session(name)
        manager.add_graph(name, text(drops))
        manager.subscribe(name, told[manager])
    for manager in parts:
        manager.deploy(name)
    first.trigger(name, ["A"])
    for manager in parts:
        assert wait_ended(manager, name) is (SessionState.FAILED if fails else SessionState.FINISHED)
    assert set(states_of(first, name)) == {"A", "X", "C", "Z", "D"}
    assert first.graph_size(name) == 5
    if not fails:
        assert content(first, name, "D") == b"hello"
    with pytest.raises(WrongState):
        first.subscribe(name, {})
    for manager in parts:
        manager.destroy(name)


def test_relations_that_make_no_sense_are_refused() -> None:
    graph = loads(text([data("A"), app("X", inputs=["A"])]))
    with pytest.raises(DropUnknown):
        wired("s", graph, {"n": [("B", LinkKind.INPUT, "Y")]})
    with pytest.raises(GraphInvalid):
        check_kinds([("B", LinkKind.CHILD, "A")])
    with pytest.raises(GraphInvalid):
        check_kinds([("B", 99, "A")])
    assert wired("s", graph, {"n": [("A", LinkKind.INPUT, "X")]}) == (graph, {})
