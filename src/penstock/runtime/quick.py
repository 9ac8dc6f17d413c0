# SPDX-License-Identifier: Apache-2.0
"""The short way of a Python function in a worker: no drop objects, where none would be seen.

Rule 1: only for functions of whose arguments the graph says nothing but links, between data in memory, in the
        default encoding, with one output or none. Whatever is odd takes the long way through `PyFuncApp`,
        which is the definition of what happens; `tests/property/test_quick_functions.py` compares the two.
Rule 2: what cannot be loaded or found is left to the long way before the function is called, because it knows
        what to raise. The function is called once, here or there.
"""

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from penstock.apps.functions import Function, find_function
from penstock.apps.python import PyFuncApp
from penstock.apps.settings import APP_SETTINGS
from penstock.apps.signatures import Parameters, parameters_of
from penstock.drops.base import Drop
from penstock.drops.data import Buffer
from penstock.drops.encodings import load_default, store_default
from penstock.drops.memory import MemoryDrop
from penstock.drops.shared_memory import SharedMemoryDrop
from penstock.errors import PenstockError
from penstock.graph.links import Row
from penstock.graph.spec import LinkText
from penstock.runtime.image import GraphImage
from penstock.runtime.linking import Neighbours

__all__ = ["NOT_QUICK", "QuickFunctions", "stored"]

NOT_QUICK = object()
"""The answer where the long way must be taken; nothing has been done then."""

_MEMORY = (MemoryDrop, SharedMemoryDrop)
_Ignored = msgspec.Raw


class _Bare(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The JSON of an app that says nothing of its arguments; any other key makes reading it fail."""

    dropclass: str
    func_name: str
    oid: _Ignored = _Ignored()
    uid: _Ignored = _Ignored()
    name: _Ignored = _Ignored()
    category: _Ignored = _Ignored()
    categoryType: _Ignored = _Ignored()  # noqa: N815  the names are keys of graphs
    inputs: tuple[LinkText, ...] = ()
    outputs: tuple[LinkText, ...] = ()
    storage: _Ignored = _Ignored()
    rank: _Ignored = _Ignored()
    reprodata: _Ignored = _Ignored()
    loop_ctx: _Ignored = _Ignored()
    weight: _Ignored = _Ignored()
    num_cpus: _Ignored = _Ignored()
    iid: _Ignored = _Ignored()
    lg_key: _Ignored = _Ignored()
    humanReadableKey: _Ignored = _Ignored()  # noqa: N815
    node: _Ignored = _Ignored()
    island: _Ignored = _Ignored()


_read_bare = msgspec.json.Decoder(_Bare).decode


class _Plan(NamedTuple):
    """A function as it was found, and what it takes."""

    module: ModuleType
    attribute: str
    function: Function
    parameters: Parameters
    defaults: object

    @property
    def is_current(self) -> bool:
        """Whether looking again would find the same."""
        module, function = self.module, self.function
        if (
            sys.modules.get(module.__name__) is not module
            or getattr(module, self.attribute, None) is not function
        ):
            return False
        return getattr(function, "__defaults__", None) is self.defaults


class QuickFunctions:
    """Runs functions the short way.

    Args:
        graph: of the session.
        neighbours: finds names of ports.
        class_named: gives the class of a number.
    """

    def __init__(
        self, graph: GraphImage, neighbours: Neighbours, class_named: Callable[[int], type[Drop]]
    ) -> None:
        self._graph = graph
        self._neighbours = neighbours
        self._class = class_named
        self._plans: dict[str, _Plan] = {}

    def call(
        self, index: int, outputs: Row, content_of: Callable[[int], Buffer | None]
    ) -> Any:  # Any: what the function returns
        """Call the function of an app, whose inputs are all complete, with what they hold; or `NOT_QUICK`.

        Args:
            outputs: of the app; who reads them, or else writes them, is no business of this class.
            content_of: gives the content of an input in memory, None for no content.
        Raises:
            BaseException: what the function raises.
        """
        graph = self._graph
        classes = self._class
        if classes(graph.class_of[index]) is not PyFuncApp:
            return NOT_QUICK
        if len(outputs) > 1 or (outputs and classes(graph.class_of[outputs[0]]) not in _MEMORY):
            return NOT_QUICK
        try:
            bare = _read_bare(graph.raw(index))
            plan = self._plan(bare.func_name)
        except (msgspec.ValidationError, PenstockError):
            return NOT_QUICK
        if plan is None or len(bare.outputs) > 1:  # one drop on two ports gets two values
            return NOT_QUICK
        inputs = graph.before[index]
        if len(inputs) == 1 and len(bare.inputs) == 1 and type(bare.inputs[0]) is str:
            links = [(self._neighbours.port_at_data(index, inputs[0]), inputs[0])]
        else:
            links = self._neighbours.inputs(index)
        arguments = self._arguments(links, plan.parameters, content_of)
        return NOT_QUICK if arguments is None else plan.function(*arguments)

    def _plan(self, name: str) -> _Plan | None:
        plan = self._plans.get(name)
        if plan is not None and plan.is_current:
            return plan
        module_name, _, attribute = name.rpartition(".")
        function = find_function("", name)
        module = sys.modules.get(module_name)
        if module is None or getattr(module, attribute, None) is not function:
            return None
        parameters = parameters_of(function)
        if parameters is None or parameters.star or parameters.double_star or parameters.keyword:
            return None
        if not APP_SETTINGS.isdisjoint(parameters.names):
            return None
        plan = self._plans[name] = _Plan(
            module, attribute, function, parameters, getattr(function, "__defaults__", None)
        )
        return plan

    def _arguments(
        self,
        links: Sequence[tuple[str, int]],
        parameters: Parameters,
        content_of: Callable[[int], Buffer | None],
    ) -> Sequence[Any] | None:
        names, values = parameters.names, dict[str, Any]()
        graph, classes = self._graph, self._class
        free = None
        for port, i in links:
            if classes(graph.class_of[i]) not in _MEMORY:
                return None
            name = port
            if not name:
                if free is None:
                    ports = {port for port, _ in links}
                    free = iter([name for name in names if name not in ports])
                name = next(free, "")
            if name in values:
                continue
            content = content_of(i)
            try:
                value = load_default(memoryview(content)) if content else None
            except Exception:  # noqa: BLE001  the long way raises it again, with what to do about it
                return None
            if name in names:
                values[name] = value
        for name in names:
            if name not in values:
                if name not in parameters.defaults:
                    return None
                values[name] = parameters.defaults[name]
        return [values[name] for name in names]


def stored(value: object) -> Sequence[Buffer]:
    """Return the parts of the content that a result becomes.

    Raises:
        Exception: it cannot be pickled.
    """
    content = store_default(value)
    return content if isinstance(content, tuple) else (content,)
