# SPDX-License-Identifier: Apache-2.0
"""Links: from the names that authors wrote to rows of indices, with both ends agreeing.

An edge may be written at either end or at both, as a uid or as {uid: port}, and more than once with several
port names; it counts once. Links to drops that are not in the graph are passed over with a warning.

The common case, plain uids written at both ends, costs a few dictionary look-ups per edge; everything else
takes the slower road through `_Tangle`.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from penstock.graph.cutting import turns
from penstock.graph.problems import Problem, did_you_mean
from penstock.graph.spec import DropSpec, Graph, LinkText

__all__ = ["APP", "CONTAINER", "DATA", "Row", "Wiring", "kind_of", "link_target", "port_names", "wire"]

DATA, APP, CONTAINER = 0, 1, 2

Row = tuple[int, ...]

_KINDS = {
    "data": DATA,
    "plain": DATA,
    "container": CONTAINER,
    "application": APP,
    "app": APP,
    "socket": APP,
    "service": APP,
    "control": APP,
}
_EXACT_KINDS = {**_KINDS, "Data": DATA, "Application": APP, "Container": CONTAINER, "Socket": APP}

_LARGE_ROW = 32  # from here on a set finds a member faster than a walk over the tuple

# Which kinds of drop may carry a key, which kind stands at the other end, and the key of the way back.
_KEYS: tuple[tuple[str, str, bool, str], ...] = (
    ("inputs", "inputs", True, "consumers"),
    ("streaming_inputs", "streamingInputs", True, "streamingConsumers"),
    ("outputs", "outputs", True, "producers"),
    ("producers", "producers", False, "outputs"),
    ("consumers", "consumers", False, "inputs"),
    ("streaming_consumers", "streamingConsumers", False, "streamingInputs"),
)


class Wiring(NamedTuple):
    """Who is linked to whom, by index.

    Attributes:
        kinds: one byte per drop: DATA, APP or CONTAINER.
        before: inputs of an app (streaming ones too), producers of data; each neighbour once.
        after: outputs of an app, consumers of data (streaming ones too); each neighbour once.
        streaming: data index to the apps that take it piece by piece.
        children: container index to its members.
    """

    kinds: bytearray
    before: list[Row]
    after: list[Row]
    streaming: dict[int, Row]
    children: dict[int, Row]


def kind_of(category: str) -> int | None:
    """Return the kind of drop that a category means, None where it means none."""
    return _EXACT_KINDS.get(category, _KINDS.get(category.strip().lower()))


def link_target(link: LinkText) -> str:
    """Return the uid that a link names."""
    return link if isinstance(link, str) else next(iter(link), "")


def port_names(links: tuple[LinkText, ...] | None) -> Iterator[tuple[str, str]]:
    """Yield (uid, port) of each link as written; the port is "" where none is named."""
    for link in links or ():
        if isinstance(link, str):
            yield link, ""
        else:
            for uid, port in link.items():
                yield uid, port or ""


def wire(graph: Graph) -> tuple[Wiring, list[Problem]]:
    """Turn the links of a graph into rows of indices, and tell what is wrong with them."""
    kinds, problems = _kinds(graph)
    plain = _plain_rows(graph, kinds)
    if plain is not None and not problems:
        return plain, []
    tangle = _Tangle(graph, kinds)
    return tangle.wiring(), problems + tangle.problems


def _kinds(graph: Graph) -> tuple[bytearray, list[Problem]]:
    try:
        return bytearray([_EXACT_KINDS[spec.category_type] for spec in graph.drops]), []
    except KeyError:
        pass  # other spellings, found one by one
    kinds, problems = bytearray(len(graph)), []
    for i, spec in enumerate(graph.drops):
        kind = kind_of(spec.category_type)
        if kind is None:
            kind = APP if (spec.inputs or spec.outputs) else DATA
            if spec.category_type:
                hint = did_you_mean(spec.category_type, ("Data", "Application", "Container"))
                text = f"category {spec.category_type!r} is none that can run"
                problems.append(Problem("PS204", text, spec.key, f"/{graph.place(i)}/categoryType", hint))
        kinds[i] = kind
    return kinds, problems


_RARE_LINKS = attrgetter("streaming_consumers", "streaming_inputs", "children", "parent")
_NO_RARE_LINKS = (None, None, None, None)


def _plain_rows(graph: Graph, kinds: bytearray) -> Wiring | None:
    """Return the wiring of a graph whose edges are all plain uids told alike at both ends, else None."""
    if any(links != _NO_RARE_LINKS for links in map(_RARE_LINKS, graph.drops)):
        return None
    before: list[Row] = []
    after: list[Row] = []
    done = 0
    try:
        for drops in turns(graph.drops):
            # (a list of them all would be walked through by the garbage collector, again and again)
            rows = _rows(graph.index, kinds[done : done + len(drops)], drops)
            if rows is None:
                return None
            before += rows[0::2]
            after += rows[1::2]
            done += len(drops)
    except (KeyError, TypeError):
        return None
    wiring = Wiring(kinds, before, after, {}, {})
    return wiring if _is_symmetric(wiring) else None


def _rows(index: Any, kinds: bytes | bytearray, drops: Sequence[DropSpec]) -> list[Row] | None:
    """Return the rows before and after each drop in turn, None where a drop has links that its kind has not.

    Args:
        index: where each drop is. (Any: a dict among uids is looked up too, which raises TypeError as it should.)
    Raises:
        KeyError, TypeError: a link is no plain one.
    """
    sides: list[tuple[LinkText, ...] | None] = []
    for kind, spec in zip(kinds, drops, strict=True):
        if kind == APP:
            if spec.producers or spec.consumers:
                return None
            sides += spec.inputs, spec.outputs
        else:
            if spec.inputs or spec.outputs:
                return None
            sides += spec.producers, spec.consumers
    rows: list[Row] = []
    for links in sides:  # most of the time of a large graph goes here
        if not links:
            rows.append(())
        elif links[0].__class__ is not str:
            rows.append(_ported_row(index, links))
        elif len(links) == 1:
            rows.append((index[links[0]],))
        else:
            rows.append(itemgetter(*links)(index))  # the fastest way known to look up several
    return rows


def _ported_row(index: Mapping[str, int], links: tuple[LinkText, ...]) -> Row:
    """Return the indices of a drop's neighbours, each once, from links that name ports.

    Raises:
        KeyError: a link names a drop that is not there, or several.
    """
    return tuple(dict.fromkeys([index[_only_name(link)] for link in links]))


def _only_name(link: LinkText) -> str:
    if isinstance(link, str):
        return link
    if len(link) != 1:
        raise KeyError(link)
    (name,) = link
    return name


def _is_symmetric(wiring: Wiring) -> bool:
    """Whether each edge of `after` is in `before`, no row names a neighbour twice, and every edge joins data and app.

    As there are as many entries in `before` as in `after`, that makes the two sides the same set of edges.
    """
    kinds, before, after, _, _ = wiring
    if _count(before) != _count(after) or CONTAINER in kinds:
        return False
    back: Sequence[Container[int]] = before
    if any(max(map(len, rows)) > _LARGE_ROW for rows in turns(before)):
        back = [frozenset(row) if len(row) > _LARGE_ROW else row for row in before]
    for i, row in enumerate(after):
        if len(row) > 1 and len(set(row)) != len(row):
            return False
        kind = kinds[i]
        for j in row:
            if i not in back[j] or kinds[j] == kind:
                return False
    return True


def _count(rows: Sequence[Row]) -> int:
    return sum(sum(map(len, some)) for some in turns(rows))


class _Tangle:
    """The slow road: any spelling, either end, with problems told."""

    def __init__(self, graph: Graph, kinds: bytearray) -> None:
        self.problems: list[Problem] = []
        self._graph = graph
        self._kinds = kinds
        self._index: Mapping[str, int] = graph.index
        self._before: list[dict[int, None]] = [
            {} for _ in graph.drops
        ]  # dicts are sets that keep their order
        self._after: list[dict[int, None]] = [{} for _ in graph.drops]
        self._plain: set[tuple[int, int]] = set()
        self._streaming: dict[int, dict[int, None]] = {}
        self._children: dict[int, dict[int, None]] = {}

    def wiring(self) -> Wiring:
        """Follow all links twice: first each drop's own lists, which give the order, then what only others tell."""
        own: list[tuple[int, str, int]] = []
        for i, spec in enumerate(self._graph.drops):
            for field, key, of_app, _ in _KEYS:
                own += [(i, field, j) for j in self._targets(i, spec, field, key, of_app=of_app)]
            self._family(i, spec)
        for i, field, j in own:
            self._note(i, field, j)
        for i, field, j in own:
            self._note_back(i, field, j)
        self._check_streams()
        return Wiring(
            self._kinds,
            [tuple(row) for row in self._before],
            [tuple(row) for row in self._after],
            {i: tuple(row) for i, row in self._streaming.items()},
            {i: tuple(row) for i, row in self._children.items()},
        )

    def _targets(self, i: int, spec: DropSpec, field: str, key: str, *, of_app: bool) -> Iterator[int]:
        links: tuple[LinkText, ...] | None = getattr(spec, field)
        if not links:
            return
        is_app = self._kinds[i] == APP
        if is_app != of_app:
            kind, other = ("an app", "inputs and outputs") if is_app else ("data", "producers and consumers")
            text = f"{kind} has no {key}"
            self._tell("PS301", text, spec.key, f"/{self._graph.place(i)}/{key}", f"{kind} has {other}")
            return
        for k, (uid, _) in enumerate(port_names(links)):
            path = f"/{self._graph.place(i)}/{key}/{k}"
            j = self._index.get(uid)
            if j is None:
                self._tell(
                    "PS302",
                    f"{key} names {uid!r}, which is not in this graph",
                    spec.key,
                    path,
                    self._near(uid),
                )
            elif (self._kinds[j] == APP) == is_app:
                kind = "an app" if is_app else "data"
                text = f"{key} names {uid!r}, which is {kind} too"
                self._tell("PS301", text, spec.key, path, "put a drop of the other kind between them")
            else:
                yield j

    def _note(self, i: int, field: str, j: int) -> None:
        if field in ("inputs", "streaming_inputs", "producers"):
            self._before[i][j] = None
        else:
            self._after[i][j] = None
        if field == "streaming_consumers":
            self._streaming.setdefault(i, {})[j] = None
        elif field == "streaming_inputs":
            self._streaming.setdefault(j, {})[i] = None
        elif field == "consumers":
            self._plain.add((i, j))
        elif field == "inputs":
            self._plain.add((j, i))

    def _note_back(self, i: int, field: str, j: int) -> None:
        if field in ("inputs", "streaming_inputs", "producers"):
            self._after[j].setdefault(i)
        else:
            self._before[j].setdefault(i)

    def _family(self, i: int, spec: DropSpec) -> None:
        for key, links in (("children", spec.children), ("parent", (spec.parent,) if spec.parent else ())):
            for uid, _ in port_names(links):
                j = self._index.get(uid)
                path = f"/{self._graph.place(i)}/{key}"
                if j is None:
                    self._tell(
                        "PS302",
                        f"{key} names {uid!r}, which is not in this graph",
                        spec.key,
                        path,
                        self._near(uid),
                    )
                    continue
                container, member = (i, j) if key == "children" else (j, i)
                if self._kinds[container] != CONTAINER or self._kinds[member] == APP:
                    self._tell(
                        "PS301",
                        f"{key} names {uid!r}: only a container has children, and they are data",
                        spec.key,
                        path,
                    )
                else:
                    self._children.setdefault(container, {})[member] = None

    def _check_streams(self) -> None:
        for i, row in self._streaming.items():
            for j in row:
                if (i, j) in self._plain:
                    spec, app = self._graph.drops[i], self._graph.drops[j].key
                    text = f"{app!r} is a consumer and a streaming consumer of this data"
                    self._tell(
                        "PS304", text, spec.key, f"/{self._graph.place(i)}", "keep one of the two links"
                    )

    def _near(self, uid: str) -> str:
        return did_you_mean(uid, self._index) if len(self._index) <= 5_000 else ""

    def _tell(self, code: str, text: str, uid: str, path: str, hint: str = "") -> None:
        self.problems.append(Problem(code, text, uid, path, hint))
