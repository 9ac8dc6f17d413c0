# SPDX-License-Identifier: Apache-2.0
"""What a drawing of a graph shows: boxes and arrows without places or colours.

A graph of more drops than a drawing can hold is drawn in groups: the drops of one place in the logical graph
and one step of the run, then coarser until there are few enough. `note` says when that was done.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from penstock.graph.layers import layers_of
from penstock.graph.links import Wiring, wire
from penstock.graph.spec import Graph

__all__ = ["Arrow", "Box", "Picture", "picture", "shorten"]

_MOST_GROUPS = 300
_ELLIPSIS = "…"


class Box(NamedTuple):
    """One drop, or a group of drops that are alike.

    Attributes:
        kind: DATA, APP or CONTAINER.
        title: the name that the author gave.
        subtitle: the class, and what tells copies apart.
        tip: all of it in full, for those who look closer.
        size: how many drops it stands for.
        state: the word for their state; "" where none is known, "mixed" where they differ.
    """

    kind: int
    title: str
    subtitle: str
    tip: str
    size: int
    state: str


class Arrow(NamedTuple):
    """A link between two boxes, or all links between them.

    Attributes:
        links: how many links it stands for.
        style: "link", "stream" or "member" (from what a container holds to the container).
    """

    start: int
    end: int
    style: str
    links: int


@dataclass(frozen=True)
class Picture:
    """Boxes and arrows; arrows name boxes by place."""

    boxes: Sequence[Box]
    arrows: Sequence[Arrow]
    drops: int
    note: str


def picture(graph: Graph, states: Mapping[str, str] | None = None, *, limit: int) -> Picture:
    """Return what to draw of a graph.

    Args:
        states: uid to the word for its state.
        limit: most drops that are drawn one by one.
    """
    wiring, _ = wire(graph)
    labels = _Labels(graph, wiring, states or {})
    if len(graph) <= limit:
        boxes = [labels.box(i) for i in range(len(graph))]
        return Picture(boxes, _arrows(wiring, range(len(graph))), len(graph), "")
    group_of, members, what = _group(labels, min(limit, _MOST_GROUPS))
    note = f"{len(graph):,} drops, more than {limit:,}: drawn as {len(members):,} groups, one per {what}"
    return Picture([labels.group(row) for row in members], _arrows(wiring, group_of), len(graph), note)


class _Labels:
    """What to write on the boxes."""

    def __init__(self, graph: Graph, wiring: Wiring, states: Mapping[str, str]) -> None:
        self.graph = graph
        self.wiring = wiring
        self._states = states
        self._rows = list(graph.columns("name", "iid", "lg_key"))

    def class_name(self, i: int) -> str:
        """The last part of the class, else the storage."""
        spec = self.graph.drops[i]
        return (spec.dropclass or "").rpartition(".")[2] or spec.storage or "?"

    def origin(self, i: int) -> str:
        """What the drops of one place in the logical graph have in common; the class where nothing tells."""
        return _text(self._rows[i][2]) or self.class_name(i)

    def state(self, i: int) -> str:
        return self._states.get(self.graph.drops[i].key, "") if self._states else ""

    def title(self, i: int) -> str:
        return _text(self._rows[i][0]) or self.graph.drops[i].key

    def box(self, i: int) -> Box:
        """One drop."""
        name, cls, copy, state = self.title(i), self.class_name(i), _text(self._rows[i][1]), self.state(i)
        subtitle = f"{cls}  {copy}" if copy not in ("", "0") else cls
        words = [self.graph.drops[i].key, name, (self.graph.drops[i].dropclass or ""), state]
        return Box(
            self.wiring.kinds[i], name, subtitle, "\n".join(dict.fromkeys(filter(None, words))), 1, state
        )

    def group(self, members: Sequence[int]) -> Box:
        """Several drops."""
        names = Counter(map(self.title, members))
        classes = Counter(map(self.class_name, members))
        states = Counter(map(self.state, members))
        title, cls = _common(names, "names"), _common(classes, "classes")
        title = cls if len(names) > 1 else title
        tip = [
            f"{len(members):,} drops",
            title,
            cls,
            *(f"{count:,} {word}" for word, count in states.items() if word),
        ]
        state = next(iter(states)) if len(states) == 1 else "mixed"
        return Box(self.wiring.kinds[members[0]], title, cls, "\n".join(tip), len(members), state)


def _common(words: Counter[str], what: str) -> str:
    return next(iter(words)) if len(words) == 1 else f"{len(words):,} {what}"


def _text(value: Any) -> str:  # Any: JSON as the author wrote it
    return value.strip() if isinstance(value, str) else str(value) if isinstance(value, int) else ""


_Key = Callable[[int], Hashable]


def _group(labels: _Labels, limit: int) -> tuple[list[int], list[list[int]], str]:
    """Return per drop its group, the members of each group, and what makes a group.

    The finest grouping that gives few enough groups is taken.
    """
    wiring = labels.wiring
    layer = layers_of(wiring.before, wiring.after)
    ways: list[tuple[str, _Key]] = [
        (
            "name in the logical graph and step",
            lambda i: (labels.origin(i) or labels.class_name(i), layer[i]),
        ),
        ("class and step", lambda i: (labels.class_name(i), layer[i])),
        ("name in the logical graph", lambda i: labels.origin(i) or labels.class_name(i)),
        ("class", labels.class_name),
        ("kind", lambda _: None),
    ]
    group_of: list[int] = []
    places: dict[Hashable, int] = {}
    chosen = ""
    for what, key in ways:
        chosen, places = what, {}
        group_of = [places.setdefault((wiring.kinds[i], key(i)), len(places)) for i in range(len(layer))]
        if len(places) <= limit:
            break
    members: list[list[int]] = [[] for _ in places]
    for i, group in enumerate(group_of):
        members[group].append(i)
    return group_of, members, chosen


def _arrows(wiring: Wiring, group_of: Sequence[int]) -> list[Arrow]:
    counts: Counter[tuple[int, int, str]] = Counter()
    for i, row in enumerate(wiring.after):
        streams = wiring.streaming.get(i, ())
        for j in row:
            counts[group_of[i], group_of[j], "stream" if j in streams else "link"] += 1
    for i, row in wiring.children.items():
        for j in row:
            counts[group_of[j], group_of[i], "member"] += 1
    return [Arrow(start, end, style, count) for (start, end, style), count in counts.items()]


def shorten(text: str, width: int) -> str:
    """Leave out the middle of a text that is too long: names of drops often differ at both ends."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return text[:head] + _ELLIPSIS + text[len(text) - (width - 1 - head) :]
