# SPDX-License-Identifier: Apache-2.0
"""Published graphs on managers that are processes of their own: everywhere the result that one node has."""

import hashlib
import json
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from penstock.engine.states import AppState, DropState, SessionState
from penstock.managers.api import NO_APP
from penstock.rest.client import ManagerClient
from tests.conftest import SHARED_GRAPHS
from tests.integration.manager_making import (
    Fields,
    Started,
    content,
    joined,
    run_graph,
    states_of,
    wait_alive,
)

pytestmark = pytest.mark.usefixtures("shared_graphs")

PLACES = ("localhost:8000:5555:6666", "localhost:8100:5655:6766", "localhost:8200:5755:6866",
          "localhost:8300:5855:6966")  # fmt: skip
Groups = tuple[tuple[int, ...], ...]
FILES = sorted(path.name for kind in ("2n", "2x2") for path in SHARED_GRAPHS.glob(f"*.{kind}.pg.json"))


class Ran(NamedTuple):
    client: ManagerClient
    session_id: str
    expected: dict[str, Any]
    state: SessionState
    states: dict[str, tuple[int, int]]


class Cluster(ExitStack):
    """Four nodes, and the managers above that the graphs ask for, each started when first needed."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self.home = home
        self.root = home / "dlg"  # some graphs write there
        self.root.mkdir(parents=True)
        self._tops: dict[Groups, list[Started]] = {}
        self._clients: dict[Groups, ManagerClient] = {}
        self.nodes: list[Started] = []

    def start(self) -> None:
        environment = {"DLG_ROOT": str(self.root)}
        for i in range(len(PLACES)):
            work = str(self.home / f"node{i}" / "work")
            node = Started("node", self.home / f"node{i}", "--workdir", work, environment=environment)
            self.nodes.append(self.enter_context(node))

    def begin(self, groups: Groups) -> None:
        """Start a manager over islands over these groups of nodes, unless there is one."""
        if groups not in self._tops:
            n = len(self._tops)
            self._tops[groups] = [
                self.enter_context(
                    Started(
                        "island", self.home / f"i{n}-{k}", "--nodes", joined(self.nodes[i] for i in group)
                    )
                )
                for k, group in enumerate(groups)
            ]

    def over(self, groups: Groups) -> tuple[ManagerClient, list[str]]:
        """Return a client of the manager over these groups, and the islands' addresses."""
        islands = self._tops[groups]
        if groups not in self._clients:
            top = islands[0]
            if len(groups) > 1:
                home = self.home / f"m{len(self._clients)}"
                top = self.enter_context(Started("master", home, "--islands", joined(islands)))
            self._clients[groups] = self.enter_context(top.client())
        return self._clients[groups], [str(island.address) for island in islands]


def _groups(drops: list[Fields]) -> dict[str, tuple[int, ...]]:
    """Return the nodes of each island, by their place in `PLACES`; which they are stands in the graph only."""
    of = {(drop["island"], drop["node"]) for drop in drops if "oid" in drop}
    return {
        island: tuple(i for i, node in enumerate(PLACES) if (island, node) in of)
        for island in sorted({island for island, _ in of})
    }


def _drops(name: str) -> list[Fields]:
    drops: list[Fields] = json.loads((SHARED_GRAPHS / name).read_text())
    return drops


def _moved(drop: Fields, names: dict[str, str]) -> Fields:
    return {k: names.get(v, v) if k in ("node", "island") else v for k, v in drop.items()}


def _run(cluster: Cluster, name: str) -> Ran:
    graph = _drops(name)
    groups = _groups(graph)
    client, addresses = cluster.over(tuple(groups.values()))
    names = dict(zip(PLACES, (str(node.address) for node in cluster.nodes), strict=True))
    names |= dict(zip(groups, addresses, strict=True))
    session_id = name.removesuffix(".pg.json")
    state = run_graph(client, session_id, json.dumps([_moved(drop, names) for drop in graph]).encode())
    expected = json.loads((SHARED_GRAPHS / "expected" / f"{name.partition('.')[0]}.json").read_text())
    return Ran(client, session_id, expected, state, states_of(client, session_id))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ran]]:
    """All graphs, run at once but for the managers' start: some do nothing but wait for five seconds."""
    if not SHARED_GRAPHS.is_dir():
        yield {}
        return
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.start()
        for name in FILES:
            cluster.begin(tuple(_groups(_drops(name)).values()))
        for name in FILES:
            wait_alive(cluster.over(tuple(_groups(_drops(name)).values()))[0])
        with ThreadPoolExecutor(len(FILES)) as pool:
            yield dict(zip(FILES, pool.map(lambda name: _run(cluster, name), FILES), strict=True))


@pytest.mark.parametrize("name", FILES)
def test_session_and_drops_end_as_on_one_node(ran: dict[str, Ran], name: str) -> None:
    case = ran[name]
    node = case.expected["runs"]["node"]
    assert [case.state.name] == node["session_status_names"]
    recorded = {
        uid: (DropState[state], NO_APP if run is None else AppState[run])
        for uid, (state, run) in node["per_drop"].items()
    }
    assert case.states == recorded


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("shared_memory")])
def test_what_was_reproducible_there_is_the_same_here(ran: dict[str, Ran], name: str) -> None:
    case = ran[name]
    for uid, there in case.expected["deterministic_outputs"].items():
        here = content(case.client, case.session_id, uid)
        if "pickled_value" in there:  # protocols of pickle differ
            assert repr(pickle.loads(here) if here else here) == there["pickled_value"], uid
        else:
            assert (len(here), _digest(here)) == (there["size"], there["sha256"]), uid


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("pyfunc_glob")])
def test_what_was_not_has_its_size(ran: dict[str, Ran], name: str) -> None:
    case = ran[name]
    for there in case.expected["nondeterministic_outputs"]:
        assert len(content(case.client, case.session_id, there["uid"])) in there["sizes"], there["uid"]


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("pyfunc_glob")])
def test_a_file_of_paths_names_the_folder_all_nodes_share(
    ran: dict[str, Ran], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    case = ran[name]
    (there,) = case.expected["nondeterministic_outputs"]
    found = os.fsdecode(content(case.client, case.session_id, there["uid"]))
    assert found.endswith("/dlg/testdata/*\n")
    assert found.startswith(str(tmp_path_factory.getbasetemp()))


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("shared_memory")])
def test_shared_memory_holds_what_was_written_to_it(ran: dict[str, Ran], name: str) -> None:
    # The ancestor had unlinked its segments before they were read, so its record shows zeros.
    case = ran[name]
    contents = [content(case.client, case.session_id, uid) for uid in case.expected["deterministic_outputs"]]
    assert contents == [b"Hello World"] * 4


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
