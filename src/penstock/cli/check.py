# SPDX-License-Identifier: Apache-2.0
"""`penstock check` and `penstock explain`: what is wrong with a graph, and what a code means."""

import inspect as python_inspect
import sys
from argparse import Namespace
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from penstock import errors
from penstock.cli.source import graph_source, tell_problems
from penstock.cli.terminal import console, print_json, table
from penstock.errors import PenstockError
from penstock.graph.links import APP
from penstock.graph.problems import CATALOGUE, did_you_mean
from penstock.runtime.build import Prepared, inspect

__all__ = ["check", "explain"]

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


def explain(options: Namespace) -> int:
    """Explain a code, or list all codes."""
    out = console(sys.stdout)
    if options.code is None:
        _list(out)
        return 0
    code = options.code.strip()
    kinds = {kind.upper(): kind for kind in CATALOGUE}
    classes = {cls.code: cls for cls in _error_classes()}
    if code.upper() in kinds:
        kind = CATALOGUE[kinds[code.upper()]]
        out.print(Text.assemble((f"{code.upper()}  {kind.title}", "bold"), f"  ({kind.severity.value})"))
        out.print(kind.explanation)
        return 0
    if code.lower() in classes:
        cls = classes[code.lower()]
        out.print(Text.assemble((f"{cls.code}  {cls.__name__}", "bold"), f"  (HTTP status {cls.status})"))
        out.print(python_inspect.getdoc(cls) or "")
        return 0
    hint = did_you_mean(code, [*CATALOGUE, *classes])
    sys.stderr.write(f"penstock: there is no code {code!r}; {hint or 'penstock explain lists all'}\n")
    return _BAD


def _list(out: Console) -> None:
    problems = table(("CODE", "KIND", "PROBLEM OF A GRAPH"))
    for code, kind in CATALOGUE.items():
        problems.add_row(code, kind.severity.value, kind.title)
    out.print(problems)
    out.print()
    rows = table(("CODE", "ERROR"))
    for cls in _error_classes():
        rows.add_row(cls.code, (cls.__doc__ or "").partition("\n")[0])
    out.print(rows)


def _error_classes() -> Iterator[type[PenstockError]]:
    for name in errors.__all__:
        yield getattr(errors, name)
