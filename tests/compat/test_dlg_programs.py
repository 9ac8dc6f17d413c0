# SPDX-License-Identifier: Apache-2.0
"""Unmodified programs of the ecosystem (6.6.0) against managers as processes: `dlg submit`, `dlg map`, `dlg tm`."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from penstock.engine.states import SessionState
from tests.integration.manager_making import (
    Cluster,
    Started,
    app,
    data,
    started_island,
    wait_alive,
    wait_until,
)

DLG = os.environ.get("PENSTOCK_DLG", "")
GRAPH = Path(__file__).resolve().parent / "tiny.graph.json"

pytestmark = pytest.mark.skipif(
    not DLG, reason="PENSTOCK_DLG names no dlg command: see tests/compat/ecosystem.sh"
)

OPEN = ("--auth", "none", "--host", "localhost")


@pytest.fixture(scope="module")
def island(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started_island(
        tmp_path_factory.mktemp("island"), 2, *OPEN, node_options=(*OPEN, "--workers", "2")
    ) as cluster:
        yield cluster


def dlg(*words: str) -> str:
    done = subprocess.run([DLG, *words], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ports_of(manager: Started) -> tuple[str, ...]:
    return ("-H", "localhost", "-p", str(manager.address.rest))


def test_submit_waits_for_the_end_on_a_node_and_on_an_island(island: Cluster, tmp_path: Path) -> None:
    for manager, homes in ((island.nodes[0], ("", "")), (island.tops[0], island.names)):
        drops = [
            data("A", homes[0], pydata="hello"),
            app("X", homes[1], ["A"], ["B"]),
            data("B", homes[0]),
        ]
        path = tmp_path / "graph.json"
        path.write_text(json.dumps([*drops, {}]))
        dlg("submit", *ports_of(manager), "-P", str(path), "-s", "submitted", "-w", "-i", "0.1")
        with manager.client() as client:
            assert client.session("submitted").state is SessionState.FINISHED
            with client.open_data("submitted", "B") as reader:
                assert reader.read() == b"hello"
            client.destroy("submitted")


PYTHON = os.environ.get("PENSTOCK_DLG_PYTHON", "")


@pytest.mark.skipif(not PYTHON, reason="PENSTOCK_DLG_PYTHON names no Python with daliuge-common")
@pytest.mark.parametrize("level", ["node", "island", "master"])
def test_every_method_of_the_clients_works_on_real_managers(tmp_path: Path, level: str) -> None:
    script = Path(__file__).resolve().parent / "dlg_client.py"
    with started_island(
        tmp_path, 1, *OPEN, node_options=(*OPEN, "--workers", "2", "--peers", "localhost")
    ) as made:
        node, island = made.nodes[0], made.tops[0]
        below = ("--islands", str(island.address))
        with Started("master", tmp_path / "master", *OPEN, *below) as master:
            manager = {"node": node, "island": island, "master": master}[level]
            with master.client() as client:
                wait_alive(client)
            homes = ("localhost:8000" if level == "node" else str(node.address), str(island.address))
            command = [PYTHON, str(script), level, str(manager.address.rest), *homes]
            done = subprocess.run(command, capture_output=True, text=True, timeout=100)
            assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    commands = ["create_session", "append_graph", "deploy_session", "destroy_session", "stop"]
    commands += (
        ["add_node_subscriptions", "trigger_drops"] if level == "node" else ["add_node", "remove_node"]
    )
    assert {name: told[name] for name in commands} == dict.fromkeys(commands)
    assert {uid: state["status"] for uid, state in told["graph_status"].items()} == {"A": 2, "B": 2, "C": 2}
    assert told["graph_status"]["B"]["execStatus"] == 2
    assert list(told["graph"]) == ["A", "B", "C"]
    assert told["graph_size"] == 3
    assert told["session_repro_status"] is True
    assert set(told["faults"].values()) == {
        "SessionAlreadyExistsException",
        "InvalidSessionException",
        "NoSessionException",
        "InvalidSessionState",
        "NoDropException",
    }


def test_map_asks_the_island_for_its_nodes(island: Cluster, tmp_path: Path) -> None:
    template, mapped = tmp_path / "tiny.pgt", tmp_path / "tiny.pg"
    dlg("unroll-and-partition", "-L", str(GRAPH), "-o", str(template))
    dlg("map", *ports_of(island.tops[0]), "-P", str(template), "-o", str(mapped))
    drops = json.loads(mapped.read_text())
    assert {drop["node"] for drop in drops if "node" in drop} <= set(island.names)


def test_the_web_translator_deploys(island: Cluster, tmp_path: Path) -> None:
    (tmp_path / "graphs" / "repo").mkdir(parents=True)
    shutil.copy(GRAPH, tmp_path / "graphs" / "repo" / "tiny.graph")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    folders = ("-d", str(tmp_path / "graphs"), "-t", str(tmp_path / "templates"))
    command = [DLG, "tm", *folders, "-H", "localhost", "-p", port]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as translator,
    ):
        try:
            url = f"http://localhost:{port}"
            wait_until(lambda: answers(url), "the translator serves")
            page = httpx2.get(f"{url}/gen_pgt?lg_name=repo/tiny.graph&num_par=1&algo=metis", timeout=60).text
            found = re.search(r"[\w/.]*_pgt\.graph", page)
            assert found is not None, page
            rest = island.tops[0].address.rest
            query = f"pgt_id={found.group()}&dlg_mgr_deploy=deploy&dlg_mgr_host=localhost&dlg_mgr_port={rest}"
            reply = httpx2.get(f"{url}/gen_pg?{query}", timeout=60)
        finally:
            translator.terminate()
    assert reply.status_code == 307, reply.text
    assert re.fullmatch(rf"http://localhost:{rest}/session\?sessionId=tiny.*", reply.headers["location"])
    assert httpx2.get(reply.headers["location"]).status_code == 200
    (session,) = [info.session_id for info in island.client.sessions() if info.session_id.startswith("tiny")]
    wait_until(lambda: island.client.session(session).state is SessionState.FINISHED, "the graph ends")


def answers(url: str) -> bool:
    try:
        httpx2.get(url, timeout=5)
    except httpx2.HTTPError:
        return False
    return True
