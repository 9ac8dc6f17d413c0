"""What a deployed session holds per drop beyond the graph's text and specifications, and what stays after it.

    python benchmarks/memory.py
    python benchmarks/memory.py --drops 100000 --rounds 3

Every run is a fresh process. It makes the layered graph of `graph.py`, runs a small session first (so that
code, threads and caches are there), then measures: with the text and the decoded specifications in memory (the
base), after deploy, after the run and `close`, after the session and its tables are deleted, and after the same
once more: what grows from session to session without end is a leak, what stays is the allocator's.

Cases: `rss` is resident memory, with free memory given back to the system before each look; `traced` counts
what Python's allocators hold, to the byte, and is slow, so at most 100,000 drops.

Figures, in bytes per drop: `text`, `specs`; `deployed` and `finished` beyond them. `returned` is the part of
`finished` that came back after the first session; `left_kib` and `left_again_kib` are what did not after the
first and the second, not per drop: for `rss` that is a few arenas of Python's allocator that hold something else.
"""

import argparse
import gc
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import graph as shapes
from rounds import Case, Line, leave_after, medians, play, show, trimmed_rss_bytes

TRACED_AT_MOST = 100_000
GOAL_BYTES = 350


def traced_bytes() -> int:
    """Return what Python's allocators hold now."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


LOOKS: dict[str, Callable[[], int]] = {"rss": trimmed_rss_bytes, "traced": traced_bytes}


def text_of(drops: int) -> bytes:
    """Return the layered graph as text."""
    import msgspec

    specs, _ = shapes.specifications(
        *shapes.make_shape("layered", drops), shapes.DATA_CLASS, shapes.APP_CLASS
    )
    return msgspec.json.encode(specs)


def one_session(text: bytes, specs: tuple, folder: Path, look: Callable[[], int]) -> tuple[int, int]:
    """Deploy, run and close a session; return what there was after deploy and after close."""
    from penstock.graph.spec import Graph
    from penstock.runtime.result import new_session

    session = new_session(Graph(text, specs, has_record=False), directory=folder, isolation="thread")
    session.deploy()
    deployed = look()
    session.trigger()
    session.wait()
    session.close()
    done = session.counts()[2]  # type: ignore[index]
    assert done == len(specs), (done, len(specs))
    return deployed, look()


def one(case: str, drops: int) -> Line:
    """Measure once in this process."""
    import msgspec

    from penstock.graph.spec import DropSpec

    look = LOOKS[case]
    decoder = msgspec.json.Decoder(tuple[DropSpec, ...])
    with tempfile.TemporaryDirectory() as folder:
        small = text_of(1000)
        one_session(small, decoder.decode(small), Path(folder, "small"), look)
        if case == "traced":
            tracemalloc.start()
        text = text_of(drops)
        with_text = look()
        specs = decoder.decode(text)
        base = look()
        deployed, finished = one_session(text, specs, Path(folder, "first"), look)
        left = look()
        one_session(text, specs, Path(folder, "second"), look)
        left_again = look()
    total = len(specs)
    figures = {
        "text": len(text),
        "specs": base - with_text,
        "deployed": deployed - base,
        "finished": finished - base,
    }
    line: Line = {"family": "memory", "case": case, "n": total}
    line |= {f"{name}_bytes_per_drop": value / total for name, value in figures.items()}
    line |= {"left_kib": (left - base) / 1024, "left_again_kib": (left_again - base) / 1024}
    return line | {"returned": 1 - (left - base) / (finished - base)}


def main() -> None:
    """Run the rounds and print a line per case and size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--drops", type=int, action="append", help="may be repeated; 100,000 and 1,000,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit-s", type=float, default=300, help="seconds after which a run counts as hung")
    parser.add_argument("--one", choices=LOOKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        leave_after(lambda: one(options.one, options.drops[0]))
    for drops in options.drops or (100_000, 1_000_000):
        names = [name for name in LOOKS if name != "traced" or drops <= TRACED_AT_MOST]
        cases = [Case(name, sys.executable, ("--drops", str(drops))) for name in names]
        for lines in play(__file__, cases, options.rounds, options.limit_s).values():
            line = medians(lines, "deployed_bytes_per_drop")
            show(line | {"goal": GOAL_BYTES, "met": line["deployed_bytes_per_drop"] <= GOAL_BYTES})


if __name__ == "__main__":
    main()
