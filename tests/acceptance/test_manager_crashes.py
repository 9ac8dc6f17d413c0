# SPDX-License-Identifier: Apache-2.0
"""Managers that are killed, stopped and cut off: sessions end with a cause, and what is left goes on."""

import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from penstock.engine.states import SessionState
from penstock.errors import GraphInvalid, NodeDown, SessionNotFound, SubManagersFailed
from penstock.managers.api import Manager, NodeState
from penstock.rest.client import ManagerClient
from tests.conftest import PROVE
from tests.integration.manager_making import (
    Fields,
    Started,
    app,
    content,
    copies,
    data,
    file,
    joined,
    run_graph,
    shell,
    states_of,
    text,
    wait_alive,
    wait_ended,
    wait_until,
)

QUICK = ("--suspect", "1.5", "--lost", "2.5")
ONLY_HERE = """
from penstock import AppDrop


class App(AppDrop):
    def run(self):
        for drop in self.outputs:
            drop.write(b"here")
"""
CUT_S = 60.0 if PROVE else 6.0
CUT_EVERY_S = 0.15


class Tower(ExitStack):
    """Two nodes, an island over them, a master over the island, and a client of each."""

    def start(self, home: Path) -> None:
        self.home = home
        (home / "here").mkdir(parents=True)
        (home / "here" / "only_here.py").write_text(ONLY_HERE)
        self.nodes = [
            self.enter_context(
                Started(
                    "node",
                    home / f"n{i}",
                    *("--workdir", str(home / f"n{i}" / "work"), "--workers", "2"),
                    environment={"PYTHONPATH": path},
                )
            )
            for i, path in enumerate((str(home / "here"), ""))
        ]
        self.island = self.enter_context(Started("island", home / "i", "--nodes", joined(self.nodes), *QUICK))
        self.master = self.enter_context(
            Started("master", home / "m", "--islands", joined([self.island]), *QUICK)
        )
        self.clients = [self.client(one) for one in (self.master, self.island, *self.nodes)]
        self.top, self.middle, *self.bottom = self.clients
        wait_alive(self.top)

    def client(self, manager: Started) -> ManagerClient:
        return self.enter_context(manager.client(10.0))

    @property
    def names(self) -> list[str]:
        return [str(node.address) for node in self.nodes]

    def placed(self, drops: list[Fields]) -> bytes:
        return text([{**drop, "island": str(self.island.address)} for drop in drops])

    def gated(self, gate: Path) -> bytes:
        """An app on each node that waits for a file, then one on the second that joins what both wrote."""
        wait = f"while [ ! -e {gate} ]; do sleep 0.05; done; echo $$ > {{out}}"
        n0, n1 = self.names
        return self.placed(
            [
                shell("A", n0, wait, [], [{"a": "out"}]),
                shell("B", n1, wait, [], [{"b": "out"}]),
                file("a", n0),
                file("b", n1),
                shell("C", n1, "cat {a} {b} > {c}", ["a", "b"], ["c"]),
                file("c", n0),
            ]
        )

    def begin(self, manager: Manager, session_id: str, gate: Path) -> None:
        manager.create_session(session_id)
        manager.add_graph(session_id, self.gated(gate))
        manager.deploy(session_id)
        manager.trigger(session_id)
        wait_until(lambda: all(map(_shells, self.nodes)), "apps run on both nodes")

    def state_of(self, name: str) -> NodeState:
        return {info.address: info.state for info in self.top.nodes()}[name]

    def mend(self) -> None:
        """Start what does not run, and delete all sessions."""
        for one in (*self.nodes, self.island, self.master):
            one.signal(signal.SIGCONT)
            if one.process.poll() is not None:
                one.start_again()
        wait_until(lambda: self._is_whole(), "all are there")
        for client in self.clients:
            for info in client.sessions():
                client.destroy(info.session_id)

    def _is_whole(self) -> bool:
        states = {info.state for client in (self.top, self.middle) for info in client.nodes()}
        return states == {NodeState.ALIVE} and len(self.top.nodes()) == 2

    def folders(self) -> list[Path]:
        """Return all folders of sessions."""
        return sorted(path for node in self.nodes for path in (node.home / "work").glob("*"))

    def run_once(self, session_id: str) -> None:
        """See that sessions go through all levels."""
        drops = copies(6, self.names)
        assert run_graph(self.top, session_id, self.placed(drops)) is SessionState.FINISHED
        assert content(self.top, session_id, "D6") == b"hello"
        self.top.destroy(session_id)


