"""The catalogue of problems, and one finding as a value."""

import re

import pytest

from penstock.graph.problems import CATALOGUE, Problem, Severity, did_you_mean


def test_codes_are_stable_in_form_and_titles_are_unique() -> None:
    assert all(re.fullmatch(r"PS\d{3}", code) for code in CATALOGUE)
    titles = [kind.title for kind in CATALOGUE.values()]
    assert len(set(titles)) == len(titles)
    assert all(kind.explanation.endswith((".", "json")) for kind in CATALOGUE.values())


def test_only_links_to_unknown_drops_are_warnings() -> None:
    assert [code for code, kind in CATALOGUE.items() if kind.severity is Severity.WARNING] == ["PS302"]
    assert Problem("PS303", "x").is_error
    assert not Problem("PS302", "x").is_error


def test_a_problem_as_text_says_where_and_what_to_do() -> None:
    assert str(Problem("PS201", "bad")) == "PS201 bad"
    assert str(Problem("PS201", "bad", "uid", "/0", "do this")) == "PS201 [uid] bad; do this  at /0"


def test_a_problem_as_json_has_all_fields() -> None:
    assert Problem("PS302", "m", "u", "/1", "h").as_json() == {
        "code": "PS302",
        "message": "m",
        "uid": "u",
        "path": "/1",
        "hint": "h",
        "severity": "warning",
    }


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("dat", ["Data", "Container"], "did you mean 'Data'?"),
        ("DATA", ["data"], "did you mean 'data'?"),
        ("xyz", ["data"], ""),
        ("data", [], ""),
    ],
)
def test_the_nearest_known_word_is_suggested(word: str, known: list[str], hint: str) -> None:
    assert did_you_mean(word, known) == hint
