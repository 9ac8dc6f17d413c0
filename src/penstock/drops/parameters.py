# SPDX-License-Identifier: Apache-2.0
"""Parameters that a graph gives to programs as a file's worth of text, and old graphs' variables.

A parameter set is every application argument of the drop. YANDA keeps name and value alone; the other modes
keep `{"value", "description", "type", "default"}` of each.
"""

import configparser
import difflib
import importlib.util
import io
import json
import pickle
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from penstock.drops.memory import MemoryDrop
from penstock.drops.null import NullDrop
from penstock.drops.ports import Parameter, parse_arguments
from penstock.errors import ExtraMissing, ParameterInvalid

__all__ = ["EnvironmentVarDrop", "ParameterSetDrop"]

Parameters = Mapping[str, Any]  # Any: JSON as the graph's author wrote it

_PICKLE_PROTOCOL = 2
"""What the ancestor writes; programs with an old Python read it."""

_DEFAULT_MODE = "yaml"


class ParameterSetDrop(MemoryDrop):
    """The drop's application arguments, written in the form that `mode` names."""

    settles: ClassVar[bool] = True
    content_keys: ClassVar[tuple[str, ...]] = ()
    scheme: ClassVar[str] = "config"

    mode = Parameter(str, _DEFAULT_MODE, "YANDA, ini, yaml, json, toml or pickle")

    @classmethod
    def check(cls, uid: str, fields: Parameters) -> None:
        """Refuse a mode that does not exist, or whose library is not installed.

        Raises:
            ParameterInvalid: there is no such mode; or none is given, and what is meant then is not installed.
            ExtraMissing: the library of the mode that is given is not installed.
        """
        mode = fields.get("mode")
        argument = parse_arguments(uid, fields).get("mode")
        if "mode" not in fields and argument is not None and not argument.is_port:
            mode = argument.value
        library = _LIBRARIES.get(_mode_named(uid, mode))
        if library is not None and importlib.util.find_spec(library) is None:
            raise _library_missing(uid, mode, library)

    @classmethod
    def needs_settling(cls, fields: Parameters) -> bool:
        """Whether there is something to write: always, for nobody else does."""
        del fields
        return True

    def _own_content(self) -> bytes:
        mode = _mode_named(self.uid, self.mode)
        parameters = {name: _entry(text, mode) for name, text in self._described().items()}
        for name, value in self._mixed_in(mode).items():
            parameters.setdefault(name, value)
        try:
            return _WRITERS[mode](parameters)
        except ImportError as exc:
            raise _library_missing(self.uid, self.field("mode"), exc.name or mode) from exc
        except (TypeError, ValueError) as exc:
            raise ParameterInvalid(self.uid, "mode", f"{mode} cannot hold these parameters: {exc}") from exc

    def _described(self) -> Parameters:
        described = self.fields.get("applicationArgs")
        return described if isinstance(described, Mapping) else {}

    def _mixed_in(self, mode: str) -> Parameters:
        """Return what `config_data` adds, behind the parameters and never over them."""
        data = self.field("config_data")
        if not data or isinstance(data, Mapping):
            return data or {}
        try:
            found = _PARSERS[mode](str(data))
        except ImportError as exc:
            raise _library_missing(self.uid, self.field("mode"), exc.name or mode) from exc
        except Exception as exc:  # each library has errors of its own; one error with the remedy leaves here
            reason = f"is no {mode} text ({exc}); write it in the form that mode names"
            raise ParameterInvalid(self.uid, "config_data", reason) from exc
        if not isinstance(found, Mapping):
            raise ParameterInvalid(self.uid, "config_data", f"must name its values, this is {found!r}")
        return found


class EnvironmentVarDrop(NullDrop):
    """Names and values of graphs made before version 6, read by `get`; it has no bytes."""

    def get(self, name: str, default: Any = None) -> Any:  # Any: JSON as the graph's author wrote it
        """Return the value of a variable: of the argument of that name, else of the key."""
        value = self.arguments[name].value if name in self.arguments else self.fields.get(name)
        return default if value is None else value


