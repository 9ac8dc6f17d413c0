# SPDX-License-Identifier: Apache-2.0
"""What people are told about a run: how it began, how it ended, what failed and why, and what to do next."""

import os
import re
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from penstock import __version__
from penstock.cli.source import tell_warnings
from penstock.cli.terminal import human_bytes, human_seconds, plain, short, table, tell
from penstock.drops.data import DataDrop
from penstock.engine.states import DropState
from penstock.graph import analyse
from penstock.graph.links import APP
from penstock.runtime.result import RUNS, RunResult
from penstock.runtime.session import Session

__all__ = [
    "FailureText",
    "found_as",
    "handle",
    "tell_end",
    "tell_failures",
    "tell_outcome",
    "tell_outputs",
    "tell_start",
]

_MOST_FAILURES = 3
_MOST_WARNINGS = 5
_MOST_RESULTS = 5
_MOST_LINES = 6
_INDENT = 10
_LOOKS = {"FINISHED": "bold green", "FAILED": "bold red", "CANCELLED": "bold magenta"}
_FRAME = re.compile(r'^ *File "(?P<file>.+)", line (?P<line>\d+), in (?P<name>.+)$', re.MULTILINE)
_LONG_UID, _SHORTEST_HANDLE = 32, 8
_JOINT = re.compile(r"[-_/.]")
# Ours and Python's; libraries by the look of their folder, as a run may have been on another machine.
_HOUSES = tuple(
    f"{folder}{os.sep}"
    for folder in (Path(__file__).resolve().parent.parent, *map(sysconfig.get_path, ("stdlib", "platstdlib")))
)
_LIBRARY = re.compile(r"[\\/](site-packages|dist-packages|lib(64)?[\\/]python3(\.\d+)?t?)[\\/]")


class FailureText(NamedTuple):
    """One failure as it is shown.

    Attributes:
        label: what people call the drop, "" for its uid.
        handle: a short name of the drop for the command line, "" for its uid.
        affected: how many drops behind it were not done because of it, None where that is not known.
    """

    uid: str
    error: str
    message: str
    traceback: str
    inputs: Sequence[Mapping[str, Any]]
    label: str = ""
    handle: str = ""
    affected: int | None = None


def tell_start(out: Console, session: Session, graph: str) -> None:
    """Say what is about to run on a terminal, where somebody waits; the first warnings everywhere."""
    warnings = session.prepared.warnings
    if warnings:
        tell_warnings(out, warnings, f"penstock check {_quoted(graph)}", most=_MOST_WARNINGS)
    if not out.is_terminal:
        return
    drops, apps = len(session.prepared.graph), session.prepared.wiring.kinds.count(APP)
    _tell(out, "penstock", f"{__version__}   session {session.session_id}   (Ctrl-C stops)", "bold")
    told = f"{drops:,} drops: {drops - apps:,} data, {apps:,} apps"
    if warnings:
        told += f"; {_some(len(warnings), 'warning')}, see penstock check {_quoted(graph)}"
    _tell(out, "graph", told)


def tell_end(out: Console, session: Session, result: RunResult, why: str) -> None:
    """Say how a run ended.

    Args:
        why: it was cancelled, "" where it was not.
    """
    found = found_as(session.session_id, session.directory)
    if result.errors:
        explained = _Explainer(session)
        failures = [explained.failure(failure) for failure in result.errors[:_MOST_FAILURES]]
        tell_failures(out, failures, len(session.failures), found)
    tell_outcome(
        out, result.session_id, result.status, result.seconds, session.counts(), len(result.absorbed)
    )
    if why:
        _tell(out, "because", why)
    for note in result.notes:
        _tell(out, "warning", plain(note), "bold yellow")
    _line(out, "results", f"in {_near(session.directory)}")
    if result.ok:
        _tell_results(out, session)
    _line(out, "next", f"penstock show {found}")
    _line(out, "", f"penstock logs {found}" + ("" if result.ok else "  [DROP]"))


def tell_outcome(
    out: Console, session: str, status: str, seconds: float, counts: Mapping[DropState, int], absorbed: int
) -> None:
    """Say how a run ended in a line or two.

    Args:
        absorbed: how many failures were borne by error thresholds.
    """
    words = ", ".join(f"{count:,} {state.name.lower()}" for state, count in sorted(counts.items()) if count)
    told = f"session {plain(session)} in {human_seconds(seconds)}: {_some(sum(counts.values()), 'drop')}, {words}"
    _tell(out, "finished" if status == "FINISHED" else plain(status), told, _LOOKS.get(status, "bold"))
    if absorbed:
        _tell(out, "absorbed", f"{_some(absorbed, 'failure')} within the thresholds of all apps behind them")


def tell_failures(out: Console, failures: Iterable[FailureText], count: int, found: str) -> None:
    """Print the first failures in full and the number of the others."""
    told = 0
    for failure in failures:
        _tell_failure(out, failure, found)
        told += 1
    if count > told:
        _line(out, "", f"... and {_some(count - told, 'more failure')}: penstock logs {found}")


