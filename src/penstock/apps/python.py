# SPDX-License-Identifier: Apache-2.0
"""The Python-function app: `func_name` or `func_code`, arguments from ports and graph, results to outputs.

How the function is found: `functions.py`. How its arguments are put together: `call.py`. How its result goes
to several outputs: `results.py`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from penstock.apps.call import build_call, encoding_of
from penstock.apps.functions import Function, check_function, find_function
from penstock.apps.inputs import check_encodings
from penstock.apps.results import spread
from penstock.drops.app import AppDrop
from penstock.drops.data import DataDrop
from penstock.drops.encodings import store_value
from penstock.drops.ports import parse_arguments
from penstock.errors import ParameterInvalid

__all__ = ["PyFuncApp"]


def _setting(
    uid: str, fields: Mapping[str, Any], name: str
) -> Any:  # Any: text, or a function from Python code
    value = fields.get(name)
    if value is None:
        argument = parse_arguments(uid, fields).get(name)
        value = None if argument is None else argument.value
    return "" if value is None else value


class PyFuncApp(AppDrop):
    """Call a Python function with what the inputs hold, and write what it returns to the outputs."""

    libraries: ClassVar[tuple[str, ...]] = ("dill",)

    @classmethod
    def check(cls, uid: str, fields: Mapping[str, Any]) -> None:  # Any: the drop's JSON
        """Refuse a graph whose function certainly cannot be found; runs no user code.

        Raises:
            ClassNotFound: no such module or function, or code that cannot be read.
            ParameterInvalid: neither a name nor code is given, or a port's encoding does not exist.
        """
        check_encodings(uid, fields)
        name, code = _setting(uid, fields, "func_name"), _setting(uid, fields, "func_code")
        if callable(fields.get("func")):
            return
        if not str(name).strip() and not code:
            raise ParameterInvalid(
                uid, "func_name", "is missing: name a function, or give its code in func_code"
            )
        check_function(uid, str(name).strip(), code)

    def run(self) -> None:
        call = build_call(self, self.function)
        result = self.function(*call.args, **call.kwargs)
        self._written = call.written
        self.write_results(result, call.named)

    @property
    def function(self) -> Function:
        """The function; found on first use.

        Raises:
            ClassNotFound: there is none.
        """
        try:
            return self._function
        except AttributeError:
            self._function: Function = self._find()
            return self._function

    def _find(self) -> Function:
        function = self.fields.get("func")
        if callable(function):
            return cast("Function", function)
        name, code = (_setting(self.uid, self.fields, key) for key in ("func_name", "func_code"))
        return find_function(self.uid, str(name).strip(), code)

    def write_results(self, result: Any, call: Mapping[str, Any]) -> None:  # noqa: ARG002  Any: users' values
        """Write what the function returned to the outputs, each in its port's encoding.

        Args:
            result: what it returned.
            call: its arguments by name.
        """
        links = [link for link in self.output_links if link.drop.index not in self._written]
        for link, item in spread(self, links, result):
            drop = cast("DataDrop", link.drop)
            store_value(drop, item, encoding_of(self, link.port, "output_parser"))
