"""Graphs for tests: small ones by hand, random ones by hypothesis, in all spellings of links."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from penstock.graph.load import loads
from penstock.graph.spec import Graph

Drop = dict[str, Any]


def app(oid: str, **fields: Any) -> Drop:
    return {"oid": oid, "categoryType": "Application", "dropclass": "dlg.apps.simple.CopyApp", **fields}


def data(oid: str, **fields: Any) -> Drop:
    return {"oid": oid, "categoryType": "Data", "dropclass": "dlg.data.drops.memory.InMemoryDROP", **fields}


def container(oid: str, **fields: Any) -> Drop:
    return {"oid": oid, "categoryType": "Container", "dropclass": "dlg.drop.ContainerDROP", **fields}


def text(*drops: Any) -> bytes:
    return json.dumps(drops).encode()


def made(*drops: Any) -> Graph:
    return loads(text(*drops))


Edge = tuple[int, int]


@st.composite
def shapes(draw: st.DrawFn, *, most: int = 14, acyclic: bool = True) -> tuple[list[bool], list[Edge]]:
    """Draw which drops are apps, and edges between data and apps; from lower to higher places if acyclic."""
    is_app = draw(st.lists(st.booleans(), min_size=1, max_size=most))
    pairs = [
        (i, j)
        for i in range(len(is_app))
        for j in range(len(is_app))
        if is_app[i] != is_app[j] and (i < j or not acyclic)
    ]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=3 * most)) if pairs else []
    return is_app, edges


def plain_drops(is_app: Sequence[bool], edges: Sequence[Edge]) -> list[Drop]:
    """Return the drops with all edges as plain uids at both ends, which is what the fast road takes."""
    drops = [app(f"u{i}") if isapp else data(f"u{i}") for i, isapp in enumerate(is_app)]
    for i, j in edges:
        drops[i].setdefault("outputs" if is_app[i] else "consumers", []).append(f"u{j}")
        drops[j].setdefault("inputs" if is_app[j] else "producers", []).append(f"u{i}")
    return drops


@st.composite
def tangled_drops(draw: st.DrawFn, is_app: Sequence[bool], edges: Sequence[Edge]) -> list[Drop]:
    """Return the same edges spelled otherwise: at one end or both, uids or ports, doubled, empty lists."""
    drops = [app(f"u{i}") if isapp else data(f"u{i}") for i, isapp in enumerate(is_app)]

    def spell(uid: str) -> Any:
        return draw(st.sampled_from([uid, {uid: "port"}, {uid: None}]))

    for i, j in edges:
        ends = draw(st.sampled_from([(1, 0), (0, 1), (1, 1), (2, 0), (1, 2)]))
        for _ in range(ends[0]):
            drops[i].setdefault("outputs" if is_app[i] else "consumers", []).append(spell(f"u{j}"))
        for _ in range(ends[1]):
            drops[j].setdefault("inputs" if is_app[j] else "producers", []).append(spell(f"u{i}"))
    for drop, isapp in zip(drops, is_app, strict=True):
        for key in ("inputs", "outputs") if isapp else ("producers", "consumers"):
            drop.setdefault(key, draw(st.sampled_from([None, []])))
    return drops
