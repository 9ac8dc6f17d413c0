# SPDX-License-Identifier: Apache-2.0
"""Finding the function that a graph names (`func_name`) or brings along (`func_code`).

    find_function     imports, compiles, unpickles: where user code may run
    check_function    looks without running any of it: at deploy, inside a manager

Forms of `func_name`: `module.function`, `package.module.Class`, `Class.__init__`, `Class.member`, a builtin.
Forms of `func_code`: source text with one or more functions, a bare lambda, base64 of a dill pickle.

What depends on a text alone is worked out once per process: how source compiles, in which module a name is.
Rule 1: every drop runs source of its own in a namespace of its own, and its tracebacks name it.
Rule 2: a module is asked for its function each time, and the import system for the module.
"""

import ast
import base64
import binascii
import builtins
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.machinery import PathFinder
from types import CodeType
from typing import Any, NamedTuple

from penstock.apps.stock import STOCK
from penstock.errors import ClassNotFound, ParameterInvalid

__all__ = ["check_function", "find_function", "is_constructor"]

Function = Callable[..., Any]  # Any: users' functions take and give anything

_TEXTS = 256
"""How many texts, and how many names, are kept."""

_places: dict[str, tuple[str, tuple[str, ...]]] = {}
"""Of names that were found: the module, and the way from there."""

_CONSTRUCTORS = ("__init__", "__class__", "__new__")


def is_constructor(name: str) -> bool:
    """Whether `name` means making an object of the class before its last dot."""
    return name.rpartition(".")[2] in _CONSTRUCTORS


def find_function(uid: str, name: str, code: str | bytes = "") -> Function:
    """Return the function.

    Args:
        uid: of the drop, for messages.
        name: `func_name`; with code it may be empty.
        code: `func_code`; empty for a function that is imported.
    Raises:
        ClassNotFound: there is no such function, or its module or code fails.
        ParameterInvalid: the code is no text, or nested too deeply for Python to read.
    """
    if isinstance(code, str) and not code.strip():
        return _imported(uid, name)
    if isinstance(code, str) and (source := _parsed(uid, code)) is not None:
        return _from_source(uid, name, source)
    return _unpickled(uid, name, code)


def check_function(uid: str, name: str, code: str | bytes = "") -> None:
    """Refuse what certainly cannot be found, without running user code.

    Raises:
        ClassNotFound: no such module, no such name in a loaded module, or code that is neither Python nor
            base64, or does not define the name.
        ParameterInvalid: the code is no text, or nested too deeply for Python to read.
    """
    if isinstance(code, str) and not code.strip():
        _check_import(uid, name)
    elif isinstance(code, str) and (source := _parsed(uid, code)) is not None:
        if not source.is_lambda:
            _function_name(uid, name, source.defined)
    else:
        _decoded(uid, name, code)


# Code that the graph brings along


class _Source(NamedTuple):
    """Source text, and the names that it certainly defines at its top level, functions and classes last."""

    text: str
    is_lambda: bool
    defined: tuple[str, ...] = ()


def _parsed(uid: str, code: str) -> _Source | None:
    """Return source text that holds a function; None if it is something else."""
    try:
        return _source(code.strip())
    except (MemoryError, RecursionError) as exc:  # how the parser tells that its stack is full
        raise ParameterInvalid(uid, "func_code", "is nested too deeply for Python to read") from exc


@lru_cache(maxsize=_TEXTS)
def _source(text: str) -> _Source | None:
    try:
        expression = ast.parse(text, mode="eval")
        return _Source(text, is_lambda=True) if isinstance(expression.body, ast.Lambda) else None
    except (SyntaxError, ValueError):
        pass
    try:
        return _Source(text, is_lambda=False, defined=tuple(_defined(ast.parse(text))))
    except (SyntaxError, ValueError):
        return None


def _defined(tree: ast.Module) -> list[str]:
    named = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return named + [node.name for node in tree.body if isinstance(node, kinds)]


def _function_name(uid: str, name: str, defined: Sequence[str]) -> str:
    wanted = name.rpartition(".")[2]
    if wanted in defined:
        return wanted
    if not wanted and defined:
        return defined[-1]
    raise ClassNotFound(uid, name or "func_code", f"func_code defines {', '.join(defined) or 'no function'}")


def _from_source(uid: str, name: str, source: _Source) -> Function:
    scope: dict[str, Any] = {"__name__": f"func_code of {uid}"}  # Any: what the source puts there
    try:
        code = _compiled(uid, source)
        if source.is_lambda:
            function: Function = eval(code, scope)  # noqa: S307  what func_code is for
            return function
        exec(code, scope)  # noqa: S102  what func_code is for
    except Exception as exc:  # user code may raise anything; translated once, here
        raise ClassNotFound(uid, name or "func_code", f"func_code fails: {exc!r}") from exc
    found = scope[_function_name(uid, name, source.defined)]
    return _callable(uid, name, found)


def _compiled(uid: str, source: _Source) -> CodeType:
    mode, file_name = "eval" if source.is_lambda else "exec", f"<func_code of {uid}>"
    try:
        code = _compiled_once(source.text, mode)
    except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError):
        # Once more, so that the compiler's message names the drop.
        return compile(source.text, file_name, mode)
    return _named(code, file_name)


@lru_cache(maxsize=_TEXTS)
def _compiled_once(text: str, mode: str) -> CodeType:
    return compile(text, "<func_code>", mode)


def _named(code: CodeType, file_name: str) -> CodeType:
    """Return `code` and the functions in it as if compiled from a file of that name."""
    inner = tuple(_named(c, file_name) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_consts=inner, co_filename=file_name)


