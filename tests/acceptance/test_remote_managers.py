"""Managers as processes: what keeps them from starting, and how they end."""

import os
import select
import signal
import socket
from pathlib import Path
from time import monotonic

import pytest

from tests.acceptance.command import TIMEOUT_S, app, memory, penstock, write
from tests.acceptance.remote import deployment, endless, manager, pair
from tests.processes import children

# Tells a pipe that it runs, then neither ends nor listens to SIGTERM.
STUBBORN = 'trap "" TERM; echo r > "$TEST_PIPE"; while true; do sleep 1; done'


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def refusal(*arguments: str) -> str:
    """Return the one line that a manager says which does not start."""
    done = penstock(*arguments, variables={"XDG_STATE_HOME": str(Path.cwd() / "state")})
    assert done.code == 2
    assert done.err.startswith("penstock: ")
    assert done.err.count("\n") == 1
    return done.err


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for option in ("--port", "--events-port", "--rpc-port"):
            others = {"--port": "0", "--events-port": "0", "--rpc-port": "0", option: port}
            words = [word for pair_of in others.items() for word in pair_of]
            assert port in refusal("node", *words)


def test_nobody_listens_to_other_hosts_without_keys() -> None:
    assert "penstock keys new" in refusal("node", "--host", "0.0.0.0")


def test_authentication_cannot_be_left_out_where_other_hosts_listen() -> None:
    assert "--auth none" in refusal("node", "--host", "0.0.0.0", "--auth", "none")


def test_a_name_that_is_not_of_this_machine_is_told() -> None:
    assert penstock("keys", "new", "keys").code == 0
    told = refusal("node", "--host", "nobody.invalid", "--keys", "keys", "--port", "0", "--rpc-port", "0")
    assert "nobody.invalid" in told


def test_an_island_over_nobody_does_not_start() -> None:
    assert "--nodes" in refusal("island")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_node_ends_well_by_each_signal(state: Path, number: int) -> None:
    with manager("node", "--events-port", "0", state=state) as node:
        assert node.end(number) == 0


def test_an_island_that_has_divided_a_graph_ends_well_by_a_signal(state: Path) -> None:
    with deployment(state) as managers:
        assert managers.ask("submit", pair(), "--wait").code == 0
        assert managers.island.end() == 0


def test_a_node_ends_with_all_that_hangs_on_it(state: Path) -> None:
    pipe = Path.cwd() / "told"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDWR)
    hanging = write(
        "stubborn.json",
        app("loop", "dlg.apps.bash_shell_app.BashShellApp", command=STUBBORN, outputs=["never"]),
        memory("never"),
        app("hang", "user_apps.Stubborn", outputs=["neither"]),
        memory("neither"),
    )
    with manager("node", "--events-port", "0", state=state, more={"TEST_PIPE": str(pipe)}) as node:
        variables = {"XDG_STATE_HOME": str(state)}
        for k in range(2):
            assert (
                penstock("submit", hanging, "--url", node.url, "--session", f"s{k}", variables=variables).code
                == 0
            )
        assert penstock("submit", endless(), "--url", node.url, variables=variables).code == 0
        heard = b""
        while heard.count(b"r") < 4:
            assert select.select([reading], [], [], TIMEOUT_S)[0], "not all have begun"
            heard += os.read(reading, 16)
        started = family(node.process.pid)
        assert node.end() == 0
    os.close(reading)
    until_gone(started)


def test_the_first_line_tells_programs_where_a_manager_is(state: Path) -> None:
    with manager("node", "--events-port", "0", state=state) as node:
        assert node.url == f"http://127.0.0.1:{node.address.split(':')[1]}"


def test_nodes_on_ports_of_the_systems_choice_share_no_folder(state: Path) -> None:
    with deployment(state) as managers:
        for node in managers.nodes:
            assert managers.ask("submit", pair(), "--session", "same", "--wait", url=node.url).code == 0
        told = [managers.ask("status", "same", "--json", url=node.url).json for node in managers.nodes]
        assert len({one["directory"] for one in told}) == 2


def family(pid: int) -> list[int]:
    """Return all processes that a process has started, at any depth."""
    found = children(pid)
    return found + [below for child in found for below in family(child)]


def until_gone(pids: list[int]) -> None:
    """Wait until processes have ended: the system sends no event for those that are not our children."""
    end = monotonic() + TIMEOUT_S
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert monotonic() < end, f"{left} are still there"
        select.select([], [], [], 0.02)
