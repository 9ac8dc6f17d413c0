# SPDX-License-Identifier: Apache-2.0
"""Where each drop of a graph runs: on a thread of the session's process, or in a worker process.

The drop's own field `isolation` decides, else what was asked for the run, else the class of the drop.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from penstock.drops.app import AppDrop
from penstock.drops.memory import MemoryDrop
from penstock.drops.ports import integer
from penstock.errors import GraphInvalid
from penstock.graph.problems import Problem, did_you_mean
from penstock.runtime.build import Prepared

__all__ = ["Isolation", "Placement", "own_values", "place"]

Isolation = Literal["thread", "process"]
_CHOICES = ("thread", "process")


@dataclass(frozen=True)
class Placement:
    """What runs in worker processes, and what a pool must know of it.

    Attributes:
        away: per drop 1 where it runs in a worker.
        widths: slots that single drops count for (`num_cpus`), where not one.
        kinds: per drop a number; drops of one number take about the same time.
    """

    away: bytearray
    widths: Mapping[int, int]
    kinds: list[int]


def place(
    prepared: Prepared, wanted: Isolation | None, own: Mapping[int, str] = MappingProxyType({})
) -> Placement | None:
    """Decide for all drops of a graph; None where nothing runs in worker processes.

    Args:
        wanted: for the whole run; None leaves it to the classes.
        own: what users' classes say, by their number.
    Raises:
        ValueError: there is no such isolation.
        GraphInvalid: drops that ask for an isolation that does not exist, or for no whole number of slots.
    """
    if wanted is not None and wanted not in _CHOICES:
        raise ValueError(f"isolation is {wanted!r}; it must be 'thread' or 'process'")
    choices = [
        (wanted or own.get(number) or cls.isolation) == "process"
        if issubclass(cls, AppDrop)
        else number in prepared.foreign
        for number, cls in enumerate(prepared.classes)
    ]
    away = bytearray([choices[number] for number in prepared.class_of])
    if wanted is None:
        _send_pickle_readers(prepared, away)
    problems = []
    for index, value in own_values(prepared, "isolation").items():
        if value not in _CHOICES:
            problems.append(_problem(prepared, index, "isolation", value, did_you_mean(str(value), _CHOICES)))
        elif prepared.is_app(index):
            away[index] = value == "process"
    widths: dict[int, int] = {}
    for index, value in own_values(prepared, "num_cpus").items():
        try:
            width = integer(value)
        except ValueError:
            problems.append(_problem(prepared, index, "num_cpus", value, "give a whole number of slots"))
        else:
            if width > 1 and away[index]:
                widths[index] = width
    if problems:
        raise GraphInvalid(problems)
    return Placement(away, widths, _kinds(prepared, away)) if any(away) else None


def _send_pickle_readers(prepared: Prepared, away: bytearray) -> None:
    """Let apps that may unpickle what other apps left in memory run in workers, though their class need not."""
    classes, class_of, before = prepared.classes, prepared.class_of, prepared.wiring.before
    asked = [cls if issubclass(cls, AppDrop) and cls.may_open_pickles else None for cls in classes]
    if not any(asked):
        return
    in_memory = [issubclass(cls, MemoryDrop) for cls in classes]
    for index, number in enumerate(class_of):
        cls = asked[number]
        if cls is not None and not away[index] and any(in_memory[class_of[i]] for i in before[index]):
            uid = prepared.graph.drops[index].key
            away[index] = cls.opens_pickles(uid, prepared.graph.fields(index))


def own_values(prepared: Prepared, name: str) -> dict[int, Any]:  # Any: JSON as the author wrote it
    """Return what single drops say under a name, as a key of their own or as a described argument."""
    if not prepared.graph.may_hold(name):
        return {}
    found: dict[int, Any] = {}
    for index, row in enumerate(prepared.graph.columns(name, "applicationArgs", "componentParams")):
        value = row[0]
        for described in row[1:]:
            if value is None and isinstance(described, Mapping):
                argument = described.get(name)
                value = argument.get("value") if isinstance(argument, Mapping) else argument
        if value not in (None, ""):
            found[index] = value
    return found


def _problem(prepared: Prepared, index: int, name: str, value: object, hint: str) -> Problem:
    uid, path = prepared.graph.drops[index].key, f"/{prepared.graph.place(index)}/{name}"
    return Problem("PS403", f"{name} cannot be {value!r}", uid, path, hint)


def _kinds(prepared: Prepared, away: bytearray) -> list[int]:
    """Return a number for each drop: by its class and, where one class stands for many functions, the function."""
    if not any(away) or not prepared.graph.may_hold("func_name"):
        return prepared.class_of
    numbers: dict[tuple[int, object], int] = {}
    columns = prepared.graph.columns("func_name", "name")
    return [
        numbers.setdefault((number, str(function or name or "")), len(numbers))
        for number, (function, name) in zip(prepared.class_of, columns, strict=True)
    ]
