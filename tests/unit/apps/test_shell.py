# SPDX-License-Identifier: Apache-2.0
"""The bash app: what its placeholders stand for, its environment, its failures."""

import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.apps.shell import BashShellApp
from penstock.drops.file import FileDrop
from penstock.drops.memory import MemoryDrop
from penstock.drops.null import NullDrop
from penstock.engine.states import DropState
from penstock.errors import CommandFailed, EncodingFailed, ParameterInvalid
from penstock.testing.solo import SoloSite

pytestmark = pytest.mark.usefixtures("nothing_left")


def port(usage: str = "InputPort", encoding: str = "utf-8", value: Any = "") -> dict[str, Any]:
    return {"usage": usage, "encoding": encoding, "value": value, "type": "String"}


def shell(
    site: SoloSite, command: str, arguments: dict[str, Any] | None = None, **fields: Any
) -> BashShellApp:
    return site.add(BashShellApp, "app", command=command, applicationArgs=arguments or {}, **fields)


def output_of(site: SoloSite, app: BashShellApp) -> str:
    site.run(app)
    return app.stdout


def test_what_the_command_prints_is_kept_and_logged(site: SoloSite) -> None:
    app = shell(site, "echo out; echo err >&2")
    site.run(app)
    assert (app.stdout, app.stderr, app.exit_code) == ("out\n", "err\n", 0)
    assert site.log == [(app.uid, "stdout", "out\n"), (app.uid, "stderr", "err\n")]


def test_the_child_knows_its_drop_and_session(site: SoloSite, tmp_path: Path) -> None:
    app = shell(site, "echo $DLG_UID $DLG_SESSION_ID $DLG_ROOT; pwd")
    assert output_of(site, app) == f"app solo {tmp_path}\n{tmp_path}\n"


def test_ports_of_files_stand_for_their_paths(site: SoloSite, tmp_path: Path) -> None:
    source = site.add(FileDrop, "in", filepath="a b.txt")
    target = site.add(FileDrop, "out", filepath="out.txt")
    app = shell(
        site, 'cat {from} > "{to}"', {"from": port(encoding="path"), "to": port("OutputPort", "path")}
    )
    site.link(source, app, "from")
    site.link(app, target, "to")
    site.fill(source, b"content")
    site.run(app)
    assert (tmp_path / "out.txt").read_bytes() == b"content"


def test_a_file_stands_for_its_path_whatever_the_encoding_and_spelling(
    site: SoloSite, tmp_path: Path
) -> None:
    source = site.add(FileDrop, "in", filepath="in.txt")
    app = shell(site, "echo {from} %i0 %i[in] {in}", {"from": port(encoding="pickle")})
    site.link(source, app, "from")
    site.fill(source, b"x")
    assert output_of(site, app) == " ".join([str(tmp_path / "in.txt")] * 4) + "\n"


def test_ports_of_memory_stand_for_their_values(site: SoloSite) -> None:
    number, words = site.add(MemoryDrop, "n"), site.add(MemoryDrop, "w")
    app = shell(
        site, 'printf "<%s>" {n} {w} "{w}"', {"n": port(encoding="pickle"), "w": port(encoding="eval")}
    )
    site.link(number, app, "n")
    site.link(words, app, "w")
    site.fill(number, pickle.dumps(12))
    site.fill(words, b"['a b', 'c']")
    assert output_of(site, app) == "<12><a b><c><a b c>"


def test_several_drops_on_one_port_are_several_words(site: SoloSite) -> None:
    app = shell(site, 'printf "<%s>" {all}', {"all": port()})
    for place in range(3):
        drop = site.add(MemoryDrop, f"m{place}")
        site.link(drop, app, "all")
        site.fill(drop, f"{place} x")
    assert output_of(site, app) == "<0 x><1 x><2 x>"


def test_a_port_without_drop_stands_for_its_described_value(site: SoloSite) -> None:
    assert output_of(site, shell(site, "echo {x} {y}", {"x": port(value="7"), "y": port()})) == "7 \n"


def test_a_skipped_input_stands_for_its_described_value(site: SoloSite) -> None:
    app = shell(site, "echo {x}", {"x": port(value="7")})
    source = site.add(MemoryDrop, "m")
    site.link(source, app, "x")
    source.skip()
    assert output_of(site, app) == "7\n"


def test_an_empty_memory_drop_leaves_the_described_value(site: SoloSite) -> None:
    for encoding in ("pickle", "raw", "utf-8"):
        lone = SoloSite(site.directory, environment=site.environment)
        app = shell(lone, "echo {x}", {"x": port(encoding=encoding, value="10")})
        source = lone.add(MemoryDrop, "m")
        lone.link(source, app, "x")
        lone.fill(source)
        assert output_of(lone, app) == "10\n", encoding


