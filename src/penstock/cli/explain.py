# SPDX-License-Identifier: Apache-2.0
"""`penstock explain`: what a code means, and what a component takes."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from importlib import import_module
from inspect import getdoc

from rich.console import Console
from rich.text import Text

from penstock import errors
from penstock.cli.terminal import console, plain, table
from penstock.drops.encodings import DEFAULT_ENCODING, ENCODINGS
from penstock.drops.ports import Parameter, declared_parameters
from penstock.errors import PenstockError
from penstock.graph.problems import CATALOGUE, did_you_mean
from penstock.runtime.names import ALIASES, STORAGES

__all__ = ["explain"]

_BAD = 2
_WITH_ENCODINGS = "penstock.apps.python:PyFuncApp"


def explain(options: Namespace) -> int:
    """Explain a code or a component, or list all."""
    out = console(sys.stdout)
    if options.name is None:
        _list(out)
        return 0
    name = options.name.strip()
    if _tell_code(out, name) or _tell_component(out, name) or _tell_encoding(out, name):
        return 0
    known = [*CATALOGUE, *(cls.code for cls in _error_classes()), *_components(), *ALIASES, *ENCODINGS]
    hint = did_you_mean(name, known)
    sys.stderr.write(
        f"penstock: there is no code or component {plain(name)!r}; {hint or 'penstock explain lists all'}\n"
    )
    return _BAD


def _tell_code(out: Console, name: str) -> bool:
    kinds = {kind.upper(): kind for kind in CATALOGUE}
    if name.upper() in kinds:
        kind = CATALOGUE[kinds[name.upper()]]
        out.print(Text.assemble((f"{name.upper()}  {kind.title}", "bold"), f"  ({kind.severity.value})"))
        out.print(kind.explanation)
        return True
    classes = {cls.code: cls for cls in _error_classes()}
    if name.lower() in classes:
        cls = classes[name.lower()]
        out.print(Text.assemble((f"{cls.code}  {cls.__name__}", "bold"), f"  (HTTP status {cls.status})"))
        out.print(getdoc(cls) or "")
        return True
    return False


def _tell_component(out: Console, name: str) -> bool:
    target = _target(name)
    if target is None:
        return False
    module, _, class_name = target.partition(":")
    cls: type = getattr(import_module(module), class_name)  # only now: some need numpy
    out.print(Text.assemble((class_name, "bold"), f"  ({module}.{class_name})"))
    out.print(getdoc(cls) or "", soft_wrap=True)
    out.print()
    _tell_names(out, target)
    out.print()
    parameters = list(declared_parameters(cls))
    rows = table(("PARAMETER", "TYPE", "DEFAULT", "MEANING"))
    for parameter in parameters:
        rows.add_row(parameter.name, _kind(parameter), repr(parameter.default), parameter.doc)
    if parameters:
        out.print(rows)
    else:
        out.print("no declared parameters")
    if target == _WITH_ENCODINGS:
        out.print()
        _tell_encodings(out)
    return True


def _target(name: str) -> str | None:
    """Return the "module:Class" that a name means in graphs or as a class, whatever its case where unique."""
    proper = "dlg." + name.removeprefix("dfms.") if name.startswith("dfms.") else name
    if proper in ALIASES:
        return ALIASES[proper]
    if name.lower() in STORAGES:
        return STORAGES[name.lower()]
    components = _components()
    lowered = {word.lower(): target for word, target in components.items()}
    named = {target.replace(":", "."): target for target in components.values()}
    return components.get(name) or lowered.get(name.lower()) or named.get(name)


def _components() -> dict[str, str]:
    """Return all short names of classes, those of the ecosystem and ours, with what they mean."""
    found = {target.partition(":")[2]: target for target in (*ALIASES.values(), *STORAGES.values())}
    return found | {alias.rpartition(".")[2]: target for alias, target in ALIASES.items()}


def _tell_names(out: Console, target: str) -> None:
    names = [f"dropclass {alias}" for alias, meant in ALIASES.items() if meant == target]
    names += [f"storage   {storage}" for storage, meant in STORAGES.items() if meant == target]
    out.print(Text("in graphs", "bold"))
    for name in names:
        out.print(f"  {name}", soft_wrap=True)


def _kind(parameter: Parameter[object]) -> str:
    return getattr(parameter.kind, "__name__", "value").strip("_")


def _tell_encoding(out: Console, name: str) -> bool:
    if name.lower() not in {*ENCODINGS, "encodings", "encoding"}:
        return False
    _tell_encodings(out)
    return True


def _tell_encodings(out: Console) -> None:
    rows = table(("ENCODING", f"OF A PORT (default: {DEFAULT_ENCODING})"))
    for name, text in ENCODINGS.items():
        rows.add_row(name, text)
    out.print(rows)


def _list(out: Console) -> None:
    problems = table(("CODE", "KIND", "PROBLEM OF A GRAPH"))
    for code, kind in CATALOGUE.items():
        problems.add_row(code, kind.severity.value, kind.title)
    out.print(problems)
    out.print()
    rows = table(("CODE", "ERROR"))
    for cls in _error_classes():
        rows.add_row(cls.code, (cls.__doc__ or "").partition("\n")[0])
    out.print(rows)
    out.print()
    rows = table(("COMPONENT", "IN GRAPHS"))
    shown = {alias.rpartition(".")[2]: alias for alias in reversed(ALIASES)}
    for name, alias in sorted(shown.items()):
        rows.add_row(name, alias)
    out.print(rows)


def _error_classes() -> Iterator[type[PenstockError]]:
    for name in errors.__all__:
        yield getattr(errors, name)
