# SPDX-License-Identifier: Apache-2.0
"""What a class says of its drops in a graph, before anything runs: which are wrong, which take work to complete.

Runs where the class is: in the session's process for our own, in a worker for classes of users.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from penstock.drops.app import AppDrop
from penstock.drops.base import Drop
from penstock.drops.data import DataDrop
from penstock.drops.ports import Parameter, declared_parameters, parse_arguments
from penstock.errors import DropError, ParameterInvalid

__all__ = ["Finding", "Member", "check_members", "settling_members"]

# Parameters of every drop: their ranges are the rules' business (`graph.rules`).
_COMMON = frozenset({*declared_parameters(AppDrop), *declared_parameters(DataDrop)})


class Member(NamedTuple):
    """A drop of the class: its place in the graph, name, and JSON object."""

    drop: int
    uid: str
    fields: Callable[[], Mapping[str, Any]]  # Any: JSON as the author wrote it


class Finding(NamedTuple):
    """What is wrong with one drop: a code of the catalogue, the reason, and the field, "" for the drop itself."""

    drop: int
    code: str
    reason: str
    field: str = ""


def check_members(
    cls: type[Drop], members: Iterable[Member], may_hold: Callable[[str], bool]
) -> Iterator[Finding]:
    """Convert the declared parameters of each drop once, so that mistakes come before the run.

    Args:
        may_hold: whether any drop of the graph may have a key of that name.
    """
    checked = [
        parameter
        for parameter in declared_parameters(cls)
        if parameter.kind is not str and parameter not in _COMMON and may_hold(parameter.name)
    ]
    own_check = getattr(cls, "check", None)
    if not checked and own_check is None:
        return
    for index, uid, fields_of in members:
        try:
            fields = fields_of()
            for parameter in checked:
                _convert(uid, fields, parameter)
            if own_check is not None:
                own_check(uid, fields)
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError, MemoryError) as exc:
            yield Finding(index, "PS403", f"its fields cannot be read: {type(exc).__name__}: {exc}")
        except ParameterInvalid as exc:
            yield Finding(index, "PS403", exc.reason, exc.name)
        except DropError as exc:
            yield Finding(index, "PS206", exc.reason)


def settling_members(
    cls: type[DataDrop], members: Iterable[Member], may_hold: Callable[[str], bool]
) -> tuple[list[int], list[Finding]]:
    """Return the drops whose completion takes work, and what is wrong with those that cannot tell."""
    if cls.settles:
        return [member.drop for member in members], []
    settling: list[int] = []
    findings: list[Finding] = []
    if any(map(may_hold, cls.content_keys)):
        for index, _, fields_of in members:
            try:
                if cls.needs_settling(fields_of()):
                    settling.append(index)
            except DropError as exc:
                findings.append(Finding(index, "PS403", exc.reason))
    return settling, findings


def _convert(uid: str, fields: Mapping[str, Any], parameter: Parameter[Any]) -> None:
    if parameter.name in fields:
        parameter.convert(uid, fields[parameter.name])
        return
    argument = parse_arguments(uid, fields).get(parameter.name)
    if argument is not None and not argument.is_port:
        parameter.convert(uid, argument.value)
