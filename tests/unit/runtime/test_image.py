"""A graph read from its image is the graph that the image was made of."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.graph.load import loads
from penstock.graph.spec import Graph
from penstock.runtime.build import Prepared, prepare
from penstock.runtime.image import GraphImage, image_parts
from tests.unit.graph.making import Edge, app, container, data, plain_drops, shapes, tangled_drops, text

CLASSES = ["memory.InMemoryDROP", "file.FileDROP", "data_base.NullDROP"]
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=10) | st.just("x" * 5000)


def imaged(prepared: Prepared, offset: int = 0) -> GraphImage:
    """Return the image, from memory in which it begins at any place."""
    content = bytes(offset) + b"".join(image_parts(prepared))
    wiring = prepared.wiring
    return GraphImage(memoryview(content)[offset:], wiring.streaming, wiring.children)


def check(prepared: Prepared, image: GraphImage) -> None:
    graph, wiring = prepared.graph, prepared.wiring
    size = len(graph)
    assert len(image) == size
    assert bytes(image.kinds) == bytes(wiring.kinds)
    assert list(image.class_of) == prepared.class_of
    assert [image.before[i] for i in range(size)] == [tuple(row) for row in wiring.before]
    assert [image.after[i] for i in range(size)] == [tuple(row) for row in wiring.after]
    assert (image.streaming, image.children) == (wiring.streaming, wiring.children)
    for _ in range(2):  # the second time some of it is kept
        assert [image.fields(i) for i in range(size)] == [graph.fields(i) for i in range(size)]
        assert [image.spec(i) for i in range(size)] == list(graph.drops)
    assert [bytes(image.raw(i)) for i in range(size)] == [graph.raw(i) for i in range(size)]


@st.composite
def graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    is_app, edges = draw(shapes(most=10))
    drops = plain_drops(is_app, edges) if draw(st.booleans()) else draw(tangled_drops(is_app, edges))
    for drop, isapp in zip(drops, is_app, strict=True):
        drop.update(draw(st.dictionaries(st.sampled_from(["name", "x", "å"]), TEXT, max_size=2)))
        if not isapp:
            drop["dropclass"] = "dlg.data.drops." + draw(st.sampled_from(CLASSES))
    return drops


@given(graphs(), st.integers(0, 20))
def test_everything_that_drops_need_is_in_the_image(drops: list[dict[str, Any]], offset: int) -> None:
    prepared = prepare(loads(text(*drops)))
    check(prepared, imaged(prepared, offset))


@given(shapes(most=10))
def test_the_image_of_a_text_with_spaces_between_its_drops(
    shape: tuple[Sequence[bool], Sequence[Edge]],
) -> None:
    texts = [text(drop)[1:-1] for drop in plain_drops(*shape)]
    prepared = prepare(loads(b" [\n" + b"\n ,\t".join(texts) + b"\n] "))
    check(prepared, imaged(prepared))


def test_an_empty_graph_has_an_image() -> None:
    prepared = prepare(Graph(b"[]", (), has_record=False))
    check(prepared, imaged(prepared))


def test_text_that_is_not_ascii_is_found_by_its_bytes() -> None:
    drops = [data("ø", name="åäö"), app("😀", inputs=["ø"], name="\u2028"), data("z")]
    prepared = prepare(drops)
    image = imaged(prepared)
    check(prepared, image)
    assert [image.spec(i).oid for i in range(3)] == ["ø", "😀", "z"]
    assert image.fields(0)["name"] == "åäö"


def test_containers_streams_and_a_record_behind_the_drops() -> None:
    drops = [
        container("c", children=["m"]),
        data("m", parent="c", streamingConsumers=["a"]),
        app("a", streamingInputs=["m"]),
        {"rmode": "1", "signature": "x"},
    ]
    prepared = prepare(loads(text(*drops)))
    assert prepared.graph.has_record
    check(prepared, imaged(prepared))


def test_numbers_begin_where_their_size_says_whatever_the_number_of_drops() -> None:
    for count in range(1, 20):
        prepared = prepare([data(f"d{i}", consumers=["a"]) for i in range(count)] + [app("a")])
        head, kinds, ends, *_ = image_parts(prepared)
        assert len(head) % 8 == 0
        assert (len(head) + len(kinds)) % 8 == 0
        assert len(ends) % 8 == 0
        check(prepared, imaged(prepared))


def test_who_asks_for_fields_may_change_them() -> None:
    prepared = prepare([data("short", x=1), data("long", x="y" * 5000)])
    image = imaged(prepared)
    for index in range(2):
        first = image.fields(index)
        first["x"] = "changed"
        first["new"] = 1
        assert image.fields(index) == prepared.graph.fields(index)
        assert image.fields(index) is not image.fields(index)


def test_long_texts_are_read_once() -> None:
    image = imaged(prepare([data("short", x=[1]), data("long", x=["y" * 5000])]))
    assert image.fields(0)["x"] is not image.fields(0)["x"]
    assert image.fields(1)["x"] is image.fields(1)["x"]


def test_only_some_long_texts_are_kept() -> None:
    prepared = prepare([data(f"d{i}", x=["y" * 5000]) for i in range(150)])
    image = imaged(prepared)
    for _ in range(2):
        for i in range(150):
            assert image.fields(i) == prepared.graph.fields(i)
            assert len(image._fields) <= 100


def test_only_some_specifications_are_kept() -> None:
    prepared = prepare([data(f"d{i}") for i in range(1500)])
    image = imaged(prepared)
    assert image.spec(3) is image.spec(3)
    for i in range(1500):
        assert image.spec(i) == prepared.graph.drops[i]
        assert len(image._specs) <= 1000
