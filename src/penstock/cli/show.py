# SPDX-License-Identifier: Apache-2.0
"""`penstock show` and `penstock logs`: what is left of a run, from its folder alone."""

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from penstock.cli.report import FailureText, found_as, handle, tell_failures, tell_outcome
from penstock.cli.terminal import console, plain, print_json, short, table
from penstock.engine.states import AppState, DropState
from penstock.graph.problems import did_you_mean
from penstock.runtime.folder import Folder, find_folder
from penstock.runtime.result import RUNS

__all__ = ["logs", "show"]

_BAD = 2
_MOST_FAILURES = 5
_MOST_DROPS = 20


def show(options: Namespace) -> int:
    """Summarise a run."""
    folder = find_folder(options.session, RUNS)
    outcome = folder.read_session()
    failures = list(folder.read_lines("errors.jsonl"))
    if options.json:
        print_json({**outcome, "failures": failures})
        return 0
    out = console(sys.stdout)
    found = found_as(outcome["session"], folder.directory)
    counts = Counter(DropState(drop["status"]) for drop in outcome["drops"].values())
    status, seconds, absorbed = outcome["status"], outcome["seconds"], outcome.get("absorbed", ())
    tell_outcome(out, outcome["session"], status, seconds, counts, len(absorbed))
    _tell_folder(out, folder)
    out.print()
    _tell_drops(out, outcome)
    if failures:
        out.print()
        texts = [
            FailureText(**{**_NOTHING, **failure}, handle=handle(failure["uid"], outcome["drops"]))
            for failure in failures[:_MOST_FAILURES]
        ]
        tell_failures(out, texts, len(failures), found)
    return 0


_NOTHING: dict[str, Any] = {"traceback": "", "inputs": ()}


def _tell_folder(out: Console, folder: Folder) -> None:
    out.print(Text.assemble(("folder    ", "bold"), plain(str(folder.directory.absolute()))), soft_wrap=True)


def _tell_drops(out: Console, outcome: Mapping[str, Any]) -> None:
    """Print the drops with their states: those that need a look first."""
    rows = table(("DROP", "STATE", "EXECUTION"))
    good = (DropState.COMPLETED, DropState.SKIPPED)
    drops = sorted(outcome["drops"].items(), key=lambda item: item[1]["status"] in good)
    for uid, drop in drops[:_MOST_DROPS]:
        run = drop["execStatus"]
        rows.add_row(
            short(uid, 52), DropState(drop["status"]).name, "" if run is None else AppState(run).name
        )
    if len(drops) > _MOST_DROPS:
        rows.add_row(f"... and {len(drops) - _MOST_DROPS:,} more (--json lists all)")
    out.print(rows)


def logs(options: Namespace) -> int:
    """Print the output and failures of one drop, or of all."""
    folder = find_folder(options.session, RUNS)
    outcome = folder.read_session()
    uid = None
    if options.drop is not None:
        found = _find(options.drop, outcome["drops"])
        if len(found) != 1:
            _tell_not_found(options.drop, found, outcome["drops"])
            return _BAD
        uid = found[0]
    told = _print(_pieces(folder, uid), headings=uid is None)
    if not told:
        what = "no drop printed anything" if uid is None else f"{uid} printed nothing"
        state = "" if uid is None else f"; it ended {DropState(outcome['drops'][uid]['status']).name}"
        sys.stderr.write(f"penstock: {what}{state}\n")
    return 0


def _find(word: str, uids: Mapping[str, Any]) -> list[str]:
    """Return the drops that a word means: the one of that uid, else those that begin or end so."""
    if word in uids:
        return [word]
    return [uid for uid in uids if uid.startswith(word) or uid.endswith(word)] if word else []


def _tell_not_found(word: str, found: list[str], uids: Mapping[str, Any]) -> None:
    if found:
        some = "".join(f"  {uid}\n" for uid in found[:_MOST_DROPS])
        sys.stderr.write(f"penstock: {len(found)} drops begin or end with {word!r}:\n{some}")
        return
    hint = did_you_mean(word, uids) or "penstock show lists the drops"
    sys.stderr.write(f"penstock: this run has no drop {word!r}; {hint}\n")


def _pieces(folder: Folder, uid: str | None) -> Iterator[tuple[str, str]]:
    """Yield (drop, text): what was printed in order, then the failures."""
    for line in folder.read_lines("log.jsonl"):
        if uid is None or line["drop"] == uid:
            yield line["drop"], line["text"]
    for failure in folder.read_lines("errors.jsonl"):
        if uid is None or failure["uid"] == uid:
            text = failure.get("traceback") or f"{failure['error']}: {failure['message']}\n"
            yield failure["uid"], text


def _print(pieces: Iterator[tuple[str, str]], *, headings: bool) -> bool:
    """Print pieces as they are, with a heading where another drop begins; whether there were any."""
    last, at_start = None, True
    for uid, text in pieces:
        if uid != last:
            sys.stdout.write("" if at_start else "\n")
            if headings:
                sys.stdout.write(f"==> {plain(uid) or 'the session'} <==\n")
            last, at_start = uid, True
        sys.stdout.write(text)
        at_start = text.endswith("\n") if text else at_start
    sys.stdout.write("" if at_start else "\n")
    return last is not None
