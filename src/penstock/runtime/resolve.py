# SPDX-License-Identifier: Apache-2.0
"""From the name of a class in a graph to the class.

Three kinds of names: those of the ecosystem (`dlg.*`, old `dfms.*`), which stand in `ALIASES`; a storage,
where old graphs name no class; and any other dotted name, which is imported.
"""

import importlib
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec

from penstock.drops.app import AppDrop
from penstock.drops.base import Drop
from penstock.drops.data import DataDrop
from penstock.graph.links import APP
from penstock.graph.problems import did_you_mean
from penstock.runtime.names import ALIASES, STORAGES

__all__ = ["Unresolvable", "find_class", "is_known", "resolve", "resolve_storage"]

_DEFAULT_STORAGE = "file"
_OWN_ROOMS = ("penstock.apps.", "penstock.drops.")


class Unresolvable(Exception):
    """A name that is no drop class; the message says why, `hint` what may have been meant."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


def resolve(name: str, kind: int, *, import_users: bool = True, must_be_here: bool = True) -> type[Drop]:
    """Return the class that a graph means by `name` for a drop of this kind.

    Args:
        import_users: whether modules of users may be imported, which runs their code; if not, the base class
            stands for a class whose package is there.
        must_be_here: whether such a package must be there; where another process looks it up it need not.
    Raises:
        Unresolvable: there is none, or it is of the other kind.
    """
    target = _own_target(name)
    wanted: type[Drop] = AppDrop if kind == APP else DataDrop
    if target is None and not import_users:
        _find_package(name, must_be_here=must_be_here)
        return wanted
    cls = _load(target) if target else _import_users(name)
    if not issubclass(cls, wanted):
        what = "an app" if issubclass(cls, AppDrop) else "data"
        raise Unresolvable(
            f"{name} is {what}, the category says otherwise", "correct categoryType or the class"
        )
    return cls


def is_known(name: str) -> bool:
    """Whether a name stands for a class of ours."""
    return _own_target(name) is not None


def find_class(name: str, kind: int) -> type[Drop]:
    """Return a class that another process has resolved: "module:Class" for ours, the graph's name for others.

    Raises:
        Unresolvable: this process cannot import it.
    """
    return _load(name) if ":" in name else resolve(name, kind)


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


def _own_target(name: str) -> str | None:
    """Return where a class of ours is, by its name in the ecosystem or the one that it has here."""
    target = ALIASES.get(_without_old_package(name))
    return target or (_own_class(name) if name.startswith(_OWN_ROOMS) else None)


@cache
def _own_class(name: str) -> str | None:
    module, _, cls = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), cls, None)
    except ImportError:
        return None
    return f"{module}:{cls}" if isinstance(found, type) and issubclass(found, Drop) else None


def _load(target: str) -> type[Drop]:
    module, _, name = target.partition(":")
    cls: type[Drop] = getattr(importlib.import_module(module), name)
    return cls


def _find_package(name: str, *, must_be_here: bool) -> None:
    package, _, rest = name.partition(".")
    if not rest:
        raise Unresolvable(f"{name!r} is not a dotted name of a class", did_you_mean(name, _short_names()))
    if not must_be_here:
        return
    try:
        found = package in sys.modules or find_spec(package) is not None
    except (ImportError, ValueError):  # a name that cannot be one of a module
        found = False
    if not found:
        raise _missing(name, package)


def _missing(name: str, module: str) -> Unresolvable:
    reason = f"{name!r} is no class of Penstock, and there is no module {module!r} to import it from"
    hint = did_you_mean(name, ALIASES) or "install it, or put its folder on PYTHONPATH"
    return Unresolvable(reason, hint)


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
            raise Unresolvable(
                f"{name!r} cannot be imported ({exc})"
            ) from exc  # something that it needs is missing
        raise _missing(name, exc.name) from exc
    except (Exception, SystemExit) as exc:  # a user's module may raise anything while it is imported
        reason = f"{name!r} cannot be imported ({type(exc).__name__}: {exc})"
        raise Unresolvable(reason, did_you_mean(name, ALIASES)) from exc
    if not (isinstance(cls, type) and issubclass(cls, Drop)):
        raise Unresolvable(f"{name!r} is no drop class; derive it from penstock.AppDrop or penstock.DataDrop")
    return cls


def _short_names() -> dict[str, str]:
    return {alias.rpartition(".")[2]: alias for alias in ALIASES}
