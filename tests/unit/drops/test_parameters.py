"""Parameter sets in every mode, and variables of old graphs."""

import configparser
import hashlib
import json
import pickle
import sys
import tomllib
from typing import Any

import pytest

from penstock.drops.parameters import EnvironmentVarDrop, ParameterSetDrop
from penstock.errors import ExtraMissing, ParameterInvalid
from penstock.testing.solo import SoloSite

TWO = {
    "test.param2": {
        "value": "Hello",
        "defaultValue": "".join(["Hel", "lo"]),
        "type": "String",
        "description": "first",
    },
    "n": {"value": 3, "defaultValue": "", "type": "Integer", "description": ""},
}


def content(site: SoloSite, mode: str | None, arguments: Any = TWO, **fields: Any) -> bytes:
    if mode is not None:
        fields["mode"] = mode
    drop = site.add(ParameterSetDrop, "p", applicationArgs=arguments, **fields)
    site.fill(drop)
    return drop.read()


def test_yanda_is_a_line_for_each_parameter(site: SoloSite):
    assert content(site, "YANDA") == b"test.param2=Hello\nn=3"


def test_no_parameters_are_no_content(site: SoloSite):
    assert content(site, "YANDA", {}, config_data="") == b""
    assert content(site, "YANDA", None) == b""


def test_pickle_is_that_of_the_ancestor(site: SoloSite):
    arguments = json.loads(
        '{"test.param2": {"value": "Hello", "defaultValue": "Hello", "type": "String",'
        ' "description": "Hello from the test parameter"},'
        ' "test.param": {"value": "World", "defaultValue": "", "type": "String", "description": ""}}'
    )
    found = content(site, "pickle", arguments)
    assert list(pickle.loads(found)) == ["test.param2", "test.param"]
    assert (len(found), hashlib.sha256(found).hexdigest()[:16]) == (223, "7f101db4da171a82")


def test_json_keeps_value_description_type_and_default(site: SoloSite):
    assert json.loads(content(site, "json"))["n"] == {
        "value": 3,
        "description": "",
        "type": "Integer",
        "default": "",
    }


def test_ini_has_a_section_for_each_parameter(site: SoloSite):
    assert content(site, "ini", {"Na": {"value": "50%", "type": "S"}}) == (
        b"[Na]\nvalue = 50%\ndescription = \ntype = S\ndefault = \n\n"
    )


def test_toml_leaves_out_nulls(site: SoloSite):
    pytest.importorskip("tomli_w")
    found = tomllib.loads(content(site, "toml", {"a": {"value": None, "type": "String"}, "b": 5}).decode())
    assert found == {
        "a": {"description": "", "type": "String", "default": ""},
        "b": {"value": 5, "description": "", "type": "", "default": ""},
    }


def test_yaml_is_sorted(site: SoloSite):
    pytest.importorskip("yaml")
    expected = b"n:\n  default: ''\n  description: ''\n  type: Integer\n  value: 3\n"
    assert content(site, "yaml", {"n": TWO["n"]}) == content(site, None, {"n": TWO["n"]}) == expected


@pytest.mark.parametrize(("mode", "module"), [("yaml", "yaml"), ("toml", "tomli_w")])
def test_a_library_that_is_not_installed_is_named(
    site: SoloSite, monkeypatch: pytest.MonkeyPatch, mode: str, module: str
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraMissing, match=r"penstock\[parameters\]"):
        content(site, mode)


def test_yaml_that_cannot_be_read_for_want_of_the_library_is_named_too(
    site: SoloSite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ExtraMissing):
        content(site, "yaml", config_data="a: 1")


def test_modes_are_matched_without_case(site: SoloSite):
    assert content(site, "yanda") == content(site, "YANDA")


def test_a_misspelled_mode_is_answered_with_the_nearest(site: SoloSite):
    with pytest.raises(ParameterInvalid, match="did you mean 'yaml'"):
        content(site, "yamel")
    with pytest.raises(ParameterInvalid, match="use one of"):
        content(site, "xyzzy")


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("json", '{"extra": {"value": 1}, "n": 9}'),
        ("pickle", '{"extra": {"value": 1}, "n": 9}'),
        ("ini", "[extra]\nvalue = 1\n[n]\nvalue = 9\n"),
        ("yaml", "extra: {value: 1}\nn: 9\n"),
        ("toml", "n = 9\n[extra]\nvalue = 1\n"),
    ],
)
def test_config_data_is_mixed_in_behind_the_parameters(site: SoloSite, mode: str, text: str):
    found = content(site, mode, config_data=text)
    readers = {"json": json.loads, "pickle": pickle.loads, "ini": _ini, "toml": _toml, "yaml": _yaml}
    values = readers[mode](found)
    assert {name: str(entry["value"]) for name, entry in values.items()} == {
        "test.param2": "Hello",
        "n": "3",
        "extra": "1",
    }


