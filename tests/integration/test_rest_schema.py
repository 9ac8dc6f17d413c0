"""The OpenAPI document is true: whatever is made from it gets an answer that it tells of, and never a 5xx."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from penstock.managers.api import Level
from penstock.rest.server import RestServer
from penstock.testing.fake_manager import FakeManager
from tests.conftest import PROVE

from .manager_contract import CHAIN, NODE, text

pytestmark = pytest.mark.skipif(
    find_spec("schemathesis") is None, reason="schemathesis is not installed (extra dev)"
)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        ("", []),
        # Most made-up ids name no session, so once more about one that is there and stays.
        (
            '[parameters]\n"path.session_id" = "s"\n',
            ["--phases", "coverage,fuzzing", "--exclude-method", "DELETE"],
        ),
    ],
    ids=["any session", "one session"],
)
def test_every_answer_is_documented(parameters: str, options: list[str], tmp_path: Path) -> None:
    """Streams of events are left out: they go on until one side closes them; `test_rest_events.py` has them."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(parameters)
    manager = FakeManager(Level.ISLAND, (NODE,))
    with RestServer(manager) as server:
        manager.create_session("s")
        manager.add_graph("s", text(CHAIN))
        program = "from schemathesis.cli import schemathesis; schemathesis()"
        command = [sys.executable, "-c", program, "--config-file", str(config), "run"]
        command += [f"{server.url}/api/v1/openapi.json", "--exclude-path-regex", "events$", "--no-color"]
        command += options
        # What is well formed may still be refused: ids that are taken, drops that are not in the graph.
        command += ["--exclude-checks", "positive_data_acceptance"]
        command += ["--max-examples", "200" if PROVE else "5", "--seed", "1", "--request-timeout", "60"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=1100, cwd=tmp_path, env={**os.environ, "CI": "1"}
        )
    assert done.returncode == 0, done.stdout + done.stderr
