"""Neighbours and their ports, against a slow model written from the rules."""

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from penstock.drops.base import Drop, Side
from penstock.graph.links import APP, Wiring
from penstock.graph.load import loads
from penstock.graph.spec import DropSpec, Graph
from penstock.runtime.build import inspect, prepare
from penstock.runtime.image import GraphImage, image_parts
from penstock.runtime.linking import Neighbours
from tests.unit.graph.making import app, container, data, text

Found = list[tuple[str, int, bool]]


class Named(Drop):
    """A drop that stands for its index."""

    def __init__(self, index: int) -> None:
        self.index = index


def keys(kind: int, side: Side) -> list[str]:
    if kind == APP:
        return ["inputs", "streamingInputs"] if side is Side.BEFORE else ["outputs"]
    return ["producers"] if side is Side.BEFORE else ["consumers", "streamingConsumers"]


def ports_at(drop: dict[str, Any], names: list[str]) -> dict[str, list[str]]:
    """Return what one end of its links says: each neighbour's ports, by the name it has there."""
    found: dict[str, list[str]] = {}
    for key in names:
        for link in drop.get(key) or ():
            for name, port in link.items() if isinstance(link, dict) else ():
                if port and port not in found.setdefault(name, []):
                    found[name].append(port)
    return found


def ports_of(drops: list[dict[str, Any]], kinds: Any, index: int, other: int, side: Side) -> list[str]:
    """Return the ports of the link from one drop to a neighbour, named at its own end, else at the other one."""
    ahead = {Side.BEFORE: Side.AFTER, Side.AFTER: Side.BEFORE}
    own = ports_at(drops[index], keys(kinds[index], side))
    theirs = ports_at(drops[other], keys(kinds[other], ahead[side]))
    for named, neighbour, most in ((own, other, None), (theirs, index, 1)):
        for name in ("uid", "oid"):
            if named.get(str(drops[neighbour].get(name) or "")):
                return named[str(drops[neighbour][name])][:most]
    return [""]


def model(drops: list[dict[str, Any]], wiring: Wiring, index: int, side: Side) -> Found:
    if side is Side.CHILDREN:
        return [("", child, False) for child in wiring.children.get(index, ())]
    found: Found = []
    for other in (wiring.before if side is Side.BEFORE else wiring.after)[index]:
        data_end, app_end = (other, index) if wiring.kinds[index] == APP else (index, other)
        forward = (side is Side.BEFORE) == (wiring.kinds[index] == APP)
        streams = forward and app_end in wiring.streaming.get(data_end, ())
        found += [(port, other, streams) for port in ports_of(drops, wiring.kinds, index, other, side)]
    return found


def check(drops: list[dict[str, Any]]) -> None:
    graph = loads(text(*drops))
    prepared = prepare(graph)
    wiring = prepared.wiring
    image = GraphImage(memoryview(b"".join(image_parts(prepared))), wiring.streaming, wiring.children)
    for neighbours in (Neighbours(wiring, graph.drops.__getitem__), Neighbours(image, image.spec)):
        for index in range(len(drops)):
            for side in Side:
                linked = neighbours.linked(index, side, Named)
                expected = model(drops, wiring, index, side)
                assert [(link.port, link.drop.index, link.streaming) for link in linked] == expected
            if wiring.kinds[index] == APP:
                inputs = [(port, other) for port, other, _ in model(drops, wiring, index, Side.BEFORE)]
                assert neighbours.inputs(index) == inputs


PORTS = st.sampled_from(["a", "b", "c", "å", "", None])


def links(names: list[str]) -> st.SearchStrategy[Any]:
    one = st.sampled_from(names) | st.dictionaries(st.sampled_from(names), PORTS, min_size=1, max_size=2)
    return st.lists(one, max_size=4) | st.none()


