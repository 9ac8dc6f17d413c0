"""Declared parameters and described arguments."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.drops import ports
from penstock.drops.data import DataDrop
from penstock.drops.ports import Argument, Parameter, boolean, declared_parameters, integer, parse_arguments
from penstock.errors import ParameterInvalid
from penstock.testing.solo import SoloSite


class Sized(DataDrop):
    width = Parameter(int, 3, "pixels")
    title = Parameter(str, "none")
    loud = Parameter(bool, False)
    factor = Parameter(float, 1.0)


@pytest.mark.parametrize("text", [True, 1, 2.5, "true", " YES ", "on", "1", "T"])
def test_words_for_true(text: object):
    assert boolean(text) is True


@pytest.mark.parametrize("text", [False, 0, 0.0, "false", "No", "off", "0", "", "None", None])
def test_words_for_false(text: object):
    assert boolean(text) is False


def test_another_word_is_neither_true_nor_false():
    with pytest.raises(ValueError, match="neither"):
        boolean("perhaps")


@given(st.integers())
def test_whole_numbers_stay_as_they_are(number: int):
    assert integer(number) == number


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("7.0", 7), (7.0, 7), ("1e3", 1000), (True, 1)])
def test_whole_numbers_are_read_from_text_and_floats(text: object, number: int):
    assert integer(text) == number


@pytest.mark.parametrize("text", ["7.5", 7.5, "x", "inf", "nan"])
def test_what_is_no_whole_number_is_refused(text: object):
    with pytest.raises((ValueError, OverflowError)):
        integer(text)


def test_parameters_are_converted_and_kept(site: SoloSite):
    drop = site.add(Sized, "d", width="5", loud="1", factor="2.5")
    assert (drop.width, drop.loud, drop.factor, drop.title) == (5, True, 2.5, "none")
    assert drop.__dict__["width"] == 5


@pytest.mark.parametrize("text", [None, ""])
def test_nothing_means_the_default_except_for_text(site: SoloSite, text: object):
    drop = site.add(Sized, "d", width=text, title="")
    assert (drop.width, drop.title) == (3, "")


def test_a_parameter_of_the_wrong_type_names_drop_parameter_and_value(site: SoloSite):
    with pytest.raises(ParameterInvalid, match=r"drop d: parameter 'width' cannot be 'wide'"):
        site.add(Sized, "d", width="wide").width


def test_a_class_lists_its_parameters_and_those_of_its_bases_once():
    class Wider(Sized):
        width = Parameter(int, 30)

    found = {parameter.name: parameter for parameter in declared_parameters(Wider)}
    assert found["width"].default == 30
    assert {"width", "title", "loud", "factor", "persist", "expectedSize"} <= set(found)
    assert Wider.width is found["width"]


def test_application_arguments_come_before_component_ones():
    arguments = parse_arguments(
        "d", {"applicationArgs": {"a": {"value": 1}}, "componentParams": {"a": {"value": 2}}}
    )
    assert arguments["a"].value == 1


def test_an_argument_may_be_a_plain_value():
    assert parse_arguments("d", {"applicationArgs": {"a": 5}})["a"].value == 5


def test_a_group_that_is_no_object_describes_nothing():
    assert parse_arguments("d", {"applicationArgs": []}) == {}


def test_an_argument_described_wrongly_is_refused():
    with pytest.raises(ParameterInvalid, match="described wrongly"):
        parse_arguments("d", {"applicationArgs": {"a": {"usage": 5}}})


@pytest.mark.parametrize(
    ("usage", "is_port", "is_input", "is_output"),
    [
        ("NoPort", False, False, False),
        ("InputPort", True, True, False),
        ("OutputPort", True, False, True),
        ("InputOutput", True, True, True),
        (None, False, False, False),
    ],
)
def test_usage_says_which_way_data_goes(usage: str | None, is_port: bool, is_input: bool, is_output: bool):
    argument = parse_arguments("d", {"applicationArgs": {"a": {"usage": usage}}})["a"]
    assert (argument.is_port, argument.is_input, argument.is_output) == (is_port, is_input, is_output)


@pytest.mark.parametrize("text", ["four", "7.5", "inf", "nan", [1]])
def test_what_is_no_whole_number_is_called_so(site: SoloSite, text: object):
    with pytest.raises(ParameterInvalid, match="it is no whole number"):
        site.add(Sized, "d", width=text).width


DESCRIPTIONS = st.dictionaries(
    st.sampled_from("abc"),
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["a", "other", None]),
            "value": st.none() | st.integers() | st.text(max_size=2),
            "type": st.sampled_from(["String", "Integer", None, 5]),
            "usage": st.sampled_from(["InputPort", None]),
            "unknown": st.integers(),
        },
    )
    | st.integers()
    | st.none(),
    max_size=3,
)


@given(application=DESCRIPTIONS, component=DESCRIPTIONS)
def test_arguments_read_at_once_are_those_read_one_by_one(application: Any, component: Any):
    fields = {"applicationArgs": application, "componentParams": component}

    def each() -> dict[str, Argument]:
        arguments: dict[str, Argument] = {}
        for group, described in fields.items():
            ports._parse_each("d", group, described, arguments)
        return arguments

    try:
        expected = each()
    except ParameterInvalid as exc:
        problem = str(exc)
    else:
        assert list(parse_arguments("d", fields).items()) == list(expected.items())
        return
    with pytest.raises(ParameterInvalid, match=re.escape(problem)):
        parse_arguments("d", fields)
