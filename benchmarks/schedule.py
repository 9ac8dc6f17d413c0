"""How far the scheduling of apps is from the ideal: chains, wide layers, and one slow app among quick ones.

    python benchmarks/schedule.py
    python benchmarks/schedule.py --cases layers,hidden-item-2 --rounds 5

Every run is a fresh process; the cases take turns. Cases (`-2` and `-8` are the number of workers):

    chain            5,000 apps that do nothing, one after the other: us per app, of the run and of the whole path
    layers           10 layers of 64 apps of 5 ms with 64 workers, each app reading 3 random data of the layer
                     above; the ideal is 50 ms
    layers-threads   what 64 plain threads need that sleep 5 ms ten times, with a barrier after each time; they are
                     there before the clock starts, `start_seconds` is what starting them took
    hidden-item-*    200 quick apps, then 64 of the same class side by side: the first takes 300 ms, the last of the
                     quick ones is followed by an app of 300 ms. A scheme that keeps a batch together until its
                     slow item ends takes 600 ms
    hidden-outcome-* the same, but the quick one that is followed by 300 ms (a chain of three) stands before the slow
                     one: it has ended, and a scheme that reports a batch as a whole takes 600 ms
    several-slow-*   for information: as hidden-item, but one fewer than workers are slow, one after another at
                     the front of the batch

hidden-* and several-slow-* have 300 ms as their ideal; `seconds` is deploy to end, and `ratio` is to the ideal.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import graph as shapes
from rounds import Case, Line, leave_after, medians, play, show

try:
    from penstock import AppDrop
    from penstock.drops.ports import Parameter
except ImportError:
    sys.exit("schedule.py needs a Python that has Penstock")

LAYERS, WIDTH, NAP_S, SLOW_S = 10, 64, 0.005, 0.3
GOALS = {"chain": 10.0, "layers": 1.2, "hidden": 1.1}
NAP = "schedule.NapApp"

Spec = dict[str, Any]


class NapApp(AppDrop):
    """Sleep on the slot's thread, as user code that waits for something does."""

    seconds = Parameter(float, 0.0, "how long")

    def run(self) -> None:
        """Sleep."""
        if self.seconds:
            time.sleep(self.seconds)


class Sketch:
    """A physical graph in the making; every app writes one data drop of its own."""

    def __init__(self) -> None:
        self.specs: dict[str, Spec] = {}

    def data(self, uid: str) -> str:
        """Add a data drop and return its uid."""
        spec = {"oid": uid, "categoryType": "Data", "dropclass": shapes.DATA_CLASS}
        self.specs[uid] = spec | {"consumers": [], "producers": []}
        return uid

    def app(self, uid: str, inputs: list[str], seconds: float = 0.0, name: str = NAP) -> str:
        """Add an app that reads `inputs`, and return the uid of the data that it writes."""
        output = self.data(f"d-{uid}")
        spec = {"oid": uid, "categoryType": "Application", "dropclass": name, "seconds": seconds}
        self.specs[uid] = spec | {"inputs": inputs, "outputs": [output]}
        self.specs[output]["producers"].append(uid)
        for data in inputs:
            self.specs[data]["consumers"].append(uid)
        return output


def layers() -> list[Spec]:
    """Return layers of apps that take 5 ms each."""
    sketch, rnd = Sketch(), random.Random(12345)
    above = [sketch.data(f"root{j}") for j in range(WIDTH)]
    for k in range(LAYERS):
        above = [sketch.app(f"a{k}-{j}", rnd.sample(above, 3), NAP_S) for j in range(WIDTH)]
    return list(sketch.specs.values())


