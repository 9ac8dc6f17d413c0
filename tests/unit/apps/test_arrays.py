# SPDX-License-Identifier: Apache-2.0
"""Random arrays, averages, gathers and scatters."""

import io
import pickle
from typing import Any

import dill
import numpy as np
import pytest

from penstock.apps.arrays import (
    ArrayGatherApp,
    AverageArraysApp,
    GenericNpyGatherApp,
    GenericNpyScatterApp,
    RandomArrayApp,
)
from penstock.drops.app import AppDrop
from penstock.drops.memory import MemoryDrop
from penstock.errors import EncodingFailed, ParameterInvalid, PortMissing
from penstock.testing.solo import SoloSite


def npy(array: Any) -> bytes:
    target = io.BytesIO()
    np.save(target, np.asarray(array))
    return target.getvalue()


def run(
    site: SoloSite, kind: type[AppDrop], contents: list[bytes], outputs: int = 1, **fields: Any
) -> list[bytes]:
    app = site.add(kind, "app", **fields)
    for place, content in enumerate(contents):
        source = site.add(MemoryDrop, f"in{place}")
        site.link(source, app)
        site.fill(source, content)
    targets = [site.add(MemoryDrop, f"out{place}") for place in range(outputs)]
    for target in targets:
        site.link(app, target)
    site.run(app)
    return [target.read() for target in targets]


def test_random_whole_numbers_by_default(site: SoloSite) -> None:
    one, two = (pickle.loads(content) for content in run(site, RandomArrayApp, [], 2))
    assert np.array_equal(one, two)
    assert one.shape == (100,)
    assert one.dtype.kind == "i"
    assert 0 <= one.min() <= one.max() < 100


def test_random_floats_in_their_bounds(site: SoloSite) -> None:
    (content,) = run(site, RandomArrayApp, [], integer="false", low="0", high=1, size="80000")
    array = pickle.loads(content)
    assert len(content) == 640_163
    assert array.dtype == np.float64
    assert 0 <= array.min() <= array.max() <= 1


def test_the_size_may_come_through_a_port(site: SoloSite) -> None:
    app = site.add(RandomArrayApp, "app", size=3)
    source, target = site.add(MemoryDrop, "in"), site.add(MemoryDrop, "out")
    site.link(source, app, "size")
    site.link(app, target)
    site.fill(source, pickle.dumps(7))
    site.run(app)
    assert pickle.loads(target.read()).shape == (7,)


def test_random_needs_an_output_and_bounds_in_order(site: SoloSite) -> None:
    with pytest.raises(PortMissing):
        run(site, RandomArrayApp, [], 0)
    with pytest.raises(ParameterInvalid, match="high"):
        run(SoloSite(site.directory), RandomArrayApp, [], low=5, high=5)


@pytest.mark.parametrize(("method", "result"), [("mean", 4.0), ("median", 2.0)])
def test_average_over_all_items(site: SoloSite, method: str, result: float) -> None:
    contents = [pickle.dumps(value) for value in ([1, 2], np.array([2, 3]), 12)]
    (content,) = run(site, AverageArraysApp, [*contents, b""], method=method)
    assert pickle.loads(content) == result


def test_average_knows_two_methods(site: SoloSite) -> None:
    with pytest.raises(ParameterInvalid, match="method"):
        run(site, AverageArraysApp, [pickle.dumps([1])], method="mode")


def test_gather_makes_one_list(site: SoloSite) -> None:
    contents = [dill.dumps(1), pickle.dumps({"a": 2}), b"no pickle", b""]
    assert [dill.loads(c) for c in run(site, ArrayGatherApp, contents, 2)] == [
        [1, {"a": 2}, b"no pickle", b""]
    ] * 2


@pytest.mark.parametrize(
    ("function", "axes", "result"),
    [
        ("sum", None, 20),
        ("sum", "None", 20),
        ("sum", "[0]", [8, 12]),
        ("prod", [0], [9, 64]),
        ("max", 1, [2, 4]),
        ("min", "1", [1, 3]),
        ("max", [0, 1], 4),
        ("add", None, [[2, 4], [6, 8]]),
        ("multiply", None, [[1, 4], [9, 16]]),
        ("maximum", None, [[1, 2], [3, 4]]),
        ("minimum", None, [[1, 2], [3, 4]]),
    ],
)
def test_npy_gather(site: SoloSite, function: str, axes: Any, result: Any) -> None:
    array = npy([[1, 2], [3, 4]])
    (content,) = run(site, GenericNpyGatherApp, [array, array], function=function, reduce_axes=axes)
    assert np.array_equal(np.load(io.BytesIO(content)), result)


def test_npy_gather_refuses_other_functions_and_contents(site: SoloSite) -> None:
    with pytest.raises(ParameterInvalid, match="function"):
        run(site, GenericNpyGatherApp, [npy([1]), npy([1])], function="save")
    with pytest.raises(EncodingFailed):
        run(SoloSite(site.directory), GenericNpyGatherApp, [b"x"])
    with pytest.raises(ParameterInvalid, match="reduce_axes"):
        run(SoloSite(site.directory), GenericNpyGatherApp, [npy([1])], reduce_axes="[0")


def test_npy_scatter_splits_each_input(site: SoloSite) -> None:
    contents = [npy(np.arange(4)), npy(np.arange(6).reshape(2, 3))]
    parts = run(site, GenericNpyScatterApp, contents, 4, num_of_copies=2, scatter_axes="[0, 1]")
    shapes = [np.load(io.BytesIO(part)).shape for part in parts]
    assert shapes == [(2,), (2,), (2, 2), (2, 1)]


def test_npy_scatter_needs_fitting_outputs_and_axes(site: SoloSite) -> None:
    with pytest.raises(PortMissing):
        run(site, GenericNpyScatterApp, [npy([1])], 1, num_of_copies=2)
    with pytest.raises(ParameterInvalid, match="scatter_axes"):
        run(SoloSite(site.directory), GenericNpyScatterApp, [npy([1])], 1, scatter_axes=[0, 1])


def test_npy_scatter_needs_arrays_with_the_axes_it_splits(site: SoloSite) -> None:
    with pytest.raises(ParameterInvalid, match="cannot name axis 0: drop in0 holds an array with 0 axes"):
        run(site, GenericNpyScatterApp, [npy(5)], 2, num_of_copies=2)
