# SPDX-License-Identifier: Apache-2.0
"""The command: the way from the words of a command line to a verb, and from an error to an exit code.

Rule 1: this module imports no verb at its top. `penstock --help` must answer at once, and numpy, rich and the
        runtime take longer to import than everything it does.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module

from penstock.cli.exits import BAD, INTERRUPTED, CommandError
from penstock.cli.options import UsageError, parser
from penstock.cli.streams import Streams, plain
from penstock.errors import PenstockError

__all__ = ["main"]

_BROKEN_PIPE = 141  # what a shell reports of a command that a closed pipe ended
_NOT_WRITTEN = 74  # as in sysexits.h
_JUDGING = ("run", "check", "submit")  # their exit code is the answer, whether or not anybody reads the text
_INTERNAL = 70  # as in sysexits.h: a bug, ours or of a component that was loaded


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
    except UsageError as exc:
        return _refuse("usage", str(exc), as_json=as_json, usage=exc.usage)
    except CommandError as exc:
        _refuse(exc.code, str(exc), as_json=as_json)
        return exc.exit_code
    except PenstockError as exc:
        return _report(exc, as_json=as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
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
    parsing = parser()
    try:
        options = parsing.parse_args(words)
    except SystemExit as exc:  # --help and --version
        return int(exc.code or 0)
    if options.verb is None:
        parsing.print_help()
        return BAD
    target = options.at_url if options.at_url and options.url else options.verb
    module, function = target.split(":")
    verb: Callable[[argparse.Namespace], int] = getattr(import_module(f"penstock.cli.{module}"), function)
    return verb(options)


def _report(error: PenstockError, *, as_json: bool) -> int:
    problems = getattr(error, "problems", None)
    if problems is None:
        return _refuse(error.code, str(error), as_json=as_json)
    if as_json:
        _print_error(error.code, str(error), [problem.as_json() for problem in problems])
    else:
        # Bad graphs only: rich is needed to tell what is wrong with them.
        import_module("penstock.cli.source").print_problems(problems, sys.stderr)
    return BAD


def _refuse(code: str, message: str, *, as_json: bool, usage: str = "") -> int:
    if as_json:
        _print_error(code, message)
    else:
        sys.stderr.write(f"{usage}penstock: {plain(message)}\n")
    return BAD


def _print_error(code: str, message: str, problems: Sequence[object] = ()) -> None:
    print(json.dumps({"error": {"code": code, "message": message, "problems": list(problems)}}))
