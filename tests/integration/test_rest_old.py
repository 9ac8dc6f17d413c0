"""The ecosystem's exchanges, byte by byte as its clients send them."""

import gzip
import json
import logging
import tarfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from threading import Event
from typing import Any

import pytest
import zstandard

from penstock.errors import NodeDown, SessionNotFound, SubManagersFailed
from penstock.managers.api import Level
from penstock.rest.server import RestServer
from penstock.rest.settings import RestSettings
from penstock.testing.fake_manager import FakeManager

from .manager_contract import CHAIN, CYCLE, NODE, app, data, text
from .rest_raw import LIMIT_S, as_old_client, ask, ask_json, connect

stopped = Event()
SUCCESS = {"Status": "Success"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(params=list(Level), ids=lambda level: level.value)
def manager(request: pytest.FixtureRequest) -> FakeManager:
    return FakeManager(request.param, () if request.param is Level.NODE else (NODE,))


@pytest.fixture
def port(manager: FakeManager) -> Iterator[int]:
    stopped.clear()
    settings = RestSettings(stop=stopped.set, is_member=lambda address: address == NODE)
    with RestServer(manager, settings) as server:
        yield server.port


def nested(manager: FakeManager, number: int) -> Any:
    below = {NODE: number}
    return {Level.NODE: number, Level.ISLAND: below, Level.MASTER: {"localhost:8001": below}}[manager.level]


def test_the_way_of_a_submission(port: int, manager: FakeManager) -> None:
    created = as_old_client(port, "/api/sessions", b'{"sessionId": "SID"}')
    assert (created.status, created.json) == (200, {"sessionId": "SID"})
    appended = as_old_client(
        port,
        "/api/sessions/SID/graph/append",
        zlib.compress(text([*CHAIN, {"rmode": "1"}])),
        Content_Encoding="gzip",
    )
    assert (appended.status, appended.json) == (200, SUCCESS)
    assert ask(port, "GET", "/api/sessions/SID/status").json == nested(manager, 1)
    assert ask(port, "GET", "/api/sessions/SID/graph/size").json == 3
    deployed = ask(port, "POST", "/api/sessions/SID/deploy", b"completed=A", Content_Type=FORM)
    assert (deployed.status, deployed.json) == (200, SUCCESS)
    session = ask(port, "GET", "/api/sessions/SID")
    assert session.json["status"] == nested(manager, 4)
    assert list(session.json["graph"]) == ["A", "B", "C"]
    assert set(session.json["dir"]) == {"dir"}
    states = ask(port, "GET", "/api/sessions/SID/graph/status").json
    assert states == {"A": {"status": 2}, "B": {"status": 2, "execStatus": 2}, "C": {"status": 2}}
    assert ask(port, "GET", "/api/sessions").json == [
        {"sessionId": "SID", "status": nested(manager, 4), "size": 3}
    ]
    assert ask(port, "DELETE", "/api/sessions/SID").json == SUCCESS


@pytest.mark.parametrize("squeeze", [bytes, zlib.compress, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/plain;charset=UTF-8"])
def test_graphs_come_in_many_wrappings(port: int, squeeze: Any, kind: str) -> None:
    as_old_client(port, "/api/sessions", b'{"sessionId": "s"}')
    done = as_old_client(
        port, "/api/sessions/s/graph/append", squeeze(text(CHAIN)), Content_Encoding="gzip", Content_Type=kind
    )
    assert (done.status, done.json) == (200, SUCCESS)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"completed=A%2CB", {"Content_Type": FORM}),
        (b'{"completed": ["A", "B"]}', {"Content_Type": "application/json"}),
        (b'{"completed": []}', {"Content_Type": "application/json"}),
        (b"", {"Content_Type": FORM}),
        (b"", {}),
    ],
)
def test_deployments_come_in_many_forms(port: int, body: bytes, headers: dict[str, str]) -> None:
    as_old_client(port, "/api/sessions", b'{"sessionId": "s"}')
    as_old_client(port, "/api/sessions/s/graph/append", text(CHAIN))
    assert ask(port, "POST", "/api/sessions/s/deploy", body, **headers).json == SUCCESS
    told = ask(port, "GET", "/api/sessions/s/graph/status").json
    assert told["A"]["status"] == (2 if b"A" in body else 0)


def test_every_answer_tells_its_length_and_is_never_in_pieces(port: int, manager: FakeManager) -> None:
    as_old_client(port, "/api/sessions", b'{"sessionId": "s"}')
    as_old_client(port, "/api/sessions/s/graph/append", text(CHAIN))
    ask(port, "POST", "/api/sessions/s/deploy", b"completed=A", Content_Type=FORM)
    paths = [
        "",
        "/status",
        "/graph",
        "/graph/size",
        "/graph/status",
        "/dir",
        "/repro/status",
        "/repro/data",
        "/logs",
    ]
    paths += ["/graph/drop/B", "/graph/drop/data/C", "/graph/drop/nope"]
    answers = [ask(port, "GET", f"/api/sessions/s{path}") for path in paths]
    answers += [
        ask(port, "GET", f"/api{path}") for path in ("", "/sessions", "/nodes", "/submission_method", "/no")
    ]
    answers += [
        ask(port, "OPTIONS", "/api/sessions"),
        ask(port, "GET", "/"),
        ask(port, "GET", "/session?sessionId=s"),
    ]
    for answer in answers:
        assert int(answer.headers["content-length"]) == len(answer.body) > 0
        assert "transfer-encoding" not in answer.headers
    assert answers[9].json["logs"][0]["Message"] == "ended"


