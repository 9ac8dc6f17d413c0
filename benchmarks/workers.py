"""What worker processes cost: quick functions, computing ones, arrays, starts and deaths.

    python benchmarks/workers.py
    python benchmarks/workers.py --cases fan,futures --rounds 5

Every run is a fresh process; the cases take turns. Each case that runs a graph has run another one on the same
pool before its clock starts, as on a node: processes are up and modules imported. Cases (2 workers):

    fan              10,000 Python functions that do nothing, each with its own output: apps per second
    chains-64        64 chains of 200 of them side by side, apps per second; chains-8: 8 of 1,000
    chain            one chain of 3,000, us per app
    futures          10,000 calls of the same function through concurrent.futures' process pool, a peer
    pool-100         the same through multiprocessing's in chunks of 100: what is possible if nobody asks for
                     states, order of events or kills
    pipes            the limit of one answer for each question: two processes, bare pipes, 100 questions ahead
    compute          400 functions of about 10 ms pure Python in workers; compute-threads: the same on threads
    arrays           16 chains of 100 functions that take and return an array of 1 MiB (npy), arrays per second;
                     data expires after use, so that the memory is the same again and again
    large            1 GiB written by one function and read by 4: GiB of memory in all processes beyond the array
                     that the function makes
    start            8 children from nothing to ready, seconds
    replace          a child killed to its replacement ready, seconds
"""

import argparse
import gc
import multiprocessing
import os
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import worker_apps
from rounds import Case, Line, leave_after, medians, play, show

try:
    from penstock.config import Settings
    from penstock.ids import parse_session_id
    from penstock.runtime.build import prepare
    from penstock.runtime.folder import Folder
    from penstock.runtime.isolation import place
    from penstock.runtime.session import Session
    from penstock.wire.arena import Arena
    from penstock.workers.pool import PoolSettings, WorkerPool
except ImportError:
    sys.exit("workers.py needs a Python that has Penstock")

DATA = "dlg.data.drops.memory.InMemoryDROP"
FUNCTION = "dlg.apps.pyfunc.PyFuncApp"
SLOTS, QUICK, GIB = 2, 10_000, 1 << 30
GOALS = {
    "fan": (100_000.0, ">="),
    "chains-64": (100_000.0, ">="),
    "chains-8": (50_000.0, ">="),
    "chain": (60.0, "<="),
    "arrays": (4_000.0, ">="),
    "large": (1.2, "<="),
    "start": (0.7, "<="),
    "replace": (0.5, "<="),
}

Graph = list[dict[str, Any]]


def drops_of(chains: list[list[str]], root: str = "", encoding: str = "") -> Graph:
    """Return chains of functions as a graph; with a root all begin at one data drop."""
    graph: dict[str, dict[str, Any]] = {}

    def data(uid: str) -> dict[str, Any]:
        new = {"oid": uid, "categoryType": "Data", "dropclass": DATA, "consumers": [], "producers": []}
        return graph.setdefault(uid, new)

    for number, chain in enumerate(chains):
        before = root or f"d{number}-0"
        for place, function in enumerate(chain):
            uid, after = f"a{number}-{place}", f"d{number}-{place + 1}"
            app = {"oid": uid, "categoryType": "Application", "dropclass": FUNCTION, "inputs": [before]}
            if encoding:
                data(before)["expireAfterUse"] = True
            graph[uid] = app | {"outputs": [after], "func_name": f"worker_apps.{function}"}
            if encoding:
                graph[uid] |= {"input_parser": encoding if place else "dill", "output_parser": encoding}
            data(before)["consumers"].append(uid)
            data(after)["producers"].append(uid)
            before = after
    return list(graph.values())


class Node:
    """A pool that runs one graph after the other, as a node does."""

    def __init__(self, slots: int = SLOTS, isolation: str | None = None) -> None:
        preload = ("penstock.runtime.inside", "penstock.apps.python", "dill", "numpy")
        self.pool = WorkerPool(PoolSettings(slots, preload=preload), Arena(8 * GIB))
        self.isolation = isolation
        self.count = 0

    def run(self, graph: Graph) -> tuple[float, Session]:
        """Run a graph; return seconds from the trigger to the end, and the session."""
        self.count += 1
        prepared = prepare(graph)
        placement = place(prepared, self.isolation)  # type: ignore[arg-type]
        folder = Folder(Path(tempfile.mkdtemp()) / "session")
        settings = Settings(workers=self.pool.settings.slots)
        workers = None if placement is None else (self.pool, placement)
        session = Session(parse_session_id(f"s{self.count}"), prepared, folder, settings, workers)
        session.deploy()
        gc.collect()
        began = time.perf_counter()
        session.trigger()
        session.wait()
        seconds = time.perf_counter() - began
        if session.failures.kept:
            raise RuntimeError(session.failures.kept[0].message)
        return seconds, session


