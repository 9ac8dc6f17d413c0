"""Bad requests at the new interface: each gets its own word, names the place, and changes nothing."""

import gzip
import json
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.engine.states import SessionState
from penstock.rest.server import RestServer
from penstock.testing.fake_manager import FakeManager

from .manager_contract import CHAIN, CYCLE, answers, app, data, text
from .rest_raw import LIMIT_S, Raw, ask, ask_json

JSON = {"Content_Type": "application/json"}
S = "/api/v1/sessions"


@pytest.fixture
def manager() -> FakeManager:
    manager = FakeManager()
    manager.create_session("s")
    manager.add_graph("s", text(CHAIN))
    return manager


@pytest.fixture
def port(manager: FakeManager) -> Iterator[int]:
    with RestServer(manager) as server:
        yield server.port


def refused(answer: Raw, status: int, word: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json
    assert (answer.status, document["code"], document["status"]) == (status, word, status)
    assert document["title"]
    assert document["detail"]
    return document


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "bad_request"),
        (b"{}", "bad_request"),
        (b"[]", "bad_request"),
        (b'{"session_id": "x", "more": 1}', "bad_request"),
        (b'{"session_id": ', "malformed_json"),
        (b'{"session_id": NaN}', "bad_value"),
        (b'{"session_id": "\xff"}', "bad_encoding"),
        (b'{"session_id": ' + b"[" * 100_000, "too_deep"),
        (b'{"session_id": null}', "bad_id"),
        (b'{"session_id": 7}', "bad_id"),
        (json.dumps({"session_id": "x" * 5000}).encode(), "bad_id"),
        (b'{"session_id": "a\\u0000"}', "bad_id"),
        (b'{"session_id": "../../../name"}', "bad_id"),
        (b'{"session_id": ""}', "bad_id"),
    ],
)
def test_bad_creations(port: int, manager: FakeManager, body: bytes, word: str) -> None:
    before = answers(manager, "s")
    document = refused(ask(port, "POST", S, body, **JSON), 400, word)
    if word == "malformed_json":
        assert "line 1, column 16" in document["detail"]
    assert answers(manager, "s") == before


@pytest.mark.parametrize(
    ("body", "status", "word", "pointer", "uid"),
    [
        (b"", 400, "malformed_json", "", ""),
        (b"[{]", 400, "malformed_json", "", ""),
        (b'["\xff"]', 400, "bad_encoding", "", ""),
        (b"[" * 100_000, 400, "too_deep", "", ""),
        (b'[{"oid": NaN, "categoryType": "Data"}]', 400, "bad_value", "", ""),
        (b"{}", 400, "bad_graph", "", ""),
        (b"[1]", 400, "bad_graph", "/0", ""),
        (b"null", 400, "bad_graph", "", ""),
        (text([data("X"), {"categoryType": "Data"}]), 400, "missing_field", "/1", ""),
        (text([data("X"), {"oid": "Y"}]), 400, "missing_field", "/1", "Y"),
        (text([data("X"), data("X")]), 400, "duplicate_oid", "/1/oid", "X"),
        (text([data("X", uid="U"), data("Y", uid="U")]), 400, "duplicate_oid", "/1/oid", "U"),
        (text([data("X"), data("A")]), 409, "duplicate_oid", "/1/oid", "A"),
        (text([data("X", consumers=7)]), 400, "bad_value", "/0/consumers", "X"),
    ],
)
def test_bad_graphs(
    port: int, manager: FakeManager, body: bytes, status: int, word: str, pointer: str, uid: str
) -> None:
    before = answers(manager, "s")
    document = refused(ask(port, "POST", f"{S}/s/graph", body, **JSON), status, word)
    if pointer or uid:
        places = [(found["pointer"], found["uid"]) for found in document["errors"]]
        assert (pointer, uid) in places
    assert answers(manager, "s") == before


def test_no_drops_are_no_error(port: int) -> None:
    answer = ask(port, "POST", f"{S}/s/graph", b"[]", **JSON)
    assert (answer.status, answer.json) == (200, {"added": 0, "size": 3, "warnings": []})


