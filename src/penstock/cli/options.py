# SPDX-License-Identifier: Apache-2.0
"""The verbs and their options. A verb is named by text, `module:function` of this package, so that nothing is imported.

Rule 1: this module imports no verb, and nothing but the standard library and the version.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from penstock import __version__

__all__ = ["UsageError", "parser"]

DEFAULT_URL = "http://127.0.0.1:8000"

_EPILOG = """\
exit codes: 0 finished, 1 some drop failed, or one of several sessions could not be cancelled or removed,
            2 bad graph or usage, 3 no manager answers, or it refuses, 124 timeout, 130 interrupted
a first run: penstock run examples/averages.json
"""


class UsageError(Exception):
    """A command line that cannot be understood."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


class Parser(argparse.ArgumentParser):
    """Raises where argparse would print and exit, so that `--json` can answer in JSON.

    Attributes:
        any_order: an optional word may stand apart from the others, with options between them.
    """

    any_order = False

    def parse_known_args(  # type: ignore[override]  # the stub's overloads say no more than this
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        filled = argparse.Namespace() if namespace is None else namespace
        if not self.any_order:
            return super().parse_known_args(args, filled)
        self.any_order = False  # argparse comes back here for each of its two passes
        try:
            return self.parse_known_intermixed_args(args, filled)
        finally:
            self.any_order = True

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, self.format_usage())


_Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001  argparse has no public name for it


