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
from penstock.drops.base import kept
from penstock.drops.data import DataDrop
from penstock.drops.encodings import store_value
from penstock.drops.ports import Argument, parse_arguments
from penstock.errors import ParameterInvalid

__all__ = ["PyFuncApp"]


def _setting(
    fields: Mapping[str, Any], arguments: Mapping[str, Argument], name: str
) -> Any:  # Any: text, or a function from Python code
    value = fields.get(name)
    if value is None and name in arguments:
        value = arguments[name].value
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
        arguments = parse_arguments(uid, fields)
        name, code = _setting(fields, arguments, "func_name"), _setting(fields, arguments, "func_code")
        if callable(fields.get("func")):
            return
        if not str(name).strip() and not code:
            raise ParameterInvalid(
                uid, "func_name", "is missing: name a function, or give its code in func_code"
            )
        check_function(uid, str(name).strip(), code)

    def run(self) -> None:
        function = self.function
        call = build_call(self, function)
        result = function(*call.args, **call.kwargs)
        self._written, self._outputs = call.written, call.outputs
        self.write_results(result, call.named)

    @kept
    def function(self) -> Function:
        """The function; found on first use.

        Raises:
            ClassNotFound: there is none.
        """
        fields, arguments = self.fields, self.arguments
        function = fields.get("func")
        if callable(function):
            return cast("Function", function)
        name, code = _setting(fields, arguments, "func_name"), _setting(fields, arguments, "func_code")
        return find_function(self.uid, str(name).strip(), code)

    def write_results(self, result: Any, call: Mapping[str, Any]) -> None:  # noqa: ARG002  Any: users' values
        """Write what the function returned to the outputs, each in its port's encoding.

        Args:
            result: what it returned.
            call: its arguments by name.
        """
        written = self._written
        links = [link for link in self._outputs if link.drop.index not in written]
        for link, item in spread(self, links, result):
            drop = cast("DataDrop", link.drop)
            store_value(drop, item, encoding_of(self, link.port, "output_parser"))