def test_links_to_what_is_not_there_yet_are_told(port: int, manager: FakeManager) -> None:
    answer = ask(port, "POST", f"{S}/s/graph", text([data("X", consumers=["later"])]), **JSON)
    assert answer.status == 200
    assert [(w["code"], w["uid"], w["problem"]) for w in answer.json["warnings"]] == [
        ("dangling_link", "X", "PS302")
    ]


def test_at_most_a_hundred_findings_are_told(port: int) -> None:
    answer = ask(port, "POST", f"{S}/s/graph", text([{"oid": str(i)} for i in range(500)]), **JSON)
    assert len(refused(answer, 400, "missing_field")["errors"]) == 100


@pytest.mark.parametrize(
    ("drops", "word", "uid"),
    [
        (CYCLE, "cycle", "A"),
        ([data("A", consumers=["B"]), data("B")], "bad_link_kind", "A"),
        ([app("A", cls="dlg.apps.simple.NoSuchApp")], "unknown_class", "A"),
        ([data("A", dropclass="dlg.data.drops.NoSuchDrop")], "unknown_class", "A"),
        ([data("A", categoryType="Nonsense")], "unknown_category", "A"),
        ([app("A", n_tries=0)], "bad_parameter", "A"),
        ([data("A", lifespan=1, expireAfterUse=True)], "bad_parameter", "A"),
    ],
)
def test_bad_deployments(port: int, manager: FakeManager, drops: list[Any], word: str, uid: str) -> None:
    manager.create_session("t")
    manager.add_graph("t", text(drops))
    before = answers(manager, "t")
    document = refused(ask(port, "POST", f"{S}/t/deploy"), 400, word)
    assert any(uid in (found["uid"], *found["message"].split()) for found in document["errors"])
    assert answers(manager, "t") == before


def test_an_unknown_root_is_named(port: int, manager: FakeManager) -> None:
    before = answers(manager, "s")
    document = refused(
        ask_json(port, "POST", f"{S}/s/deploy", {"completed": ["A", "nope"]}), 400, "unknown_uid"
    )
    assert [found["uid"] for found in document["errors"]] == ["nope"]
    assert answers(manager, "s") == before


def test_states_that_do_not_allow_it(port: int, manager: FakeManager) -> None:
    refused(ask(port, "GET", f"{S}/s/drops"), 409, "wrong_state")
    refused(ask_json(port, "POST", f"{S}/s/trigger", {}), 409, "wrong_state")
    assert ask_json(port, "POST", f"{S}/s/deploy", {"completed": []}).status == 202
    document = refused(ask(port, "POST", f"{S}/s/graph", text([data("X")]), **JSON), 409, "wrong_state")
    assert "RUNNING" in document["detail"]
    refused(ask_json(port, "POST", f"{S}/s/deploy", {"completed": ["A"]}), 409, "wrong_state")
    assert manager.session("s").state is SessionState.RUNNING


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (method, f"/nope{rest}")
        for method, rest in [
            ("GET", ""), ("GET", "/status"), ("GET", "/graph"), ("GET", "/drops"), ("GET", "/drops/x"),
            ("GET", "/drops/x/data"), ("GET", "/log"), ("GET", "/log/file"), ("GET", "/repro"), ("GET", "/events"),
            ("POST", "/graph"), ("POST", "/links"), ("POST", "/deploy"), ("POST", "/trigger"), ("POST", "/cancel"),
            ("DELETE", ""),
        ]
    ],
)  # fmt: skip
def test_an_unknown_session_is_unknown_on_every_route(port: int, method: str, path: str) -> None:
    body = b"[]" if method == "POST" else None
    refused(ask(port, method, S + path, body, **JSON), 404, "no_session")