def _mode_named(uid: str, given: object) -> str:
    """Return the mode that the graph means, whatever its case; nothing means the default."""
    mode = str(given or _DEFAULT_MODE).strip().lower()
    if mode not in _WRITERS:
        near = difflib.get_close_matches(mode, _WRITERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(_WRITERS)}"
        raise ParameterInvalid(uid, "mode", f"cannot be {given!r}; {hint}")
    return mode


def _library_missing(uid: str, given: object, library: str) -> ExtraMissing | ParameterInvalid:
    if given:
        return ExtraMissing(uid, library, "parameters")
    others = ", ".join(mode for mode in _WRITERS if mode not in _LIBRARIES)
    reason = f"is not given, which means {_DEFAULT_MODE}, and the library {library} is not installed"
    remedy = f"set mode to one of {others}, or pip install 'penstock[parameters]'"
    return ParameterInvalid(uid, "mode", f"{reason}: {remedy}")


def _entry(text: Any, mode: str) -> Any:
    described = text if isinstance(text, Mapping) else {"value": text}
    if mode == "yanda":
        return described.get("value", "")
    keys = {"value": "value", "description": "description", "type": "type", "default": "defaultValue"}
    return {key: described.get(source, "") for key, source in keys.items()}


# One function each way


def _to_yanda(parameters: Parameters) -> bytes:
    return "\n".join(f"{name}={value}" for name, value in parameters.items()).encode()


def _from_yanda(text: str) -> Parameters:
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _to_ini(parameters: Parameters) -> bytes:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # documented way to keep the case
    for name, value in parameters.items():
        section = value if isinstance(value, Mapping) else {"value": value}
        parser[name] = {key: str(item) for key, item in section.items()}
    target = io.StringIO()
    parser.write(target)
    return target.getvalue().encode()


def _from_ini(text: str) -> Parameters:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # see _to_ini
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def _to_yaml(parameters: Parameters) -> bytes:
    import yaml  # optional: extra "parameters"

    content: bytes = yaml.safe_dump(dict(parameters), encoding="utf-8")
    return content


def _from_yaml(text: str) -> Parameters:
    import yaml  # optional: extra "parameters"

    found: Parameters = yaml.safe_load(text)
    return found


def _to_json(parameters: Parameters) -> bytes:
    return json.dumps(parameters).encode()


def _from_json(text: str) -> Parameters:
    found: Parameters = json.loads(text)
    return found


def _to_toml(parameters: Parameters) -> bytes:
    import tomli_w  # optional: extra "parameters"

    text: str = tomli_w.dumps(_without_nulls(parameters))
    return text.encode()


def _without_nulls(parameters: Parameters) -> dict[str, Any]:
    """Return a copy without nulls, which TOML does not know."""
    return {
        name: _without_nulls(value) if isinstance(value, Mapping) else value
        for name, value in parameters.items()
        if value is not None
    }


def _to_pickle(parameters: Parameters) -> bytes:
    return pickle.dumps(dict(parameters), protocol=_PICKLE_PROTOCOL)


_WRITERS: dict[str, Callable[[Parameters], bytes]] = {
    "yanda": _to_yanda,
    "ini": _to_ini,
    "yaml": _to_yaml,
    "json": _to_json,
    "toml": _to_toml,
    "pickle": _to_pickle,
}

_LIBRARIES = {"yaml": "yaml", "toml": "tomli_w"}
"""What the modes import that Python does not bring along."""

_PARSERS: dict[str, Callable[[str], Parameters]] = {
    "yanda": _from_yanda,
    "ini": _from_ini,
    "yaml": _from_yaml,
    "json": _from_json,
    "toml": tomllib.loads,
    "pickle": _from_json,
}
