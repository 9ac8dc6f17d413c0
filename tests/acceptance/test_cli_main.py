"""The command line as a whole: help, version, usage, and how cheap its start is."""

import subprocess
import sys
from pathlib import Path

import pytest

import penstock as package
from tests.acceptance.command import TIMEOUT_S, penstock

VERBS = ["run", "check", "plan", "graph", "show", "logs", "explain"]


def test_help_lists_all_verbs() -> None:
    done = penstock("--help")
    assert done.code == 0
    assert all(verb in done.out for verb in VERBS)
    assert "exit codes" in done.out


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb: str) -> None:
    done = penstock(verb, "--help")
    assert done.code == 0
    assert f"usage: penstock {verb}" in done.out


def test_version() -> None:
    assert penstock("--version").out == f"penstock {package.__version__}\n"


def test_no_verb_prints_help_and_is_bad_usage() -> None:
    done = penstock()
    assert done.code == 2
    assert "COMMAND" in done.out


def test_an_unknown_verb_is_bad_usage() -> None:
    done = penstock("rnu")
    assert done.code == 2
    assert "usage" in done.err
    assert "Traceback" not in done.err


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from penstock.cli.main import main; code = main(['run', '--help'])\n"
        "heavy = {'rich', 'numpy', 'msgspec', 'dill', 'penstock.runtime'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy or code else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_code_that_exits_below_a_command_does_not_make_a_success(options: list[str]) -> None:
    program = (
        "import sys; import penstock.cli.check as verb; from penstock.cli.main import main\n"
        "verb.check = lambda options: sys.exit(0)\n"
        f"sys.exit(main(['check', 'g.json', *{options}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 70
    assert b"SystemExit" in (done.stdout if options else done.stderr)
    assert b"Traceback" not in done.stderr


def test_the_installed_command_is_the_module() -> None:
    command = Path(sys.executable).with_name("penstock")
    if not command.exists():
        pytest.skip("the console script is not installed beside this interpreter")
    done = subprocess.run([command, "--version"], capture_output=True, timeout=TIMEOUT_S, check=False)
    assert done.stdout.decode() == penstock("--version").out


EXAMPLES = sorted((Path(__file__).parent.parent.parent / "examples").glob("*.json"))


@pytest.mark.parametrize("graph", EXAMPLES, ids=lambda path: path.stem)
def test_examples_end_as_their_readme_says(graph: Path) -> None:
    assert penstock("check", graph).code == 0
    done = penstock("run", graph, "--json")
    assert done.code == (1 if graph.stem == "failing" else 0)
    folder = Path(done.json["directory"])
    expected = {"averages": "report.txt", "words": "counts.txt"}.get(graph.stem)
    assert expected is None or (folder / expected).stat().st_size > 0
