# SPDX-License-Identifier: Apache-2.0
"""`penstock submit`: a graph becomes a session of a manager; with `--wait` it is followed to its end."""

import json
import sys
import uuid
from argparse import Namespace
from contextlib import suppress
from threading import Event
from time import monotonic
from typing import Any

from rich.console import Console
from rich.text import Text

from penstock import __version__
from penstock.cli.account import ENDED_STATES, Drops, failures_of, info_json, tell_session
from penstock.cli.contact import call_again, contact, url_of
from penstock.cli.exits import BAD, FAILED, GOOD, INTERRUPTED, TIMEOUT, CommandError
from penstock.cli.progress import progress
from penstock.cli.report import tell_failures
from penstock.cli.source import graph_source, tell_warnings
from penstock.cli.terminal import console, plain, tell
from penstock.engine.states import SessionState
from penstock.errors import GraphInvalid, PenstockError, SessionExists
from penstock.graph.problems import Problem
from penstock.ids import parse_session_id
from penstock.managers.api import Change, Manager, SessionInfo
from penstock.rest.client import ManagerClient
from penstock.runtime.build import inspect, read_source

__all__ = ["News", "deploy", "submit"]

_INDENT = 10
_LONG_S = 600.0
"""How long a manager may take to read and deploy a graph of millions of drops."""

_LOOK_S = 10.0
"""How long we rely on being told."""

_TICK_S = 1.0
"""How long a bar may stand still."""

_PAUSE_S = 0.2
"""Between two looks at the states of drops."""

_MOST_FAILURES = 3
_MOST_WARNINGS = 5
_UNKNOWN_CLASS = "PS206"


def submit(options: Namespace) -> int:
    """Run a graph on a manager's nodes; without --wait 0 when it runs, else as `penstock run`."""
    if options.timeout is not None and not options.wait:
        raise CommandError("usage", "--timeout is how long to wait: give --wait with it", BAD)
    if options.graph == options.token_file == "-":
        raise CommandError("usage", "graph and token cannot both come from standard input", BAD)
    session_id = parse_session_id(options.session or uuid.uuid4().hex[:8])
    text, warnings = _read(options.graph)
    stderr = console(sys.stderr)
    tell_warnings(stderr, warnings, f"penstock check {plain(options.graph)}", most=_MOST_WARNINGS)
    with contact(options, _LONG_S) as client:
        deploy(client, session_id, text)
        if stderr.is_terminal or not options.wait:
            _tell_start(stderr, options, session_id)
        if not options.wait:
            if options.json:
                print(json.dumps(info_json(client.session(session_id), url_of(options))))
            return GOOD
        return _wait(options, client, session_id)


def _read(name: str) -> tuple[bytes, list[Problem]]:
    """Return the text of a graph with its warnings.

    Classes that are not installed here are no reason to refuse it: what counts is what the nodes have.

    Raises:
        GraphInvalid: with everything that is wrong with it.
    """
    text, problems = read_source(graph_source(name))
    if text is not None:
        problems = [problem for problem in inspect(text)[1] if problem.code != _UNKNOWN_CLASS]
    if text is None or any(problem.is_error for problem in problems):
        raise GraphInvalid(problems)
    return text, problems


def deploy(manager: Manager, session_id: str, text: bytes) -> None:
    """Make a session of a graph and trigger its roots; one that does not get so far is removed again."""
    is_deployed = False
    try:
        manager.create_session(session_id)
        manager.add_graph(session_id, text)
        manager.deploy(session_id)
        manager.trigger(session_id)
        is_deployed = True
    except SessionExists:
        is_deployed = True  # somebody else's, which must stay
        raise
    finally:
        if not is_deployed:
            with suppress(
                PenstockError
            ):  # the error under way says more; most often the session is not there
                manager.destroy(session_id)


def _tell_start(out: Console, options: Namespace, session_id: str) -> None:
    leave = "   (Ctrl-C leaves it running)" if options.wait else ""
    _tell(out, "penstock", f"{__version__}   session {session_id} at {url_of(options)}{leave}")
    if not options.wait:
        _line(out, "next", call_again(options, "status", session_id))


