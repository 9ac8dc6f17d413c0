"""A graph becomes a session, or nothing is left."""

import json
from threading import Timer

import pytest

from penstock.cli.account import Drops, failures_of, nodes_of
from penstock.cli.submit import News, deploy
from penstock.engine.states import DropState, SessionState
from penstock.errors import NodeDown, PenstockError, SessionExists
from penstock.managers.api import Change, StatusTree
from penstock.testing.fake_manager import FakeManager

LONG_S = 60.0

GRAPH = json.dumps(
    [
        {"oid": "a", "categoryType": "Data", "storage": "memory", "consumers": ["b"]},
        {"oid": "b", "categoryType": "Application", "dropclass": "dlg.apps.simple.CopyApp", "outputs": ["c"]},
        {"oid": "c", "categoryType": "Data", "storage": "memory"},
    ]
).encode()


def test_a_session_runs_when_it_was_submitted() -> None:
    manager = FakeManager()
    deploy(manager, "s", GRAPH)
    assert manager.session("s").state is SessionState.FINISHED


@pytest.mark.parametrize("step", ["add_graph", "deploy", "trigger"])
def test_a_session_that_does_not_get_so_far_is_removed(step: str) -> None:
    manager = FakeManager()
    manager.failing[step] = NodeDown("node", "it is silent")
    with pytest.raises(NodeDown):
        deploy(manager, "s", GRAPH)
    assert manager.sessions() == []


def test_the_first_error_is_told_where_the_session_cannot_be_removed_either() -> None:
    manager = FakeManager()
    manager.failing["deploy"] = NodeDown("node", "it is silent")
    manager.failing["destroy"] = PenstockError("not now")
    with pytest.raises(NodeDown):
        deploy(manager, "s", GRAPH)


def test_a_session_of_somebody_else_stays() -> None:
    manager = FakeManager()
    manager.create_session("s")
    with pytest.raises(SessionExists):
        deploy(manager, "s", GRAPH)
    assert [info.session_id for info in manager.sessions()] == ["s"]


def test_drops_are_counted_from_what_has_changed() -> None:
    manager, drops = FakeManager(), Drops()
    manager.create_session("s")
    manager.add_graph("s", GRAPH)
    drops.ask(manager, "s")
    assert not drops.counts()  # it was not deployed
    manager.deploy("s")
    drops.ask(manager, "s")
    assert drops.counts() == {DropState.INITIALIZED: 3}
    manager.trigger("s")
    drops.ask(manager, "s")
    assert drops.counts() == {DropState.COMPLETED: 3}
    assert drops.as_json()["c"] == {"status": 2, "execStatus": None}
    assert failures_of(manager, "s", drops, 5) == []


def test_nodes_are_named_whatever_the_depth() -> None:
    tree: StatusTree = {
        "island": {"a": SessionState.RUNNING, "b": SessionState.FINISHED},
        "c": SessionState.FAILED,
    }
    assert dict(nodes_of(tree)) == {"a": "RUNNING", "b": "FINISHED", "c": "FAILED"}
    assert dict(nodes_of(SessionState.RUNNING)) == {}


def test_news_of_other_sessions_wake_nobody() -> None:
    news = News("mine")
    news.hear(Change("session", "other", {}))
    assert not news.anything.is_set()
    news.hear(Change("drops", "mine", {}))
    assert news.anything.is_set()
    assert not news.state.is_set()


@pytest.mark.parametrize("change", [Change("session", "mine", {}), Change("gap", "", {})])
def test_news_of_a_state_and_of_lost_news_end_the_waiting(change: Change) -> None:
    news = News("mine")
    timer = Timer(0.01, news.hear, [change])
    timer.start()
    news.wait(LONG_S, for_drops=False)
    timer.join(LONG_S)
    assert not news.state.is_set()
