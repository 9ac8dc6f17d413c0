"""`penstock submit` against real managers."""

import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import TIMEOUT_S, app, environment, failing, memory, penstock, words, write
from tests.acceptance.remote import Deployment, deployment, endless, pair

NOWHERE = "http://127.0.0.1:9"  # the port of a service that throws everything away; nobody runs it any more


@pytest.fixture(scope="module")
def managers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("managers")) as found:
        yield found


def sessions(managers: Deployment) -> dict[str, str]:
    told = managers.ask("ls", "--json").json
    return {session["session"]: session["status"] for session in told["sessions"]}


def test_submit_follows_a_session_to_its_end_and_its_data_can_be_read(managers: Deployment) -> None:
    done = managers.ask("submit", pair(), "--session", "good", "--wait", "--json")
    assert done.code == 0
    assert done.json["status"] == "FINISHED"
    assert {drop["status"] for drop in done.json["drops"].values()} == {2}
    assert set(done.json["nodes"]) == {node.address for node in managers.nodes}
    assert managers.content("good", "end") == b"from a shell\n"


def test_submit_tells_people_how_it_ended_and_what_to_do_next(managers: Deployment) -> None:
    done = managers.ask("submit", pair(), "--session", "told", "--wait")
    assert done.code == 0
    assert "finished  session told" in done.out
    assert f"penstock show --url {managers.island.url} told" in done.out


def test_submit_of_a_graph_that_fails_ends_too_and_names_the_failure(managers: Deployment) -> None:
    done = managers.ask("submit", failing(), "--session", "bad", "--wait")
    assert done.code == 1
    assert "ValueError: niter must be positive, got -1" in done.out
    assert f"penstock logs --url {managers.island.url} bad bad" in done.out


def test_submit_without_wait_says_how_to_look_after_the_session(managers: Deployment) -> None:
    done = managers.ask("submit", pair(), "--session", "sent")
    assert done.code == 0
    assert f"penstock status --url {managers.island.url} sent" in done.err


def test_submit_reads_a_graph_from_standard_input(managers: Deployment) -> None:
    done = managers.ask("submit", "-", "--wait", text=pair().read_bytes())
    assert done.code == 0


def test_submit_to_a_node_itself_works_likewise(managers: Deployment) -> None:
    done = managers.ask("submit", pair(), "--wait", "--json", url=managers.nodes[0].url)
    assert done.code == 0
    assert done.json["nodes"] == {}


def test_a_session_whose_timeout_is_over_goes_on(managers: Deployment) -> None:
    done = managers.ask("submit", endless(), "--session", "long", "--wait", "--timeout", "0.5")
    assert done.code == 124
    assert "the session goes on" in done.out
    assert sessions(managers)["long"] == "RUNNING"
    assert managers.ask("rm", "long").code == 0


def test_a_session_that_is_left_by_ctrl_c_goes_on(managers: Deployment) -> None:
    command = words(
        "submit", endless(), "--session", "left", "--wait", "--progress", "--url", managers.island.url
    )
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(Path.cwd(), XDG_STATE_HOME=str(managers.state)),
    ) as process:
        try:
            assert process.stderr is not None
            ready, _, _ = select.select([process.stderr], [], [], TIMEOUT_S)  # the first line of its progress
            assert ready
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    assert process.returncode == 130
    assert f"penstock cancel --url {managers.island.url} left".encode() in out
    assert sessions(managers)["left"] == "RUNNING"
    assert managers.ask("rm", "left").code == 0


def test_a_bad_graph_is_refused_before_any_manager_is_asked() -> None:
    graph = write("bad.json", memory("one"), memory("one"))
    done = penstock("submit", graph, "--url", NOWHERE)
    assert done.code == 2
    assert "PS203" in done.err
    assert "no manager" not in done.err


def test_a_graph_that_the_nodes_cannot_run_leaves_no_session(managers: Deployment) -> None:
    graph = write("strange.json", app("one", "nobody_has.ThisClass", outputs=["two"]), memory("two"))
    done = managers.ask("submit", graph, "--session", "strange", "--wait")
    assert done.code == 2
    assert "PS206" in done.err
    assert "strange" not in sessions(managers)


def test_an_id_that_is_taken_leaves_the_other_session_alone(managers: Deployment) -> None:
    assert managers.ask("submit", pair(), "--session", "mine", "--wait").code == 0
    done = managers.ask("submit", pair(), "--session", "mine")
    assert done.code == 3
    assert "exists" in done.err
    assert sessions(managers)["mine"] == "FINISHED"


def test_where_no_manager_answers_one_line_says_what_to_do() -> None:
    done = penstock("submit", pair(), "--url", NOWHERE)
    assert done.code == 3
    assert done.err.startswith(f"penstock: no manager answers at {NOWHERE}")
    assert "penstock node" in done.err
    assert done.err.count("\n") == 1


def test_programs_get_the_same_as_an_object() -> None:
    done = penstock("submit", pair(), "--url", NOWHERE, "--json")
    assert done.code == 3
    assert done.json["error"]["code"] == "node-down"


def test_a_token_that_is_wrong_or_missing_is_told_with_the_remedy(managers: Deployment) -> None:
    wrong = managers.ask("ls", "--token-file", "-", text=b"A" * 43)
    assert wrong.code == 3
    assert "--token-file FILE" in wrong.err
    missing = penstock("ls", "--url", managers.island.url, variables={"XDG_STATE_HOME": str(Path.cwd())})
    assert missing.code == 3
    assert "wants a token" in missing.err


def test_a_token_comes_from_a_file_too(managers: Deployment) -> None:
    Path("token").write_text(managers.token + "\n")
    done = penstock(
        "ls",
        "--url",
        managers.island.url,
        "--token-file",
        "token",
        variables={"XDG_STATE_HOME": str(Path.cwd())},
    )
    assert done.code == 0


def test_timeout_without_wait_is_a_mistake() -> None:
    done = penstock("submit", pair(), "--timeout", "5")
    assert done.code == 2
    assert "--wait" in done.err