@pytest.fixture(scope="module")
def whole_tower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tower]:
    with Tower() as made:
        made.start(tmp_path_factory.mktemp("tower"))
        yield made


@pytest.fixture
def tower(whole_tower: Tower) -> Iterator[Tower]:
    """Lend the tower, whole and without sessions, to one test after the other."""
    whole_tower.mend()
    yield whole_tower
    whole_tower.mend()


def _kill(node: Started) -> None:
    node.kill()


def _stop(node: Started) -> None:
    node.signal(signal.SIGSTOP)


@pytest.mark.parametrize("harm", [_kill, _stop])
def test_a_node_that_is_gone_ends_its_sessions_with_a_cause_at_every_level(
    tower: Tower, tmp_path: Path, harm: Callable[[Started], None]
) -> None:
    gate, lost = tmp_path / "gate", tower.names[1]
    tower.begin(tower.top, "s", gate)
    harm(tower.nodes[1])
    wait_until(lambda: tower.state_of(lost) is not NodeState.ALIVE, "suspicion")
    assert wait_ended(tower.top, "s") is SessionState.FAILED
    wait_until(lambda: tower.state_of(lost) is NodeState.LOST, "loss")
    for manager in (tower.top, tower.middle, tower.bottom[0]):
        wait_ended(manager, "s")
        info = manager.session("s")
        assert info.state is SessionState.FAILED
        assert any(lost in cause for cause in info.causes), info
        assert len(manager.sessions()) == 1
    assert len(states_of(tower.top, "s")) == 6
    with pytest.raises(NodeDown):
        content(tower.top, "s", "b")
    with pytest.raises((NodeDown, SubManagersFailed)):
        tower.top.create_session("other")
    tower.top.destroy("s")
    for manager in (tower.top, tower.middle, tower.bottom[0]):
        with pytest.raises(SessionNotFound):
            manager.session("s")
    if harm is _kill:
        tower.nodes[1].start_again()
    else:
        tower.nodes[1].signal(signal.SIGCONT)
    wait_until(lambda: tower.state_of(lost) is NodeState.ALIVE, "back")
    tower.top.create_session("other")  # what has failed goes on
    tower.top.destroy("other")
    tower.run_once("s")
    for client in tower.clients:
        assert client.sessions() == []


def test_apps_of_a_node_that_was_stopped_and_lost_end_when_it_goes_on(tower: Tower, tmp_path: Path) -> None:
    tower.begin(tower.top, "s", tmp_path / "gate")
    tower.nodes[1].signal(signal.SIGSTOP)
    assert wait_ended(tower.top, "s") is SessionState.FAILED
    tower.nodes[1].signal(signal.SIGCONT)
    wait_ended(tower.bottom[1], "s")
    wait_until(lambda: not any(map(_shells, tower.nodes)), "no shell runs any more")
    assert not (tmp_path / "gate").exists()


