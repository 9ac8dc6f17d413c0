# SPDX-License-Identifier: Apache-2.0
"""Graphs from files and standard input, and how to tell people what is wrong with them."""

import sys
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from penstock.cli.terminal import console, plain, short, tell
from penstock.errors import GraphInvalid
from penstock.graph.analyse import Findings, check
from penstock.graph.load import read
from penstock.graph.problems import Problem
from penstock.graph.spec import Graph
from penstock.runtime.build import read_source

__all__ = ["graph_source", "print_problems", "read_graph", "tell_problems", "tell_warnings"]

_STDIN = "-"
_MOST_TOLD = 50
_INDENT = 15


def graph_source(name: str) -> str | bytes:
    """Return what the command line names: a path, or the text on standard input."""
    return sys.stdin.buffer.read() if name == _STDIN else name


def read_graph(name: str) -> tuple[Graph, Findings, list[Problem]]:
    """Read a graph and look at its links and rules, not at its classes.

    Raises:
        GraphInvalid: there is nothing that could be looked at.
    """
    text, problems = read_source(graph_source(name))
    if text is None:
        raise GraphInvalid(problems)
    graph, problems = read(text)
    if graph is None:
        raise GraphInvalid(problems)
    findings = check(graph)
    return graph, findings, problems + findings.problems


def print_problems(problems: Sequence[Problem], stream: TextIO) -> None:
    """Tell people all that is wrong."""
    tell_problems(console(stream), problems)


def tell_problems(out: Console, problems: Sequence[Problem], *, most: int = _MOST_TOLD) -> None:
    """Tell people what is wrong, errors first, and how much."""
    ordered = sorted(problems, key=lambda problem: not problem.is_error)  # stable: otherwise as found
    for problem in ordered[:most]:
        _tell_problem(out, problem)
    if len(ordered) > most:
        out.print(f"        ... and {len(ordered) - most:,} more; penstock check GRAPH --json lists all")
    errors = sum(problem.is_error for problem in problems)
    if problems:
        counts = f"{_some(errors, 'error')}, {_some(len(problems) - errors, 'warning')}"
        codes = ordered[0].code
        out.print(Text.assemble((counts, "bold"), f"        explain a code: penstock explain {codes}"))


def tell_warnings(out: Console, warnings: Sequence[Problem], command: str, *, most: int) -> None:
    """Tell people the first warnings of a graph that runs, and the command that tells the others."""
    for warning in warnings[:most]:
        _tell_problem(out, warning)
    if len(warnings) > most:
        out.print(f"{'':<{_INDENT}}and {len(warnings) - most:,} more: {command}", soft_wrap=True)


def _tell_problem(out: Console, problem: Problem) -> None:
    look = "bold red" if problem.is_error else "bold yellow"
    word = "error" if problem.is_error else "warning"
    tell(out, Text(f"{word:<8}{problem.code}", look), plain(problem.message), indent=_INDENT)
    where = Text.assemble(("drop ", "dim"), short(problem.uid, 48), "  ") if problem.uid else Text()
    if problem.path:
        where.append_text(Text.assemble(("at ", "dim"), plain(problem.path)))
    for line in (where, Text(plain(problem.hint), style="italic")):
        if line:
            tell(out, "", line, indent=_INDENT)


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
