# SPDX-License-Identifier: Apache-2.0
"""`penstock show` and `penstock logs`: what is left of a run, from its folder alone."""

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from msgspec import to_builtins
from rich.console import Console
from rich.text import Text

from penstock.cli.past import PastDrop, PastRun, PastWorker, read_failures, read_log, read_past
from penstock.cli.printed import find_drop, print_pieces, tell_nothing
from penstock.cli.report import FailureText, found_as, handle, tell_failures, tell_outcome
from penstock.cli.terminal import console, plain, print_json, short, table, tell
from penstock.engine.states import DropState
from penstock.runtime.failures import Failure
from penstock.runtime.folder import Folder, find_folder
from penstock.runtime.result import RUNS

__all__ = ["logs", "show"]

_BAD = 2
_MOST_FAILURES = 5
_MOST_DROPS = 20
_INDENT = 10


def show(options: Namespace) -> int:
    """Summarise a run."""
    folder = find_folder(options.session, RUNS)
    past = read_past(folder)
    failures = list(read_failures(folder))
    if options.json:
        print_json({**folder.read_session(), "failures": to_builtins(failures)})
        return 0
    out = console(sys.stdout)
    found = found_as(past.session, folder.directory)
    if past.is_over:
        counts = Counter(drop.status for drop in (past.drops or {}).values())
        tell_outcome(out, past.session, past.status, past.seconds, counts, len(past.absorbed))
    else:
        _tell_not_over(out, past)
    _tell_folder(out, folder)
    if past.drops:
        out.print()
        _tell_drops(out, past.drops)
    if failures:
        out.print()
        texts = [_failure_text(failure, past) for failure in failures[:_MOST_FAILURES]]
        tell_failures(out, texts, len(failures), found)
    return 0


def _failure_text(failure: Failure, past: PastRun) -> FailureText:
    return FailureText(
        failure.uid,
        failure.error,
        failure.message,
        failure.traceback,
        to_builtins(failure.inputs),
        handle=handle(failure.uid, past.drops) if past.drops else "",
    )


def _tell_not_over(out: Console, past: PastRun) -> None:
    since = f", begun {past.started}" if past.started else ""
    if past.is_alive:
        state, why = "running", f"process {past.pid} is there; it has not ended"
    elif past.pid:
        state, why = "KILLED", f"process {past.pid} is gone; it did not come to its end"
    else:
        state, why = "UNKNOWN", "it has not ended, or was killed"
    told = plain(f"session {past.session}{since}: {why}")
    tell(out, Text(state, "bold magenta"), told, indent=_INDENT)


def _tell_folder(out: Console, folder: Folder) -> None:
    out.print(Text.assemble(("folder    ", "bold"), plain(str(folder.directory.absolute()))), soft_wrap=True)


def _tell_drops(out: Console, past: Mapping[str, PastDrop]) -> None:
    """Print the drops with their states: those that need a look first."""
    with_workers = any(drop.worker is not None for drop in past.values())
    rows = table(
        ("DROP", "STATE", "EXECUTION", *(("SLOT", "PID", "SECONDS", "PEAK MiB") if with_workers else ()))
    )
    good = (DropState.COMPLETED, DropState.SKIPPED)
    drops = sorted(past.items(), key=lambda item: item[1].status in good)
    for uid, drop in drops[:_MOST_DROPS]:
        run = drop.exec_status
        rows.add_row(short(uid, 52), drop.status.name, "" if run is None else run.name, *_worker(drop.worker))
    if len(drops) > _MOST_DROPS:
        rows.add_row(f"... and {len(drops) - _MOST_DROPS:,} more (--json lists all)")
    out.print(rows)


def _worker(worker: PastWorker | None) -> tuple[str, ...]:
    if worker is None:
        return ()
    return str(worker.slot), str(worker.pid), f"{worker.seconds:.3f}", f"{worker.peak_kib / 1024:.0f}"


def logs(options: Namespace) -> int:
    """Print the output and failures of one drop, or of all."""
    folder = find_folder(options.session, RUNS)
    past = read_past(folder)
    uid = None
    if options.drop is not None:
        uid = find_drop(options.drop, _uids(folder, past), all_known=past.drops is not None)
        if uid is None:
            return _BAD
    if options.json:
        _print_records(folder, past.session, uid)
    elif not print_pieces(_pieces(folder, uid), headings=uid is None):
        known = (past.drops or {}).get(uid or "")
        tell_nothing(uid, known.status.name if known else "")
    return 0


def _print_records(folder: Folder, session: str, uid: str | None) -> None:
    records = [to_builtins(line) for line in read_log(folder) if uid is None or line.drop == uid]
    failures = [
        to_builtins(failure) for failure in read_failures(folder) if uid is None or failure.uid == uid
    ]
    print_json({"session": session, "records": records, "failures": failures})


def _uids(folder: Folder, past: PastRun) -> Collection[str]:
    """Return the drops of a run: where it has not ended, those that were heard of."""
    if past.drops is not None:
        return past.drops
    lines, failures = read_log(folder), read_failures(folder)
    return dict.fromkeys([*(line.drop for line in lines), *(failure.uid for failure in failures)])


def _pieces(folder: Folder, uid: str | None) -> Iterator[tuple[str, str]]:
    """Yield (drop, text): what was printed in order, then the failures."""
    for line in read_log(folder):
        if uid is None or line.drop == uid:
            yield line.drop, line.text
    for failure in read_failures(folder):
        if uid is None or failure.uid == uid:
            yield failure.uid, failure.traceback or f"{failure.error}: {failure.message}\n"
