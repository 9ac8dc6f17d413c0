# SPDX-License-Identifier: Apache-2.0
"""From the name of a class in a graph to the class.

Three kinds of names: those of the ecosystem (`dlg.*`, old `dfms.*`), which stand in `ALIASES`; a storage,
where old graphs name no class; and any other dotted name, which is imported.
"""

import importlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points

from penstock.drops.app import AppDrop
from penstock.drops.base import Drop
from penstock.drops.data import DataDrop
from penstock.graph.links import APP
from penstock.graph.problems import did_you_mean
from penstock.runtime.names import ALIASES, STORAGES

__all__ = ["Unresolvable", "resolve", "resolve_storage"]

_DEFAULT_STORAGE = "file"


class Unresolvable(Exception):
    """A name that is no drop class; the message says why, `hint` what may have been meant."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


def resolve(name: str, kind: int) -> type[Drop]:
    """Return the class that a graph means by `name` for a drop of this kind.

    Raises:
        Unresolvable: there is none, or it is of the other kind.
    """
    target = ALIASES.get(_without_old_package(name))
    cls = _load(target) if target else _import_users(name)
    wanted: type[Drop] = AppDrop if kind == APP else DataDrop
    if not issubclass(cls, wanted):
        what = "an app" if issubclass(cls, AppDrop) else "data"
        raise Unresolvable(f"{name} is {what}, the category says otherwise", "correct categoryType or the class")
    return cls


def resolve_storage(storage: str) -> type[Drop]:
    """Return the data class that stands for a storage in graphs that name no class; files by default.

    Raises:
        Unresolvable: no such storage.
    """
    target = STORAGES.get((storage or _DEFAULT_STORAGE).lower())
    if target is None:
        raise Unresolvable(f"there is no storage {storage!r}", did_you_mean(storage, STORAGES))
    return _load(target)


@cache
def install_import_hooks() -> None:
    """Run the hooks that other packages register to make more names importable, once in a process."""
    for entry in entry_points(group="penstock.import_hooks"):
        hook: Callable[[], None] = entry.load()
        hook()


def _without_old_package(name: str) -> str:
    return "dlg." + name.removeprefix("dfms.") if name.startswith("dfms.") else name


def _load(target: str) -> type[Drop]:
    module, _, name = target.partition(":")
    cls: type[Drop] = getattr(importlib.import_module(module), name)
    return cls


def _import_users(name: str) -> type[Drop]:
    module_name, _, class_name = name.rpartition(".")
    if not module_name:
        raise Unresolvable(f"{name!r} is not a dotted name of a class", did_you_mean(name, _short_names()))
    try:
        install_import_hooks()
        module = importlib.import_module(module_name)
        cls = getattr(module, class_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise Unresolvable(f"{name!r} cannot be imported ({exc})") from exc  # something that it needs is missing
        reason = f"{name!r} is no class of Penstock, and there is no module {exc.name!r} to import it from"
        hint = did_you_mean(name, ALIASES) or "install it, or put its folder on PYTHONPATH"
        raise Unresolvable(reason, hint) from exc
    except Exception as exc:  # a user's module may raise anything while it is imported
        reason = f"{name!r} cannot be imported ({type(exc).__name__}: {exc})"
        raise Unresolvable(reason, did_you_mean(name, ALIASES)) from exc
    if not (isinstance(cls, type) and issubclass(cls, Drop)):
        raise Unresolvable(f"{name!r} is no drop class; derive it from penstock.AppDrop or penstock.DataDrop")
    return cls


def _short_names() -> dict[str, str]:
    return {alias.rpartition(".")[2]: alias for alias in ALIASES}
