# SPDX-License-Identifier: Apache-2.0
"""Finding functions by name and in code; refusing, without running anything, what cannot be found."""

import base64
import glob
import os.path
import sys
from pathlib import Path
from typing import Any

import dill
import pytest

from penstock.apps.functions import check_function, find_function
from penstock.apps.stock import STOCK
from penstock.errors import ClassNotFound, ParameterInvalid


def dilled(value: object) -> str:
    return base64.b64encode(dill.dumps(value)).decode()


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path with a package, and modules that fail or leave a trace."""
    package = tmp_path / "pkg_for_apps"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner" / "__init__.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"
    )
    (package / "inner" / "deep.py").write_text(
        "class Box:\n    def __init__(self, x): self.x = x\n    def get(self): return self.x\nTEN = 10\n"
    )
    (package / "needs.py").write_text("import module_that_nobody_has\n")
    (package / "broken.py").write_text("1/0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [name for name in sys.modules if name.startswith("pkg_for_apps")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("glob.glob", glob.glob),
        ("os.path.join", os.path.join),
        ("len", len),
        ("str.upper", str.upper),
        ("dict.__init__", dict),
    ],
)
def test_functions_of_modules_and_builtins(name: str, found: object) -> None:
    check_function("app", name)
    assert find_function("app", name) is found


def test_classes_and_members_deep_in_packages(modules: Path) -> None:
    for name in (
        "pkg_for_apps.inner.deep.Box",
        "pkg_for_apps.inner.deep.Box.__init__",
        "pkg_for_apps.inner.deep.Box.__class__",
    ):
        check_function("app", name)
        assert find_function("app", name)(5).x == 5
    box = find_function("app", "pkg_for_apps.inner.deep.Box")(6)
    assert find_function("app", "pkg_for_apps.inner.deep.Box.get")(box) == 6


def test_check_runs_none_of_the_users_code(modules: Path) -> None:
    check_function("app", "pkg_for_apps.inner.deep.Box")
    check_function("app", "f", "open('x', 'w')\ndef f(): pass")
    assert not (modules / "inner" / "ran").exists()
    assert "pkg_for_apps" not in sys.modules


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("no_such_module_at_all.f", "", "no_such_module_at_all"),
        ("justaname", "", "no builtin"),
        ("glob.nothing", "", "glob has no nothing"),
        ("a b.c", "", "module.function"),
        ("", "x = (", "no Python"),
        ("", "not python at all!", "no Python"),
        ("", "1 + 1", "no function"),
        ("g", "def f(): pass", "defines f"),
        ("g", "x: int", "defines no function"),
        ("f", base64.b64encode(b"no pickle").decode(), "not of a pickle"),
    ],
)
def test_what_cannot_be_found_is_refused_at_deploy_and_at_run(name: str, code: str, reason: str) -> None:
    with pytest.raises(ClassNotFound, match=reason):
        check_function("app", name, code)
    with pytest.raises(ClassNotFound, match=reason):
        find_function("app", name, code)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pkg_for_apps.needs.f", "module_that_nobody_has"),
        ("pkg_for_apps.broken.f", "division"),
        ("pkg_for_apps.nothing.f", "nothing"),
        ("pkg_for_apps.inner.deep.Other", "has no Other"),
        ("pkg_for_apps.inner.deep.TEN", "cannot be called"),
    ],
)
def test_modules_that_fail_are_told_with_their_cause(modules: Path, name: str, reason: str) -> None:
    with pytest.raises(ClassNotFound, match=reason):
        find_function("app", name)


def test_a_loaded_package_tells_more_at_deploy(modules: Path) -> None:
    find_function("app", "pkg_for_apps.inner.deep.Box")
    check_function("app", "pkg_for_apps.needs.f")
    with pytest.raises(ClassNotFound, match="has no other"):
        check_function("app", "pkg_for_apps.other.f")
    with pytest.raises(ClassNotFound, match="has no Other"):
        check_function("app", "pkg_for_apps.inner.deep.Other")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("condition", "def condition(x):\n\treturn (x > 0)"),
        ("my.module.condition", "def condition(x):\n  return (x > 0)\n"),
        ("", "import math\ndef helper(x): return x\ndef condition(x): return helper(x) > 0"),
        ("", "lambda x: x > 0"),
        ("anything", "  lambda x: x > 0  "),
        ("condition", "condition = lambda x: x > 0"),
        ("condition", "def factory():\n  return lambda x: x > 0\ncondition = factory()"),
    ],
)
def test_code_as_text(name: str, code: str) -> None:
    check_function("app", name, code)
    function = find_function("app", name, code)
    assert function(1) is True
    assert function(0) is False


def test_code_as_a_base64_pickle() -> None:
    def double(x: int) -> int:
        return 2 * x

    for name in ("double", "somewhere.double", ""):
        check_function("app", name, dilled(double))
        assert find_function("app", name, dilled(double))(4) == 8
    assert find_function("app", "f", dilled(lambda x: x))(4) == 4
    assert find_function("app", "", base64.b64decode(dilled(double)) and dilled(double).encode())(4) == 8


def test_a_pickle_of_something_else_is_refused() -> None:
    with pytest.raises(ClassNotFound, match="holds double"):
        find_function("app", "triple", dilled(_named("double")))
    with pytest.raises(ClassNotFound, match="cannot be called"):
        find_function("app", "", dilled(5))
    with pytest.raises(ClassNotFound, match="cannot be unpickled"):
        find_function("app", "", base64.b64encode(b"\x80\x04garbage").decode())


def _named(name: str) -> object:
    scope: dict[str, object] = {}
    exec(f"def {name}(): pass", scope)
    return scope[name]


def test_code_that_fails_when_read_is_told() -> None:
    with pytest.raises(ClassNotFound, match="ZeroDivisionError"):
        find_function("app", "f", "x = 1/0\ndef f(): pass")
    with pytest.raises(ClassNotFound, match="cannot be called"):
        find_function("app", "f", "f = 5")


def test_the_stock_functions_have_their_old_names(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("a b\nc")
    results = {
        "readLines": ((str(tmp_path / "words"),), ["a", "b", "c"]),
        "createRange": ((1, 7, 3), range(1, 7, 3)),
        "createMultiOut": ((1, 2), (1, 2)),
        "getMax": ((1, 2), 2),
        "string2json": (('["a"]',), ["a"]),
    }
    for name, (args, result) in results.items():
        for package in ("dlg", "dfms"):
            full = f"{package}.apps.simple_functions.{name}"
            check_function("app", full)
            assert find_function("app", full)(*args) == result
    string2json = STOCK["dlg.apps.simple_functions.string2json"]
    assert string2json("") == ""
    assert string2json("{") == []
    assert dill.loads(string2json("[1]", pickle_flag=True)) == [1]


@pytest.mark.parametrize("code", [True, 5, ["lambda: 1"], {"a": 1}])
def test_code_that_is_no_text_is_refused(code: Any) -> None:
    for find in (check_function, find_function):
        with pytest.raises(ParameterInvalid, match="'func_code' must be source text"):
            find("app", "f", code)


@pytest.mark.parametrize(
    "code", ["-" * 200_000 + "1", "1" + "+1" * 100_000, "(" * 10_000, "lambda: " * 50_000]
)
def test_code_that_is_nested_too_deeply_is_refused(code: str) -> None:
    for find in (check_function, find_function):
        with pytest.raises((ParameterInvalid, ClassNotFound)):
            find("app", "f", code)


@pytest.mark.parametrize("code", ["-" * 200_000 + "1", "1" + "+1" * 100_000])
def test_too_deep_nesting_is_named(code: str) -> None:
    with pytest.raises(ParameterInvalid, match="'func_code' is nested too deeply"):
        check_function("app", "f", code)
    with pytest.raises(ClassNotFound, match="no Python"):
        check_function("app", "f", code.encode())


def test_the_same_source_gives_each_drop_a_namespace_of_its_own() -> None:
    code = "count = []\ndef more():\n    count.append(1)\n    return len(count)"
    first, second = find_function("one", "more", code), find_function("two", "more", code)
    assert (first(), first(), second()) == (1, 2, 1)
    assert (first.__module__, second.__module__) == ("func_code of one", "func_code of two")


def test_tracebacks_name_the_drop_whose_source_it_is_in_inner_functions_too() -> None:
    code = "def outer():\n    def inner():\n        return [x for x in ()]\n    return inner"
    for uid in ("one", "two"):
        outer = find_function(uid, "outer", code)
        assert {outer.__code__.co_filename, outer().__code__.co_filename} == {f"<func_code of {uid}>"}
        assert find_function(uid, "", "lambda: 1").__code__.co_filename == f"<func_code of {uid}>"


@pytest.mark.parametrize("uid", ["one", "two"])
def test_what_the_compiler_refuses_is_told_with_the_drop(uid: str) -> None:
    with pytest.raises(ClassNotFound, match=f"func_code fails: SyntaxError.*<func_code of {uid}>"):
        find_function(uid, "f", "def f(): pass\nreturn 1")


def test_a_module_that_was_replaced_is_asked_anew(modules: Path) -> None:
    name = "pkg_for_apps.inner.deep.Box"
    first = find_function("app", name)
    assert find_function("app", name) is first
    for module in [module for module in sys.modules if module.startswith("pkg_for_apps")]:
        del sys.modules[module]
    (modules / "inner" / "deep.py").write_text("class Other: pass\nclass Box: pass\n")
    second = find_function("app", name)
    assert second is not first
    sys.modules["pkg_for_apps.inner.deep"].Box = 5  # type: ignore[attr-defined]  # made by this test
    with pytest.raises(ClassNotFound, match="cannot be called"):
        find_function("app", name)
