"""What managers cost: a graph sent over REST, facts from node to node, many clients, status beside dead nodes.

    python benchmarks/managers.py
    python benchmarks/managers.py --case submit --drops 100000 --rounds 3

Every case starts its managers as processes of their own on free ports and ends them; cases take turns.

`submit`   a client encodes the layered graph of `graph.py`, sends it to a node, deploys it, and deletes the session.
           Figures per drop: `submit_us` (encoding to accepted), `deploy_us`, `both_us`, `delete_us`; of processor time
           of the node `submit_cpu_us` and `deploy_cpu_us`; `submit_peak_bytes` and `peak_bytes` are the most memory
           that the node ever had when the graph was accepted and deployed, `deployed_bytes` what it has then. Of
           `stall_ms` in each, the longest time that a thread of the node that wakes every 5 ms was kept from it.
`bare`     the limit of it: the same encoding, a bare socket, one decoding of the whole, a look whether names are there
           twice; nothing is kept in order, no other thread could run meanwhile.
`island`   as `submit`, to an island of two nodes that divides the graph; the process measured is the island.
`chain`    data and apps in one line that crosses between two nodes with each link: `hop_us` from link to link.
`pair`     the limit of it: a bare DEALER and a ROUTER that send each other one small message in turn.
`near`     the same chain on one node.
`clients`  fifty clients at once, each creating, filling, deploying, watching and deleting sessions: `refused`
           connections, requests per second and how long one takes.
`dead`     an island of four nodes, two of which are killed while a session runs: how long its answers take from then
           on until well after both are known to be lost.
"""

import argparse
import json
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import graph as shapes
from rounds import Case, Line, leave_after, medians, play, show

HOST = "127.0.0.1"
LIMIT_S = 300.0
TICK_S = 0.005
SWITCH_S = 0.0005  # as `penstock node` sets it
HOPS = 1000
CLIENTS, TURNS = 50, 20
LOST_S = 3.0
WATCHED_S = 6.0
SHAPE_APP = "dlg.apps.simple.NullBarrierApp"


# The other process: a manager that answers questions about itself on its standard input.


class Ticker:
    """A thread that wants to wake every `TICK_S` and notes how late it was."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        last = time.perf_counter()
        while True:
            time.sleep(TICK_S)
            now = time.perf_counter()
            self.worst_s = max(self.worst_s, now - last - TICK_S)
            last = now

    def take(self) -> float:
        worst, self.worst_s = self.worst_s, 0.0
        return worst


def serve(level: str, below: list[str]) -> None:
    """Be a manager until the standard input ends; answer each line of it with what was seen since the last."""
    from penstock.assemble.managers import Liveness, ManagerSettings, assemble
    from penstock.ids import NodeAddress
    from penstock.managers.api import Level

    sys.setswitchinterval(SWITCH_S)
    with tempfile.TemporaryDirectory() as folder:
        settings = ManagerSettings(
            Level(level),
            HOST,
            below=tuple(map(NodeAddress.parse, below)),
            work_directory=Path(folder),
            liveness=Liveness(beat_s=LOST_S / 6, suspect_s=LOST_S / 2, lost_s=LOST_S),
        )
        with assemble(settings) as manager:
            ticker = Ticker()
            print(json.dumps({"url": manager.url, "address": str(manager.address)}), flush=True)
            for _ in sys.stdin:
                print(
                    json.dumps({"stall_ms": ticker.take() * 1e3, "cpu": time.process_time(), **memory()}),
                    flush=True,
                )


def memory() -> Line:
    """Return what this process takes and the most it took; bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "now": int(lines["VmRSS"].split()[0]) * 1024,
        "peak": int(lines["VmHWM"].split()[0]) * 1024,
    }


def serve_bare(port: int) -> None:
    """Take one text over a socket, decode and check it, answer one byte."""
    import msgspec

    from penstock.graph.spec import DropSpec

    decoder = msgspec.json.Decoder(tuple[DropSpec, ...])
    with socket.create_connection((HOST, port)) as peer:
        begun = time.process_time()
        size = int.from_bytes(peer.recv(8, socket.MSG_WAITALL), "big")
        text = bytearray(size)
        rest = memoryview(text)
        while rest:
            rest = rest[peer.recv_into(rest[: 1 << 18]) :]
        specs = decoder.decode(text)
        assert len({spec.oid for spec in specs}) == len(specs)
        peer.sendall(int((time.process_time() - begun) * 1e9).to_bytes(8, "big"))
        peer.recv(1)


