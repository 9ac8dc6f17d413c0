# SPDX-License-Identifier: Apache-2.0
"""One result for one output or several: by name, by count, or whole."""

from typing import Any, NamedTuple

import pytest

from penstock.apps.python import PyFuncApp
from penstock.apps.results import spread
from penstock.drops.memory import MemoryDrop
from penstock.testing.solo import SoloSite


class Named(NamedTuple):
    b: int
    a: int


def given(site: SoloSite, ports: list[str], result: Any, *, described: tuple[str, ...] = ()) -> list[Any]:
    arguments = {name: {"usage": "OutputPort", "value": ""} for name in described}
    app = site.add(PyFuncApp, "app", applicationArgs=arguments)
    for place, name in enumerate(ports):
        site.link(app, site.add(MemoryDrop, f"out{place}"), name)
    return [item for _, item in spread(app, list(app.output_links), result)]


@pytest.mark.parametrize("result", [(1, 2), [1], {"a": 1}, "text", None])
def test_one_output_gets_the_whole_result(site: SoloSite, result: Any) -> None:
    assert given(site, ["a"], result) == [result]


def test_copies_of_one_port_get_the_whole_result_each(site: SoloSite) -> None:
    assert given(site, ["a", "a"], (1, 2)) == [(1, 2), (1, 2)]


@pytest.mark.parametrize("result", [(1, 2), [1, 2]])
def test_as_many_items_as_ports_go_in_order_of_the_links(site: SoloSite, result: Any) -> None:
    assert given(site, ["b", "a"], result) == [1, 2]
    assert given(SoloSite(site.directory), ["", ""], result) == [1, 2]


def test_the_order_of_the_description_counts_before_that_of_the_links(site: SoloSite) -> None:
    assert given(site, ["b", "a", "b"], (1, 2), described=("a", "x", "b")) == [2, 1, 2]


@pytest.mark.parametrize("result", [{"a": 2, "b": 1, "c": 3}, Named(b=1, a=2)])
def test_names_of_ports_are_found_in_mappings(site: SoloSite, result: Any) -> None:
    assert given(site, ["b", "a"], result) == [1, 2]


@pytest.mark.parametrize("result", [(1, 2, 3), {"a": 1}, "ab", {1, 2}, range(2), None, [1]])
def test_anything_else_goes_whole_to_each(site: SoloSite, result: Any) -> None:
    assert given(site, ["a", "b"], result) == [result, result]
