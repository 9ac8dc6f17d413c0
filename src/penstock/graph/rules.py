# SPDX-License-Identifier: Apache-2.0
"""The rare rules of single drops: how many inputs count, which failures are absorbed, what is skipped.

Nearly all drops have none of them, so they live in small tables by index. A rule may stand as a key of the
drop or among its described arguments (`applicationArgs`, `componentParams`); the key wins.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import msgspec

from penstock.graph.links import APP, Wiring
from penstock.graph.problems import Problem
from penstock.graph.spec import EMPTY_SPEC, DropSpec, Graph

__all__ = ["Rules", "is_true", "read_rules"]


@dataclass(frozen=True)
class Rules:
    """What differs from the common case, by index.

    Attributes:
        effective: inputs that count before an app is decided; absent means all.
        threshold: percent of failed inputs that an app bears; absent means 0.
        block_skip: drops that are skipped only when all they wait for was skipped.
        external: drops whose consumers are started by somebody else.
        tries: how often an app is tried; absent means once.
        time_limit_s: seconds after which an app is given up.
    """

    effective: dict[int, int] = field(default_factory=dict)
    threshold: dict[int, float] = field(default_factory=dict)
    block_skip: set[int] = field(default_factory=set)
    external: set[int] = field(default_factory=set)
    tries: dict[int, int] = field(default_factory=dict)
    time_limit_s: dict[int, float] = field(default_factory=dict)


def read_rules(graph: Graph, wiring: Wiring) -> tuple[Rules, list[Problem]]:
    """Collect the rules of all drops, and tell which are out of range."""
    reader = _RuleReader(graph, wiring)
    for i, values in enumerate(map(_ALL, graph.drops)):
        if values != _NONE and values != _COMMON:
            reader.read(i)
    return reader.rules, reader.problems


_FIELDS = {
    "n_effective_inputs": "n_effective_inputs",
    "input_error_threshold": "input_error_threshold",
    "n_tries": "n_tries",
    "block_skip": "block_skip",
    "time_limit_s": "time_limit_s",
    "executionMode": "execution_mode",
    "lifespan": "lifespan",
    "expectedSize": "expected_size",
    "expireAfterUse": "expire_after_use",
}
_ALL = attrgetter(*_FIELDS.values(), "application_args", "component_params")
_NONE = _ALL(EMPTY_SPEC)
_COMMON = (-1, *_NONE[1:])  # n_effective_inputs: -1, as most authors write it
_RANGES = {
    "n_effective_inputs": "-1 (all) or 1 to the number of inputs",
    "input_error_threshold": "0 to 100 (percent)",
    "n_tries": "1 or more",
    "time_limit_s": "above 0 (seconds)",
    "lifespan": "above 0 (seconds), or -1 for no end",
    "expectedSize": "-1 (unknown) or more (bytes)",
    "executionMode": "0 (the drop) or 1 (somebody outside)",
}


class _RuleReader:
    """Reads the rules of one drop after the other into the tables."""

    def __init__(self, graph: Graph, wiring: Wiring) -> None:
        self.rules = Rules()
        self.problems: list[Problem] = []
        self._graph = graph
        self._wiring = wiring
        self._index = 0
        self._spec = graph.drops[0]

    def read(self, index: int) -> None:
        """Read the rules of one drop."""
        self._index, self._spec = index, self._graph.drops[index]
        self._read_app() if self._wiring.kinds[index] == APP else self._read_data()
        if self._number("executionMode", lambda mode: mode in (0, 1)) == 1:
            self.rules.external.add(index)
        if is_true(self._value("block_skip")):
            self.rules.block_skip.add(index)
        lifespan = self._number("lifespan", lambda seconds: seconds > 0 or seconds == -1)
        if lifespan is not None and lifespan > 0 and is_true(self._value("expireAfterUse")):
            text = "the drop has lifespan and expireAfterUse"
            self._tell("PS402", text, "lifespan", "keep one of the two")

    def _read_app(self) -> None:
        index, rules = self._index, self.rules
        inputs = len(self._wiring.before[index])
        effective = self._number(
            "n_effective_inputs", lambda n: n == -1 or (1 <= n <= inputs and n == int(n))
        )
        if effective is not None and 0 < effective < inputs:
            rules.effective[index] = int(effective)
        threshold = self._number("input_error_threshold", lambda percent: 0 <= percent <= 100)
        if threshold:
            rules.threshold[index] = threshold
        tries = self._number("n_tries", lambda n: n >= 1 and n == int(n))
        if tries is not None and tries > 1:
            rules.tries[index] = int(tries)
        limit = self._number("time_limit_s", lambda seconds: seconds > 0)
        if limit is not None:
            rules.time_limit_s[index] = limit

    def _read_data(self) -> None:
        self._number("expectedSize", lambda size: size >= -1 and size == int(size))

    def _value(self, key: str) -> Any:  # Any: JSON as the author wrote it
        value = getattr(self._spec, _FIELDS[key])
        return _described(self._spec, key) if value is None else value

    def _number(self, key: str, is_good: Callable[[float], bool]) -> float | None:
        value = self._value(key)
        if value is None or value == "":
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number) and is_good(number):
            return number
        self._tell("PS401", f"{key} is {value!r}; it must be {_RANGES[key]}", key)
        return None

    def _tell(self, code: str, text: str, key: str, hint: str = "") -> None:
        path = f"/{self._graph.place(self._index)}/{key}"
        self.problems.append(Problem(code, text, self._spec.key, path, hint))


def _described(spec: DropSpec, key: str) -> Any:  # Any: JSON as the author wrote it
    quoted = b'"' + key.encode() + b'"'
    for raw in (spec.application_args, spec.component_params):
        if quoted in bytes(raw):
            group = msgspec.json.decode(raw)
            argument = group.get(key) if isinstance(group, dict) else None
            if isinstance(argument, dict):
                return argument.get("value")
            if argument is not None:
                return argument
    return None


def is_true(value: object) -> bool:
    """Read a truth value as authors write it: true, 1, or a word for it."""
    if isinstance(value, str):
        return value.strip().lower() in ("true", "1", "yes", "y", "on", "t")
    return bool(value)