def test_a_port_probe_is_not_worth_a_word(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for _ in range(100):
            connect(port).close()
        assert ask(port, "GET", "/api/sessions").status == 200
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind", "args"),
    [
        ("GET", "/api/sessions/nope", None, 404, "NoSessionException", ["nope"]),
        ("GET", "/api/sessions/nope/status", None, 404, "NoSessionException", ["nope"]),
        ("GET", "/api/sessions/nope/graph/size", None, 404, "NoSessionException", ["nope"]),
        ("DELETE", "/api/sessions/nope", None, 404, "NoSessionException", ["nope"]),
        ("POST", "/api/sessions/nope/graph/append", [], 404, "NoSessionException", ["nope"]),
        ("POST", "/api/sessions", {"sessionId": "s"}, 409, "SessionAlreadyExistsException", ["s"]),
        ("POST", "/api/sessions", {"sessionId": "../x"}, 400, "InvalidSessionException", None),
        ("POST", "/api/sessions", {"sessionId": 7}, 400, "InvalidSessionException", None),
        ("POST", "/api/sessions", {}, 400, "InvalidGraphException", None),
        ("POST", "/api/sessions", [], 400, "InvalidGraphException", None),
        ("GET", "/api/sessions/s/graph/status", None, 400, "InvalidSessionState", None),
        ("POST", "/api/sessions/s/graph/append", {}, 400, "InvalidGraphException", None),
        ("POST", "/api/sessions/s/graph/append", CHAIN, 400, "InvalidGraphException", None),
        ("POST", "/api/sessions/s/deploy", {"completed": ["nope"]}, 404, "NoDropException", None),
        ("GET", "/api/sessions/s/graph/drop/nope", None, 404, "NoDropException", None),
        ("GET", "/api/nothing", None, 404, "DaliugeException", None),
        ("PUT", "/api/sessions", None, 405, "DaliugeException", None),
    ],
)
def test_errors_are_told_so_that_clients_can_raise_them(
    port: int, manager: FakeManager, method: str, path: str, body: Any, status: int, kind: str, args: Any
) -> None:
    manager.create_session("s")
    manager.add_graph("s", text(CHAIN))
    answer = ask_json(port, method, path, body)
    assert (answer.status, answer.json["type"]) == (status, kind)
    assert isinstance(answer.json["args"], list)
    assert args is None or answer.json["args"] == args
    assert answer.headers["content-type"] == "application/json"
    assert manager.graph_size("s") == 3


def test_a_cycle_is_told_at_deployment_and_the_session_can_be_mended(port: int, manager: FakeManager) -> None:
    manager.create_session("s")
    manager.add_graph("s", text(CYCLE))
    answer = ask(port, "POST", "/api/sessions/s/deploy", b"", Content_Type=FORM)
    assert (answer.status, answer.json["type"]) == (400, "InvalidGraphException")
    assert ask(port, "GET", "/api/sessions/s/status").json == nested(manager, 1)


def test_errors_of_managers_below_come_with_their_own(port: int, manager: FakeManager) -> None:
    inner = {"a:1": SessionNotFound("s", "create it"), "b:2": NodeDown("b:2", "silent")}
    manager.failing["session"] = SubManagersFailed("session", inner)
    answer = ask(port, "GET", "/api/sessions/s")
    assert answer.status == 555
    assert answer.json["type"] == "SubManagerException"
    assert answer.json["args"]["a:1"] == {"type": "NoSessionException", "args": ["s"]}
    assert isinstance(answer.json["args"]["b:2"]["args"], list)


def test_a_defect_of_ours_is_told_as_json_too(port: int, manager: FakeManager) -> None:
    manager.failing["session"] = RuntimeError("secret")  # type: ignore[assignment]
    for path in ("/api/sessions/s", "/api/v1/sessions/s"):
        answer = ask(port, "GET", path)
        assert answer.status == 500
        assert b"secret" not in answer.body
        assert "RuntimeError" in json.dumps(answer.json)


def test_a_graph_of_another_type_is_refused(port: int, manager: FakeManager) -> None:
    manager.create_session("s")
    for kind in ("application/xml", "", FORM):
        answer = as_old_client(port, "/api/sessions/s/graph/append", text(CHAIN), Content_Type=kind)
        assert answer.status == 415
    assert manager.graph_size("s") == 0


