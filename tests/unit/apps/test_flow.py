# SPDX-License-Identifier: Apache-2.0
"""Branches, scatter, gather, one at a time."""

import pickle
from typing import Any

import numpy as np
import pytest

from penstock.apps.flow import (
    Branch,
    BranchApp,
    DictGatherApp,
    GenericGatherApp,
    GenericScatterApp,
    PickOne,
    SimpleBranch,
)
from penstock.drops.app import AppDrop
from penstock.drops.memory import MemoryDrop
from penstock.drops.null import NullDrop
from penstock.engine.states import DropState
from penstock.errors import EncodingFailed, PortMissing
from penstock.testing.solo import SoloSite

POSITIVE = "def condition(x):\n\treturn (x > 0)"


def source(site: SoloSite, app: AppDrop, value: object, port: str = "", uid: str = "") -> MemoryDrop:
    drop = site.add(MemoryDrop, uid or f"in{len(site._drops)}", name=uid or None)
    site.link(drop, app, port)
    site.fill(drop, value if isinstance(value, bytes) else pickle.dumps(value, protocol=4))
    return drop


def targets(site: SoloSite, app: AppDrop, *ports: str) -> list[MemoryDrop]:
    drops = [site.add(MemoryDrop, f"out{len(site._drops)}-{port}") for port in ports]
    for drop, port in zip(drops, ports, strict=True):
        site.link(app, drop, port)
    return drops


@pytest.mark.parametrize("order", [("true", "false"), ("false", "true")])
@pytest.mark.parametrize(("value", "way"), [(5, "true"), (-5, "false")])
def test_a_branch_copies_its_input_one_way_and_skips_the_other(
    site: SoloSite, order: tuple[str, str], value: int, way: str
) -> None:
    app = site.add(Branch, "app", func_name="condition", func_code=POSITIVE)
    drop = source(site, app, value, "x")
    outputs = dict(zip(order, targets(site, app, *order), strict=True))
    site.run(app)
    assert outputs.pop(way).read() == drop.read()
    assert outputs.popitem()[1].status == DropState.SKIPPED


def test_a_branch_copies_x_even_beside_events_and_other_inputs(site: SoloSite) -> None:
    app = site.add(Branch, "app", func_code="def f(x, limit): return x > limit", applicationArgs={})
    event = site.add(NullDrop, "event")
    site.link(event, app, "event")
    site.fill(event)
    source(site, app, 3, "limit")
    drop = source(site, app, 5, "x")
    if_true, _if_false = targets(site, app, "true", "false")
    site.run(app)
    assert if_true.read() == drop.read()


def test_a_branch_without_x_copies_the_first_argument(site: SoloSite) -> None:
    app = site.add(Branch, "app", func_code="def f(a, b): return b > a")
    source(site, app, 9, "b")
    drop = source(site, app, 1, "a")
    if_true, _ = targets(site, app, "True", "False")
    site.run(app)
    assert if_true.read() == drop.read()


def test_a_branch_without_inputs_writes_its_argument(site: SoloSite) -> None:
    app = site.add(
        Branch, "app", func_code=POSITIVE, componentParams={"x": {"value": "5", "type": "Integer"}}
    )
    if_true, _if_false = targets(site, app, "true", "false")
    site.run(app)
    assert pickle.loads(if_true.read()) == 5


@pytest.mark.parametrize(("code", "way"), [("'false'", 1), ("'yes'", 0), ("0", 1), ("[1]", 0), ("None", 1)])
def test_any_result_chooses_a_way(site: SoloSite, code: str, way: int) -> None:
    app = site.add(Branch, "app", func_code=f"lambda x=1: {code}")
    outputs = targets(site, app, "true", "false")
    site.run(app)
    assert outputs[way].status == DropState.COMPLETED
    assert outputs[1 - way].status == DropState.SKIPPED


def test_a_branch_with_one_way_linked_skips_it_or_not(site: SoloSite) -> None:
    app = site.add(Branch, "app", func_code="lambda x=1: False")
    (if_true,) = targets(site, app, "true")
    site.run(app)
    assert if_true.status == DropState.SKIPPED


