"""Unmodified clients of the ecosystem (daliuge-common 6.6.0) through all their methods, at the three levels."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.managers.api import Level
from penstock.rest.server import RestServer
from penstock.rest.settings import RestSettings
from penstock.testing.fake_manager import FakeManager
from tests.integration.manager_contract import CHAIN, NODE

PYTHON = os.environ.get("PENSTOCK_DLG_PYTHON", "")
HERE = Path(__file__).resolve().parent
SUCCESS = None  # what clients make of {"Status": "Success"}

pytestmark = pytest.mark.skipif(
    not PYTHON,
    reason="PENSTOCK_DLG_PYTHON names no Python with daliuge-common: see tests/compat/ecosystem.sh",
)


@pytest.fixture(params=list(Level), ids=lambda level: level.value)
def level(request: pytest.FixtureRequest) -> Level:
    found: Level = request.param
    return found


@pytest.fixture
def server(level: Level) -> Iterator[RestServer]:
    manager = FakeManager(level, () if level is Level.NODE else (NODE,))
    with RestServer(manager, RestSettings(is_member=lambda address: address == NODE)) as server:
        yield server


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def nested(level: Level, number: int) -> Any:
    below = {NODE: number}
    return {Level.NODE: number, Level.ISLAND: below, Level.MASTER: {"localhost:8001": below}}[level]


def test_every_method_of_the_clients_works(server: RestServer, level: Level) -> None:
    told = json.loads(
        run(PYTHON, str(HERE / "dlg_client.py"), level.value, str(server.port)).splitlines()[-1]
    )
    commands = ["create_session", "append_graph", "deploy_session", "destroy_session", "stop"]
    if level is Level.NODE:
        commands += ["add_node_subscriptions", "trigger_drops", "shutdown_node_manager"]
        assert "[B] log ended" in told["get_log_file"]
    else:
        commands += ["add_node", "remove_node"]
        assert told["nodes"] == [NODE]
    if level is Level.MASTER:
        commands += ["add_dim", "remove_dim"]
        assert told["dims"] == {"islands": ["localhost:8001"]}
        # The ecosystem's daemon starts managers elsewhere; there is none, and clients learn that it is refused.
        for name in ("create_island", "add_node_to_dim", "remove_node_from_dim"):
            assert told[name] == "DaliugeException"
    assert {name: told[name] for name in commands} == dict.fromkeys(commands, SUCCESS)
    assert told["graph_size"] == 3
    assert (told["before"], told["session_status"]) == (nested(level, 1), nested(level, 4))
    assert told["graph_status"] == {
        "A": {"status": 2},
        "B": {"status": 2, "execStatus": 2},
        "C": {"status": 2},
    }
    assert list(told["graph"]) == ["A", "B", "C"]
    assert told["session"]["status"] == nested(level, 4)
    assert told["session_repro_data"]["graph"] == told["graph"]
    assert told["session_repro_status"] is True
    assert told["get_drop_status"]["status"] == 2
    assert told["get_drop_data"] == {"filepath": ""}
    assert told["sessions"] == [{"sessionId": "s", "status": nested(level, 4), "size": 3}]
    assert told["get_submission_method"] == {"methods": ["BROWSER", "SERVER"]}
    assert told["t"]["status"] == 0
    assert told["cancelSession"] == "InvalidSessionState"
    assert told["destroyed"] is True
    assert told["faults"] == {
        "again": "SessionAlreadyExistsException",
        "bad id": "InvalidSessionException",
        "unknown": "NoSessionException",
        "unknown status": "NoSessionException",
        "unknown size": "NoSessionException",
        "deployed": "InvalidSessionState",
        "no drop": "NoDropException",
    }


def test_a_graph_is_submitted_and_waited_for(server: RestServer, tmp_path: Path, level: Level) -> None:
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps([*CHAIN, {}]))
    dlg = Path(PYTHON).with_name("dlg")
    if subprocess.run([PYTHON, "-c", "import dlg.deploy"], capture_output=True, timeout=100).returncode:
        pytest.skip("daliuge-engine, which `dlg submit` needs, is not installed there")
    run(
        str(dlg),
        "submit",
        "-H",
        "localhost",
        "-p",
        str(server.port),
        "-P",
        str(graph),
        "-s",
        "x",
        "-w",
        "-i",
        "0.1",
    )
    manager = server._service.manager
    assert manager.session("x").state.name == "FINISHED"


def test_a_template_is_mapped_to_our_nodes(server: RestServer, tmp_path: Path, level: Level) -> None:
    if level is Level.NODE:
        pytest.skip("a node has no nodes below")
    dlg = Path(PYTHON).with_name("dlg")
    if not dlg.exists():
        pytest.skip("daliuge-translator, which has the command dlg, is not installed there")
    template = tmp_path / "template.json"
    template.write_text(json.dumps([*({**drop, "node": "#0", "island": "#0"} for drop in CHAIN), {}]))
    mapped = tmp_path / "mapped.json"
    run(str(dlg), "map", "-H", "localhost", "-p", str(server.port), "-P", str(template), "-o", str(mapped))
    nodes = {drop["node"] for drop in json.loads(mapped.read_text()) if "oid" in drop}
    assert len(nodes) == 1
    assert nodes == {NODE}