def test_drops_are_linked_by_query(port: int, manager: FakeManager) -> None:
    manager.create_session("s")
    manager.add_graph("s", text([data("A"), app("B"), data("C")]))
    path = "/api/sessions/s/graph/link"
    assert ask(port, "POST", f"{path}?lhOID=A&rhOID=B&linkType=5").json == SUCCESS
    wrong = ask(port, "POST", f"{path}?lhOID=A&rhOID=C&linkType=5")
    assert (wrong.status, wrong.json["type"]) == (409, "InvalidRelationshipException")
    assert len(wrong.json["args"]) == 2
    assert ask(port, "POST", f"{path}?lhOID=A&rhOID=B&linkType=9").status == 400
    assert ask(port, "POST", f"{path}?lhOID=A").status == 400


def test_subscriptions_lead_to_members_only(port: int, manager: FakeManager) -> None:
    manager.create_session("s")
    path = "/api/sessions/s/subscriptions"
    assert ask_json(port, "POST", path, {"evil:1:2:3": [["A", 2, "B"]]}).status == 403
    assert manager.subscribed == {}
    assert ask_json(port, "POST", path, {NODE: [["A", 2, "B"]]}).json == SUCCESS
    assert manager.subscribed["s"] == {NODE: [("A", 2, "B")]}
    assert ask(port, "POST", path, b"{}", Content_Type="text/plain").status == 415


def test_drops_are_triggered(port: int, manager: FakeManager) -> None:
    manager.create_session("s")
    manager.add_graph("s", text(CHAIN))
    manager.deploy("s")
    assert ask_json(port, "POST", "/api/sessions/s/trigger", ["A"]).json == SUCCESS
    assert ask(port, "GET", "/api/sessions/s/status").json == nested(manager, 4)


def test_logs_are_a_file_of_a_node_and_an_archive_of_others(port: int, manager: FakeManager) -> None:
    manager.create_session("s")
    manager.add_graph("s", text(CHAIN))
    manager.deploy("s", ["A"])
    answer = ask(port, "GET", "/api/sessions/s/logs")
    assert answer.status == 200
    assert "attachment" in answer.headers["content-disposition"]
    if manager.level is Level.NODE:
        assert b"[B] log ended" in answer.body
    else:
        with tarfile.open(fileobj=BytesIO(answer.body)) as tar:
            names = tar.getnames()
            file = tar.extractfile(names[0])
            assert file is not None
            assert b"[B] log ended" in file.read()
        assert names == ["s/localhost_8000_5555_6666.log"]


def test_a_composite_tells_of_its_nodes(port: int, manager: FakeManager) -> None:
    if manager.level is Level.NODE:
        assert ask(port, "GET", "/api/nodes").json == []
        assert ask(port, "GET", "/api").json == {"sessions": []}
        return
    manager.create_session("s")
    manager.add_graph("s", text([{**drop, "node": "localhost"} for drop in CHAIN]))
    manager.deploy("s", ["A"])
    assert ask(port, "GET", "/api").json == {"hosts": [NODE], "sessionIds": ["s"]}
    assert ask(port, "GET", "/api/nodes").json == [NODE]
    below = f"/api/node/{NODE}/sessions"
    assert ask(port, "GET", below).json == [{"sessionId": "s", "status": 4, "size": 3}]
    assert ask(port, "GET", f"{below}/s/status").json == 4
    assert list(ask(port, "GET", f"{below}/s/graph").json) == ["A", "B", "C"]
    assert ask(port, "GET", f"{below}/s/graph/status").json["B"] == {"status": 2, "execStatus": 2}
    assert ask(port, "GET", f"{below}/s").json["status"] == 4
    assert ask(port, "GET", f"{below}/t").status == 404
    assert ask(port, "GET", "/api/node/other:1:2:3/sessions").status == 404
    assert ask(port, "POST", "/api/node/n:1:2:3").json == SUCCESS
    assert ask(port, "GET", "/api/nodes").json == [NODE, "n:1:2:3"]
    assert ask(port, "DELETE", "/api/node/n:1:2:3").json == SUCCESS


def test_before_a_graph_a_composite_tells_little(port: int, manager: FakeManager) -> None:
    manager.create_session("s")
    told = ask(port, "GET", "/api/sessions/s").json
    folder: Any = {"dir": "/fake/s"} if manager.level is Level.NODE else ""
    assert told == {"status": 0, "graph": {}, "dir": folder}


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/stop"), ("GET", "/api/shutdown")])
def test_a_manager_is_stopped_after_its_answer(
    port: int, manager: FakeManager, method: str, path: str
) -> None:
    answer = ask(port, method, path)
    if path == "/api/shutdown" and manager.level is not Level.NODE:
        assert answer.status == 404
        return
    assert answer.json == SUCCESS
    assert stopped.wait(LIMIT_S)


def test_pages_hold_no_markup_of_users_and_no_scripts(port: int, manager: FakeManager) -> None:
    uid = "<script>alert(1)</script>"
    manager.create_session("s")
    manager.add_graph("s", text([data(uid)]))
    manager.deploy("s")
    page = ask(port, "GET", "/session?sessionId=s")
    assert page.status == 200
    assert b"&lt;script&gt;" in page.body
    assert b"<script" not in page.body
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert b"<script" not in ask(port, "GET", "/session?sessionId=%3Cscript%3E").body
    assert ask(port, "GET", "/session?sessionId=nope").status == 404
    assert b'href="/session?sessionId=s"' in ask(port, "GET", "/").body
