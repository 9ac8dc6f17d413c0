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

from penstock.graph.links import APP, Wiring
from penstock.graph.problems import Problem
from penstock.graph.spec import EMPTY_SPEC, DescribedRules, DropSpec, Graph, RuleArgument

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
        expiring: data that is not needed when its last consumer has ended.
    """

    effective: dict[int, int] = field(default_factory=dict)
    threshold: dict[int, float] = field(default_factory=dict)
    block_skip: set[int] = field(default_factory=set)
    external: set[int] = field(default_factory=set)
    tries: dict[int, int] = field(default_factory=dict)
    time_limit_s: dict[int, float] = field(default_factory=dict)
    expiring: set[int] = field(default_factory=set)


def read_rules(graph: Graph, wiring: Wiring) -> tuple[Rules, list[Problem]]:
    """Collect the rules of all drops, and tell which are out of range."""
    reader = _RuleReader(graph, wiring)
    for i, values in enumerate(map(_ALL, graph.drops)):
        if values != _NONE and values != _COMMON:
            reader.read(i)
    return reader.rules, reader.problems


_ATTRIBUTES = {
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
_ALL = attrgetter(*_ATTRIBUTES.values(), "application_args", "component_params")
_NONE = _ALL(EMPTY_SPEC)
_COMMON = (-1, *_NONE[1:])  # n_effective_inputs: -1, as most authors write it

_Check = tuple[str, Callable[[float], bool]]

# Of a number: its range in words, and the range. That of n_effective_inputs depends on the app.
_NUMBERS: dict[str, _Check] = {
    "n_effective_inputs": (
        "-1 (all) or 1 to the number of inputs",
        lambda n: n == int(n) and (n == -1 or n >= 1),
    ),
    "input_error_threshold": ("0 to 100 (percent)", lambda percent: 0 <= percent <= 100),
    "n_tries": ("1 or more", lambda n: n >= 1 and n == int(n)),
    "time_limit_s": ("above 0 (seconds)", lambda seconds: seconds > 0),
    "executionMode": ("0 (the drop) or 1 (somebody outside)", lambda mode: mode in (0, 1)),
    "lifespan": ("above 0 (seconds), or -1 for no end", lambda seconds: seconds > 0 or seconds == -1),
    "expectedSize": ("-1 (unknown) or more (bytes)", lambda size: size >= -1 and size == int(size)),
}
_OF_APPS = frozenset({"n_effective_inputs", "input_error_threshold", "n_tries", "time_limit_s"})
_OF_DATA = frozenset({"expectedSize"})


class _RuleReader:
    """Reads the rules of one drop after the other into the tables."""

    def __init__(self, graph: Graph, wiring: Wiring) -> None:
        self.rules = Rules()
        self.problems: list[Problem] = []
        self._graph = graph
        self._wiring = wiring

    def read(self, index: int) -> None:
        """Read the rules of one drop."""
        spec = self._graph.drops[index]
        foreign = _OF_DATA if self._wiring.kinds[index] == APP else _OF_APPS
        found: dict[str, float] = {}
        for key, attribute in _ATTRIBUTES.items():
            value = getattr(spec, attribute)
            if value is None:
                value = _described(spec, attribute)
            if value is None or value == "" or key in foreign:
                continue
            number = float(is_true(value)) if key not in _NUMBERS else self._number(index, key, value)
            if number is not None:
                found[key] = number
        if found:
            self._keep(index, found)

    def _keep(self, index: int, found: dict[str, float]) -> None:
        rules, inputs = self.rules, len(self._wiring.before[index])
        effective = found.get("n_effective_inputs", -1)
        if effective > inputs:
            reason = f"it must be -1 (all) or 1 to {inputs}, the number of inputs"
            self._tell("PS401", f"n_effective_inputs is {effective:g}; {reason}", index, "n_effective_inputs")
        elif 0 < effective < inputs:
            rules.effective[index] = int(effective)
        if found.get("input_error_threshold"):
            rules.threshold[index] = found["input_error_threshold"]
        if found.get("n_tries", 1) > 1:
            rules.tries[index] = int(found["n_tries"])
        if "time_limit_s" in found:
            rules.time_limit_s[index] = found["time_limit_s"]
        if found.get("executionMode"):
            rules.external.add(index)
        if found.get("block_skip"):
            rules.block_skip.add(index)
        if found.get("expireAfterUse"):
            rules.expiring.add(index)
        if found.get("lifespan", -1) > 0 and found.get("expireAfterUse"):
            text = "the drop has lifespan and expireAfterUse"
            self._tell("PS402", text, index, "lifespan", "keep one of the two")

    def _number(self, index: int, key: str, value: Any) -> float | None:  # Any: JSON as the author wrote it
        words, is_good = _NUMBERS[key]
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number) and is_good(number):
            return number
        self._tell("PS401", f"{key} is {value!r}; it must be {words}", index, key)
        return None

    def _tell(self, code: str, text: str, index: int, key: str, hint: str = "") -> None:
        spec, place = self._graph.drops[index], self._graph.place(index)
        self.problems.append(Problem(code, text, spec.key, f"/{place}/{key}", hint))


def _described(spec: DropSpec, attribute: str) -> Any:  # Any: JSON as the author wrote it
    for group in (spec.application_args, spec.component_params):
        if isinstance(group, DescribedRules):
            argument = getattr(group, attribute)
            if argument is not None:
                return argument.value if isinstance(argument, RuleArgument) else argument
    return None


def is_true(value: object) -> bool:
    """Read a truth value as authors write it: true, 1, or a word for it."""
    if isinstance(value, str):
        return value.strip().lower() in ("true", "1", "yes", "y", "on", "t")
    return bool(value)
