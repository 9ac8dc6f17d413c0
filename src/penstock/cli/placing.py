# SPDX-License-Identifier: Apache-2.0
"""`penstock map`: a graph with a node, and where there are islands an island, written on every drop."""

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from penstock.cli.contact import contact, url_of
from penstock.cli.exits import BAD, CommandError
from penstock.cli.source import read_graph
from penstock.cli.terminal import plain
from penstock.errors import GraphInvalid, StartRefused
from penstock.graph.dump import dumps
from penstock.graph.load import loads
from penstock.graph.placement import divide, places
from penstock.graph.spec import Graph
from penstock.ids import NodeAddress
from penstock.managers.api import Level, NodeState

__all__ = ["islands_of", "place", "placed"]


def place(options: Namespace) -> int:
    """Write a graph whose every drop says where it lives."""
    if (options.nodes is None) == (options.url is None):
        raise CommandError(
            "usage", "give either --nodes A,B or --url URL: they say which nodes there are", BAD
        )
    _check(options.nodes or [], "--nodes")
    _check(options.islands or [], "--islands")
    graph, findings, problems = read_graph(options.graph)
    if any(problem.is_error for problem in problems):
        raise GraphInvalid(problems)
    nodes = options.nodes or _nodes_of_manager(options)
    island_of = islands_of(nodes, options.islands or [])
    parts = divide(graph, findings.wiring, len(nodes))
    written = placed(graph, [nodes[part] for part in parts], island_of, anew=options.all)
    _write(dumps(written), options.output)
    return 0


def placed(graph: Graph, nodes: Sequence[str], island_of: Mapping[str, str], *, anew: bool) -> Graph:
    """Return the graph with a place for each drop.

    Args:
        nodes: for each drop the node that it shall have.
        island_of: the island of each node; empty for none.
        anew: also for drops that say where they live; else what they say stays.
    """
    here, there = places(graph, "node"), places(graph, "island")
    elements = []
    for i, piece in enumerate(graph.pieces()):
        fields = msgspec.json.decode(piece, type=dict[str, msgspec.Raw])
        node = nodes[i] if anew or not here[i] else here[i]
        fields["node"] = _raw(node)
        island = island_of.get(node, "")
        if island and (anew or not there[i]):
            fields["island"] = _raw(island)
        elements.append(msgspec.json.encode(fields))
    if graph.record is not None:
        elements.append(graph.record)
    return loads(b"[" + b",".join(elements) + b"]")


def islands_of(nodes: Sequence[str], islands: Sequence[str]) -> dict[str, str]:
    """Return the island of each node: consecutive blocks, as equal as they can be.

    Raises:
        CommandError: there are more islands than nodes.
    """
    if len(islands) > len(nodes):
        told = f"{len(islands)} islands cannot share {len(nodes)} nodes"
        raise CommandError("usage", f"{told}: each island needs one at least", BAD)
    return {node: islands[i * len(islands) // len(nodes)] for i, node in enumerate(nodes) if islands}


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(text))


def _check(addresses: Sequence[str], option: str) -> None:
    for text in addresses:
        try:
            NodeAddress.parse(text)
        except StartRefused as exc:
            raise CommandError("usage", f"{option}: {exc}", BAD) from exc
    twice = [text for text, count in Counter(addresses).items() if count > 1]
    if twice:
        raise CommandError("usage", f"{option}: {twice[0]} is named twice", BAD)


def _nodes_of_manager(options: Namespace) -> list[str]:
    with contact(options) as manager:
        level, infos = manager.level, manager.nodes()
    found = [info.address for info in infos if info.state is not NodeState.LOST]
    if level is Level.NODE:
        told = f"{url_of(options)} is a node, where graphs need no places"
        raise CommandError("usage", f"{told}: give the URL of an island", BAD)
    if not found:
        raise CommandError("usage", f"the {level.value} at {url_of(options)} has no nodes now", BAD)
    if level is Level.MASTER and not options.islands:
        told = f"{url_of(options)} is a master, whose graphs need islands too"
        raise CommandError("usage", f"{told}: name them with --islands, in the order of their nodes", BAD)
    return found


def _write(text: bytes, output: str | None) -> None:
    if not output or output == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(text)
        return
    try:
        Path(output).write_bytes(text)
    except OSError as exc:
        raise CommandError("usage", f"{plain(output)}: {exc.strerror or exc}", BAD) from exc
