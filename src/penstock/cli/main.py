# SPDX-License-Identifier: Apache-2.0
"""The command line: verbs, options, and the way from an error to an exit code.

Rule 1: this module imports no verb at its top. `penstock --help` must answer at once, and numpy, rich and the
        runtime take longer to import than everything it does.
"""

import argparse
import json
import math
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from penstock import __version__
from penstock.cli.streams import Streams, plain
from penstock.errors import PenstockError

__all__ = ["main"]

_BAD_USAGE = 2
_INTERRUPTED = 130
_BROKEN_PIPE = 141  # what a shell reports of a command that a closed pipe ended
_NOT_WRITTEN = 74  # as in sysexits.h
_JUDGING = ("run", "check")  # their exit code is the answer, whether or not anybody reads the text
_INTERNAL = 70  # as in sysexits.h: a bug, ours or of a component that was loaded

_EPILOG = """\
exit codes: 0 finished, 1 some drop failed, 2 bad graph or usage, 124 timeout, 130 interrupted
a first run: penstock run examples/averages.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    with Streams() as streams:
        code = _guarded(words, streams)
        return _told(code, words, streams)


def _guarded(words: Sequence[str], streams: Streams) -> int:
    """Run the command and answer whatever it raises."""
    as_json = "--json" in words
    try:
        try:
            return _run(words)
        finally:
            streams.put()  # user code may have put something else there
    except _UsageError as exc:
        return _refuse("usage", str(exc), as_json=as_json, usage=exc.usage)
    except PenstockError as exc:
        return _report(exc, as_json=as_json)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as exc:  # a user's module, while it was imported; 0 would say that all went well
        message = f"{_place(exc)} asked to exit with {exc.code!r} (SystemExit); nothing was finished"
        _refuse("internal-error", message, as_json=as_json)
        return _INTERNAL
    except Exception as exc:
        if exc is streams.out.trouble:
            return 0  # `_told` decides
        if not as_json:
            raise
        # The caller reads JSON whatever happens; people still get the traceback.
        sys.excepthook(type(exc), exc, exc.__traceback__)
        _print_error("internal-error", f"{type(exc).__name__}: {exc}")
        return _INTERNAL


def _place(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _told(code: int, words: Sequence[str], streams: Streams) -> int:
    """Return the exit code in the light of what could not be written; say so unless nobody reads any more."""
    trouble = streams.end()
    if trouble is None:
        return code
    is_judged = bool(words) and words[0] in _JUDGING
    if isinstance(trouble, BrokenPipeError):
        return code if is_judged else code or _BROKEN_PIPE
    with suppress(OSError):
        streams.err.write(f"penstock: standard output cannot be written: {trouble.strerror or trouble}\n")
        streams.err.flush()
    return code if is_judged else code or _NOT_WRITTEN


def _run(words: Sequence[str]) -> int:
    parser = _parser()
    try:
        options = parser.parse_args(words)
    except SystemExit as exc:  # --help and --version
        return int(exc.code or 0)
    if options.verb is None:
        parser.print_help()
        return _BAD_USAGE
    module, function = options.verb.split(":")
    verb: Callable[[argparse.Namespace], int] = getattr(import_module(f"penstock.cli.{module}"), function)
    return verb(options)


class _UsageError(Exception):
    """A command line that cannot be understood."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print and exit, so that `--json` can answer in JSON."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(message, self.format_usage())


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="penstock",
        description="Run physical graphs: each drop wakes its consumers when its data is complete.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"penstock {__version__}")
    parser.set_defaults(verb=None)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    _add_run(verbs)
    check = _verb(verbs, "check", "check:check", "tell everything that is wrong with a graph, all at once")
    plan = _verb(
        verbs, "plan", "plan:plan", "tell what a graph will do: classes, critical path, load, traffic"
    )
    graph = _verb(verbs, "graph", "plan:graph", "draw a graph, or write it in stable order")
    show = _verb(verbs, "show", "show:show", "summarise a run: its outcome, states, failures and where it is")
    logs = _verb(verbs, "logs", "show:logs", "print what drops printed, logged and failed with")
    explain = _verb(
        verbs, "explain", "explain:explain", "explain a code or a component; without NAME list all"
    )
    for level, text in (
        ("node", "run a node manager: sessions run here"),
        ("island", "run an island manager over nodes"),
        ("master", "run a master manager over islands"),
    ):
        _add_manager(verbs, level, text)
    for verb in (check, plan, graph):
        _add_graph(verb)
    for verb in (show, logs):
        verb.add_argument(
            "session", metavar="SESSION|DIR", help="an id under ./penstock-runs, or a folder of a run"
        )
    for verb in (check, plan, show):
        _add_json(verb)
    graph.add_argument(
        "--format", choices=("svg", "mermaid", "dot", "json"), default="svg", help="default: svg"
    )
    graph.add_argument("-o", "--output", metavar="FILE", help="where to write it; default: standard output")
    graph.add_argument("--run", metavar="SESSION|DIR", help="show the states of this run (svg)")
    logs.add_argument(
        "drop", metavar="DROP", nargs="?", help="uid, or a unique beginning or end of one; default: all"
    )
    explain.add_argument(
        "name", metavar="NAME", nargs="?", help="for instance PS303, directory-in-use or CopyApp"
    )
    return parser