def _tell_failure(out: Console, failure: FailureText, found: str) -> None:
    label = Text(plain(failure.label) + "  ", "bold") if failure.label else Text()
    who = short(failure.uid, 40) if failure.uid else Text("the session")
    _tell(out, "failed", Text.assemble(label, who), "bold red")
    message = failure.message.removeprefix(f"drop {failure.uid}: ")
    lines = plain_lines(f"{failure.error}: {message}")
    for line in lines[:_MOST_LINES]:
        _tell(out, "", Text(line, "red"))
    if len(lines) > _MOST_LINES:
        _tell(out, "", f"[{len(lines) - _MOST_LINES} more lines in the log]")
    if place := _place(failure.traceback):
        _tell(out, "", Text(f"at {place}", "dim"))
    for k, given in enumerate(failure.inputs[:_MOST_RESULTS]):
        size = "" if given["size"] is None else f", {human_bytes(given['size'])}"
        text = Text.assemble("inputs    " if k == 0 else "          ", short(given["uid"], 40))
        _tell(out, "", text.append(f"  {plain(given['status'].lower())}{size}"))
    if len(failure.inputs) > _MOST_RESULTS:
        _tell(out, "", f"          ... and {len(failure.inputs) - _MOST_RESULTS} more")
    if failure.affected:
        _tell(out, "", f"affected  {_some(failure.affected, 'drop')} downstream")
    if failure.uid:
        _line(out, "", f"log       penstock logs {found} {_quoted(failure.handle or failure.uid)}")


def handle(uid: str, uids: Iterable[str]) -> str:
    """Return a short end of a long uid that `penstock logs` takes for it, as it is nobody else's."""
    if len(uid) <= _LONG_UID:
        return uid
    ends = [uid[match.end() :] for match in _JOINT.finditer(uid)]
    short_enough = [end for end in reversed(ends) if _SHORTEST_HANDLE <= len(end) <= _LONG_UID]
    for end in short_enough[:3]:
        if sum(other.endswith(end) or other.startswith(end) for other in uids) == 1:
            return end
    return uid


def plain_lines(text: str) -> list[str]:
    """Return the lines of a text, each harmless, without empty ones."""
    return [plain(line) for line in text.splitlines() if line.strip()]


def _place(traceback: str) -> str:
    """Return where in the user's code a failure was raised, "" where it was in ours."""
    frames = [match for match in _FRAME.finditer(traceback) if _is_users(match["file"])]
    if not frames:
        return ""
    last = frames[-1]
    return f"{_near(Path(last['file']))}:{last['line']} in {plain(last['name'])}"


def _is_users(file: str) -> bool:
    return not file.startswith((*_HOUSES, "<frozen ")) and _LIBRARY.search(file) is None


class _Explainer:
    """Adds to a failure what the session knows of its drop."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._graph = session.prepared.graph

    def failure(self, failure: Any) -> FailureText:  # Any: runtime.failures.Failure or its JSON twin
        index = self._graph.index.get(failure.uid, -1) if failure.uid else -1
        inputs = [{"uid": given.uid, "status": given.status, "size": given.size} for given in failure.inputs]
        text = FailureText(failure.uid, failure.error, failure.message, failure.traceback, inputs)
        if index < 0:
            return text
        name = self._graph.fields(index).get("name")
        cls = (self._graph.drops[index].dropclass or "").rpartition(".")[2]
        label = f"{name} ({cls})" if isinstance(name, str) and name else cls
        return text._replace(
            label=label,
            handle=handle(failure.uid, [drop.key for drop in self._graph]),
            affected=self._affected(index),
        )

    def _affected(self, index: int) -> int:
        wiring, state = self._session.prepared.wiring, self._session.flow.state
        lost = (DropState.ERROR, DropState.SKIPPED)
        seen, queue = {index}, [index]
        for i in queue:  # grows while we walk
            for j in wiring.after[i]:
                if j not in seen and state[j] in lost:
                    seen.add(j)
                    queue.append(j)
        return len(seen) - 1


def tell_outputs(out: Console, result: RunResult) -> None:
    """Print all data there is at the end."""
    rows = table(("DATA", "SIZE", "SHA-256"), numbers=(1,))
    for uid, output in result.outputs():
        rows.add_row(short(uid), human_bytes(output["size"]), output["sha256"][:16])
    out.print(rows)
    out.print()


def _tell_results(out: Console, session: Session) -> None:
    """Say where the data is that nobody in the graph consumed; what was in memory only is gone with us."""
    in_memory = 0
    files: list[tuple[Path, int]] = []
    for i in islice(analyse.leaves(session.prepared.wiring), 1000):
        drop = (
            None
            if session.flow.is_app(i) or session.flow.state[i] != DropState.COMPLETED
            else session.drop(i)
        )
        path = getattr(drop, "path", None)
        if isinstance(path, str | Path):
            files.append((Path(path), drop.size if isinstance(drop, DataDrop) else 0))
        elif isinstance(drop, DataDrop) and drop.holds_bytes:
            in_memory += 1
    for path, size in files[:_MOST_RESULTS]:
        _line(out, "", f"{_near(path)}  {human_bytes(size)}")
    if len(files) > _MOST_RESULTS:
        _line(out, "", f"... and {_some(len(files) - _MOST_RESULTS, 'more file')}")
    if in_memory:
        _line(
            out,
            "",
            f"{_some(in_memory, 'result')} in memory only: --outputs lists them, file drops keep them",
        )


def found_as(session_id: str, directory: Path) -> str:
    """Return how to name a session on the command line: its id where that is enough, else its folder."""
    if directory.absolute() == (RUNS / session_id).absolute():
        return session_id
    return _quoted(_near(directory))


def _near(path: Path) -> str:
    try:
        return plain(str(path.relative_to(Path.cwd())))
    except (ValueError, OSError):  # it is elsewhere, or the current folder is gone
        return plain(str(path))


def _quoted(word: str) -> str:
    return quote(plain(word))


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _tell(out: Console, heading: str, text: str | Text, look: str = "bold") -> None:
    tell(out, Text(heading, look), text, indent=_INDENT)


def _line(out: Console, heading: str, text: str | Text, look: str = "") -> None:
    # One line however long it is: what is on it may be copied into a shell.
    out.print(Text.assemble((f"{heading:<{_INDENT}}", look or "bold"), text), soft_wrap=True)
