# SPDX-License-Identifier: Apache-2.0
"""Who can reach a manager: where it starts and where it refuses to, what it shows, what it never opens."""

import http.client
import itertools
import os
import pickle
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import zmq

from penstock.engine.states import SessionState
from penstock.wire.security import Keys
from tests.conftest import PROVE
from tests.integration.manager_making import Started, copies, run_graph, wait_alive

LIMIT_S = 60.0
NEAR = ("127.0.0.1", "localhost", "::1")


def _outside() -> str:
    """Return an address of this machine that is not loopback, "" for none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            address: str = probe.getsockname()[0]
        except OSError:
            return ""
    return "" if address.startswith("127.") else address


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _options(tmp_path: Path, host: str, auth: str, *, has_keys: bool) -> list[str]:
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    if host == "outside":
        host = _outside() or pytest.skip("this machine has no address but loopback")
    options = ["--host", host, "--auth", auth]
    if has_keys:
        Keys.create(tmp_path / "given")
        options += ["--keys", str(tmp_path / "given")]
    return options


@pytest.mark.parametrize("has_keys", [False, True], ids=["own keys", "given keys"])
@pytest.mark.parametrize("auth", ["token", "none"])
@pytest.mark.parametrize("host", [*NEAR, "0.0.0.0", "outside"] if PROVE else ["127.0.0.1", "::1", "0.0.0.0"])
def test_a_node_starts_where_strangers_cannot_get_in_and_nowhere_else(
    tmp_path: Path, host: str, auth: str, has_keys: bool
) -> None:
    options = _options(tmp_path, host, auth, has_keys=has_keys)
    is_safe = host in NEAR or (auth == "token" and has_keys)
    if is_safe:
        with Started("node", tmp_path / "n", *options) as node:
            assert node.told["pid"] == node.pid
        assert node.process.returncode == 0
        return
    command = [
        sys.executable,
        "-m",
        "penstock",
        "node",
        "--port",
        "0",
        "--rpc-port",
        "0",
        "--events-port",
        "0",
    ]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_keys_and_token_are_this_users_alone(tmp_path: Path) -> None:
    with Started("node", tmp_path / "n") as node:
        keys = node.keys
        assert stat.S_IMODE(keys.stat().st_mode) == 0o700
        files = list(keys.rglob("*"))
        assert (keys / "token") in files
        for path in files:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_no_secret_is_told_to_the_log(tmp_path: Path) -> None:
    with ExitStack() as stack:
        node = stack.enter_context(Started("node", tmp_path / "n", "-vv", "--workers", "2"))
        island = stack.enter_context(Started("island", tmp_path / "i", "-vv", "--nodes", str(node.address)))
        client = stack.enter_context(island.client())
        wait_alive(client)
        assert run_graph(client, "s", copies(3, [str(node.address)])) is SessionState.FINISHED
        _ask(node, "GET", "/api/v1/sessions", b"", "wrong-token")
        secrets = {
            line.strip().strip('"')
            for path in node.keys.rglob("*")
            if path.is_file() and ("secret" in path.name or path.name == "token")
            for line in path.read_text().splitlines()
            if len(line.strip()) > 20 and not line.lstrip().startswith("#")
        }
        assert node.token in secrets
        assert len(secrets) == 2
    for manager in (node, island):
        told = manager.errors.read_text()
        assert "Traceback" not in told
        for secret in secrets:
            assert secret.rpartition("= ")[2].strip('"') not in told


# Pickles


class _Canary:
    """Makes a file where it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


ROUTES = [
    ("POST", "/api/v1/sessions"),
    ("POST", "/api/v1/sessions/s/graph"),
    ("POST", "/api/v1/sessions/s/deploy"),
    ("POST", "/api/v1/sessions/s/trigger"),
    ("POST", "/api/v1/sessions/s/links"),
    ("POST", "/api/sessions"),
    ("POST", "/api/sessions/s/graph/append"),
    ("POST", "/api/sessions/s/graph/link"),
    ("POST", "/api/sessions/s/deploy"),
    ("POST", "/api/sessions/s/subscriptions"),
    ("POST", "/api/sessions/s/trigger"),
    ("GET", "/api/sessions"),
    ("POST", "/api/v1/sessions/s/cancel"),
    ("POST", "/api/sessions/s/cancel"),
]


TYPES = ("application/octet-stream", "application/json", "text/plain")


