"""Drawings: well-formed whatever the names are, readable, bounded."""

import json
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.graph.draw import to_dot, to_mermaid, to_svg
from penstock.graph.frame import BOX_HEIGHT
from penstock.graph.layers import flow_order, layers_of
from penstock.graph.layout import lay_out
from penstock.graph.links import wire
from penstock.graph.picture import picture, shorten
from tests.unit.graph.making import Edge, app, container, data, made, plain_drops, shapes

SVG = "{http://www.w3.org/2000/svg}"
STATES = ["INITIALIZED", "WRITING", "COMPLETED", "ERROR", "EXPIRED", "DELETED", "CANCELLED", "SKIPPED"]


def boxes(svg: str) -> list[ElementTree.Element]:
    """Return the boxes of a drawing, without those of its legend."""
    return [
        group
        for group in ElementTree.fromstring(svg).iter(f"{SVG}g")
        if group.find(f"{SVG}title") is not None
    ]


def words(svg: str) -> str:
    return " ".join(filter(None, (text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text"))))


def paths(svg: str) -> list[ElementTree.Element]:
    return [path for path in ElementTree.fromstring(svg).iter(f"{SVG}path") if path.get("marker-end")]


# SVG


def test_one_drop_is_a_drawing() -> None:
    svg = to_svg(made(data("lonely")))
    assert len(boxes(svg)) == 1
    assert "lonely" in words(svg)
    assert "InMemoryDROP" in words(svg)


def test_data_and_apps_differ_in_shape_and_legend() -> None:
    svg = to_svg(made(data("d", consumers=["a"]), app("a"), container("c", children=["d"])))
    rounding = {group.get("class"): group[1].get("rx") for group in boxes(svg)}
    assert rounding == {"data": str(BOX_HEIGHT / 2), "app": "2", "box": "5"}
    for word in ("data", "app", "container", "member of a container"):
        assert word in words(svg)


def test_streaming_links_are_dashed() -> None:
    svg = to_svg(made(data("d", streamingConsumers=["a"], consumers=["b"]), app("a"), app("b")))
    assert [path.get("class") for path in paths(svg)] == ["link", "stream"] or {
        path.get("class") for path in paths(svg)
    } == {"link", "stream"}
    assert ".stream{stroke-dasharray" in svg
    assert "streaming" in words(svg)


def test_states_are_shown_by_signs_and_told_in_the_legend() -> None:
    drops = [data(f"d{k}") for k in range(len(STATES))]
    svg = to_svg(made(*drops), states={f"d{k}": state for k, state in enumerate(STATES)})
    for state in STATES[1:]:
        assert state.lower() in words(svg)
    assert "\u2713" in words(svg)
    assert sum("dim" in (group.get("class") or "") for group in boxes(svg)) == 4


def test_copies_of_one_component_are_told_apart() -> None:
    svg = to_svg(made(data("a", name="part", iid="0/3"), data("b", name="part", iid=7)))
    assert "0/3" in words(svg)
    assert "InMemoryDROP  7" in words(svg)


def test_long_names_are_shortened_on_the_box_and_whole_in_the_tip() -> None:
    name = "x" * 40 + "middle" + "y" * 40
    svg = to_svg(made(data(name)))
    assert name not in words(svg)
    tip = boxes(svg)[0].find(f"{SVG}title")
    assert tip is not None
    assert name in (tip.text or "")


def test_the_same_graph_gives_the_same_drawing() -> None:
    drops = plain_drops([False, True, False, False], [(0, 1), (1, 2), (1, 3)])
    assert to_svg(made(*drops)) == to_svg(made(*drops))


def test_a_cycle_is_drawn() -> None:
    svg = to_svg(made(data("d", consumers=["a"]), app("a", outputs=["d"])))
    assert len(paths(svg)) == 2


def test_a_cycle_in_a_drawing_that_runs_down_has_room_at_the_side() -> None:
    drops = [
        data(f"u{k}", consumers=[f"u{k + 1}"]) if k % 2 == 0 else app(f"u{k}", outputs=[f"u{k + 1}"])
        for k in range(29)
    ]
    ring = made(*drops, app("u29", inputs=["u28"], outputs=["u0"]))
    line = made(*drops, app("u29", inputs=["u28"]), app("u30", inputs=["u28"]))
    assert width_of(to_svg(ring)) > 92
    assert len(paths(to_svg(ring))) == 30
    assert height_of(to_svg(line)) > width_of(to_svg(line))


def width_of(svg: str) -> float:
    return float(ElementTree.fromstring(svg).attrib["width"])


def height_of(svg: str) -> float:
    return float(ElementTree.fromstring(svg).attrib["height"])


def test_everything_lies_inside_the_drawing() -> None:
    drops = plain_drops([False, True] * 10, [(i, j) for i in range(20) for j in range(i + 1, 20, 2)])
    svg = to_svg(made(*drops))
    for group in boxes(svg):
        for rect in group.iter(f"{SVG}rect"):
            assert 0 <= float(rect.attrib["x"]) <= width_of(svg) - float(rect.attrib["width"])
            assert 0 <= float(rect.attrib["y"]) <= height_of(svg) - float(rect.attrib["height"])


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5, unique_by=lambda pair: pair[0]), st.data())
def test_any_names_give_well_formed_drawings(names: list[tuple[str, str]], choice: Any) -> None:
    drops = [app(uid, name=name, dropclass=name) for uid, name in names]
    states = {uid: choice.draw(st.sampled_from([*STATES, name])) for uid, name in names}
    graph = made(*drops)
    assert len(boxes(to_svg(graph, states=states))) == len(drops)
    assert len(re.findall(r"^  n\d+\[", to_mermaid(graph), re.MULTILINE)) == len(drops)
    nodes = [line for line in to_dot(graph).split("\n") if re.match(r"  n\d+ \[", line)]
    assert len(nodes) == len(drops)
    for line in nodes:  # quotes are balanced once escaped letters are taken away
        assert re.sub(r"\\.", "", line).count('"') % 2 == 0


@given(shapes(acyclic=False), st.integers(1, 14))
def test_any_shape_and_limit_can_be_drawn(shape: tuple[list[bool], list[Edge]], limit: int) -> None:
    graph = made(*plain_drops(*shape))
    svg = to_svg(graph, limit=limit)
    assert len(boxes(svg)) == (len(graph) if len(graph) <= limit else len(picture(graph, limit=limit).boxes))
    assert to_mermaid(graph, limit=limit).startswith("flowchart LR\n")
    assert to_dot(graph, limit=limit).endswith("}\n")


# Groups


def layered(layers: int, width: int, **fields: Any) -> list[dict[str, Any]]:
    drops = []
    for k in range(layers):
        for w in range(width):
            ahead = [f"{k + 1}/{w}"] if k + 1 < layers else []
            drop = app(f"{k}/{w}", outputs=ahead) if k % 2 else data(f"{k}/{w}", consumers=ahead)
            drops.append({**drop, **fields, "name": f"step {k}"})
    return drops


def test_a_graph_over_the_limit_is_drawn_in_groups_and_says_so() -> None:
    graph = made(*layered(4, 10))
    drawn = picture(graph, {f"0/{w}": "COMPLETED" for w in range(10)}, limit=39)
    assert [(box.title, box.size) for box in drawn.boxes] == [(f"step {k}", 10) for k in range(4)]
    assert [(arrow.start, arrow.end, arrow.links) for arrow in drawn.arrows] == [
        (0, 1, 10),
        (1, 2, 10),
        (2, 3, 10),
    ]
    assert drawn.boxes[0].state == "COMPLETED"
    assert "40 drops, more than 39" in drawn.note
    for text in (to_svg(graph, limit=39), to_mermaid(graph, limit=39), to_dot(graph, limit=39)):
        assert "40 drops" in text
        assert "\u00d710" in text


def test_a_group_of_mixed_states_names_and_classes_says_so() -> None:
    drops = [data("a", name="x"), data("b", name="y", dropclass="other.FileDROP"), data("c")]
    (box,) = picture(made(*drops), {"a": "ERROR", "b": "COMPLETED"}, limit=1).boxes
    assert (box.title, box.subtitle, box.state, box.size) == ("2 classes", "2 classes", "mixed", 3)
    assert "1 ERROR" in box.tip


def test_drops_of_one_place_in_the_logical_graph_are_one_group() -> None:
    drops = [*layered(2, 4, lg_key="k1"), data("other", lg_key="k2")]
    drawn = picture(made(*drops), limit=3)
    assert sorted(box.size for box in drawn.boxes) == [1, 4, 4]
    assert "logical graph" in drawn.note


def test_many_different_drops_end_in_few_groups() -> None:
    drops = [data(f"d{k}", dropclass=f"m.C{k}") for k in range(20)] + [app(f"a{k}") for k in range(3)]
    drawn = picture(made(*drops), limit=5)
    assert [box.size for box in drawn.boxes] == [20, 3]
    assert drawn.boxes[0].title == "20 classes" or drawn.boxes[0].title == "20 names"


def test_kinds_are_never_mixed_however_low_the_limit() -> None:
    drawn = picture(made(*layered(4, 10)), limit=1)
    assert [box.size for box in drawn.boxes] == [20, 20]
    assert drawn.note.endswith("one per kind")


def test_data_without_class_shows_its_storage() -> None:
    (box,) = picture(made({"oid": "d", "type": "plain", "storage": "memory"}), limit=1).boxes
    assert box.subtitle == "memory"
    (box,) = picture(made({"oid": "d", "type": "plain"}), limit=1).boxes
    assert box.subtitle == "?"


def test_a_hundred_thousand_drops_become_a_small_drawing() -> None:
    svg = to_svg(made(*layered(10, 10_000)))
    assert len(boxes(svg)) == 10
    assert len(svg) < 20_000


# Mermaid and DOT


def test_mermaid_knows_shapes_streams_and_members() -> None:
    drops = [
        data("d", consumers=["b"], streamingConsumers=["a"]),
        app("a"),
        app("b"),
        container("c", children=["d"]),
    ]
    chart = to_mermaid(made(*drops))
    assert '  n0(["d<br/>InMemoryDROP"])' in chart
    assert '  n1["a<br/>CopyApp"]' in chart
    assert '  n3[["c<br/>ContainerDROP"]]' in chart
    assert "  n0 -.-> n1" in chart
    assert "  n0 --> n2" in chart
    assert "  n0 --- n3" in chart
    assert "  class n1,n2 app" in chart
    assert "class" not in to_mermaid(made(container("c"))).replace("classDef", "")


def test_dot_knows_shapes_streams_and_members() -> None:
    drops = [
        data('d"\\', consumers=["b"], streamingConsumers=["a"]),
        app("a"),
        app("b"),
        container("c", children=['d"\\']),
    ]
    chart = to_dot(made(*drops))
    assert 'n0 [label="d\\"\\\\\\nInMemoryDROP"' in chart
    assert "n0 -> n1 [style=dashed];" in chart
    assert "n0 -> n2;" in chart
    assert "n0 -> n3 [style=dotted, dir=none];" in chart
    assert "peripheries=2" in chart


@pytest.mark.parametrize(
    ("text", "width", "short"), [("abc", 3, "abc"), ("abcdefgh", 5, "ab\u2026gh"), ("abcdef", 4, "a\u2026ef")]
)
def test_texts_are_shortened_in_the_middle(text: str, width: int, short: str) -> None:
    assert shorten(text, width) == short


# Layers and places


@given(shapes(acyclic=False))
def test_flow_order_names_every_node_once(shape: tuple[list[bool], list[Edge]]) -> None:
    wiring = wire(made(*plain_drops(*shape)))[0]
    assert sorted(flow_order(wiring.before, wiring.after)) == list(range(len(shape[0])))


@given(shapes())
def test_links_lead_to_later_layers(shape: tuple[list[bool], list[Edge]]) -> None:
    wiring = wire(made(*plain_drops(*shape)))[0]
    layer = layers_of(wiring.before, wiring.after)
    assert all(layer[i] < layer[j] for i, j in shape[1])
    assert min(layer) >= 0


def test_what_only_feeds_a_late_step_stands_beside_it() -> None:
    # 0 -> 1 -> 2 -> 3 -> 4, and a parameter 6 with its maker 5 for step 3 only
    after = [[1], [2], [3], [4], [], [6], [3]]
    before = [[], [0], [1], [2, 6], [3], [], [5]]
    assert layers_of(before, after) == [0, 1, 2, 3, 4, 1, 2]


@given(shapes(acyclic=False))
def test_boxes_of_a_column_do_not_overlap(shape: tuple[list[bool], list[Edge]]) -> None:
    layout = lay_out(len(shape[0]), shape[1])
    places = sorted(zip(layout.column, layout.height, strict=True))
    for (column, height), (other, lower) in pairwise(places):
        assert column != other or lower - height >= 1 - 1e-6
    assert min(layout.height) >= 0


def test_long_links_bend_round_the_boxes_between() -> None:
    layout = lay_out(4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    assert [column for column, _ in layout.bends[0, 3]] == [1, 2]
    for column, height in layout.bends[0, 3]:
        assert all(abs(height - layout.height[i]) > 0.5 for i in range(4) if layout.column[i] == column)


def test_a_tree_has_no_crossings_and_twins_are_untangled() -> None:
    layout = lay_out(6, [(0, 4), (1, 3), (2, 5)])
    for (a, b), (c, d) in [((0, 4), (1, 3)), ((0, 4), (2, 5)), ((1, 3), (2, 5))]:
        assert (layout.height[a] - layout.height[c]) * (layout.height[b] - layout.height[d]) > 0


def test_no_nodes_no_places() -> None:
    assert lay_out(0, []).columns == 0


def test_links_to_itself_have_no_say() -> None:
    assert lay_out(2, [(0, 0), (0, 1)]).column == [0, 1]


def test_a_group_that_feeds_itself_is_drawn() -> None:
    drops = [data(f"d{k}", consumers=[f"a{k}"]) for k in range(4)]
    drops += [app(f"a{k}", outputs=[f"d{k + 1}"] if k < 3 else []) for k in range(4)]
    svg = to_svg(made(*drops), limit=2)
    assert len(boxes(svg)) == 2
    assert len(paths(svg)) == 2


def test_a_dense_drawing_is_ordered_without_counting() -> None:
    layout = lay_out(200, [(i, j) for i in range(100) for j in range(100, 200)])
    assert sorted(layout.height[100:]) == sorted(layout.height[:100])


def test_too_many_bends_are_left_out() -> None:
    chain = [(k, k + 1) for k in range(400)]
    layout = lay_out(401, chain + [(0, k) for k in range(2, 400)])
    assert layout.bends == {}
    assert layout.columns == 401


def test_large_drawings_are_quick_enough_to_be_made() -> None:
    svg = to_svg(made(*layered(20, 100)))
    assert len(boxes(svg)) == 2000
    json.dumps(svg)
