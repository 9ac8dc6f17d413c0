"""What the engine costs per drop, with apps that do nothing: Penstock, its peers and the limit, alternately.

    python benchmarks/graph.py --shape layered --drops 10000 --rounds 3
    python benchmarks/graph.py --peers penstock,stack,dlg --python dlg=PATH_OF_A_PYTHON_THAT_HAS_IT

Every run is a fresh process; the peers take turns, so that a busy machine is busy for all of them. One JSON
line per peer (medians over the rounds, the same keys as the published figures), then one line of ratios.

Shapes: chain (data, app, data, ...), fan (one data, N apps, one app), layered (layers of 100 apps, each
reading 3 random data of the layer above). Peers:

    penstock      JSON text in memory -> decoded, checked, deployed, run to its end, a state kept per drop
    stack         the limit: the same path in the least Python that does it, without checks, rules or threads
    dlg           the ancestor's node manager in this process (daliuge-engine 6.6.0)
    dask-sync, dask-threads, parsl-threads
                  the same graph as bare tasks: no data drops, no states
"""

import argparse
import gc
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from rounds import Case, Line, leave_after, medians, play, rss_bytes, show

WIDTH, IN_DEGREE = 100, 3

Apps = list[tuple[tuple[int, ...], tuple[int, ...]]]