def crowd(slow_at: range, released_at: int, chain: int) -> list[Spec]:
    """Return 64 apps side by side after 200 quick ones; some are slow, and one releases a chain of `SLOW_S`."""
    sketch = Sketch()
    root = sketch.data("root")
    known = [sketch.app(f"known{i}", [root]) for i in range(200)]  # so that the class is known to be quick
    start = sketch.app("start", known, name=shapes.APP_CLASS)
    for j in range(WIDTH):
        output = sketch.app(f"a{j:02}", [start], SLOW_S if j in slow_at else 0.0)
        if j == released_at:
            for k in range(chain):
                output = sketch.app(f"next{k}", [output], SLOW_S / chain)
    return list(sketch.specs.values())


def run_graph(specs: list[Spec], workers: int) -> float:
    """Run a graph once; return seconds from deploy to the end."""
    from penstock import run

    with tempfile.TemporaryDirectory() as folder:
        result = run(specs, workers=workers, directory=folder, isolation="thread")
        assert result.ok, result
        return result.seconds


def run_chain(_: int) -> Line:
    """Measure the chain in both its figures."""
    data_count, apps = shapes.make_shape("chain", 10_001)
    measured = shapes.run_penstock(data_count, apps)
    whole = measured["append"] + measured["deploy"] + measured["execute"]
    us_per_app, run_us_per_app = (seconds / len(apps) * 1e6 for seconds in (whole, measured["execute"]))
    return {"us_per_app": us_per_app, "run_us_per_app": run_us_per_app, "ratio": us_per_app / GOALS["chain"]}


def run_threads(_: int) -> Line:
    """Measure what threads can do at all."""
    barrier = threading.Barrier(WIDTH + 1)

    def nap() -> None:
        barrier.wait()
        for _ in range(LAYERS):
            time.sleep(NAP_S)
            barrier.wait()

    threads = [threading.Thread(target=nap) for _ in range(WIDTH)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    barrier.wait()
    ready = time.perf_counter()
    for _ in range(LAYERS):
        barrier.wait()
    seconds = time.perf_counter() - ready
    return {"seconds": seconds, "ratio": seconds / (LAYERS * NAP_S), "start_seconds": ready - began}


def run_layers(_: int) -> Line:
    """Measure the layers."""
    seconds = run_graph(layers(), WIDTH)
    return {"seconds": seconds, "ratio": seconds / (LAYERS * NAP_S)}


def _against_slow(specs: list[Spec], workers: int) -> Line:
    seconds = run_graph(specs, workers)
    return {"seconds": seconds, "ratio": seconds / SLOW_S}


CASES: dict[str, tuple[Callable[[int], Line], int]] = {
    "chain": (run_chain, 8),
    "layers": (run_layers, WIDTH),
    "layers-threads": (run_threads, WIDTH),
}
for _workers in (2, 8):
    CASES[f"hidden-item-{_workers}"] = (lambda n: _against_slow(crowd(range(1), WIDTH - 1, 1), n), _workers)
    CASES[f"hidden-outcome-{_workers}"] = (lambda n: _against_slow(crowd(range(1, 2), 0, 3), n), _workers)
CASES["several-slow-8"] = (lambda n: _against_slow(crowd(range(n - 1), WIDTH - 1, 1), n), 8)


def one(name: str) -> Line:
    """Measure one case once in this process."""
    measure, workers = CASES[name]
    return {"family": "schedule", "case": name, "workers": workers} | measure(workers)


def main() -> None:
    """Run the rounds and print a line per case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", default=",".join(CASES), help="names with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit-s", type=float, default=60, help="seconds after which a run counts as hung")
    parser.add_argument("--one", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        leave_after(lambda: one(options.one))
    cases = [Case(name, sys.executable) for name in options.cases.split(",")]
    for name, lines in play(__file__, cases, options.rounds, options.limit_s).items():
        figure = "us_per_app" if name == "chain" else "ratio"
        line = medians(lines, figure)
        goal = GOALS.get(name.partition("-")[0] if name != "layers-threads" else "")
        show(line | ({"goal": goal, "met": line[figure] <= goal} if goal else {}))


if __name__ == "__main__":
    main()
