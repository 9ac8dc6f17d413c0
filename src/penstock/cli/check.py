# SPDX-License-Identifier: Apache-2.0
"""`penstock check`: what is wrong with a graph."""

import sys
from argparse import Namespace

from rich.console import Console
from rich.text import Text

from penstock.cli.source import graph_source, tell_problems
from penstock.cli.terminal import console, print_json
from penstock.graph.links import APP
from penstock.runtime.build import Prepared, inspect

__all__ = ["check"]

_BAD = 2


def check(options: Namespace) -> int:
    """Tell everything that is wrong with a graph; 2 where an error is among it."""
    prepared, problems = inspect(graph_source(options.graph))
    bad = sum(problem.is_error for problem in problems)
    if options.json:
        print_json(
            {
                "graph": options.graph,
                "ok": not bad,
                "drops": len(prepared.graph) if prepared else None,
                "errors": bad,
                "warnings": len(problems) - bad,
                "problems": [problem.as_json() for problem in problems],
            }
        )
        return _BAD if bad else 0
    out = console(sys.stdout)
    tell_problems(out, problems)
    if prepared is not None:
        _tell_good(out, prepared)
    return _BAD if bad else 0


def _tell_good(out: Console, prepared: Prepared) -> None:
    apps = prepared.wiring.kinds.count(APP)
    drops = len(prepared.graph)
    out.print(
        Text.assemble(("ok", "bold green"), f"      {drops:,} drops: {drops - apps:,} data, {apps:,} apps")
    )