def serve_pair(port: int) -> None:
    """Send back what comes."""
    import zmq

    dealer = zmq.Context.instance().socket(zmq.DEALER)
    dealer.connect(f"tcp://{HOST}:{port}")
    dealer.send(b"")
    while True:
        dealer.send(dealer.recv())


# The measuring process


class Served:
    """A manager in a process of its own."""

    def __init__(self, level: str, below: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", level, *below],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        told = self._read()
        self.url: str = told["url"]
        self.address: str = told["address"]

    def _read(self) -> Line:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], LIMIT_S)
        if not ready:
            raise TimeoutError("a manager does not answer")
        line: Line = json.loads(self.process.stdout.readline())
        return line

    def look(self) -> Line:
        """Return what the manager saw of itself since the last look."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._read()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def managers(nodes: int, *, island: bool = False) -> Iterator[list[Served]]:
    """Start nodes and, behind them in the list, an island over them."""
    with ExitStack() as stack:

        def start(level: str, below: list[str]) -> Served:
            served = Served(level, below)
            stack.callback(served.close)
            return served

        found = [start("node", []) for _ in range(nodes)]
        if island:
            found.append(start("island", [node.address for node in found]))
        yield found


@contextmanager
def other(kind: str) -> Iterator[Any]:
    """Start the other end of a bare socket; yield what it connects to."""
    with socket.create_server((HOST, 0)) as listening:
        port = listening.getsockname()[1]
        process = subprocess.Popen([sys.executable, __file__, "--serve", kind, str(port)])
        try:
            yield listening
        finally:
            process.kill()
            process.wait()


def layered(drops: int) -> list[dict[str, Any]]:
    data_count, apps = shapes.make_shape("layered", drops)
    specs, _ = shapes.specifications(data_count, apps, shapes.DATA_CLASS, SHAPE_APP)
    for spec in specs:
        del spec["node"], spec["island"]  # so that an island may divide it
    return specs


def submit(target: Served, drops: int) -> Line:
    import msgspec

    from penstock.rest.client import ManagerClient

    specs = layered(drops)
    n = len(specs)
    with ManagerClient(target.url, timeout_s=LIMIT_S) as client:
        client.create_session("small")
        client.add_graph("small", msgspec.json.encode(layered(500)))
        client.deploy("small")
        client.destroy("small")
        client.create_session("large")
        begun = target.look()
        t0 = time.perf_counter()
        text = msgspec.json.encode(specs)
        client.add_graph("large", text)
        t1 = time.perf_counter()
        added = target.look()
        t2 = time.perf_counter()
        client.deploy("large")
        t3 = time.perf_counter()
        deployed = target.look()
        t4 = time.perf_counter()
        client.destroy("large")
        t5 = time.perf_counter()
        time.sleep(1.0)  # what is freed afterwards is part of it
        deleted = target.look()
    return {
        "n": n,
        "text_bytes": len(text) / n,
        "submit_us": (t1 - t0) / n * 1e6,
        "deploy_us": (t3 - t2) / n * 1e6,
        "both_us": (t1 - t0 + t3 - t2) / n * 1e6,
        "delete_us": (t5 - t4) / n * 1e6,
        "submit_cpu_us": (added["cpu"] - begun["cpu"]) / n * 1e6,
        "deploy_cpu_us": (deployed["cpu"] - added["cpu"]) / n * 1e6,
        "submit_peak_bytes": added["peak"] / n,
        "peak_bytes": deployed["peak"] / n,
        "deployed_bytes": deployed["now"] / n,
        "deleted_bytes": deleted["now"] / n,
        "submit_stall_ms": added["stall_ms"],
        "deploy_stall_ms": deployed["stall_ms"],
        "delete_stall_ms": deleted["stall_ms"],
    }


def measure_submit(drops: int) -> Line:
    with managers(1) as (node,):
        return submit(node, drops)


def measure_island(drops: int) -> Line:
    with managers(2, island=True) as found:
        return submit(found[-1], drops)


def measure_bare(drops: int) -> Line:
    import msgspec

    specs = layered(drops)
    with other("bare") as listening:
        peer, _ = listening.accept()
        with peer:
            t0 = time.perf_counter()
            text = msgspec.json.encode(specs)
            peer.sendall(len(text).to_bytes(8, "big"))
            peer.sendall(text)
            cpu_ns = int.from_bytes(peer.recv(8, socket.MSG_WAITALL), "big")
            seconds = time.perf_counter() - t0
    return {
        "n": len(specs),
        "submit_us": seconds / len(specs) * 1e6,
        "submit_cpu_us": cpu_ns / len(specs) / 1e3,
    }


def chain(addresses: list[str]) -> bytes:
    """Return a chain of `HOPS` data drops with an app between each two, placed on the nodes in turn."""
    import msgspec

    specs, _ = shapes.specifications(*shapes.make_shape("chain", 2 * HOPS + 1), shapes.DATA_CLASS, SHAPE_APP)
    for spec in specs:
        is_app, number = spec["oid"][0] == "a", int(spec["oid"][1:])
        # An app is with its input; its output is on the other node: every link from app to data crosses.
        spec["node"] = addresses[number % len(addresses)]
        assert is_app or spec["oid"][0] == "d"
    return msgspec.json.encode(specs)


def run_chain(target: Served, text: bytes) -> Line:
    from penstock.engine.states import SessionState
    from penstock.rest.client import ManagerClient

    with ManagerClient(target.url, timeout_s=LIMIT_S) as client:
        hops = []
        for name in ("warm", "measured"):
            client.create_session(name)
            client.add_graph(name, text)
            client.deploy(name)
            begun = time.perf_counter()
            client.trigger(name)
            info = client.wait(name, LIMIT_S)
            hops.append((time.perf_counter() - begun) / HOPS * 1e6)
            assert info.state is SessionState.FINISHED, info
            client.destroy(name)
    return {"n": 2 * HOPS + 1, "hop_us": hops[-1]}


def measure_chain(drops: int) -> Line:
    with managers(2, island=True) as found:
        return run_chain(found[-1], chain([node.address for node in found[:-1]]))


def measure_near(drops: int) -> Line:
    with managers(1) as (node,):
        return run_chain(node, chain([node.address]))


def measure_pair(drops: int) -> Line:
    import zmq

    router = zmq.Context.instance().socket(zmq.ROUTER)
    port = router.bind_to_random_port(f"tcp://{HOST}")
    process = subprocess.Popen([sys.executable, __file__, "--serve", "pair", str(port)])
    try:
        name, _ = router.recv_multipart()
        times = []
        for _ in range(HOPS):
            begun = time.perf_counter()
            router.send_multipart([name, b"12345678"])
            router.recv_multipart()
            times.append((time.perf_counter() - begun) / 2)
    finally:
        process.kill()
        process.wait()
        zmq.Context.instance().destroy(0)
    return {"hop_us": statistics.mean(times) * 1e6}


def measure_clients(drops: int) -> Line:
    import msgspec

    from penstock.errors import NodeDown
    from penstock.rest.client import ManagerClient

    text = msgspec.json.encode(layered(1000))
    times: list[float] = []
    refused: list[str] = []
    gate = threading.Barrier(CLIENTS)

    def ask(call: Callable[..., object], *arguments: object) -> None:
        begun = time.perf_counter()
        try:
            call(*arguments)
        except NodeDown as exc:
            refused.append(str(exc))
        times.append(time.perf_counter() - begun)

    def be(number: int) -> None:
        gate.wait(LIMIT_S)
        with ManagerClient(node.url) as client:
            for turn in range(TURNS):
                name = f"s{number}-{turn}"
                ask(client.create_session, name)
                ask(client.add_graph, name, text)
                ask(client.session, name)
                ask(client.destroy, name)

    with managers(1) as (node,), ThreadPoolExecutor(CLIENTS) as pool:
        begun = time.perf_counter()
        for future in [pool.submit(be, number) for number in range(CLIENTS)]:
            future.result()
        seconds = time.perf_counter() - begun
    for text_ in sorted(set(refused)):
        print(text_, file=sys.stderr)
    return {"refused": float(len(refused)), "per_s": len(times) / seconds, **percentiles(times)}


def percentiles(times: list[float]) -> Line:
    ordered = sorted(times)
    return {
        "ms": statistics.median(ordered) * 1e3,
        "ms_p99": ordered[len(ordered) * 99 // 100] * 1e3,
        "ms_most": ordered[-1] * 1e3,
    }


def measure_dead(drops: int) -> Line:
    import msgspec

    from penstock.engine.states import SessionState
    from penstock.rest.client import ManagerClient

    specs = layered(10_000)
    with managers(4, island=True) as found, ManagerClient(found[-1].url) as client:
        client.create_session("s")
        client.add_graph("s", msgspec.json.encode(specs))
        client.deploy("s")  # and not triggered: it runs until somebody ends it
        for node in found[:2]:
            node.kill()
        times: list[float] = []
        end = time.perf_counter() + WATCHED_S
        while time.perf_counter() < end:
            for call in (client.sessions, client.nodes, lambda: client.session("s")):
                begun = time.perf_counter()
                call()
                times.append(time.perf_counter() - begun)
            time.sleep(0.002)
        assert client.session("s").state is SessionState.FAILED
        begun = time.perf_counter()
        client.destroy("s")
        deleted = time.perf_counter() - begun
    return {**percentiles(times), "delete_ms": deleted * 1e3}


MEASURES: dict[str, Callable[[int], Line]] = {
    "bare": measure_bare,
    "submit": measure_submit,
    "island": measure_island,
    "pair": measure_pair,
    "near": measure_near,
    "chain": measure_chain,
    "clients": measure_clients,
    "dead": measure_dead,
}
MAIN = {"pair": "hop_us", "near": "hop_us", "chain": "hop_us", "clients": "ms_p99", "dead": "ms_p99"}
LIMITS = {"submit": "bare", "island": "bare", "near": "pair", "chain": "pair"}
GOALS = {
    ("submit", "submit_us"): 2.0,
    ("submit", "both_us"): 5.0,
    ("submit", "submit_peak_bytes"): 1100.0,
    ("submit", "submit_stall_ms"): 50.0,
    ("submit", "delete_stall_ms"): 50.0,
    ("chain", "hop_us"): 500.0,
    ("clients", "refused"): 0.0,
    ("dead", "ms_p99"): 100.0,
}


def judged(case: str, line: Line) -> Line:
    """Return a line with what of its goals is missed."""
    goals = {key: goal for (name, key), goal in GOALS.items() if name == case}
    if line.get("n", 0) < 500_000 and "both_us" in goals:
        goals["both_us"] = 4.0
    return line | {"goals": goals, "missed": [key for key, goal in goals.items() if line[key] > goal]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--drops", type=int, default=1_000_000)
    parser.add_argument("--case", action="append", choices=sorted(MEASURES), default=[])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        kind, *rest = options.serve
        if kind in ("bare", "pair"):
            (serve_bare if kind == "bare" else serve_pair)(int(rest[0]))
        else:
            serve(kind, rest)
        return
    if options.one:
        leave_after(lambda: {"case": options.one} | MEASURES[options.one](options.drops))
    names = options.case or list(MEASURES)
    cases = [Case(name, sys.executable, ("--drops", str(options.drops))) for name in names]
    lines = play(__file__, cases, options.rounds, LIMIT_S)
    found: dict[str, Line] = {}
    for name in [name for name in names if name in lines]:
        main_figure = MAIN.get(name, "submit_us")
        line = found[name] = medians(lines[name], main_figure)
        limit = found.get(LIMITS.get(name, ""))
        if limit is not None:
            line["ratio"] = round(line[main_figure] / limit[main_figure], 3)
        show(judged(name, line))


if __name__ == "__main__":
    main()