def _ask(manager: Started, method: str, path: str, body: bytes, token: str, kind: str = TYPES[0]) -> int:
    address = manager.address
    line = http.client.HTTPConnection(address.host, address.rest, timeout=LIMIT_S)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
        line.request(method, path, body, headers)
        response = line.getresponse()
        response.read()
        return response.status
    finally:
        line.close()


def test_a_pickle_is_opened_on_no_route_and_no_port(tmp_path: Path) -> None:
    canary = tmp_path / "opened"
    pickles = [pickle.dumps(_Canary(canary), protocol) for protocol in (0, 2, 5)]
    with ExitStack() as stack:
        node = stack.enter_context(Started("node", tmp_path / "n", "--workers", "2"))
        island = stack.enter_context(Started("island", tmp_path / "i", "--nodes", str(node.address)))
        client = stack.enter_context(island.client())
        wait_alive(client)
        client.create_session("s")
        for manager in (node, island):
            for method, path in ROUTES:
                for body, kind in itertools.product(pickles, TYPES):
                    assert _ask(manager, method, path, body, manager.token, kind) < 500, path
            for port in manager.address[1:]:
                for body in pickles:
                    _send(manager.address.host, port, body, node.keys)
        client.destroy("s")
        assert run_graph(client, "s", copies(3, [str(node.address)])) is SessionState.FINISHED
    assert not canary.exists()


def _send(host: str, port: int, body: bytes, keys: Path) -> None:
    """Send bytes to a port, raw and as messages of ZeroMQ, with the keys and without."""
    try:
        with socket.create_connection((host, port), timeout=5) as line:
            line.sendall(body)
    except OSError:  # nobody listens, or they hang up
        return
    own = Keys.load(keys)
    context = zmq.Context()
    try:
        for is_guarded in (True, False):
            with context.socket(zmq.DEALER) as dealer:
                dealer.linger, dealer.sndtimeo, dealer.rcvtimeo = 500, 500, 100
                if is_guarded:
                    own.guard_client(dealer)
                dealer.connect(f"tcp://{host}:{port}")
                for frames in ([body], [body, body], [b"", body], [b"call", body, body]):
                    try:
                        dealer.send_multipart(frames)
                    except zmq.Again:  # without the keys nobody takes it
                        break
                dealer.poll(100)
    finally:
        context.destroy(500)


# From another machine


@contextmanager
def _namespace() -> Iterator[str]:
    """A network namespace with a link to this one; removed at the end."""
    name = f"pen{os.getpid()}"
    ip = shutil.which("ip")
    if ip is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and the program ip")

    def run(*words: str) -> bool:
        return subprocess.run([ip, *words], capture_output=True, timeout=10, check=False).returncode == 0

    if not run("netns", "add", name):
        pytest.skip("this kernel lets us make no network namespace")
    try:
        made = (
            run("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b")
            and run("link", "set", f"{name}b", "netns", name)
            and run("addr", "add", "10.213.77.1/24", "dev", f"{name}a")
            and run("link", "set", f"{name}a", "up")
            and run("-n", name, "addr", "add", "10.213.77.2/24", "dev", f"{name}b")
            and run("-n", name, "link", "set", f"{name}b", "up")
        )
        if not made:
            pytest.skip("a link to the namespace cannot be made here")
        yield name
    finally:
        run("link", "del", f"{name}a")
        run("netns", "del", name)


_SCAN = """
import socket, sys
for port in map(int, sys.argv[1:]):
    with socket.socket() as probe:
        probe.settimeout(2)
        print(port, probe.connect_ex(("10.213.77.1", port)))
"""


def test_another_machine_finds_no_port_of_a_default_start(tmp_path: Path) -> None:
    with (
        _namespace() as name,
        Started("node", tmp_path / "n") as node,
        Started("island", tmp_path / "i", "--nodes", str(node.address)) as island,
        socket.create_server(("10.213.77.1", 0)) as control,
    ):
        seen: int = control.getsockname()[1]
        ports = {*node.address[1:], island.address.rest, island.address.rpc, seen}
        done = subprocess.run(
            ["ip", "netns", "exec", name, sys.executable, "-c", _SCAN, *map(str, ports)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
        found = {int(line.split()[0]) for line in done.stdout.splitlines() if line.split()[1] == "0"}
    assert found == {seen}, "the one port that was opened for it, to show that the way is there"