def quick(chains: list[list[str]], root: str = "") -> Line:
    """Measure functions that do nothing."""
    node = Node()
    node.run(drops_of([["nothing"]] * 3000, root="r"))[1].close()
    seconds, session = node.run(drops_of(chains, root))
    count = sum(map(len, chains))
    slots = len({usage.slot for usage in session.usage.values()})
    session.close()
    node.pool.close()
    return {"per_s": count / seconds, "us_per_app": seconds / count * 1e6, "slots_used": slots}


def chain() -> Line:
    """Measure one chain."""
    line = quick([["nothing"] * 3000])
    return line | {"us": line["us_per_app"]}


def futures() -> Line:
    """Measure the standard library's process pool."""
    with ProcessPoolExecutor(SLOTS) as pool:
        list(pool.map(worker_apps.nothing, range(1000)))
        began = time.perf_counter()
        list(pool.map(worker_apps.nothing, range(QUICK)))
        return {"per_s": QUICK / (time.perf_counter() - began)}


def pool_100() -> Line:
    """Measure the standard library's other pool, in chunks."""
    with multiprocessing.Pool(SLOTS) as pool:
        list(pool.imap(worker_apps.nothing, range(QUICK), chunksize=100))
        began = time.perf_counter()
        list(pool.imap(worker_apps.nothing, range(QUICK * 10), chunksize=100))
        return {"per_s": 10 * QUICK / (time.perf_counter() - began)}


def pipes() -> Line:
    """Measure two processes that answer 8 bytes with 8 bytes."""
    children = []
    for _ in range(SLOTS):
        ask_r, ask_w = os.pipe()
        say_r, say_w = os.pipe()
        if not os.fork():
            os.close(ask_w)
            while question := os.read(ask_r, 8):
                os.write(say_w, question)
            os._exit(0)
        os.close(ask_r)
        os.close(say_w)
        children.append([ask_w, say_r, 0, 0])
    count, began = 10 * QUICK, time.perf_counter()
    share = count // SLOTS
    while any(got < share for _, _, _, got in children):
        for child in children:
            ask, _, sent, got = child
            if sent < share and sent - got < 50:
                os.write(ask, bytes(8 * min(100, share - sent)))
                child[2] += min(100, share - sent)
        ready, _, _ = select.select([say for _, say, _, _ in children], [], [])
        for child in children:
            if child[1] in ready:
                child[3] += len(os.read(child[1], 1 << 16)) // 8
    seconds = time.perf_counter() - began
    for ask, *_ in children:
        os.close(ask)
    return {"per_s": count / seconds}


def compute(isolation: str) -> Line:
    """Measure functions that keep the interpreter busy."""
    node = Node(isolation=isolation)
    node.run(drops_of([["compute"]] * 4, root="r"))[1].close()
    seconds, session = node.run(drops_of([["compute"]] * 400, root="r"))
    session.close()
    node.pool.close()
    return {"seconds": seconds}


def arrays() -> Line:
    """Measure arrays from function to function."""
    node = Node()
    node.run(drops_of([["make", "pass_on"]] * 16, encoding="npy"))[1].close()
    chains = [["make", *["pass_on"] * 99]] * 16
    seconds, session = node.run(drops_of(chains, encoding="npy"))
    session.close()
    node.pool.close()
    return {"per_s": 1600 / seconds}


