# SPDX-License-Identifier: Apache-2.0
"""Drawings of graphs for pages, slides and documents: SVG, Mermaid, Graphviz DOT.

What is shown is decided in `picture.py`, where it stands in `layout.py`. All three stay readable and quick
for graphs of any size: beyond a limit of drops, groups are drawn.
"""

import re
from collections.abc import Iterator, Mapping

from penstock.graph.links import APP, DATA
from penstock.graph.picture import Box, Picture, picture, shorten
from penstock.graph.spec import Graph
from penstock.graph.svg import draw_svg

__all__ = ["to_dot", "to_mermaid", "to_svg"]

_SVG_LIMIT = 2_000
_DOT_LIMIT = 5_000
_MERMAID_LIMIT = 250  # Mermaid refuses texts of 50,000 letters and 500 links unless told otherwise
_LABEL_LENGTH = 40

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_PLAIN = re.compile(r"[^\w .,:;/+=\u00d7\-]")


def to_svg(graph: Graph, *, states: Mapping[str, str] | None = None, limit: int = _SVG_LIMIT) -> str:
    """Return a graph as the text of an SVG file.

    Args:
        states: uid to the word for its state, to show a run; words are those of `DropState`.
        limit: most drops that are drawn one by one.
    """
    return draw_svg(picture(graph, states, limit=limit))


def to_mermaid(graph: Graph, *, limit: int = _MERMAID_LIMIT) -> str:
    """Return a graph as a Mermaid flow chart, which many wikis and code hosts show."""
    return "\n".join(_mermaid(picture(graph, limit=limit))) + "\n"


def to_dot(graph: Graph, *, limit: int = _DOT_LIMIT) -> str:
    """Return a graph in the language of Graphviz."""
    return "\n".join(_dot(picture(graph, limit=limit))) + "\n"


def _mermaid(drawn: Picture) -> Iterator[str]:
    yield "flowchart LR"
    if drawn.note:
        yield f"  %% {drawn.note}"
    for place, box in enumerate(drawn.boxes):
        left, right = {APP: ("[", "]"), DATA: ("([", "])")}.get(box.kind, ("[[", "]]"))
        yield f'  n{place}{left}"{"<br/>".join(map(_mermaid_text, _label(box)))}"{right}'
    for arrow in drawn.arrows:
        line = {"stream": "-.->", "member": "---"}.get(arrow.style, "-->")
        yield f"  n{arrow.start} {line} n{arrow.end}"
    yield "  classDef app fill:#1d4e79,stroke:#12324e,color:#fff"
    yield "  classDef data fill:#fff7e3,stroke:#b9832a,color:#3d2c0c"
    for kind, name in ((APP, "app"), (DATA, "data")):
        members = [f"n{place}" for place, box in enumerate(drawn.boxes) if box.kind == kind]
        if members:
            yield f"  class {','.join(members)} {name}"


def _label(box: Box) -> tuple[str, str]:
    count = f" \u00d7{box.size:,}" if box.size > 1 else ""
    return shorten(box.title, _LABEL_LENGTH) + count, shorten(box.subtitle, _LABEL_LENGTH)


def _mermaid_text(text: str) -> str:
    # Mermaid knows no escapes but numbered entities; what is not plain text is written as one.
    return _NOT_PLAIN.sub(lambda match: f"#{ord(match.group())};", _UNPRINTABLE.sub("\ufffd", text))


def _dot(drawn: Picture) -> Iterator[str]:
    yield "digraph {"
    if drawn.note:
        yield f"  // {drawn.note}"
    yield '  rankdir=LR; node [fontname="Helvetica", fontsize=11, style=filled]; edge [color="#7b8794"];'
    looks = {
        APP: 'shape=box, fillcolor="#1d4e79", fontcolor=white',
        DATA: 'shape=box, style="rounded,filled", fillcolor="#fff7e3", color="#b9832a"',
    }
    for place, box in enumerate(drawn.boxes):
        look = looks.get(box.kind, 'shape=box, peripheries=2, fillcolor="#eef3ee"')
        label = "\\n".join(map(_dot_text, _label(box)))
        yield f'  n{place} [label="{label}", tooltip="{_dot_text(box.tip)}", {look}];'
    for arrow in drawn.arrows:
        look = {"stream": " [style=dashed]", "member": " [style=dotted, dir=none]"}.get(arrow.style, "")
        yield f"  n{arrow.start} -> n{arrow.end}{look};"
    yield "}"


def _dot_text(text: str) -> str:
    # A text that ends in a backslash, or holds one, must not eat the quote behind it.
    text = _UNPRINTABLE.sub(lambda match: " " if match.group() == "\n" else "\ufffd", text)
    return text.replace("\\", "\\\\").replace('"', '\\"')