class News:
    """What the manager tells of one session, for whoever waits for it.

    Attributes:
        anything: something has happened.
        state: the session's state has changed, or it is not known what has happened.
    """

    def __init__(self, session_id: str) -> None:
        self.anything = Event()
        self.state = Event()
        self._session_id = session_id

    def hear(self, change: Change) -> None:
        """Take a change; called on a thread of the client."""
        if change.kind != "gap" and change.session_id != self._session_id:
            return
        if change.kind != "drops":
            self.state.set()
        self.anything.set()

    def wait(self, left_s: float, *, for_drops: bool) -> None:
        """Wait until there is something to look at, and not more often than anybody can read."""
        if for_drops:
            self.anything.wait(min(left_s, _TICK_S))
        else:
            self.state.wait(min(left_s, _LOOK_S))
        self.state.wait(min(left_s, _PAUSE_S))
        self.anything.clear()
        self.state.clear()


def _wait(options: Namespace, client: ManagerClient, session_id: str) -> int:
    """Follow a session to its end; return the exit code."""
    drops = Drops()
    try:
        info = _follow(options, client, session_id, drops)
        reason = 0 if info.state in ENDED_STATES else TIMEOUT
    except KeyboardInterrupt:
        info, reason = client.session(session_id), INTERRUPTED
    drops.ask(client, session_id)
    _report(options, client, info, drops, reason)
    return reason or (GOOD if info.state is SessionState.FINISHED else FAILED)


def _follow(options: Namespace, client: ManagerClient, session_id: str, drops: Drops) -> SessionInfo:
    """Return what is known of a session when it has ended, or when the time is over."""
    end_s = float("inf") if options.timeout is None else monotonic() + options.timeout
    shows = options.progress or console(sys.stderr).is_terminal
    news = News(session_id)
    unlisten = client.listen(news.hear)
    info = client.session(session_id)
    try:
        with progress(sys.stderr, info.size, always=options.progress) as show:
            while info.state not in ENDED_STATES and (left_s := end_s - monotonic()) > 0:
                if shows:
                    drops.ask(client, session_id)
                    show(drops.counts(), ())
                news.wait(left_s, for_drops=shows)
                info = client.session(session_id)
    finally:
        unlisten()
    return info


def _report(options: Namespace, manager: Manager, info: SessionInfo, drops: Drops, reason: int) -> None:
    session_id = info.session_id
    failures = failures_of(manager, session_id, drops, _MOST_FAILURES)
    out = console(sys.stderr if options.json else sys.stdout)
    found = call_again(options, "logs", session_id).removeprefix("penstock logs ")
    tell_failures(out, failures, len(failures), found)
    tell_session(out, info, drops)
    if reason:
        why = f"the {options.timeout:g} s of --timeout are over" if reason == TIMEOUT else "interrupted"
        _tell(out, "left", f"{why}; the session goes on")
        _line(out, "", call_again(options, "cancel", session_id))
        _line(out, "next", call_again(options, "status", session_id))
    else:
        _line(out, "next", call_again(options, "show", session_id))
        _line(out, "", call_again(options, "logs", session_id))
    if options.json:
        outcome: dict[str, Any] = info_json(info, url_of(options))  # Any: plain JSON values
        print(json.dumps(outcome | {"drops": drops.as_json(), "failures": [_failure(f) for f in failures]}))


def _failure(failure: Any) -> dict[str, str]:  # Any: report.FailureText
    return {"uid": failure.uid, "error": failure.error, "message": failure.message}


def _tell(out: Console, heading: str, text: str) -> None:
    tell(out, Text(heading, "bold"), text, indent=_INDENT)


def _line(out: Console, heading: str, text: str) -> None:
    out.print(Text.assemble((f"{heading:<{_INDENT}}", "bold"), text), soft_wrap=True)