def _shells(node: Started) -> list[int]:
    """Return the processes of apps that wait for a gate."""
    found = []
    for pid in node.offspring():
        try:
            if b"while [" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def test_nodes_go_on_without_their_island_and_obey_their_own_clients(tower: Tower, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    tower.begin(tower.top, "s", gate)
    tower.island.kill()
    assert wait_ended(tower.top, "s") is SessionState.FAILED
    assert any(str(tower.island.address) in cause for cause in tower.top.session("s").causes)
    gate.touch()
    wait_until(lambda: states_of(tower.bottom[1], "s")["C"][0] == 2, "the nodes have gone on")
    for node in tower.bottom:
        assert node.session("s").state is SessionState.RUNNING
        node.cancel("s")
        assert node.session("s").state is SessionState.CANCELLED
        node.destroy("s")
    tower.top.destroy("s")
    tower.island.start_again()
    wait_alive(tower.top)
    tower.run_once("s")


def test_a_deployment_that_one_node_refuses_changes_nothing_and_can_be_repeated(tower: Tower) -> None:
    n0, n1 = tower.names
    before = tower.folders()
    for node in (n1, n0):  # the class is known on the first node alone
        drops = [app("A", node, [], ["D"], "only_here.App"), data("D", n1), *copies(4, [n0, n1])[1:]]
        drops += [data("D0", n0)]
        tower.top.create_session("s")
        tower.top.add_graph("s", tower.placed(drops))
        if node == n1:
            for _ in range(2):
                with pytest.raises(GraphInvalid) as caught:
                    tower.top.deploy("s", ["D0", "A"])
                assert {problem.uid for problem in caught.value.problems if problem.is_error} == {"A"}
                assert tower.top.session("s").state is SessionState.BUILDING
                for below in tower.bottom:
                    assert below.session("s").state is SessionState.PRISTINE
                assert tower.folders() == before
            tower.top.destroy("s")
    tower.top.deploy("s", ["D0", "A"])
    assert wait_ended(tower.top, "s") is SessionState.FINISHED
    assert content(tower.top, "s", "D") == b"here"


def test_a_creation_that_a_node_has_missed_goes_on_when_it_is_there(tower: Tower) -> None:
    tower.nodes[1].kill()
    with pytest.raises(SubManagersFailed) as caught:
        tower.middle.create_session("s")
    assert tower.names[1] in str(caught.value)
    assert tower.middle.sessions() == []
    tower.nodes[1].start_again()
    wait_alive(tower.middle)
    tower.middle.create_session("s")
    assert [info.session_id for info in tower.middle.sessions()] == ["s"]
    tower.middle.add_graph("s", text(copies(2, tower.names)))
    tower.middle.deploy("s", ["D0"])
    assert wait_ended(tower.middle, "s") is SessionState.FINISHED


def test_a_node_that_was_restarted_before_the_deployment_has_the_session_again(tower: Tower) -> None:
    tower.middle.create_session("s")
    tower.middle.add_graph("s", text(copies(2, tower.names)))
    tower.nodes[1].kill()
    tower.nodes[1].start_again()
    assert str(tower.nodes[1].address) == tower.names[1]  # it serves
    wait_until(lambda: tower.state_of(tower.names[1]) is NodeState.ALIVE, "back")
    tower.middle.deploy("s", ["D0"])
    assert wait_ended(tower.middle, "s") is SessionState.FINISHED


def test_no_session_is_stuck_while_all_connections_are_cut(tower: Tower) -> None:
    ports = {port for one in (*tower.nodes, tower.island, tower.master) for port in one.address[2:]}
    if not _can_cut():
        pytest.skip(
            "ss -K cannot cut connections here (no ss, no root, or a kernel without INET_DIAG_DESTROY)"
        )
    ended, cuts = threading.Event(), [0]

    def cut() -> None:
        while not ended.wait(CUT_EVERY_S):
            cuts[0] += 1
            _cut(ports)

    cutter = threading.Thread(target=cut, name="cutter")
    timer = threading.Timer(CUT_S, ended.set)
    cutter.start()
    timer.start()
    try:
        count = 0
        while not ended.is_set():
            drops = [*copies(20, tower.names), data("W", tower.names[0])]
            drops += [_writer(i, tower.names[1]) for i in range(2)]
            session_id = f"s{count}"
            tower.middle.create_session(session_id)
            tower.middle.add_graph(session_id, text(drops))
            tower.middle.deploy(session_id, ["D0", "P0", "P1"])
            assert wait_ended(tower.middle, session_id) is SessionState.FINISHED, tower.middle.session(
                session_id
            )
            assert content(tower.middle, session_id, "D20") == b"hello"
            assert content(tower.middle, session_id, "W") == b"oncehello" * 2
            count += 1
    finally:
        ended.set()
        timer.cancel()
        cutter.join(30)
    assert cuts[0] > 5
    assert count > 0
    tower.run_once("after")


def _writer(number: int, node: str) -> Fields:
    code = "def f(): return b'oncehello'"
    return {
        "oid": f"P{number}",
        "categoryType": "Application",
        "dropclass": "dlg.apps.pyfunc.PyFuncApp",
        "node": node,
        "inputs": [],
        "outputs": ["W"],
        "func_name": "f",
        "func_code": code,
        "output_parser": "binary",
    }


def _can_cut() -> bool:
    ss = shutil.which("ss")
    if ss is None:
        return False
    done = subprocess.run([ss, "-K", "sport", "=", ":1"], capture_output=True, timeout=10, check=False)
    return done.returncode == 0


def _cut(ports: set[int]) -> None:
    which = " or ".join(f"sport = :{port} or dport = :{port}" for port in sorted(ports))
    subprocess.run(["ss", "-K", "-t", f"( {which} )"], capture_output=True, timeout=10, check=False)
