# SPDX-License-Identifier: Apache-2.0
"""`penstock plan` and `penstock graph`: what a graph will do, and what it looks like."""

import sys
from argparse import Namespace
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from penstock.cli.past import read_past
from penstock.cli.source import read_graph
from penstock.cli.terminal import console, plain, print_json, short, table
from penstock.errors import GraphInvalid
from penstock.graph.analyse import CriticalPath, critical_path, leaves, roots, weights
from penstock.graph.draw import to_dot, to_mermaid, to_svg
from penstock.graph.dump import dumps
from penstock.graph.links import APP, Wiring
from penstock.graph.partition import Partition, partition
from penstock.graph.spec import Graph
from penstock.runtime.folder import find_folder
from penstock.runtime.result import RUNS

__all__ = ["graph", "plan"]

_NOWHERE = "(none)"
_MOST_TOLD = 12


@dataclass(frozen=True)
class _Plan:
    graph: Graph
    wiring: Wiring
    path: CriticalPath
    parts: Partition

    def classes(self) -> Counter[str]:
        return Counter(spec.dropclass or f"storage {spec.storage or 'file'}" for spec in self.graph)

    def load(self) -> dict[str, dict[str, float]]:
        """Per node: drops, apps and the sum of the apps' weights."""
        costs = weights(self.graph, self.wiring)
        kinds = self.wiring.kinds
        return {
            name: {
                "drops": len(members),
                "apps": sum(kinds[i] == APP for i in members),
                "weight": sum(costs[i] for i in members),
            }
            for name, members in self.parts.parts.items()
        }

    def traffic(self) -> Counter[tuple[str, str]]:
        """How many links lead from node to node."""
        part_of = self.parts.part_of
        return Counter((part_of[link.start], part_of[link.end]) for link in self.parts.crossings)

    def as_json(self) -> dict[str, Any]:
        apps = self.wiring.kinds.count(APP)
        drops, part_of = self.graph.drops, self.parts.part_of
        return {
            "drops": len(drops),
            "data": len(drops) - apps,
            "apps": apps,
            "links": sum(map(len, self.wiring.after)),
            "roots": len(roots(self.wiring)),
            "leaves": len(leaves(self.wiring)),
            "classes": dict(self.classes().most_common()),
            "critical_path": {
                "weight": self.path.weight,
                "apps": self.path.apps,
                "drops": [drops[i].key for i in self.path.drops],
            },
            "nodes": self.load(),
            "crossing_links": [
                {
                    "from": drops[link.start].key,
                    "to": drops[link.end].key,
                    "kind": link.kind.value,
                    "from_node": part_of[link.start],
                    "to_node": part_of[link.end],
                }
                for link in self.parts.crossings
            ],
        }


def plan(options: Namespace) -> int:
    """Tell what a graph will do; classes are not looked up."""
    graph, findings, problems = read_graph(options.graph)
    if any(problem.is_error for problem in problems):
        raise GraphInvalid(problems)
    wiring = findings.wiring
    planned = _Plan(graph, wiring, critical_path(graph, wiring), partition(graph, "node", wiring))
    if options.json:
        print_json(planned.as_json())
    else:
        _tell(console(sys.stdout), planned)
    return 0


def _tell(out: Console, planned: _Plan) -> None:
    told = planned.as_json()
    out.print(
        Text.assemble(
            (f"{told['drops']:,} drops", "bold"),
            f": {told['data']:,} data, {told['apps']:,} apps; {told['links']:,} links, "
            f"roots {told['roots']:,}, leaves {told['leaves']:,}",
        )
    )
    out.print()
    rows = table(("CLASS", "DROPS"), numbers=(1,))
    _fill(rows, [(short(name, 60), f"{count:,}") for name, count in planned.classes().most_common()])
    out.print(rows)
    out.print()
    _tell_path(out, planned)
    out.print()
    _tell_load(out, planned)


def _tell_path(out: Console, planned: _Plan) -> None:
    path, drops = planned.path, planned.graph.drops
    out.print(Text.assemble(("critical path", "bold"), f"  {path.apps:,} apps, weight {path.weight:g}"))
    names = [name if isinstance(name, str) else "" for (name,) in planned.graph.columns("name")]
    apps = [i for i in path.drops if planned.wiring.kinds[i] == APP]
    rows = table(("APP", "NAME"))
    _fill(rows, [(short(drops[i].key), short(names[i], 30)) for i in apps])
    out.print(rows)


def _tell_load(out: Console, planned: _Plan) -> None:
    rows = table(("NODE", "DROPS", "APPS", "WEIGHT"), numbers=(1, 2, 3))
    load = planned.load()
    _fill(
        rows,
        [
            (short(name or _NOWHERE, 40), f"{part['drops']:,}", f"{part['apps']:,}", f"{part['weight']:g}")
            for name, part in load.items()
        ],
    )
    out.print(rows)
    traffic = planned.traffic()
    if not traffic:
        out.print("no links between nodes" if len(load) > 1 else "one node, no links between nodes")
        return
    out.print()
    rows = table(("FROM NODE", "TO NODE", "LINKS"), numbers=(2,))
    _fill(
        rows,
        [
            (short(a or _NOWHERE, 30), short(b or _NOWHERE, 30), f"{n:,}")
            for (a, b), n in traffic.most_common()
        ],
    )
    out.print(rows)


def _fill(rows: Any, lines: list[tuple[Any, ...]]) -> None:  # Any: rich's table, texts of two kinds
    for line in lines[:_MOST_TOLD]:
        rows.add_row(*line)
    if len(lines) > _MOST_TOLD:
        rows.add_row(f"... and {len(lines) - _MOST_TOLD:,} more")


def graph(options: Namespace) -> int:
    """Draw a graph or write it in stable order; one with mistakes too, as a drawing helps to find them."""
    drawn, _, problems = read_graph(options.graph)
    errors = sum(problem.is_error for problem in problems)
    if errors:
        sys.stderr.write(
            f"penstock: {errors:,} errors in this graph; see penstock check {plain(options.graph)}\n"
        )
    text = _draw(drawn, options)
    if options.output and options.output != "-":
        try:
            Path(options.output).write_bytes(text)
        except OSError as exc:
            sys.stderr.write(f"penstock: {plain(options.output)}: {exc.strerror or exc}\n")
            return 2
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text)
    return 0


def _draw(drawn: Graph, options: Namespace) -> bytes:
    if options.format == "json":
        return dumps(drawn)
    if options.format == "mermaid":
        return to_mermaid(drawn).encode()
    if options.format == "dot":
        return to_dot(drawn).encode()
    return to_svg(drawn, states=_states(options.run)).encode()


def _states(session: str | None) -> dict[str, str] | None:
    if session is None:
        return None
    drops = read_past(find_folder(session, RUNS)).drops or {}
    return {uid: state.status.name for uid, state in drops.items()}
