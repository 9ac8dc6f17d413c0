"""Real graphs, run alternately by Penstock and by the ancestor, each in a fresh process.

    python benchmarks/real.py --graphs FOLDER --ancestor PATH_OF_A_PYTHON_THAT_HAS_IT
    python benchmarks/real.py --names hello_universe,dd_bash --rounds 5

`seconds` is deploy to end: `RunResult.seconds` of Penstock; for the ancestor (daliuge-engine 6.6.0, its node
manager in this process, 8 threads, quiet) from before `deploySession` until the session has ended, looked at
every 2 ms. Both have the graph and its classes in memory before. One line per engine and graph (`states` counts
drops by the number of their state), then one per graph with the ratio and the difference of the medians, and of
the least (`_min`), which other work on the machine disturbs less; `same_outcome` says that all runs of both
engines had the same end. Goal: ratio <= 1.1 where the ancestor takes more than 0.5 s, else at most 20 ms more.

Graphs that draw random numbers: the ancestor draws from numpy's old global generator, Penstock from a new one
per app. Here Penstock's is replaced by the old one and both are seeded alike, so that both draw the same. In
loop_branch_exit those numbers are the times that it sleeps: `sleeps_s` is their sum, which stands in the wall
time of both, and `ratio_without_sleeps` is that of the rest.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rounds import Case, Line, leave_after, medians, play, show

SEED = 20261107
RATIO_GOAL, LONG_S, MORE_GOAL_S = 1.1, 0.5, 0.020
SLEEPS_ARE_DRAWN = {"loop_branch_exit": 5}  # how many random numbers are slept, one after another
HERE = Path(__file__).resolve().parent


class OldGenerator:
    """Numpy's old global generator with the face of the new ones."""

    def random(self, size: int) -> Any:
        """Draw floats from 0 to 1."""
        import numpy as np

        return np.random.random(size)

    def integers(self, low: int, high: int, size: int) -> Any:
        """Draw whole numbers."""
        import numpy as np

        return np.random.randint(low, high, size=size)


def run_penstock(path: Path) -> Line:
    """Run a graph by Penstock."""
    import numpy as np

    import penstock

    np.random.seed(SEED)
    np.random.default_rng = lambda *_: OldGenerator()  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        result = penstock.run(path, directory=folder, isolation="thread")
        counts = Counter(int(state) for state, _ in result.states.values())
        return {"seconds": result.seconds, "status": result.status, "states": counts}


def run_ancestor(path: Path) -> Line:
    """Run a graph by the ancestor."""
    os.environ["DLG_ROOT"] = tempfile.mkdtemp()
    import logging

    import numpy as np
    from dlg.manager.node_manager import NodeManager
    from graph import free_port

    for name in (None, "dlg"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    np.random.seed(SEED)
    specs = json.loads(path.read_text())
    drops = [spec for spec in specs if "oid" in spec]
    roots = [spec["oid"] for spec in drops if not spec.get("inputs") and not spec.get("producers")]
    manager = NodeManager(host="127.0.0.1", rpc_port=free_port(), events_port=free_port(), max_threads=8)
    manager.createSession("s")
    manager.addGraphSpec("s", specs)
    began = time.perf_counter()
    manager.deploySession("s", roots)
    while (status := manager.getSessionStatus("s")) < 4:
        time.sleep(0.002)
    seconds = time.perf_counter() - began
    counts = Counter(int(manager.sessions["s"].drops[spec["oid"]].status) for spec in drops)
    return {
        "seconds": seconds,
        "status": {4: "FINISHED", 5: "CANCELLED", 6: "FAILED"}.get(status, str(status)),
        "states": counts,
    }


ENGINES = {"penstock": run_penstock, "ancestor": run_ancestor}


def compare(name: str, ours: list[Line], theirs: list[Line]) -> Line:
    """Return the line that sets the two engines side by side."""
    line: Line = {"family": "real", "graph": name}
    pick = {"": statistics.median, "_min": min}
    for suffix, choose in pick.items():
        mine, other = (choose(one["seconds"] for one in lines) for lines in (ours, theirs))
        line |= {f"penstock_s{suffix}": mine, f"ancestor_s{suffix}": other}
        line |= {f"ratio{suffix}": mine / other, f"more_s{suffix}": mine - other}
    if line["ancestor_s"] > LONG_S:
        line |= {"goal": f"ratio <= {RATIO_GOAL}", "met": line["ratio"] <= RATIO_GOAL}
    else:
        line |= {"goal": f"more_s <= {MORE_GOAL_S:.3f}", "met": line["more_s"] <= MORE_GOAL_S}
    line["same_outcome"] = all(
        one[key] == ours[0][key] for one in (*ours, *theirs) for key in ("status", "states")
    )
    if name in SLEEPS_ARE_DRAWN:
        import numpy as np

        sleeps = float(np.random.RandomState(SEED).random_sample(SLEEPS_ARE_DRAWN[name]).sum())
        line |= {
            "sleeps_s": sleeps,
            "ratio_without_sleeps": (line["penstock_s"] - sleeps) / (line["ancestor_s"] - sleeps),
        }
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()}


def one(engine: str, name: str, path: Path) -> Line:
    """Run one graph once in this process."""
    return {"family": "real", "graph": name, "engine": engine} | ENGINES[engine](path)


def main() -> None:
    """Run the rounds and print lines and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--graphs", type=Path, default=HERE.parent.parent / "shared" / "graphs", metavar="FOLDER"
    )
    parser.add_argument(
        "--names", help="graphs, with commas between; all *.pgt.json of the folder unless given"
    )
    parser.add_argument(
        "--ancestor", metavar="PATH", help="a Python that has the ancestor; Penstock alone without it"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit-s", type=float, default=60, help="seconds after which a run counts as hung")
    parser.add_argument("--one", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    path = options.graphs / f"{options.names}.pgt.json"
    if options.one:
        leave_after(lambda: one(options.one, options.names, path))
    if not options.graphs.is_dir():
        sys.exit(f"no folder {options.graphs}; give one with --graphs")
    found = sorted(path.name.removesuffix(".pgt.json") for path in options.graphs.glob("*.pgt.json"))
    for name in options.names.split(",") if options.names else found:
        arguments = ("--graphs", str(options.graphs), "--names", name)
        pythons = {"penstock": sys.executable} | ({"ancestor": options.ancestor} if options.ancestor else {})
        cases = [Case(engine, python, arguments) for engine, python in pythons.items()]
        played = play(__file__, cases, options.rounds, options.limit_s)
        for lines in played.values():
            show(medians(lines, "seconds"))
        if len(played) == len(ENGINES):
            show(compare(name, played["penstock"], played["ancestor"]))


if __name__ == "__main__":
    main()
