# SPDX-License-Identifier: Apache-2.0
"""The Python-function app as a whole."""

import pickle
from pathlib import Path
from typing import Any

import dill
import pytest

from penstock.apps.flow import Branch
from penstock.apps.python import PyFuncApp
from penstock.apps.shell import BashShellApp
from penstock.drops.file import FileDrop
from penstock.drops.memory import MemoryDrop
from penstock.errors import ClassNotFound, EncodingFailed, ParameterInvalid
from penstock.testing.solo import SoloSite


def out(encoding: str | None = "pickle", usage: str = "OutputPort") -> dict[str, Any]:
    return {"usage": usage, "encoding": encoding, "value": "", "type": "Object"}


def test_the_result_goes_to_the_output_in_its_encoding(site: SoloSite) -> None:
    app = site.add(
        PyFuncApp,
        "app",
        func_name="glob.glob",
        applicationArgs={
            "pathname": {"usage": "InputPort", "encoding": "utf-8"},
            "recursive": {"usage": "InputPort", "encoding": "utf-8", "value": "false"},
            "content": out("utf-8"),
        },
    )
    source, target = site.add(MemoryDrop, "in"), site.add(FileDrop, "out")
    site.link(source, app, "pathname")
    site.link(app, target, "content")
    site.fill(source, "/nowhere/*\n")
    site.run(app)
    assert target.read() == b"[]"


def test_several_outputs_get_their_own_items(site: SoloSite) -> None:
    app = site.add(
        PyFuncApp,
        "app",
        func_name="dlg.apps.simple_functions.createMultiOut",
        applicationArgs={"o1": out("pickle"), "o2": out("eval")},
    )
    one, two = site.add(MemoryDrop, "one"), site.add(MemoryDrop, "two")
    site.link(app, two, "o2")
    site.link(app, one, "o1")
    site.run(app)
    assert pickle.loads(one.read()) == 1
    assert two.read() == b"7"


@pytest.mark.parametrize(
    ("fields", "load"),
    [
        ({}, dill.loads),
        ({"output_parser": "eval"}, eval),
        ({"applicationArgs": {"pickle": {"value": True}}}, pickle.loads),
    ],
)
def test_an_output_without_encoding_has_the_apps(site: SoloSite, fields: Any, load: Any) -> None:
    app = site.add(PyFuncApp, "app", func_code="lambda: [1]", **fields)
    target = site.add(MemoryDrop, "out")
    site.link(app, target)
    site.run(app)
    assert load(target.read()) == [1]


def test_a_function_writes_the_file_whose_path_it_got(site: SoloSite) -> None:
    code = "def save(target, text):\n    with open(target, 'w') as f: f.write(text)\n    return 'ignored'"
    app = site.add(
        PyFuncApp, "app", func_code=code, applicationArgs={"target": out("path"), "text": {"value": "hello"}}
    )
    target = site.add(FileDrop, "out")
    site.link(app, target, "target")
    site.run(app)
    assert target.read() == b"hello"


def test_an_object_can_be_made_and_used(site: SoloSite) -> None:
    maker = site.add(
        PyFuncApp,
        "make",
        func_name="fractions.Fraction.__init__",
        numerator=3,
        applicationArgs={"self": out("dill")},
    )
    thing = site.add(MemoryDrop, "thing")
    site.link(maker, thing, "self")
    site.run(maker)
    user = site.add(
        PyFuncApp,
        "use",
        func_name="fractions.Fraction.limit_denominator",
        applicationArgs={
            "self": out("dill", "InputPort"),
            "max_denominator": {"value": "10", "type": "Integer"},
        },
    )
    result = site.add(MemoryDrop, "result")
    site.link(thing, user, "self")
    site.link(user, result)
    site.run(user)
    assert dill.loads(result.read()) == 3


def test_a_function_object_may_come_from_python_code(site: SoloSite) -> None:
    app = site.add(PyFuncApp, "app", func=lambda: 5)
    target = site.add(MemoryDrop, "out")
    site.link(app, target)
    PyFuncApp.check("app", app.fields)
    site.run(app)
    assert dill.loads(target.read()) == 5