def test_pickled_empty_bytes_stand_for_b_as_in_the_published_dd_graph(site: SoloSite) -> None:
    app = shell(site, "echo {x}", {"x": port(encoding="pickle", value=10)})
    source = site.add(MemoryDrop, "m")
    site.link(source, app, "x")
    site.fill(source, pickle.dumps(b""))
    assert output_of(site, app) == "b\n"


def test_events_stand_for_nothing(site: SoloSite) -> None:
    app = shell(site, "echo {x}", {"x": port(value="v")})
    source, target = site.add(NullDrop, "e"), site.add(NullDrop, "f")
    site.link(source, app, "x")
    site.link(app, target, "done")
    site.fill(source)
    assert output_of(site, app) == "v\n"


def test_content_in_another_encoding_is_told(site: SoloSite) -> None:
    app = shell(site, "echo {x}", {"x": port(encoding="pickle")})
    source = site.add(MemoryDrop, "m")
    site.link(source, app, "x")
    site.fill(source, b"plain text")
    with pytest.raises(EncodingFailed):
        site.run(app)


def test_an_output_without_path_gets_what_the_command_wrote_to_its_place(
    site: SoloSite, tmp_path: Path
) -> None:
    target = site.add(MemoryDrop, "out")
    app = shell(site, "head -c 200000 /dev/zero > {to}; echo %o0 {out}", {"to": port("OutputPort")})
    site.link(app, target, "to")
    site.run(app)
    assert target.read() == bytes(200_000)
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("value", "shown"), [(False, "False"), (True, "True"), (0, "0"), (2048, "2048"), (1.5, "1.5"), (None, "")]
)
def test_arguments_are_shown_as_python_shows_them(site: SoloSite, value: object, shown: str) -> None:
    assert output_of(site, shell(site, "echo {x}", {"x": {"value": value, "type": "Select"}})) == f"{shown}\n"


def test_variables_in_arguments_come_from_the_sessions_environment(site: SoloSite, tmp_path: Path) -> None:
    arguments = {"search_path": {"value": "$DLG_ROOT/testdata/*"}, "y": {"value": "x$DLG_ROOT $HOME $NONE"}}
    app = shell(site, 'echo "{search_path}" {y}', arguments)
    assert output_of(site, app) == f"{tmp_path}/testdata/* x{tmp_path} $HOME $NONE\n"


def test_data_is_never_expanded(site: SoloSite) -> None:
    source = site.add(MemoryDrop, "m")
    app = shell(site, "echo {x}", {"x": port()})
    site.link(source, app, "x")
    site.fill(source, "$DLG_ROOT $(touch x)")
    assert output_of(site, app) == "$DLG_ROOT $(touch x)\n"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1),
    command=st.sampled_from(
        ["printf %s {x}", 'printf %s "{x}"', "printf %s '{x}'", 'printf %s "$(printf %s "{x}.")"']
    ),
)
def test_any_data_arrives_unchanged(tmp_path: Path, value: str, command: str) -> None:
    site = SoloSite(tmp_path, environment={"PATH": "/usr/bin:/bin"})
    source = site.add(MemoryDrop, "m")
    app = shell(site, command, {"x": port()})
    site.link(source, app, "x")
    site.fill(source, value)
    assert output_of(site, app) == value + ("." if "." in command else "")


def test_urls_of_drops(site: SoloSite) -> None:
    source, target = site.add(MemoryDrop, "m"), site.add(MemoryDrop, "o")
    app = shell(
        site, "echo %iDataURL0 %iDataURL[m] {x} %oDataURL0 %oDataURL[o]", {"x": port(encoding="dataurl")}
    )
    site.link(source, app, "x")
    site.link(app, target, "y")
    site.fill(source, b"z")
    assert output_of(site, app) == " ".join([source.url] * 3 + [target.url] * 2) + "\n"


