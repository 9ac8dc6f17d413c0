# SPDX-License-Identifier: Apache-2.0
"""Small functions that published graphs name for the Python-function app, under their old dotted names.

`functions.py` finds them through `STOCK`, without importing anything of that name.
"""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["STOCK"]


# Arguments have the names that graphs use for their ports, therefore the camel case.


def read_lines(fileName: str) -> list[str]:  # noqa: N803
    """Return the words of a text file."""
    return Path(fileName).read_text().split()


def create_range(low: int, high: int, step: int) -> range:
    """Return the numbers from `low` up to, without, `high`."""
    return range(low, high, step)


def create_multi_out(v1: Any = 1, v2: Any = 7) -> tuple[Any, Any]:  # Any: users' values
    """Return two values, for two outputs."""
    return v1, v2


def get_max(v1: float = 1.0, v2: float = 7.0) -> float:
    """Return the larger one."""
    return max(v1, v2)


def string_to_json(string: str, pickle_flag: bool = False) -> object:
    """Return what the JSON text says, an empty list where it is no JSON; pickled if asked for."""
    try:
        value: object = json.loads(string) if string else ""
    except json.JSONDecodeError:
        value = []
    return pickle.dumps(value) if pickle_flag else value


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "readLines": read_lines,
    "createRange": create_range,
    "createMultiOut": create_multi_out,
    "getMax": get_max,
    "string2json": string_to_json,
}

STOCK: dict[str, Callable[..., Any]] = {
    f"{package}.apps.simple_functions.{name}": function
    for package in ("dlg", "dfms", "penstock")
    for name, function in _FUNCTIONS.items()
}
"""Old dotted name to function."""