@pytest.mark.parametrize(
    ("fields", "skipped"), [({}, 1), ({"result": "false"}, 0), ({"result": True, "Result": False}, 1)]
)
@pytest.mark.parametrize("ports", [("true", "false"), ("", "")])
def test_a_simple_branch_skips_what_it_is_told(
    site: SoloSite, fields: dict[str, Any], skipped: int, ports: tuple[str, str]
) -> None:
    app = site.add(SimpleBranch, "app", **fields)
    outputs = targets(site, app, *ports)
    site.run(app)
    assert outputs[skipped].status == DropState.SKIPPED
    assert outputs[1 - skipped].status == DropState.COMPLETED


def test_users_derive_branches(site: SoloSite) -> None:
    class Never(BranchApp):
        def condition(self) -> bool:
            return False

    app = site.add(Never, "app")
    outputs = targets(site, app, "", "")
    site.run(app)
    assert outputs[0].status == DropState.SKIPPED


@pytest.mark.parametrize("ports", [(), ("",), ("", "", ""), ("a", "b", "c")])
def test_a_branch_needs_two_ways(site: SoloSite, ports: tuple[str, ...]) -> None:
    app = site.add(SimpleBranch, "app")
    targets(site, app, *ports)
    with pytest.raises(PortMissing):
        site.run(app)


def test_scatter_writes_one_part_per_output(site: SoloSite) -> None:
    app = site.add(GenericScatterApp, "app", num_of_copies="2")
    source(site, app, ["a", "b", "c"])
    parts = [
        pickle.loads(drop.read()) if drop.status == DropState.COMPLETED else None
        for drop in _run(site, app, 2)
    ]
    assert [part.tolist() for part in parts] == [["a", "b"], ["c"]]


def _run(site: SoloSite, app: AppDrop, outputs: int) -> list[MemoryDrop]:
    drops = targets(site, app, *([""] * outputs))
    site.run(app)
    return drops


def test_scatter_takes_the_number_of_outputs_and_single_elements(site: SoloSite) -> None:
    app = site.add(GenericScatterApp, "app", element=True)
    source(site, app, np.arange(3))
    assert [pickle.loads(drop.read()) for drop in _run(site, app, 3)] == [0, 1, 2]


def test_scatter_needs_enough_outputs_and_an_array(site: SoloSite) -> None:
    app = site.add(GenericScatterApp, "app", num_of_copies=3)
    source(site, app, [1, 2, 3])
    with pytest.raises(PortMissing):
        _run(site, app, 2)
    text = site.add(GenericScatterApp, "text")
    source(site, text, b"plain text")
    with pytest.raises(EncodingFailed, match="holds a single str, not a list or an array"):
        _run(site, text, 2)


def test_gather_joins_contents_in_order(site: SoloSite) -> None:
    app = site.add(GenericGatherApp, "app")
    for content in (b"a", b"b", b"c"):
        source(site, app, content)
    assert [drop.read() for drop in _run(site, app, 2)] == [b"abc", b"abc"]


def test_dict_gather_names_values_by_their_drops(site: SoloSite) -> None:
    arguments = {"unit": {"value": "m"}, "empty": {"value": ""}, "one": {"value": "hidden"}}
    app = site.add(DictGatherApp, "app", applicationArgs=arguments, value_dict={"start": 0})
    source(site, app, 1, uid="one")
    source(site, app, [2], uid="two")
    (drop,) = _run(site, app, 1)
    assert pickle.loads(drop.read()) == {"start": 0, "one": 1, "two": [2], "unit": "m"}


@pytest.mark.parametrize(
    ("value", "first", "rest"),
    [
        ([1, 2, 3], 1, [2, 3]),
        (np.array([0.5]), 0.5, []),
        ((7,), 7, []),
        (np.array(4), 4, []),
        ([], None, []),
        (np.array([]), None, []),
        (b"", None, []),
        (None, None, []),
    ],
)
def test_pick_one_takes_the_first_and_leaves_the_rest(
    site: SoloSite, value: Any, first: Any, rest: Any
) -> None:
    app = site.add(PickOne, "app")
    source(site, app, value)
    by_name = site.add(MemoryDrop, "out", name="rest_array")
    site.link(app, by_name, "rest_arraycopy")
    element, by_port = targets(site, app, "element", "rest_array")
    site.run(app)
    assert pickle.loads(element.read()) == first
    assert list(pickle.loads(by_name.read())) == rest
    assert by_port.read() == by_name.read()


def test_pick_one_refuses_what_has_no_first(site: SoloSite) -> None:
    app = site.add(PickOne, "app")
    source(site, app, 5)
    with pytest.raises(EncodingFailed, match="int"):
        site.run(app)
