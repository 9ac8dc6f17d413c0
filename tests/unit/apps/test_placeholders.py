# SPDX-License-Identifier: Apache-2.0
"""Values in bash commands: each arrives as it is, wherever its placeholder stands; none is ever executed."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from penstock.apps.placeholders import MAX_VALUE_BYTES, ValueRefused, render

NASTY = [
    "$(touch x)",
    "`touch x`",
    '"; touch x; "',
    "'; touch x; '",
    "\\",
    "a\nb",
    "; touch x",
    "&& touch x #",
    "${HOME}",
    "$HOME",
    "!!",
    "~",
    "*",
    "-n",
    "",
    " two  words ",
    "{from}",
    "a[$(touch x)]",
    "$((1+1))",
    "'\"'\"",
    "EOF",
    "\t",
    "é\u2028",
    "<(touch x)",
    "%s%n",
    "\x01",
]


def bash(folder: Path, command: str, **values: str) -> str:
    rendered = render(command, {name: [value] for name, value in values.items()})
    done = subprocess.run(
        ["/bin/bash", "-c", rendered.command],
        env={"PATH": os.environ["PATH"], **rendered.variables},
        cwd=folder,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert not list(folder.iterdir()), f"{rendered.command} ran a part of {values}"
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


EXACT = [
    "printf %s {v}",
    'printf %s "{v}"',
    "printf %s '{v}'",
    "printf %s a{v}b",
    'printf %s a"{v}"b',
    "printf %s a'{v}'b",
    'printf %s "it\'s {v}"',
    "printf %s 'say \"{v}\"'",
    "printf %s 'a \\'{v}",
    'x="{v}"; printf %s "$x"',
    'x={v}; printf %s "$x"',
    "printf %s \"$(printf '%sx' {v})\"",
    'printf %s "$(printf \'%sx\' "{v}")"',
    "printf %s \"`printf '%sx' {v}`\"",
    "cat <<< {v}",
    "cat <<END\n{v}\nEND",
    "cat <<-END\n\t{v}\nEND",
    "# it's a comment\nprintf %s {v}",
    'f() { printf %s "$1"; }; f {v}',
    'for i in {v}; do printf %s "$i"; done',
    "case {v} in nothing) ;; *) printf %s {v};; esac",
    "if [ -z {v} ]; then printf ''; else printf %s {v}; fi",
    'a=( {v} ); printf %s "${a[0]}"',
    "printf %s ${NONE:-{v}}x",
    "true && { printf %s {v}; }",
    "(printf %s {v})",
    "cat < <(printf %s {v})",
]

WRAPPED = {
    "printf %s a{v}b": "a%sb",
    'printf %s a"{v}"b': "a%sb",
    "printf %s a'{v}'b": "a%sb",
    'printf %s "it\'s {v}"': "it's %s",
    "printf %s 'say \"{v}\"'": 'say "%s"',
    "printf %s 'a \\'{v}": "a \\%s",
    "cat <<< {v}": "%s\n",
    "cat <<END\n{v}\nEND": "%s\n",
    "cat <<-END\n\t{v}\nEND": "%s\n",
    "printf %s ${NONE:-{v}}x": "%sx",
}
INNER_X = {command for command in EXACT if "%sx'" in command}


@pytest.mark.parametrize("command", EXACT)
@pytest.mark.parametrize("value", NASTY)
def test_a_nasty_value_arrives_unchanged_in_every_place(tmp_path: Path, command: str, value: str) -> None:
    template = "%sx" if command in INNER_X else WRAPPED.get(command, "%s")
    assert bash(tmp_path, command, v=value) == template.replace("%s", value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))),
    command=st.sampled_from(EXACT),
)
@example(value="'\"$(touch x)\"'", command=EXACT[2])
def test_any_value_arrives_unchanged_in_every_place(tmp_path: Path, value: str, command: str) -> None:
    template = "%sx" if command in INNER_X else WRAPPED.get(command, "%s")
    assert bash(tmp_path, command, v=value) == template.replace("%s", value)


pieces = st.lists(
    st.sampled_from(
        [
            "{v}",
            "{v}",
            "'",
            '"',
            " ",
            "\\",
            "$",
            "`",
            "$(",
            ")",
            "((",
            "))",
            "[[ ",
            " ]]",
            "#",
            "\n",
            "${",
            "}",
            "<<E\n",
            "<<'E'\n",
            "\nE\n",
            ";",
            "echo ",
            "x",
            "[",
            "]",
            "let ",
            "=",
            "<<<",
            "$'",
            "&&",
        ]
    ),
    max_size=25,
).map("".join)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    command=pieces,
    value=st.sampled_from(
        [
            "$(touch x)",
            "`touch x`",
            "';touch x;'",
            '";touch x;"',
            "\ntouch x\n",
            "a[$(touch x)]",
            "E",
            ")touch x(",
        ]
    ),
)
def test_no_command_however_broken_runs_a_value(tmp_path: Path, command: str, value: str) -> None:
    try:
        rendered = render(command, {"v": [value]})
    except ValueRefused:
        return
    subprocess.run(
        ["/bin/bash", "-c", rendered.command],
        env={"PATH": os.environ["PATH"], **rendered.variables},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert not (tmp_path / "x").exists(), rendered
    for left in tmp_path.iterdir():  # redirections of the random command itself
        left.unlink()


def test_text_of_other_programs_survives_untouched() -> None:
    awk = "cat %i0 | awk '{ if ( \\$1 < 0.99 || \\$1 > 1.01 ) exit(1); else exit(0) }' ${HOME} {a,b} {1..3}"
    assert render(awk, {"1": ["x"], "HOME": ["y"]}).command == awk


def test_an_escaped_placeholder_is_the_authors_own_text(tmp_path: Path) -> None:
    assert bash(tmp_path, "printf %s \\{v}", v="x") == "{v}"


def test_a_dollar_before_the_brace_makes_it_a_shell_variable(tmp_path: Path) -> None:
    assert bash(tmp_path, "v=shell; printf %s ${v}", v="graph") == "shell"


def test_old_placeholders_by_place_and_by_uid(tmp_path: Path) -> None:
    values = {"%i0": ["one"], "%i10": ["eleven"], "%o[a-b_0]": ["out"], "%iDataURL0": ["file://x"]}
    rendered = render("%i0 %i10 '%o[a-b_0]' %iDataURL0 %i1", values)
    assert rendered.command == '"${PENSTOCK_0}" "${PENSTOCK_1}" \'\'"${PENSTOCK_2}"\'\' "${PENSTOCK_3}" %i1'
    assert list(rendered.variables.values()) == ["one", "eleven", "out", "file://x"]


def test_the_same_value_travels_once() -> None:
    assert render("{a} {b} {a}", {"a": ["x"], "b": ["x"]}).variables == {"PENSTOCK_0": "x"}


def test_several_words_stay_apart_outside_quotes_and_join_inside(tmp_path: Path) -> None:
    rendered = render('printf "<%s>" {f} "{f}"', {"f": ["a b", "c"]})
    done = subprocess.run(
        ["/bin/bash", "-c", rendered.command], env=rendered.variables, capture_output=True, check=True
    )
    assert done.stdout == b"<a b><c><a b c>"


@pytest.mark.parametrize(
    "command",
    [
        "echo $(( {v} + 1 ))",
        "(( x = {v} ))",
        "echo $[{v}]",
        "a[{v}]=1",
        "[[ {v} -eq 1 ]]",
        "let x={v}",
        "declare {v}=1",
        "if true; then let {v}; fi",
        "echo ${a[{v}]}",
        "printf -v {v} x",
        "[ -v {v} ]",
        "cat <<'E'\n{v}\nE",
    ],
)
def test_where_bash_would_run_a_part_of_a_variable_such_a_value_is_refused(
    tmp_path: Path, command: str
) -> None:
    value = "a[$(touch x)]" if "<<" not in command else "E\ntouch x"
    with pytest.raises(ValueRefused) as caught:
        render(command, {"v": [value]})
    assert caught.value.name == "v"


def test_numbers_may_stand_in_arithmetic(tmp_path: Path) -> None:
    assert bash(tmp_path, "echo $(( {v} * (2 + {v}) )) {v}", v="-3") == "3 -3\n"


@pytest.mark.parametrize("value", ["a\0b", "x" * (MAX_VALUE_BYTES + 1)])
def test_what_no_command_can_take_is_refused(value: str) -> None:
    with pytest.raises(ValueRefused):
        render("echo {v}", {"v": [value]})


def test_a_here_document_without_variables_shows_harmless_values_only(tmp_path: Path) -> None:
    command = "cat <<'END'\n$a {v}\nEND\nprintf %s {v}"
    assert bash(tmp_path, command, v="/a/b-0.fits") == "$a /a/b-0.fits\n/a/b-0.fits"
    with pytest.raises(ValueRefused, match="here-document"):
        render(command, {"v": ["$(touch x)"]})