def make_shape(shape: str, drops: int) -> tuple[int, Apps]:
    """Return the number of data drops and per app its inputs and outputs, in topological order."""
    if shape == "chain":
        count = max(1, (drops - 1) // 2)
        return count + 1, [((i,), (i + 1,)) for i in range(count)]
    if shape == "fan":
        width = max(1, (drops - 3) // 2)
        apps: Apps = [((0,), (1 + i,)) for i in range(width)]
        return width + 2, [*apps, (tuple(range(1, width + 1)), (width + 1,))]
    layers = max(1, (drops - WIDTH) // (2 * WIDTH))
    rnd = random.Random(12345)
    apps = []
    for first in range(0, layers * WIDTH, WIDTH):
        for j in range(WIDTH):
            inputs = tuple(sorted(rnd.sample(range(first, first + WIDTH), IN_DEGREE)))
            apps.append((inputs, (first + WIDTH + j,)))
    return (layers + 1) * WIDTH, apps


def specifications(
    data_count: int, apps: Apps, data_class: str, app_class: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the physical graph and the uids of its roots."""
    producer: dict[int, int] = {}
    consumers: list[list[int]] = [[] for _ in range(data_count)]
    for i, (inputs, outputs) in enumerate(apps):
        producer.update(dict.fromkeys(outputs, i))
        for d in inputs:
            consumers[d].append(i)
    common = {"node": "localhost", "island": "localhost", "rank": [0]}
    specs: list[dict[str, Any]] = []
    for d in range(data_count):
        uid = f"d{d:07d}"
        spec = {
            "oid": uid,
            "uid": uid,
            "categoryType": "Data",
            "dropclass": data_class,
            "storage": "Memory",
            **common,
        }
        spec |= {"name": "data", "consumers": [f"a{i:07d}" for i in consumers[d]]}
        if d in producer:
            spec["producers"] = [f"a{producer[d]:07d}"]
        specs.append(spec)
    for i, (inputs, outputs) in enumerate(apps):
        uid = f"a{i:07d}"
        spec = {
            "oid": uid,
            "uid": uid,
            "categoryType": "Application",
            "dropclass": app_class,
            **common,
            "name": "app",
        }
        spec |= {"n_effective_inputs": -1, "inputs": [f"d{d:07d}" for d in inputs]}
        specs.append(spec | {"outputs": [f"d{d:07d}" for d in outputs]})
    return specs, [f"d{d:07d}" for d in range(data_count) if d not in producer]


DATA_CLASS, APP_CLASS = "dlg.data.drops.memory.InMemoryDROP", "dlg.apps.simple.NullBarrierApp"


def run_penstock(data_count: int, apps: Apps) -> dict[str, Any]:
    """The whole path of `penstock.run`, with the folder on this machine's temporary storage."""
    import msgspec

    from penstock.runtime.result import new_session

    text = msgspec.json.encode(specifications(data_count, apps, DATA_CLASS, APP_CLASS)[0])
    import penstock.apps.basic
    import penstock.drops.memory  # noqa: F401  classes are there before the clock starts, for every peer

    with tempfile.TemporaryDirectory() as folder:
        gc.collect()
        base = rss_bytes()
        cpu, t0 = time.process_time(), time.perf_counter()
        session = new_session(text, directory=folder, isolation="thread")
        t1 = time.perf_counter()
        session.deploy()
        t2 = time.perf_counter()
        deployed = rss_bytes()
        session.trigger()
        session.wait()
        t3 = time.perf_counter()
        cpu = time.process_time() - cpu
        done = session.counts()[2]  # type: ignore[index]
        session.close()
    total = data_count + len(apps)
    assert done == total, (done, total)
    return {
        "append": t1 - t0,
        "deploy": t2 - t1,
        "execute": t3 - t2,
        "cpu": cpu,
        "rss_deploy": deployed - base,
    }


def run_stack(data_count: int, apps: Apps) -> dict[str, Any]:
    """JSON -> structs -> indices and link rows -> every drop completed, one call per app."""
    import msgspec

    class Spec(msgspec.Struct, gc=False):
        oid: str
        categoryType: str
        dropclass: str
        node: str = ""
        island: str = ""
        inputs: tuple[str, ...] = ()
        outputs: tuple[str, ...] = ()
        consumers: tuple[str, ...] = ()
        producers: tuple[str, ...] = ()

    text = msgspec.json.encode(specifications(data_count, apps, "data", "app")[0])
    gc.collect()
    base = rss_bytes()
    cpu, t0 = time.process_time(), time.perf_counter()
    specs = msgspec.json.decode(text, type=tuple[Spec, ...])
    t1 = time.perf_counter()
    index = {spec.oid: i for i, spec in enumerate(specs)}
    size = len(specs)
    is_app = bytearray(spec.categoryType == "Application" for spec in specs)
    after = [
        tuple([index[uid] for uid in (s.outputs if a else s.consumers)])
        for a, s in zip(is_app, specs, strict=True)
    ]
    awaited = [0] * size
    for row in after:
        for j in row:
            awaited[j] += 1
    t2 = time.perf_counter()
    deployed = rss_bytes()
    state, events = bytearray(size), []
    ready = [i for i in range(size) if not awaited[i]]

    def noop() -> None:
        return None

    for i in ready:
        if is_app[i]:
            noop()
        state[i] = 2
        events.append(i)
        for j in after[i]:
            awaited[j] -= 1
            if not awaited[j]:
                ready.append(j)
    t3 = time.perf_counter()
    assert state.count(2) == size
    cpu = time.process_time() - cpu
    return {
        "append": t1 - t0,
        "deploy": t2 - t1,
        "execute": t3 - t2,
        "cpu": cpu,
        "rss_deploy": deployed - base,
    }


def run_dlg(data_count: int, apps: Apps) -> dict[str, Any]:
    """The ancestor, in process, quiet, with its classes imported before the clock starts."""
    os.environ["DLG_ROOT"] = tempfile.mkdtemp(prefix="penstock-bench")
    import logging

    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger("dlg").setLevel(logging.CRITICAL)
    import dlg.apps.simple
    import dlg.data.drops.memory  # noqa: F401
    from dlg.manager.node_manager import NodeManager

    specs, roots = specifications(data_count, apps, DATA_CLASS, APP_CLASS)
    manager = NodeManager(host="127.0.0.1", rpc_port=free_port(), events_port=free_port())
    gc.collect()
    base = rss_bytes()
    cpu, t0 = time.process_time(), time.perf_counter()
    manager.createSession("s")
    manager.addGraphSpec("s", specs)
    t1 = time.perf_counter()
    manager.deploySession("s", set(roots))
    t2 = time.perf_counter()
    deployed = rss_bytes()
    while manager.getSessionStatus("s") < 4:
        time.sleep(0.002)
    t3 = time.perf_counter()
    cpu = time.process_time() - cpu
    return {
        "append": t1 - t0,
        "deploy": t2 - t1,
        "execute": t3 - t2,
        "cpu": cpu,
        "rss_deploy": deployed - base,
    }


def free_port() -> int:
    """Return a port of this machine that nobody uses now."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def _dependencies(apps: Apps) -> list[list[int]]:
    producer = {d: i for i, (_, outputs) in enumerate(apps) for d in outputs}
    return [[producer[d] for d in inputs if d in producer] for inputs, _ in apps]


def _noop(*_: object) -> None:
    return None


def _leaves(apps: Apps) -> list[int]:
    used = {d for inputs, _ in apps for d in inputs}
    return [i for i, (_, outputs) in enumerate(apps) if not used.intersection(outputs)]


def run_dask(apps: Apps, *, threads: bool) -> dict[str, Any]:
    """The same graph as bare tasks on dask's local schedulers."""
    import dask
    import dask.threaded

    gc.collect()
    cpu, t0 = time.process_time(), time.perf_counter()
    graph = {f"t{i}": (_noop, *[f"t{j}" for j in row]) for i, row in enumerate(_dependencies(apps))}
    leaves = [f"t{i}" for i in _leaves(apps)]
    t1 = time.perf_counter()
    if threads:
        dask.threaded.get(graph, leaves, num_workers=2)
    else:
        dask.get(graph, leaves)
    t2 = time.perf_counter()
    return {"append": t1 - t0, "execute": t2 - t1, "cpu": time.process_time() - cpu}


def run_parsl(apps: Apps) -> dict[str, Any]:
    """The same graph as bare tasks on parsl's threads."""
    import parsl
    from parsl.config import Config
    from parsl.executors import ThreadPoolExecutor

    config = Config(
        executors=[ThreadPoolExecutor(max_threads=2)], run_dir=tempfile.mkdtemp(), initialize_logging=False
    )
    kernel = parsl.load(config)
    task = parsl.python_app(_noop)
    task().result()
    gc.collect()
    cpu, t0 = time.process_time(), time.perf_counter()
    futures: list[Any] = []
    for row in _dependencies(apps):
        futures.append(task(*[futures[j] for j in row]))
    t1 = time.perf_counter()
    for i in _leaves(apps):
        futures[i].result()
    t2 = time.perf_counter()
    kernel.cleanup()
    return {"append": t1 - t0, "execute": t2 - t1, "cpu": time.process_time() - cpu}


PEERS: dict[str, Callable[[int, Apps], dict[str, Any]]] = {
    "penstock": run_penstock,
    "stack": run_stack,
    "dlg": run_dlg,
    "dask-sync": lambda _, apps: run_dask(apps, threads=False),
    "dask-threads": lambda _, apps: run_dask(apps, threads=True),
    "parsl-threads": lambda _, apps: run_parsl(apps),
}


def one(peer: str, shape: str, drops: int) -> dict[str, Any]:
    """Run one peer once in this process and return the figures of the line."""
    data_count, apps = make_shape(shape, drops)
    measured = PEERS[peer](data_count, apps)
    total = data_count + len(apps)
    parts = {key: measured[key] for key in ("append", "deploy", "execute") if key in measured}
    wall = sum(parts.values())
    line: dict[str, Any] = {"family": "graph", "peer": peer, "shape": shape, "n": total, "n_apps": len(apps)}
    line |= {"wall_s": wall, "us_per_drop": wall / total * 1e6, "us_per_app": wall / len(apps) * 1e6}
    line |= {f"{key}_us_per_drop": value / total * 1e6 for key, value in parts.items()}
    line["cpu_us_per_drop"] = measured["cpu"] / total * 1e6
    if "rss_deploy" in measured:
        line["deploy_bytes_per_drop"] = measured["rss_deploy"] / total
    return line


def ratios(lines: dict[str, Line], figure: str) -> dict[str, float]:
    """Return by how many times each peer's figure is that of Penstock."""
    ours = lines["penstock"][figure]
    return {peer: round(line[figure] / ours, 2) for peer, line in lines.items() if peer != "penstock"}


def main() -> None:
    """Run the rounds and print lines and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=("chain", "fan", "layered"), default="layered")
    parser.add_argument("--drops", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit-s", type=float, default=300, help="seconds after which a run counts as hung")
    parser.add_argument("--peers", default="penstock,stack", help="names with commas between")
    parser.add_argument(
        "--python", action="append", default=[], metavar="PEER=PATH", help="the Python that has a peer"
    )
    parser.add_argument("--one", choices=PEERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        leave_after(lambda: one(options.one, options.shape, options.drops))
    pythons = dict(pair.split("=", 1) for pair in options.python)
    arguments = ("--shape", options.shape, "--drops", str(options.drops))
    cases = [Case(peer, pythons.get(peer, sys.executable), arguments) for peer in options.peers.split(",")]
    played = play(__file__, cases, options.rounds, options.limit_s)
    result = {peer: medians(found, "us_per_drop") for peer, found in played.items()}
    for line in result.values():
        show(line)
    if "penstock" in result:
        last: Line = {"family": "graph", "shape": options.shape, "n": result["penstock"]["n"]}
        last["peer_over_penstock"] = ratios(result, "us_per_drop")
        last["peer_over_penstock_cpu"] = ratios(result, "cpu_us_per_drop")
        if "stack" in result:  # how many times the limit Penstock takes
            ours, limit = result["penstock"], result["stack"]
            last["penstock_over_stack"] = round(ours["us_per_drop"] / limit["us_per_drop"], 2)
            last["penstock_over_stack_cpu"] = round(ours["cpu_us_per_drop"] / limit["cpu_us_per_drop"], 2)
        show(last)


if __name__ == "__main__":
    main()
