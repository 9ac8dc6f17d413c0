# SPDX-License-Identifier: Apache-2.0
"""Apps that steer data: branches, scatter and gather of pickled values, one item at a time.

BranchApp, SimpleBranch, Branch        two ways, of which one is skipped
GenericScatterApp                      one array in parts
GenericGatherApp, DictGatherApp        many inputs in one
PickOne                                the first item, and the rest for the next turn of a loop
"""

import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from penstock.apps.basic import copy_all
from penstock.apps.inputs import port_link, readable_drops
from penstock.apps.plain import PICKLE_PROTOCOL
from penstock.apps.python import PyFuncApp
from penstock.drops.app import AppDrop
from penstock.drops.data import CHUNK_BYTES, DataDrop
from penstock.drops.encodings import load_value
from penstock.drops.ports import Parameter, boolean
from penstock.errors import EncodingFailed, PortMissing

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Branch",
    "BranchApp",
    "DictGatherApp",
    "GenericGatherApp",
    "GenericScatterApp",
    "PickOne",
    "SimpleBranch",
]


def _two_ways(app: AppDrop) -> tuple[list[DataDrop], list[DataDrop]]:
    """Return the outputs of the true way and those of the false way: by port name, else first and second."""
    ways: dict[str, list[DataDrop]] = {"true": [], "false": []}
    for link in app.output_links:
        ways.get(link.port.strip().lower(), []).append(cast("DataDrop", link.drop))
    if ways["true"] or ways["false"]:
        return ways["true"], ways["false"]
    if len(app.outputs) != 2:
        raise PortMissing(
            app.uid, f"needs outputs named true and false, or two outputs; the graph links {len(app.outputs)}"
        )
    return [app.outputs[0]], [app.outputs[1]]


class BranchApp(AppDrop):
    """The base of apps that choose one of two ways: override `condition`."""

    def condition(self) -> bool:
        """Tell whether the true way is taken; called once, when all inputs have ended."""
        return True

    def run(self) -> None:
        if_true, if_false = _two_ways(self)
        for output in if_false if self.condition() else if_true:
            output.skip()


class SimpleBranch(BranchApp):
    """A branch that is told its result beforehand, in `result`."""

    isolation = "thread"

    result = Parameter(boolean, True, "which way is taken")

    def condition(self) -> bool:
        return self.result


class Branch(PyFuncApp):
    """A branch whose way a Python function chooses: its input goes to the outputs `true` or `false`.

    What is copied is the drop on the port `x`, else the first one that is an argument of the function, else
    the first input; without inputs the value of the argument `x`, else of the first argument, pickled.
    """

    bufsize = Parameter(int, CHUNK_BYTES, "bytes per read")

    def write_results(self, result: Any, call: Mapping[str, Any]) -> None:  # Any: users' values
        if_true, if_false = _two_ways(self)
        chosen, others = (if_true, if_false) if _truth(result) else (if_false, if_true)
        for output in others:
            output.skip()
        source = self._source(call)
        if source is not None:
            copy_all([source], chosen, max(1, self.bufsize))
            return
        content = pickle.dumps(call.get("x", next(iter(call.values()), None)), protocol=PICKLE_PROTOCOL)
        for output in chosen:
            output.write(content)

    def _source(self, call: Mapping[str, Any]) -> DataDrop | None:
        for name in ("x", *call):
            if link := port_link(self, name):
                return cast("DataDrop", link.drop)
        return next(iter(readable_drops(self)), None)


def _truth(result: Any) -> bool:  # Any: users' values
    return boolean(result) if isinstance(result, str) else bool(result)


class GenericScatterApp(AppDrop):
    """Split one array-like input into parts of nearly equal length; write one, pickled, to each output."""

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    num_of_copies = Parameter(int, 0, "the number of parts; as many as outputs if the graph does not say")
    element = Parameter(boolean, False, "write the first item of each part instead of the part")

    def run(self) -> None:
        import numpy as np

        self.need(inputs=1, outputs=max(1, self.num_of_copies))
        value = _pickled_or_text(self.inputs[0])
        array = np.array(value)
        if array.ndim == 0:
            reason = f"holds a single {type(value).__name__}, not a list or an array to split"
            raise EncodingFailed(self.inputs[0].uid, reason)
        parts = np.array_split(array, self.num_of_copies or len(self.outputs))
        for output, part in zip(self.outputs, parts, strict=False):
            item = part[0] if self.element else part
            output.write(pickle.dumps(item, protocol=PICKLE_PROTOCOL))


def _pickled_or_text(drop: DataDrop) -> object:
    try:
        return load_value(drop, "pickle")
    except EncodingFailed:
        return drop.read().decode()


class GenericGatherApp(AppDrop):
    """Write the contents of all inputs, one behind the other, to each output."""

    isolation = "thread"

    def run(self) -> None:
        copy_all(readable_drops(self), self.outputs)


class DictGatherApp(AppDrop):
    """Write one dict, pickled: names of input drops to values, and the app's arguments that have values."""

    def run(self) -> None:
        gathered: dict[str, object] = dict(self.field("value_dict") or {})
        for drop in readable_drops(self):
            gathered[drop.name] = load_value(drop, "pickle")
        described = self.fields.get("applicationArgs")
        for name in described if isinstance(described, Mapping) else ():
            if name not in gathered and (value := self.arguments[name].value):
                gathered[name] = value
        content = pickle.dumps(gathered, protocol=PICKLE_PROTOCOL)
        for output in self.outputs:
            output.write(content)


class PickOne(AppDrop):
    """Write the first item of the input; outputs (drops or ports) named `rest_array` get all the others."""

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def run(self) -> None:
        self.need(inputs=1)
        first, rest = _first_and_rest(self.inputs[0])
        for link in self.output_links:
            is_rest = "rest_array" in (link.drop.name, link.port)
            content = pickle.dumps(rest if is_rest else first, protocol=PICKLE_PROTOCOL)
            cast("DataDrop", link.drop).write(content)


def _first_and_rest(drop: DataDrop) -> "tuple[Any, np.ndarray | list[Any]]":  # Any: users' values
    import numpy as np

    value = load_value(drop, "pickle") if drop.size else []
    if not isinstance(value, list | tuple | np.ndarray):
        if not value:
            return None, []
        raise EncodingFailed(drop.uid, f"holds {type(value).__name__}, not a list or an array to pick from")
    array = np.atleast_1d(np.array(value))
    return (array[0], array[1:]) if len(array) else (None, np.array([]))