def _verb(verbs: "argparse._SubParsersAction[_Parser]", name: str, target: str, text: str) -> _Parser:
    verb = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    verb.set_defaults(verb=target)
    return verb


def _add_run(verbs: "argparse._SubParsersAction[_Parser]") -> None:
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
    run.add_argument(
        "--progress",
        action="store_true",
        help="tell what drops and workers do, also where standard error is no terminal",
    )
    run.add_argument(
        "--outputs", action="store_true", help="list all data there is at the end, with size and SHA-256"
    )
    _add_json(run)


def _add_manager(verbs: "argparse._SubParsersAction[_Parser]", level: str, text: str) -> None:
    verb = _verb(verbs, level, "serve:serve", text)
    verb.set_defaults(level=level, below=None)
    verb.add_argument("--host", default="127.0.0.1", help="name or address to bind, by which others know it")
    verb.add_argument("--port", type=_port, metavar="N", help="of REST; default 8000, 8001, 8002; 0: any")
    if level == "node":
        verb.add_argument("--events-port", type=_port, metavar="N", help="facts of other nodes; default 5555")
        verb.add_argument("--workdir", type=Path, metavar="DIR", help="where sessions have their folders")
        verb.add_argument("--workers", metavar="N", type=_count, help="apps that run at once")
    else:
        verb.set_defaults(events_port=0, workdir=None, workers=None)
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


def _add_graph(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("graph", metavar="GRAPH", help="file with a physical graph; - for standard input")


def _add_json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print one JSON object on standard output")


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


# Errors


def _report(error: PenstockError, *, as_json: bool) -> int:
    problems = getattr(error, "problems", None)
    if problems is None:
        return _refuse(error.code, str(error), as_json=as_json)
    if as_json:
        _print_error(error.code, str(error), [problem.as_json() for problem in problems])
    else:
        # Bad graphs only: rich is needed to tell what is wrong with them.
        import_module("penstock.cli.source").print_problems(problems, sys.stderr)
    return _BAD_USAGE


def _refuse(code: str, message: str, *, as_json: bool, usage: str = "") -> int:
    if as_json:
        _print_error(code, message)
    else:
        sys.stderr.write(f"{usage}penstock: {plain(message)}\n")
    return _BAD_USAGE


def _print_error(code: str, message: str, problems: Sequence[object] = ()) -> None:
    print(json.dumps({"error": {"code": code, "message": message, "problems": list(problems)}}))
