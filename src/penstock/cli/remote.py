# SPDX-License-Identifier: Apache-2.0
"""The verbs that ask a manager: ls, status, cancel, rm, nodes; show and logs with --url."""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from penstock.cli.account import (
    Drops,
    failures_of,
    info_json,
    nodes_of,
    tell_drops,
    tell_session,
)
from penstock.cli.contact import call_again, contact, url_of
from penstock.cli.exits import BAD, FAILED, GOOD
from penstock.cli.printed import find_drop, print_pieces, tell_nothing
from penstock.cli.report import FailureText, tell_failures
from penstock.cli.terminal import console, plain, print_json, short, table
from penstock.engine.states import DropState
from penstock.errors import NodeDown, PenstockError, Unauthorized
from penstock.managers.api import Manager, SessionInfo
from penstock.rest.client import ManagerClient

__all__ = ["cancel", "logs", "ls", "nodes", "rm", "show", "status"]

_MOST_FAILURES = 5
_MOST_LOGGED_FAILURES = 20
_MOST_NODES = 50


def ls(options: Namespace) -> int:
    """List sessions, in the order of their creation."""
    with contact(options) as manager:
        infos = manager.sessions()
    if options.json:
        print_json({"url": url_of(options), "sessions": [info_json(info, url_of(options)) for info in infos]})
        return GOOD
    if not infos:
        sys.stderr.write(f"penstock: the manager at {url_of(options)} has no sessions\n")
        return GOOD
    rows = table(("SESSION", "STATE", "DROPS", "SECONDS", ""), numbers=(2, 3))
    for info in infos:
        note = "stalled" if info.stalled else (info.causes[0] if info.causes else "")
        rows.add_row(
            plain(info.session_id), info.state.name, f"{info.size:,}", f"{info.seconds:.1f}", short(note, 60)
        )
    console(sys.stdout).print(rows)
    return GOOD


def status(options: Namespace) -> int:
    """Tell how a session stands."""
    drops = Drops()
    with contact(options) as manager:
        info = manager.session(options.session)
        drops.ask(manager, options.session)
    if options.json:
        counts = {state.name: count for state, count in sorted(drops.counts().items())}
        print_json(info_json(info, url_of(options)) | {"drops": counts})
        return GOOD
    out = console(sys.stdout)
    tell_session(out, info, drops)
    found = list(nodes_of(info.status))
    if found:
        out.print()
        rows = table(("NODE", "STATE"))
        for name, state in found[:_MOST_NODES]:
            rows.add_row(short(name, 60), state)
        if len(found) > _MOST_NODES:
            rows.add_row(f"... and {len(found) - _MOST_NODES:,} more (--json lists all)")
        out.print(rows)
    return GOOD


def nodes(options: Namespace) -> int:
    """List the nodes below a manager."""
    with contact(options) as manager:
        level, infos = manager.level, manager.nodes()
    if options.json:
        told = [
            {"address": info.address, "state": info.state.value, "silent_s": round(info.silent_s, 3)}
            for info in infos
        ]
        print_json({"url": url_of(options), "level": level.value, "nodes": told})
        return GOOD
    if not infos:
        sys.stderr.write(f"penstock: the {level.value} at {url_of(options)} has no nodes below it\n")
        return GOOD
    rows = table(("NODE", "STATE", "SILENT"))
    for info in infos:
        rows.add_row(
            short(info.address, 60), info.state.value, f"{info.silent_s:.1f} s" if info.silent_s else ""
        )
    console(sys.stdout).print(rows)
    return GOOD


def cancel(options: Namespace) -> int:
    """Cancel sessions; 1 where that failed for any."""
    return _each(options, lambda manager, session_id: manager.cancel(session_id), "cancelled")


def rm(options: Namespace) -> int:
    """Cancel and forget sessions; 1 where that failed for any."""
    return _each(options, lambda manager, session_id: manager.destroy(session_id), "removed")


