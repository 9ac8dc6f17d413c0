# SPDX-License-Identifier: Apache-2.0
"""Apps over numeric arrays: make random ones, average, gather, scatter and gather in numpy's own format.

numpy is imported in the functions that need it: importing it costs more time than most drops run.
"""

import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from penstock.apps.inputs import check_numbers, number_from_port, readable_drops
from penstock.apps.plain import PICKLE_PROTOCOL
from penstock.drops.app import AppDrop
from penstock.drops.encodings import load_value, store_value
from penstock.drops.ports import Parameter, boolean
from penstock.errors import ParameterInvalid, PortMissing

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "ArrayGatherApp",
    "AverageArraysApp",
    "GenericNpyGatherApp",
    "GenericNpyScatterApp",
    "RandomArrayApp",
]


def _write_pickled(app: AppDrop, value: object) -> None:
    content = pickle.dumps(value, protocol=PICKLE_PROTOCOL)
    for output in app.outputs:
        output.write(content)


class RandomArrayApp(AppDrop):
    """Write an array of random numbers, pickled, to all outputs.

    `size`, `low` and `high` may come through ports. Floats are `(random + low) * high`, as graphs expect.
    """

    isolation = "thread"

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    integer = Parameter(boolean, True, "whole numbers instead of floats")

    @classmethod
    def check(cls, uid: str, fields: Mapping[str, Any]) -> None:  # Any: the drop's JSON
        """Refuse a graph whose size or bounds are no numbers.

        Raises:
            ParameterInvalid: one is none.
        """
        check_numbers(uid, fields, "size", "low", "high")

    def run(self) -> None:
        import numpy as np

        self.need(outputs=1)
        size = number_from_port(self, "size", int, 100)
        low = number_from_port(self, "low", float, 0.0)
        high = number_from_port(self, "high", float, 100.0)
        random = np.random.default_rng()
        if self.integer:
            if int(low) >= int(high):
                raise ParameterInvalid(self.uid, "high", f"must be above low, {int(low)}; it is {int(high)}")
            _write_pickled(self, random.integers(int(low), int(high), size=int(size)))
        else:
            _write_pickled(self, (random.random(int(size)) + low) * high)


class AverageArraysApp(AppDrop):
    """Write the mean or median over the items of all pickled inputs, along the first axis."""

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    method = Parameter(str, "mean", "mean or median")

    def run(self) -> None:
        import numpy as np

        self.need(inputs=1, outputs=1)
        if self.method not in ("mean", "median"):
            raise ParameterInvalid(self.uid, "method", f"must be mean or median, not {self.method!r}")
        items: list[object] = []
        for drop in readable_drops(self):
            if drop.size == 0:
                continue
            value = load_value(drop, "pickle")
            if isinstance(value, list | tuple | np.ndarray):
                items.extend(list(value))
            else:
                items.append(value)
        average = np.mean if self.method == "mean" else np.median
        _write_pickled(self, average(np.array(items), axis=0))


class ArrayGatherApp(AppDrop):
    """Write one list, pickled, of what the inputs hold; bytes that are no pickle stay bytes."""

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "dill")

    def run(self) -> None:
        import dill

        gathered: list[object] = []
        for drop in readable_drops(self):
            content = drop.read()
            try:
                gathered.append(dill.loads(content))  # noqa: S301  the app's own inputs
            except (pickle.UnpicklingError, EOFError):
                gathered.append(content)
        content = dill.dumps(gathered, protocol=PICKLE_PROTOCOL)
        for output in self.outputs:
            output.write(content)


Axes = int | tuple[int, ...] | None

# What reduces one array first, and what then joins two results.
_REDUCING = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}


def _axes(value: Any) -> Axes:  # Any: JSON as the graph's author wrote it
    """Read axes as graphs write them: 0, "0", [0, 1], "[0, 1]", "None"."""
    if isinstance(value, str):
        import ast

        try:
            value = ast.literal_eval(value.strip() or "None")
        except SyntaxError as exc:
            raise ValueError(f"it is no axis and no list of axes ({exc.msg})") from exc
    if value is None or isinstance(value, int):
        return value
    return tuple(int(axis) for axis in value)


class GenericNpyGatherApp(AppDrop):
    """Join npy arrays into one: add, multiply, maximum, minimum; or sum, prod, max, min each one first."""

    isolation = "thread"

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    function = Parameter(str, "sum", "sum, prod, max, min, add, multiply, maximum or minimum")
    reduce_axes: Parameter[Axes] = Parameter(
        _axes, None, "the axes that sum, prod, max and min take away; all by default"
    )

    def run(self) -> None:
        self.need(inputs=1, outputs=1)
        result: np.ndarray | None = None
        for drop in readable_drops(self):
            array = self._reduced(load_value(drop, "npy"))
            result = array if result is None else self._join(result, array)
        if result is None:
            raise PortMissing(self.uid, "none of the inputs holds an array")
        for output in self.outputs:
            store_value(output, result, "npy")

    def _reduced(self, array: Any) -> Any:  # Any: numpy's scalars and arrays
        import numpy as np

        return (
            getattr(np, self.function)(array, axis=self.reduce_axes) if self.function in _REDUCING else array
        )

    def _join(self, left: Any, right: Any) -> Any:  # Any: numpy's scalars and arrays
        import numpy as np

        name = _REDUCING.get(self.function, self.function)
        if name not in _REDUCING.values():
            raise ParameterInvalid(self.uid, "function", f"cannot be {self.function!r}")
        return getattr(np, name)(left, right)


class GenericNpyScatterApp(AppDrop):
    """Split each npy input into `num_of_copies` parts, one per output, along `scatter_axes`."""

    isolation = "thread"

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    num_of_copies = Parameter(int, 1, "parts per input")
    scatter_axes: Parameter[Axes] = Parameter(_axes, (0,), "one axis per input")

    def run(self) -> None:
        import numpy as np

        self.need(inputs=1)
        sources, outputs, parts = self.inputs, self.outputs, self.num_of_copies
        axes = (self.scatter_axes,) if isinstance(self.scatter_axes, int) else (self.scatter_axes or (0,))
        if len(sources) * parts != len(outputs):
            raise PortMissing(
                self.uid, f"needs {len(sources) * parts} outputs, the graph links {len(outputs)}"
            )
        if len(axes) != len(sources):
            raise ParameterInvalid(
                self.uid, "scatter_axes", f"must name {len(sources)} axes, not {len(axes)}"
            )
        for place, (source, axis) in enumerate(zip(sources, axes, strict=True)):
            array = np.asarray(load_value(source, "npy"))
            if not -array.ndim <= axis < array.ndim:
                reason = f"cannot name axis {axis}: drop {source.uid} holds an array with {array.ndim} axes"
                raise ParameterInvalid(self.uid, "scatter_axes", reason)
            pieces = np.array_split(array, parts, axis=axis)
            for output, piece in zip(outputs[place * parts :], pieces, strict=False):
                store_value(output, piece, "npy")