def test_the_oldest_graphs_put_their_arguments_behind_the_command(site: SoloSite, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("hello\n")
    arguments = {
        "width": {"value": "a b"},
        "flag": {"value": True},
        "off": {"value": False},
        "place": {"value": "p", "positional": True},
        "port": port(),
    }
    app = shell(
        site,
        'f() { printf "<%s>" "$@"; cat; }; f',
        arguments,
        argumentPrefix="--",
        paramValueSeparator="=",
        Arg00="first",
        Arg01="'second third'",
        command_line_arguments="-x",
        input_redirection="in",
        output_redirection="> out",
    )
    site.run(app)
    shown = "<--width=a b><--flag><p><first><second third><-x>hello\n"
    assert (tmp_path / "out").read_text() == shown


def test_an_exit_code_fails_the_app_with_what_was_said_last(site: SoloSite) -> None:
    app = shell(site, "echo reason >&2; exit 3")
    with pytest.raises(CommandFailed, match=r"code 3.*\n.*reason") as caught:
        site.run(app)
    assert caught.value.exit_code == 3
    assert app.exit_code == 3
    assert app.stderr == "reason\n"


def test_a_missing_program_fails_the_app(site: SoloSite) -> None:
    with pytest.raises(CommandFailed, match="not found"):
        site.run(shell(site, "imgstat $image > results.txt"))


def test_a_value_that_bash_cannot_take_names_its_argument(site: SoloSite) -> None:
    with pytest.raises(ParameterInvalid, match="'n'"):
        site.run(shell(site, "echo $(( {n} ))", {"n": {"value": "a[$(touch x)]"}}))


@pytest.mark.parametrize("fields", [{}, {"command": ""}, {"command": "  "}, {"command": None}])
def test_check_refuses_a_missing_command(fields: dict[str, Any], site: SoloSite) -> None:
    with pytest.raises(ParameterInvalid, match="command"):
        BashShellApp.check("app", fields)
    with pytest.raises(ParameterInvalid, match="command"):
        site.run(site.add(BashShellApp, "app", **fields))


def test_check_takes_a_command_of_either_place() -> None:
    BashShellApp.check("app", {"command": "true"})
    BashShellApp.check("app", {"componentParams": {"command": {"value": "true"}}})


def test_a_running_command_can_be_cancelled(site: SoloSite, tmp_path: Path) -> None:
    app = shell(site, "echo $$ > pid; sleep 300")
    errors: list[BaseException] = []

    def run() -> None:
        try:
            app.run()
        except CommandFailed as exc:
            errors.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    pause = threading.Event()
    while not (tmp_path / "pid").exists():
        pause.wait(0.01)
    app.cancel()
    thread.join(10)
    assert not thread.is_alive()
    assert isinstance(errors[0], CommandFailed)


def test_an_app_cancelled_before_its_run_does_not_start(site: SoloSite, tmp_path: Path) -> None:
    app = shell(site, "touch x")
    app.cancel()
    with pytest.raises(CommandFailed):
        app.run()
    assert not list(tmp_path.iterdir())


def test_an_app_can_be_tried_again(site: SoloSite) -> None:
    app = shell(site, "test -e once || { touch once; exit 1; }; echo done")
    with pytest.raises(CommandFailed):
        app.run()
    app.run()
    assert app.stdout == "done\n"
    assert app.status == DropState.INITIALIZED


@pytest.mark.parametrize("described", [{}, {"v": {"usage": "InputPort"}}, {"v": port(encoding="")}])
@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("grüße".encode(), "grüße"),
        (b"I5\n.", "I5\n."),
        (pickle.dumps([1, "a b"]), "1 a b"),
        (pickle.dumps(5), "5"),
    ],
)
def test_a_port_without_encoding_takes_pickles_and_text(
    site: SoloSite, described: dict[str, Any], content: bytes, shown: str
) -> None:
    source = site.add(MemoryDrop, "in")
    app = shell(site, "echo {v}", described)
    site.link(source, app, "v")
    site.fill(source, content)
    assert output_of(site, app) == shown + "\n"


@pytest.mark.parametrize(
    ("described", "fields"),
    [
        ({"v": port(encoding="pickle")}, {}),
        ({"v": port(encoding="dill")}, {}),
        ({}, {"input_parser": "dill"}),
    ],
)
def test_a_port_that_is_said_to_be_pickled_takes_no_text(
    site: SoloSite, described: dict[str, Any], fields: dict[str, Any]
) -> None:
    source = site.add(MemoryDrop, "in", pydata="hello")
    app = shell(site, "echo {v}", described, **fields)
    site.link(source, app, "v")
    site.fill(source)
    with pytest.raises(EncodingFailed, match=r"app app reads it .* set applicationArgs\.v\.encoding"):
        site.run(app)


def test_a_port_without_encoding_takes_no_other_bytes(site: SoloSite) -> None:
    source = site.add(MemoryDrop, "in")
    app = shell(site, "echo {v}")
    site.link(source, app, "v")
    site.fill(source, b"\xff\xfe")
    with pytest.raises(EncodingFailed, match=r"applicationArgs\.v\.encoding"):
        site.run(app)