def _ini(content: bytes) -> Any:
    parser = configparser.RawConfigParser()
    parser.read_string(content.decode())
    return {name: parser[name] for name in parser.sections()}


def _toml(content: bytes) -> Any:
    return tomllib.loads(content.decode())


def _yaml(content: bytes) -> Any:
    return pytest.importorskip("yaml").safe_load(content)


def test_yanda_config_data_is_lines(site: SoloSite):
    found = content(site, "YANDA", config_data="# more\nextra = 1\n\nn=9\n")
    assert found == b"test.param2=Hello\nn=3\nextra=1"


def test_config_data_may_be_an_object(site: SoloSite):
    assert content(site, "YANDA", {}, config_data={"a": 1}) == b"a=1"


@pytest.mark.parametrize(("mode", "text"), [("json", "{"), ("toml", "="), ("ini", "a=1"), ("yaml", "a: [")])
def test_config_data_of_another_form_is_refused(site: SoloSite, mode: str, text: str):
    with pytest.raises(ParameterInvalid, match=f"no {mode} text"):
        content(site, mode, config_data=text)


def test_config_data_must_name_its_values(site: SoloSite):
    with pytest.raises(ParameterInvalid, match="name its values"):
        content(site, "json", config_data="[1]")


def test_what_a_mode_cannot_hold_is_refused(site: SoloSite):
    pytest.importorskip("tomli_w")
    with pytest.raises(ParameterInvalid, match="toml cannot hold"):
        content(site, "toml", {"a": {"value": [None]}})


def test_it_always_settles_and_has_its_own_url(site: SoloSite):
    assert ParameterSetDrop.needs_settling({})
    assert site.add(ParameterSetDrop, "p").url.startswith("config://")


def test_what_a_producer_wrote_stays(site: SoloSite):
    drop = site.add(ParameterSetDrop, "p", mode="json", applicationArgs=TWO)
    site.fill(drop, b"written")
    assert drop.read() == b"written"


def test_variables_of_old_graphs_are_read_by_name(site: SoloSite):
    drop = site.add(
        EnvironmentVarDrop, "e", applicationArgs={"A": {"value": 1}, "N": {"value": None}}, B="two"
    )
    assert [drop.get("A"), drop.get("B"), drop.get("N", 0), drop.get("C"), drop.get("D", 5)] == [
        1,
        "two",
        0,
        None,
        5,
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mode": "jsn"}, "did you mean 'json'"),
        ({"componentParams": {"mode": {"value": "xyzzy"}}}, "use one of"),
        ({"mode": True}, "cannot be True"),
    ],
)
def test_a_wrong_mode_is_found_before_the_run(fields: Any, reason: str):
    with pytest.raises(ParameterInvalid, match=reason):
        ParameterSetDrop.check("p", fields)


@pytest.mark.parametrize("mode", ["YANDA", "ini", "json", " Pickle "])
def test_modes_that_python_has_pass_the_check(mode: str):
    ParameterSetDrop.check("p", {"mode": mode})
    ParameterSetDrop.check("p", {"componentParams": {"mode": {"value": mode, "usage": "NoPort"}}})


@pytest.mark.parametrize(("mode", "module"), [("yaml", "yaml"), ("toml", "tomli_w")])
def test_a_library_that_is_not_installed_is_found_before_the_run(
    monkeypatch: pytest.MonkeyPatch, mode: str, module: str
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraMissing, match=module):
        ParameterSetDrop.check("p", {"mode": mode})


@pytest.mark.parametrize("mode", [None, ""])
def test_without_mode_and_library_the_error_says_what_to_set(
    site: SoloSite, monkeypatch: pytest.MonkeyPatch, mode: str | None
):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ParameterInvalid, match="set mode to one of yanda, ini, json, pickle, or pip install"):
        ParameterSetDrop.check("p", {"mode": mode})
    with pytest.raises(ParameterInvalid, match="is not given, which means yaml"):
        content(site, mode)