@st.composite
def graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Some data, apps that read it, and data that they write; links as authors may write them, at both ends."""
    sizes = [draw(st.integers(1, 3)) for _ in range(3)]
    rows: list[list[dict[str, Any]]] = []
    for layer, (size, make) in enumerate(zip(sizes, (data, app, data), strict=True)):
        rows.append([make(f"o{layer}.{k}") for k in range(size)])
        for drop in rows[-1]:
            if draw(st.booleans()):
                drop["uid"] = "u" + drop["oid"]
    names = [[drop[key] for drop in row for key in ("oid", "uid") if key in drop] for row in rows]
    before, apps, after = rows
    for drop in before:
        drop["consumers"] = draw(links(names[1]))
        if not draw(st.integers(0, 3)):
            drop["streamingConsumers"] = draw(links(names[1]))
    for drop in apps:
        drop["inputs"], drop["outputs"] = draw(links(names[0])), draw(links(names[2]))
        if not draw(st.integers(0, 3)):
            drop["streamingInputs"] = draw(links(names[0]))
    for drop in after:
        drop["producers"] = draw(links(names[1]))
    drops = [drop for row in rows for drop in row]
    return draw(st.permutations(drops))


@given(graphs())
def test_ports_are_found_wherever_they_are_named(drops: list[dict[str, Any]]) -> None:
    assume(inspect(loads(text(*drops)))[0] is not None)  # who reads both a stream and the whole is refused
    check(drops)


def ports(drops: list[dict[str, Any]], uid: str, side: Side) -> list[str]:
    graph = loads(text(*drops))
    linked = Neighbours(prepare(graph).wiring, graph.drops.__getitem__).linked(graph.index[uid], side, Named)
    return [link.port for link in linked]


def test_a_port_may_be_named_at_one_end_only() -> None:
    here = [data("d", consumers=["a"]), app("a", inputs=[{"d": "x"}])]
    there = [data("d", consumers=[{"a": "x"}]), app("a", inputs=["d"])]
    alone = [data("d", consumers=[{"a": "x"}]), app("a")]
    for drops in (here, there, alone):
        assert ports(drops, "a", Side.BEFORE) == ["x"]
        assert ports(drops, "d", Side.AFTER) == ["x"]
        check(drops)


def test_each_end_has_a_name_of_its_own() -> None:
    drops = [data("d", consumers=[{"a": "out"}]), app("a", inputs=[{"d": "in"}])]
    assert ports(drops, "a", Side.BEFORE) == ["in"]
    assert ports(drops, "d", Side.AFTER) == ["out"]


def test_a_neighbour_on_several_ports_is_listed_for_each() -> None:
    drops = [data("d"), app("a", inputs=[{"d": "x"}, {"d": "y"}, {"d": "x"}])]
    assert ports(drops, "a", Side.BEFORE) == ["x", "y"]
    assert ports(drops, "d", Side.AFTER) == ["x"]  # the first of the other end
    check(drops)


def test_what_names_no_port_is_linked_through_none() -> None:
    drops = [data("d"), data("e"), data("f"), app("a", inputs=["d", {"e": None}, {"f": ""}])]
    assert ports(drops, "a", Side.BEFORE) == ["", "", ""]


def test_a_link_may_name_the_uid_or_the_oid() -> None:
    drops = [data("d", uid="du"), data("e", uid="eu"), app("a", inputs=[{"d": "x"}, {"eu": "y"}])]
    assert ports(drops, "a", Side.BEFORE) == ["x", "y"]
    check(drops)


def test_drops_with_many_links_are_like_others() -> None:
    for count in (31, 32, 33, 100):
        names = [f"d{k}" for k in range(count)]
        inputs = [{name: f"p{k}"} if k % 3 else name for k, name in enumerate(names)]
        drops = [data(name, consumers=[{"a": "other"}]) for name in names] + [app("a", inputs=inputs)]
        drops += [data("wide", consumers=[{f"r{k}": f"q{k}"} for k in range(count)])]
        drops += [app(f"r{k}", inputs=["wide"]) for k in range(count)]
        check(drops)
        assert ports(drops, "a", Side.BEFORE) == [f"p{k}" if k % 3 else "other" for k in range(count)]
        assert ports(drops, "wide", Side.AFTER) == [f"q{k}" for k in range(count)]
        assert ports(drops, f"r{count - 1}", Side.BEFORE) == [f"q{count - 1}"]


def test_links_of_wide_drops_are_read_once() -> None:
    drops = [data("wide", consumers=[{f"r{k}": f"q{k}"} for k in range(100)])]
    drops += [app(f"r{k}", inputs=["wide"]) for k in range(100)]
    graph = loads(text(*drops))
    asked: list[int] = []

    def spec(index: int) -> DropSpec:
        asked.append(index)
        return graph.drops[index]

    neighbours = Neighbours(prepare(graph).wiring, spec)
    for index in range(1, 101):
        assert neighbours.inputs(index) == [(f"q{index - 1}", 0)]
    assert len(neighbours._wide) == 1


def test_members_of_a_container_have_no_ports() -> None:
    check([container("c", children=["m", "n"]), data("m"), data("n", consumers=["a"]), app("a")])


def test_streams_are_told_from_both_ends() -> None:
    drops = [data("d", streamingConsumers=[{"a": "s"}], consumers=["b"]), app("a"), app("b", inputs=["d"])]
    graph: Graph = loads(text(*drops))
    neighbours = Neighbours(prepare(graph).wiring, graph.drops.__getitem__)
    assert [link[0::2] for link in neighbours.linked(0, Side.AFTER, Named)] == [("", False), ("s", True)]
    assert [link[0::2] for link in neighbours.linked(1, Side.BEFORE, Named)] == [("s", True)]
    assert [link[0::2] for link in neighbours.linked(2, Side.BEFORE, Named)] == [("", False)]
    check(drops)