def large() -> Line:
    """Measure the memory of a large array with four readers."""
    node = Node(4)
    node.run(drops_of([["make"]] * 4, encoding="npy"))[1].close()
    graph = drops_of([["make_large"]], encoding="npy")
    graph[-1]["consumers"] = [f"look{i}" for i in range(4)]
    for i in range(4):
        app = {"oid": f"look{i}", "categoryType": "Application", "dropclass": FUNCTION, "inputs": ["d0-1"]}
        graph.append(app | {"outputs": [f"sum{i}"], "func_name": "worker_apps.look", "input_parser": "npy"})
        graph.append({"oid": f"sum{i}", "categoryType": "Data", "dropclass": DATA, "producers": [f"look{i}"]})
    before, peak, over = used_bytes(), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            peak[0] = max(peak[0], used_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, session = node.run(graph)
    over.set()
    watcher.join()
    after = used_bytes()
    session.close()
    node.pool.close()
    beyond = (peak[0] - before) / GIB - 1.0
    return {"gib_beyond_the_array": beyond, "gib_after_the_run": (after - before) / GIB}


def used_bytes() -> int:
    """Return the memory that the whole machine uses."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    kib = {name: int(value.split()[0]) for name, value in fields.items()}
    return (kib["AnonPages"] + kib["Shmem"]) * 1024


def start() -> Line:
    """Measure how soon eight children are there."""
    pool = WorkerPool(PoolSettings(8, preload=("penstock.runtime.inside", "dill")), Arena(GIB))
    began = time.perf_counter()
    seconds = until_ready(pool, 8) - began
    pool.close()
    return {"seconds": seconds}


def replace() -> Line:
    """Measure how soon a killed child is replaced."""
    node = Node()
    node.run(drops_of([["compute"]] * 4, root="r"))[1].close()
    victim = next(row.pid for row in node.pool.slots() if row.pid)
    work = threading.Thread(target=lambda: node.run(drops_of([["compute"]] * 200, root="r"))[1].close())
    work.start()
    while not any(row.pid == victim and row.ident >= 0 for row in node.pool.slots()):
        time.sleep(0.002)
    began = time.perf_counter()
    os.kill(victim, signal.SIGKILL)
    while not all(row.pid != victim and row.state in ("IDLE", "BUSY") for row in node.pool.slots()):
        time.sleep(0.002)
    seconds = time.perf_counter() - began
    work.join()
    node.pool.close()
    return {"seconds": seconds}


def until_ready(pool: WorkerPool, count: int) -> float:
    """Let a pool start children, and return when so many are there."""
    node = Node.__new__(Node)
    node.pool, node.isolation, node.count = pool, None, 0
    work = threading.Thread(target=lambda: node.run(drops_of([["nap"]] * 16, root="r"))[1].close())
    work.start()
    while sum(row.state in ("IDLE", "BUSY") for row in pool.slots()) < count:
        time.sleep(0.002)  # looking without a pause would take the processor that the children need
    ready = time.perf_counter()
    work.join()
    return ready


CASES: dict[str, tuple[str, Callable[[], Line]]] = {
    "fan": ("per_s", lambda: quick([["nothing"]] * QUICK, root="r")),
    "chains-64": ("per_s", lambda: quick([["nothing"] * 200] * 64)),
    "chains-8": ("per_s", lambda: quick([["nothing"] * 1000] * 8)),
    "chain": ("us", chain),
    "futures": ("per_s", futures),
    "pool-100": ("per_s", pool_100),
    "pipes": ("per_s", pipes),
    "compute": ("seconds", lambda: compute("process")),
    "compute-threads": ("seconds", lambda: compute("thread")),
    "arrays": ("per_s", arrays),
    "large": ("gib_beyond_the_array", large),
    "start": ("seconds", start),
    "replace": ("seconds", replace),
}


def main() -> None:
    """Measure all cases in turn and print medians, and how far the peers are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit-s", type=float, default=120.0)
    options = parser.parse_args()
    if options.one:
        leave_after(CASES[options.one][1])
    cases = [Case(name, sys.executable) for name in options.cases.split(",")]
    merged = {}
    for name, lines in play(__file__, cases, options.rounds, options.limit_s).items():
        key = CASES[name][0]
        line = merged[name] = medians(lines, key)
        if name in GOALS:
            goal, way = GOALS[name]
            line |= {"goal": goal, "met": line[key] >= goal if way == ">=" else line[key] <= goal}
        show({"case": name, **line})
    ratios(merged)


def ratios(lines: dict[str, Line]) -> None:
    """Print how far the peers are."""
    told: Line = {}
    for mine in ("fan", "chains-64", "chains-8"):
        for peer in ("futures", "pool-100", "pipes"):
            if mine in lines and peer in lines:
                told[f"{mine}_over_{peer}"] = round(lines[mine]["per_s"] / lines[peer]["per_s"], 2)
    if "compute" in lines and "compute-threads" in lines:
        times = round(lines["compute-threads"]["seconds"] / lines["compute"]["seconds"], 2)
        told |= {"compute_faster_than_threads": times, "goal": 1.8, "met": times >= 1.8}
    if told:
        show(told)


if __name__ == "__main__":
    main()