def _each(options: Namespace, act: Callable[[Manager, str], None], word: str) -> int:
    """Do something to each session, go on where it fails, and say what came of it."""
    outcomes: dict[str, PenstockError | None] = {}
    with contact(options) as manager:
        for session_id in dict.fromkeys(options.sessions):
            try:
                act(manager, session_id)
                outcomes[session_id] = None
            except Unauthorized:
                raise
            except PenstockError as exc:
                if _is_silent(exc, options):
                    raise
                outcomes[session_id] = exc
            if not options.json:
                _tell_one(session_id, outcomes[session_id], word)
    if options.json:
        print_json({"url": url_of(options), "sessions": {name: _one(exc) for name, exc in outcomes.items()}})
    return FAILED if any(outcomes.values()) else GOOD


def _is_silent(error: PenstockError, options: Namespace) -> bool:
    return isinstance(error, NodeDown) and error.address == url_of(options)


def _tell_one(session_id: str, error: PenstockError | None, word: str) -> None:
    if error is None:
        print(f"{word} {plain(session_id)}")
    else:
        sys.stderr.write(f"penstock: {plain(str(error))}\n")


def _one(error: PenstockError | None) -> dict[str, Any]:  # Any: plain JSON values
    return (
        {"ok": True} if error is None else {"ok": False, "error": {"code": error.code, "message": str(error)}}
    )


def show(options: Namespace) -> int:
    """Summarise a session of a manager."""
    drops = Drops()
    with contact(options) as manager:
        info = manager.session(options.session)
        drops.ask(manager, options.session)
        failures = failures_of(manager, options.session, drops, _MOST_FAILURES)
    if options.json:
        told = [{"uid": one.uid, "error": one.error, "message": one.message} for one in failures]
        print_json(info_json(info, url_of(options)) | {"drops": drops.as_json(), "failures": told})
        return GOOD
    _tell_shown(options, info, drops, failures)
    return GOOD


def _tell_shown(options: Namespace, info: SessionInfo, drops: Drops, failures: list[FailureText]) -> None:
    out = console(sys.stdout)
    tell_session(out, info, drops)
    if drops.states:
        out.print()
        tell_drops(out, drops.states)
    if failures:
        out.print()
        found = call_again(options, "logs", info.session_id).removeprefix("penstock logs ")
        tell_failures(out, failures, len(failures), found)


def logs(options: Namespace) -> int:
    """Print what the drops of a session of a manager printed, or one of them."""
    drops = Drops()
    with contact(options) as manager:
        manager.session(options.session)
        drops.ask(manager, options.session)
        uid = None
        if options.drop is not None:
            uid = find_drop(options.drop, drops.states, all_known=True)
            if uid is None:
                return BAD
        records = list(_records(manager, options.session, uid))
        failures = _failures(manager, options.session, drops, uid)
    if options.json:
        told = [{"uid": name, "message": text} for name, text in failures]
        print_json({"session": options.session, "records": records, "failures": told})
        return GOOD
    pieces = [(record["drop"], record["text"]) for record in records]
    pieces += [(name, f"{text}\n") for name, text in failures]
    if not print_pieces(pieces, headings=uid is None):
        state = DropState(drops.states[uid][0]) if uid else DropState.INITIALIZED
        tell_nothing(uid, state.name if state >= DropState.COMPLETED else "")
    return GOOD


def _records(manager: ManagerClient, session_id: str, uid: str | None) -> Iterator[Mapping[str, str]]:
    return iter(manager.log(session_id) if uid is None else manager.drop(session_id, uid).log)


def _failures(manager: Manager, session_id: str, drops: Drops, uid: str | None) -> Iterable[tuple[str, str]]:
    """Return the failures of one drop, or the first of all, each with its drop."""
    if uid is not None:
        text = manager.drop(session_id, uid).failure
        return [(uid, text)] if text else []
    found = failures_of(manager, session_id, drops, _MOST_LOGGED_FAILURES)
    return [(one.uid, f"{one.error}: {one.message}") for one in found]