@pytest.mark.parametrize("path", [S, f"{S}/s/graph", f"{S}/s/links", f"{S}/s/deploy", f"{S}/s/trigger"])
def test_bodies_of_other_types_are_refused(port: int, manager: FakeManager, path: str) -> None:
    before = answers(manager, "s")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        refused(ask(port, "POST", path, b"[]", Content_Type=kind), 415, "unsupported_media")
    refused(ask(port, "POST", path, b"[]", Content_Encoding="br", **JSON), 415, "unsupported_media")
    assert answers(manager, "s") == before


@pytest.mark.parametrize("squeeze", [gzip.compress, zlib.compress])
def test_bodies_are_inflated(port: int, squeeze: Any) -> None:
    body = squeeze(text([data("X")]))
    assert ask(port, "POST", f"{S}/s/graph", body, Content_Encoding="gzip", **JSON).json["added"] == 1


@pytest.mark.parametrize("cut", [slice(0, -5), slice(0, 3), slice(10, None)])
def test_bodies_that_end_in_the_middle_change_nothing(port: int, manager: FakeManager, cut: slice) -> None:
    body = gzip.compress(text([data("X")]))[cut]
    before = answers(manager, "s")
    answer = ask(port, "POST", f"{S}/s/graph", body, Content_Encoding="gzip", **JSON)
    assert answer.status == 400
    assert answers(manager, "s") == before


def at_once(count: int, call: Any) -> Counter[Any]:
    start, outcomes = threading.Barrier(count), []

    def run() -> None:
        start.wait(LIMIT_S)
        outcomes.append(call())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    return Counter(outcomes)


def test_fifty_creations_at_once(port: int) -> None:
    told = at_once(50, lambda: ask_json(port, "POST", S, {"session_id": "x"}).status)
    assert told == {201: 1, 409: 49}


def test_fifty_equal_creations_with_a_key_get_one_answer(port: int, manager: FakeManager) -> None:
    told = at_once(50, lambda: ask_json(port, "POST", S, {"session_id": "x"}, Idempotency_Key="k").status)
    assert told == {201: 50}
    assert manager.calls.count("create_session") == 2  # the other is `s`
    refused(ask_json(port, "POST", S, {"session_id": "y"}, Idempotency_Key="k"), 422, "key_reused")


def test_a_key_is_free_again_when_its_session_is_gone(port: int) -> None:
    for _ in range(2):
        assert ask_json(port, "POST", S, {"session_id": "x"}, Idempotency_Key="k").status == 201
        assert ask(port, "GET", f"{S}/x").status == 200
        assert ask(port, "DELETE", f"{S}/x").status == 204


def test_fifty_equal_deployments_run_once(port: int, manager: FakeManager) -> None:
    told = at_once(50, lambda: ask(port, "POST", f"{S}/s/deploy").status)
    assert told == {202: 1, 200: 49}
    assert ask(port, "POST", f"{S}/s/deploy").json["status"] == "already_deployed"
    assert manager.calls.count("trigger") == 1


def test_a_deployment_that_failed_can_be_made_again(port: int, manager: FakeManager) -> None:
    manager.create_session("t")
    manager.add_graph("t", text([app("B", inputs=["A"])]))
    manager.add_graph("t", text([data("A", n_tries=0, lifespan=1, expireAfterUse=True)]))
    for _ in range(2):
        refused(ask(port, "POST", f"{S}/t/deploy"), 400, "bad_parameter")


def test_deleting_again_is_no_error_for_a_day(port: int) -> None:
    assert [ask(port, "DELETE", f"{S}/s").status for _ in range(3)] == [204, 204, 204]
    assert ask(port, "GET", f"{S}/s").status == 404


def test_put_makes_sure_that_there_is_a_session(port: int) -> None:
    assert [ask(port, "PUT", f"{S}/x").status for _ in range(2)] == [201, 200]
    refused(ask(port, "PUT", f"{S}/-x"), 400, "bad_id")


def test_fifty_clients_with_twenty_requests_each_are_all_served(port: int) -> None:
    def run() -> int:
        return sum(ask(port, "GET", f"{S}/s").status == 200 for _ in range(20))

    assert at_once(50, run) == {20: 50}