def test_what_the_function_raises_leaves_the_app(site: SoloSite) -> None:
    app = site.add(PyFuncApp, "app", func_code="def f(): return {}['key']")
    with pytest.raises(KeyError, match="key"):
        site.run(app)


def test_a_result_that_the_encoding_cannot_write_is_told(site: SoloSite) -> None:
    app = site.add(PyFuncApp, "app", func_code="lambda: object()", applicationArgs={"o": out("eval")})
    site.link(app, site.add(MemoryDrop, "out"), "o")
    with pytest.raises(EncodingFailed):
        site.run(app)


def test_check_wants_a_name_or_code() -> None:
    with pytest.raises(ParameterInvalid, match="func_name"):
        PyFuncApp.check("app", {})
    with pytest.raises(ParameterInvalid, match="func_name"):
        PyFuncApp.check("app", {"func_name": " ", "componentParams": {"func_code": {"value": None}}})


def test_check_looks_into_the_description_too() -> None:
    with pytest.raises(ClassNotFound, match="no_such_module"):
        PyFuncApp.check("app", {"componentParams": {"func_name": {"value": "no_such_module.f"}}})
    PyFuncApp.check(
        "app", {"componentParams": {"func_name": {"value": "f"}, "func_code": {"value": "def f(): 1"}}}
    )


def test_unknown_functions_fail_the_run_too(site: SoloSite) -> None:
    with pytest.raises(ClassNotFound):
        site.run(site.add(PyFuncApp, "app", func_name="glob.nothing"))


def test_an_app_can_be_tried_again(site: SoloSite, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
def f():
    mark = Path({str(tmp_path / "once")!r})
    if not mark.exists():
        mark.touch()
        raise OSError("first")
    return 1
"""
    app = site.add(PyFuncApp, "app", func_name="f", func_code=code)
    with pytest.raises(OSError, match="first"):
        app.run()
    app.run()


def test_text_that_is_read_as_a_pickle_is_told_with_the_place_to_mend(site: SoloSite) -> None:
    app = site.add(PyFuncApp, "app", func_code="lambda v: v")
    source = site.add(MemoryDrop, "in", pydata="hello")
    site.link(source, app, "v")
    site.fill(source)
    with pytest.raises(EncodingFailed) as caught:
        site.run(app)
    message = str(caught.value)
    assert "drop in: the content b'hello' cannot be read as dill: it does not begin like a pickle" in message
    assert "app app reads it through its port 'v': set applicationArgs.v.encoding of the app" in message
    assert '"utf-8"' in message


def test_a_link_without_a_port_is_told_with_the_old_field(site: SoloSite) -> None:
    app = site.add(PyFuncApp, "app", func_code="lambda v: v")
    source = site.add(MemoryDrop, "in", pydata="hello")
    site.link(source, app)
    site.fill(source)
    with pytest.raises(EncodingFailed, match="a port without a name: set input_parser of the app"):
        site.run(app)


@pytest.mark.parametrize("kind", [PyFuncApp, Branch, BashShellApp])
def test_a_port_with_a_wrong_encoding_is_found_before_the_run(kind: Any) -> None:
    fields = {"func_code": "lambda v: v", "command": "echo {v}"}
    for usage in ("InputPort", "OutputPort", "InputOutput"):
        with pytest.raises(ParameterInvalid, match=r"'v' has a wrong encoding: .* did you mean 'utf-8'"):
            kind.check("app", {**fields, "applicationArgs": {"v": out("utf-9", usage)}})
    for encoding in (None, "", "UTF8", "pickle", "dataurl", "none"):
        kind.check("app", {**fields, "applicationArgs": {"v": out(encoding)}})
    kind.check("app", {**fields, "applicationArgs": {"v": out("nonsense", "NoPort")}})
    kind.check("app", {**fields, "applicationArgs": {"v": {**out("nonsense"), "type": "Event"}}})