def parser() -> Parser:
    """Return what reads the command line; `verb` of its answer is `module:function`, None for no command."""
    found = Parser(
        prog="penstock",
        description="Run physical graphs: each drop wakes its consumers when its data is complete.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    found.add_argument("--version", action="version", version=f"penstock {__version__}")
    found.set_defaults(verb=None, at_url=None, url=None)
    verbs = found.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    _add_run(verbs)
    _add_graph_verbs(verbs)
    _add_past_verbs(verbs)
    for level, text in (
        ("node", "run a node manager: sessions run here"),
        ("island", "run an island manager over nodes"),
        ("master", "run a master manager over islands"),
    ):
        _add_manager(verbs, level, text)
    _add_submit(verbs)
    _add_session_verbs(verbs)
    _add_map(verbs)
    _add_keys(verbs)
    return found


def _verb(verbs: _Verbs, name: str, target: str, text: str) -> Parser:
    verb = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    verb.set_defaults(verb=target)
    return verb


# Graphs and runs on this machine


def _add_run(verbs: _Verbs) -> None:
    run = _verb(verbs, "run", "run:run", "run a graph to its end on this machine")
    _add_graph(run)
    run.add_argument("--session", metavar="ID", help="name of the session; default: made up")
    run.add_argument(
        "--workers", metavar="N", type=_count, help="apps that run at once; default: max(8, cores)"
    )
    run.add_argument(
        "--isolation",
        choices=("thread", "process"),
        help="run all apps on threads, or all in worker processes; default: users' code in worker processes",
    )
    run.add_argument("--dir", metavar="DIR", help="the session's own folder; default: ./penstock-runs/ID")
    run.add_argument("--timeout", metavar="S", type=_seconds, help="cancel the run after this many seconds")
    _add_progress(run)
    run.add_argument(
        "--outputs", action="store_true", help="list all data there is at the end, with size and SHA-256"
    )
    _add_json(run)


def _add_graph_verbs(verbs: _Verbs) -> None:
    check = _verb(verbs, "check", "check:check", "tell everything that is wrong with a graph, all at once")
    plan = _verb(
        verbs, "plan", "plan:plan", "tell what a graph will do: classes, critical path, load, traffic"
    )
    graph = _verb(verbs, "graph", "plan:graph", "draw a graph, or write it in stable order")
    for verb in (check, plan, graph):
        _add_graph(verb)
    _add_json(check)
    _add_json(plan)
    graph.add_argument(
        "--format", choices=("svg", "mermaid", "dot", "json"), default="svg", help="default: svg"
    )
    graph.add_argument("-o", "--output", metavar="FILE", help="where to write it; default: standard output")
    graph.add_argument("--run", metavar="SESSION|DIR", help="show the states of this run (svg)")


def _add_past_verbs(verbs: _Verbs) -> None:
    show = _verb(verbs, "show", "show:show", "summarise a run: its outcome, states, failures and where it is")
    logs = _verb(verbs, "logs", "show:logs", "print what drops printed, logged and failed with")
    explain = _verb(
        verbs, "explain", "explain:explain", "explain a code or a component; without NAME list all"
    )
    for verb, target in ((show, "remote:show"), (logs, "remote:logs")):
        verb.set_defaults(at_url=target)
        verb.add_argument(
            "session", metavar="SESSION|DIR", help="an id under ./penstock-runs, or a folder of a run"
        )
    logs.any_order = True
    logs.add_argument(
        "drop", metavar="DROP", nargs="?", help="uid, or a unique beginning or end of one; default: all"
    )
    for verb in (show, logs):
        _add_json(verb)
        _add_contact(verb, "ask the manager there instead of a folder here; SESSION is an id then", None)
    explain.add_argument(
        "name", metavar="NAME", nargs="?", help="for instance PS303, directory-in-use or CopyApp"
    )


# Managers


def _add_manager(verbs: _Verbs, level: str, text: str) -> None:
    verb = _verb(verbs, level, "serve:serve", text)
    verb.set_defaults(level=level, below=None)
    verb.add_argument("--host", default="127.0.0.1", help="name or address to bind, by which others know it")
    verb.add_argument("--port", type=_port, metavar="N", help="of REST; default 8000, 8001, 8002; 0: any")
    if level == "node":
        verb.add_argument("--events-port", type=_port, metavar="N", help="facts of other nodes; default 5555")
        verb.add_argument("--workdir", type=Path, metavar="DIR", help="where sessions have their folders")
        verb.add_argument("--workers", metavar="N", type=_count, help="apps that run at once")
        verb.add_argument(
            "--peers", type=_list, metavar="A,B", help="nodes that old island managers may link this one to"
        )
    else:
        verb.set_defaults(events_port=0, workdir=None, workers=None, peers=None)
        below = "nodes" if level == "island" else "islands"
        verb.add_argument(
            f"--{below}", dest="below", type=_list, metavar="A,B", help="host[:rest[:events[:rpc]]] of each"
        )
    verb.add_argument("--rpc-port", type=_port, metavar="N", help="calls; default 6666, 6667, 6668")
    verb.add_argument(
        "--auth",
        choices=("token", "none"),
        default="token",
        help="none: for old clients that know no token; on loopback only",
    )
    verb.add_argument(
        "--keys", type=Path, metavar="DIR", help="made by 'penstock keys new'; needed off loopback"
    )
    verb.add_argument("--allow-origin", action="append", metavar="URL", help="web pages that may ask")
    verb.add_argument("--allow-host", action="append", metavar="NAME", help="further names of this host")
    verb.add_argument(
        "--suspect", type=_seconds, default=3.0, metavar="S", help="silence before suspicion; 3"
    )
    verb.add_argument("--lost", type=_seconds, default=6.0, metavar="S", help="silence before loss; 6")
    verb.add_argument("-v", "--verbose", action="count", default=0, help="log more, to standard error")
    _add_json(verb)


def _add_submit(verbs: _Verbs) -> None:
    submit = _verb(verbs, "submit", "submit:submit", "run a graph on a manager's nodes")
    _add_graph(submit)
    submit.add_argument("--session", metavar="ID", help="name of the session; default: made up")
    submit.add_argument("--wait", action="store_true", help="follow the session to its end")
    submit.add_argument(
        "--timeout",
        metavar="S",
        type=_seconds,
        help="stop waiting after this many seconds; the session goes on",
    )
    _add_progress(submit)
    _add_json(submit)
    _add_contact(submit)


def _add_session_verbs(verbs: _Verbs) -> None:
    listing = _verb(verbs, "ls", "remote:ls", "list the sessions of a manager")
    status = _verb(verbs, "status", "remote:status", "tell how a session of a manager stands, node by node")
    cancel = _verb(verbs, "cancel", "remote:cancel", "cancel sessions of a manager")
    remove = _verb(
        verbs, "rm", "remote:rm", "cancel sessions of a manager that run, and forget them and their data"
    )
    nodes = _verb(verbs, "nodes", "remote:nodes", "list the nodes below a manager")
    status.add_argument("session", metavar="SESSION", help="id of a session")
    for verb in (cancel, remove):
        verb.add_argument("sessions", metavar="SESSION", nargs="+", help="ids of sessions")
    for verb in (listing, status, cancel, remove, nodes):
        _add_json(verb)
        _add_contact(verb)


def _add_map(verbs: _Verbs) -> None:
    verb = _verb(verbs, "map", "placing:place", "write a graph with a node, and an island, for every drop")
    _add_graph(verb)
    verb.add_argument("--nodes", type=_list, metavar="A,B", help="host[:rest[:events[:rpc]]] of each node")
    verb.add_argument(
        "--islands", type=_list, metavar="A,B", help="of each island; the nodes are shared out in their order"
    )
    verb.add_argument("--all", action="store_true", help="place those drops anew too that are placed already")
    verb.add_argument("-o", "--output", metavar="FILE", help="where to write it; default: standard output")
    _add_contact(verb, "take the nodes of the manager there", None)


def _add_keys(verbs: _Verbs) -> None:
    keys = _verb(verbs, "keys", "keys:new", "make keys for managers that are reached from other hosts")
    actions = keys.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    new = _verb(actions, "new", "keys:new", "make a folder with new keys and a token")
    new.add_argument("directory", type=Path, metavar="DIR", help="the folder; absent, or without keys")
    new.add_argument(
        "--guest-of",
        type=Path,
        metavar="FILE",
        help="make a guest's keys, whose deployment has the public key in FILE",
    )
    _add_json(new)


# Options that several verbs have


def _add_graph(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("graph", metavar="GRAPH", help="file with a physical graph; - for standard input")


def _add_json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def _add_progress(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--progress",
        action="store_true",
        help="tell what drops and workers do, also where standard error is no terminal",
    )


def _add_contact(
    verb: argparse.ArgumentParser,
    text: str = "the manager; default: %(default)s",
    url: str | None = DEFAULT_URL,
) -> None:
    verb.add_argument("--url", metavar="URL", default=url, help=text)
    secret = verb.add_mutually_exclusive_group()
    secret.add_argument(
        "--keys",
        type=Path,
        metavar="DIR",
        help="folder with the manager's keys; default: this user's own where URL leads to this machine",
    )
    secret.add_argument(
        "--token-file", metavar="FILE", help="file with the manager's token; - for standard input"
    )


# Values


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _list(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds
