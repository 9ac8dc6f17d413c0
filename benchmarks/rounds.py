"""What the benchmarks share: fresh processes that take turns, medians, and this process's memory.

A script calls itself with `--one CASE` in a process of its own, which prints one JSON line; `play` does that
for each case in turn, round after round, so that a machine that is busy for a while is busy for all of them.
"""

import contextlib
import ctypes
import gc
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

Line = dict[str, Any]

_GIVE_BACK = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries than glibc have none


class Case(NamedTuple):
    """One thing to measure.

    Attributes:
        name: what `--one` is given.
        python: the interpreter that runs it.
        arguments: further arguments of the script.
    """

    name: str
    python: str
    arguments: Sequence[str] = ()


def turn(script: str, case: Case, limit_s: float) -> Line | None:
    """Run one case once in a fresh process; None, with the reason on stderr, where it gives no figures.

    The process gets a temporary folder of its own that is removed afterwards, and is killed with all its
    children when the time is up.
    """
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="penstock-bench-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [case.python, script, "--one", case.name, *case.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": folder},
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            print(f"{case.name}: no result after {limit_s:g} s", file=sys.stderr)
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if not lines:
        print(f"{case.name}: {(err.strip().splitlines() or ['no output'])[-1]}", file=sys.stderr)
        return None
    result: Line = json.loads(lines[-1])
    return result | {"load": round(load, 2)}


def play(script: str, cases: Sequence[Case], rounds: int, limit_s: float) -> dict[str, list[Line]]:
    """Run all cases in turn, `rounds` times; return the lines of each case that gave any."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a process of ours ends with this one
    lines: dict[str, list[Line]] = {}
    for _ in range(rounds):
        for case in cases:
            line = turn(script, case, limit_s)
            if line is not None:
                lines.setdefault(case.name, []).append(line)
    return lines


def medians(lines: Sequence[Line], main: str) -> Line:
    """Return one line with the median of each figure, and the least and most of the main one."""
    merged = dict(lines[0])
    for key, value in merged.items():
        if isinstance(value, float):
            merged[key] = round(statistics.median(line[key] for line in lines), 4)
    values = [line[main] for line in lines]
    return merged | {
        f"{main}_min": round(min(values), 4),
        f"{main}_max": round(max(values), 4),
        "repeats": len(lines),
    }


def show(line: Mapping[str, Any]) -> None:
    """Print one line of JSON."""
    print(json.dumps(line), flush=True)


def leave_after(measure: Callable[[], Line]) -> NoReturn:
    """Print the figures of a fresh process and end it; threads that a peer left behind do not keep it."""
    try:
        show(measure())
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def rss_bytes() -> int:
    """Return this process's resident memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def trimmed_rss_bytes() -> int:
    """Return this process's resident memory after free memory went back to the system."""
    gc.collect()
    if _GIVE_BACK is not None:
        _GIVE_BACK(0)
    return rss_bytes()