def _decoded(uid: str, name: str, code: object) -> bytes:
    if not isinstance(code, str | bytes):  # the graph's JSON may hold anything
        reason = f"must be source text, or a pickle in base64, not {code!r:.40}"
        raise ParameterInvalid(uid, "func_code", reason)
    try:
        content = base64.b64decode(code, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ClassNotFound(
            uid, name or "func_code", f"func_code is {_syntax_problem(code)}, nor base64"
        ) from exc
    if not content.startswith(b"\x80"):
        raise ClassNotFound(uid, name or "func_code", "func_code is base64, but not of a pickle")
    return content


def _syntax_problem(code: str | bytes) -> str:
    try:
        ast.parse(code.strip())
    except (SyntaxError, ValueError, MemoryError, RecursionError) as exc:
        return f"no Python ({exc})"
    return "no function"


def _unpickled(uid: str, name: str, code: str | bytes) -> Function:
    import dill

    content = _decoded(uid, name, code)
    try:
        found = dill.loads(content)  # noqa: S301  what func_code is for
    except Exception as exc:  # a pickle may run anything; translated once, here
        raise ClassNotFound(uid, name or "func_code", f"func_code cannot be unpickled: {exc!r}") from exc
    found_name, wanted = getattr(found, "__name__", ""), name.rpartition(".")[2]
    if wanted and found_name not in (wanted, "<lambda>"):
        raise ClassNotFound(uid, name, f"func_code holds {found_name or type(found).__name__}")
    return _callable(uid, name, found)


# Functions that are imported


def _callable(uid: str, name: str, found: Any) -> Function:  # Any: whatever stands under that name
    if not callable(found):
        raise ClassNotFound(uid, name, f"it is a {type(found).__name__}, which cannot be called")
    function: Function = found
    return function


def _path(uid: str, name: str) -> list[str]:
    parts = name.strip().split(".")
    if not all(part.isidentifier() for part in parts):
        raise ClassNotFound(uid, name, "write module.function, or the name of a builtin")
    return parts[:-1] if len(parts) > 1 and is_constructor(name) else parts


def _is_builtin(parts: list[str]) -> bool:
    """Whether the path begins at a builtin; modules may be called like one, so look one step further."""
    found = getattr(builtins, parts[0], None)
    return found is not None and (len(parts) == 1 or hasattr(found, parts[1]))


def _imported(uid: str, name: str) -> Function:
    if name in STOCK:
        return STOCK[name]
    module_name, path = _places.get(name, ("", ()))
    if sys.modules.get(module_name) is not None:
        # Asked for each time: it may have been replaced, and another thread may be loading it now.
        return _callable(uid, name, _attributes(uid, name, importlib.import_module(module_name), path))
    parts = _path(uid, name)
    if _is_builtin(parts):
        return _callable(uid, name, _attributes(uid, name, builtins, parts))
    if len(parts) == 1:
        raise ClassNotFound(uid, name, "it is no builtin and names no module; write module.function")
    last_problem: ImportError | None = None
    for length in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:length])
        try:
            module = importlib.import_module(module_name)
        except ImportError as exc:
            # "a.b is not a package" and "no module a.b" may mean that b is a class in a: look there next.
            if length == 1 or not (isinstance(exc, ModuleNotFoundError) and _names_prefix(exc, module_name)):
                raise ClassNotFound(uid, name, f"module {module_name}: {exc}") from exc
            last_problem = last_problem or exc
            continue
        except Exception as exc:  # a module's own code may raise anything; translated once, here
            raise ClassNotFound(uid, name, f"module {module_name} fails: {exc!r}") from exc
        function = _callable(uid, name, _attributes(uid, name, module, parts[length:]))
        if len(_places) >= _TEXTS:
            _places.clear()
        _places[name] = module_name, tuple(parts[length:])
        return function
    raise ClassNotFound(uid, name, str(last_problem))  # pragma: no cover  the loop returns or raises


def _names_prefix(exc: ModuleNotFoundError, module_name: str) -> bool:
    """Whether the module that is missing is the one asked for, or a package above it: not one it imports."""
    return exc.name is not None and (module_name == exc.name or module_name.startswith(f"{exc.name}."))


def _attributes(uid: str, name: str, found: Any, parts: Sequence[str]) -> Any:  # Any: module, class, function
    for part in parts:
        try:
            found = getattr(found, part)
        except AttributeError as exc:
            raise ClassNotFound(uid, name, f"{getattr(found, '__name__', found)} has no {part}") from exc
    return found


def _check_import(uid: str, name: str) -> None:
    if name in STOCK:
        return
    parts = _path(uid, name)
    if _is_builtin(parts):
        _attributes(uid, name, builtins, parts)
        return
    if len(parts) == 1:
        raise ClassNotFound(uid, name, "it is no builtin and names no module; write module.function")
    loaded = next((n for n in range(len(parts) - 1, 0, -1) if ".".join(parts[:n]) in sys.modules), 0)
    module = sys.modules.get(".".join(parts[:loaded])) if loaded else None
    if module is None:
        if importlib.util.find_spec(parts[0]) is None:
            raise ClassNotFound(uid, name, f"there is no module {parts[0]}")
    elif not hasattr(module, parts[loaded]) and not _is_submodule(module, parts[: loaded + 1]):
        raise ClassNotFound(uid, name, f"{module.__name__} has no {parts[loaded]}")


def _is_submodule(module: Any, parts: list[str]) -> bool:  # Any: a module may be any object
    path = getattr(module, "__path__", None)
    # PathFinder looks at files only; find_spec would run the packages on the way.
    return path is not None and PathFinder.find_spec(".".join(parts), list(path)) is not None
