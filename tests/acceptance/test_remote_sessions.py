"""The verbs that look at sessions of a manager, and end them."""

from collections.abc import Iterator

import pytest

from tests.acceptance.command import failing, penstock
from tests.acceptance.remote import Deployment, deployment, endless, pair


@pytest.fixture(scope="module")
def managers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("managers")) as found:
        yield found


def test_ls_lists_sessions_in_the_order_of_their_creation(managers: Deployment) -> None:
    for name in ("zebra", "ant"):
        assert managers.ask("submit", pair(), "--session", name, "--wait").code == 0
    names = [line.split()[0] for line in managers.ask("ls").out.splitlines()]
    assert names.index("zebra") < names.index("ant")


def test_ls_of_a_manager_without_sessions_says_so(managers: Deployment) -> None:
    managers.ask("rm", *(one["session"] for one in managers.ask("ls", "--json").json["sessions"]), "nobody")
    done = managers.ask("ls")
    assert done.code == 0
    assert "has no sessions" in done.err


def test_status_tells_state_counts_and_nodes(managers: Deployment) -> None:
    managers.ask("submit", endless(), "--session", "runs")
    people = managers.ask("status", "runs")
    assert people.out.startswith("running   session runs")
    assert managers.nodes[0].address in people.out
    told = managers.ask("status", "runs", "--json").json
    assert told["status"] == "RUNNING"
    assert sum(told["drops"].values()) == told["size"] == 4
    assert told["stalled"] is False
    assert managers.ask("rm", "runs").code == 0


def test_show_and_logs_tell_what_failed_and_what_was_printed(managers: Deployment) -> None:
    managers.ask("submit", failing(), "--session", "failed", "--wait")
    shown = managers.ask("show", "failed")
    assert "FAILED" in shown.out
    assert "ValueError: niter must be positive" in shown.out
    told = managers.ask("show", "failed", "--json").json
    assert [one["uid"] for one in told["failures"]] == ["bad"]
    assert told["drops"]["bad"] == {"status": 3, "execStatus": 3}
    everything = managers.ask("logs", "failed")
    assert "==> bad <==\nabout to fail\n" in everything.out
    assert "ValueError" in everything.out
    one = penstock(
        *("logs", "failed", "--url", managers.island.url, "ba"),
        variables={"XDG_STATE_HOME": str(managers.state)},
    )
    assert one.out.startswith("about to fail\n")
    records = managers.ask("logs", "failed", "bad", "--json").json["records"]
    assert "".join(record["text"] for record in records) == "about to fail\n"


def test_logs_of_a_drop_that_is_not_there_say_so(managers: Deployment) -> None:
    managers.ask("submit", pair(), "--session", "few", "--wait")
    done = managers.ask("logs", "few", "nobody")
    assert done.code == 2
    assert "no drop 'nobody'" in done.err


@pytest.mark.parametrize("verb", ["status", "show", "logs"])
def test_a_session_that_is_not_there_is_told(managers: Deployment, verb: str) -> None:
    done = managers.ask(verb, "nobody")
    assert done.code == 3
    assert "no session 'nobody'" in done.err


def test_nodes_lists_them_with_their_state(managers: Deployment) -> None:
    told = managers.ask("nodes", "--json").json
    assert told["level"] == "island"
    assert {node["address"]: node["state"] for node in told["nodes"]} == dict.fromkeys(
        (node.address for node in managers.nodes), "alive"
    )
    assert managers.nodes[1].address in managers.ask("nodes").out


def test_cancel_goes_on_over_what_fails(managers: Deployment) -> None:
    managers.ask("submit", endless(), "--session", "ends")
    done = managers.ask("cancel", "nobody", "ends")
    assert done.code == 1
    assert done.out == "cancelled ends\n"
    assert "no session 'nobody'" in done.err
    assert managers.ask("status", "ends", "--json").json["status"] == "CANCELLED"


def test_rm_ends_and_forgets_sessions_and_tells_programs_of_each(managers: Deployment) -> None:
    managers.ask("submit", endless(), "--session", "gone")
    done = managers.ask("rm", "gone", "nobody", "--json")
    assert done.code == 1
    assert done.json["sessions"]["gone"] == {"ok": True}
    assert done.json["sessions"]["nobody"]["error"]["code"] == "session-not-found"
    assert managers.ask("status", "gone").code == 3
