"""Each error of ours has a face in both interfaces, and comes back as it was."""

import inspect

import pytest

from penstock import errors
from penstock.errors import (
    DropNotReadable,
    DropUnknown,
    GraphInvalid,
    NodeDown,
    NodeUnknown,
    PenstockError,
    SessionExists,
    SessionIdInvalid,
    SessionNotFound,
    SubManagersFailed,
    WrongState,
)
from penstock.graph.problems import CATALOGUE, Problem
from penstock.rest.answers import fault
from penstock.rest.calls import Reply, error_of
from penstock.rest.faults import PROBLEM_WORDS, RequestRefused, old_fault, problem, word_of

SAMPLES: list[tuple[PenstockError, int, str, int, str]] = [
    (SessionNotFound("s", "create it"), 404, "no_session", 404, "NoSessionException"),
    (SessionExists("s"), 409, "session_exists", 409, "SessionAlreadyExistsException"),
    (SessionIdInvalid("../x"), 400, "bad_id", 400, "InvalidSessionException"),
    (WrongState("s", "deploying", "RUNNING", ["BUILDING"]), 409, "wrong_state", 400, "InvalidSessionState"),
    (DropUnknown("s", ["a"]), 404, "unknown_uid", 404, "NoDropException"),
    (GraphInvalid([Problem("PS303", "a cycle", "A", "/0")]), 400, "cycle", 400, "InvalidGraphException"),
    (NodeUnknown("n", ["m"]), 404, "unknown_node", 404, "DaliugeException"),
    (DropNotReadable("a", "it is an app"), 409, "not_readable", 409, "InvalidDropException"),
    (NodeDown("n", "silent"), 503, "node_down", 503, "DaliugeException"),
    (
        SubManagersFailed("x", {"n": SessionExists("s")}),
        503,
        "sub_managers_failed",
        555,
        "SubManagerException",
    ),
]


@pytest.mark.parametrize(("error", "status", "word", "old_status", "old_name"), SAMPLES)
def test_an_error_has_two_faces(
    error: PenstockError, status: int, word: str, old_status: int, old_name: str
) -> None:
    told, document = problem(error)
    assert (told, document["status"], document["code"], document["detail"]) == (
        status,
        status,
        word,
        str(error),
    )
    old, body = old_fault(error)
    assert (old, body["type"]) == (old_status, old_name)
    assert isinstance(body["args"], dict if old_name == "SubManagerException" else list)


@pytest.mark.parametrize(("error", "status"), [(sample[0], sample[1]) for sample in SAMPLES])
def test_an_error_comes_back_as_it_was(error: PenstockError, status: int) -> None:
    response = fault("/api/v1/x", error)
    again = error_of(Reply(response.status_code, response.headers, bytes(response.body)), "http://x")
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again).keys() == vars(error).keys()


def test_every_problem_has_a_word() -> None:
    assert PROBLEM_WORDS.keys() == CATALOGUE.keys()


def test_every_error_class_has_a_status_that_http_knows() -> None:
    for _, cls in inspect.getmembers(errors, inspect.isclass):
        if issubclass(cls, PenstockError):
            assert 400 <= cls.status < 600
            blank = cls.__new__(cls)
            assert word_of(RequestRefused("bad_id", "x")) == "bad_id"
            if not issubclass(cls, GraphInvalid | SubManagersFailed | DropUnknown):
                assert old_fault(blank)[0] >= 400  # told by a peer of another version, without its fields


def test_the_first_error_of_a_graph_gives_the_word_not_a_warning() -> None:
    found = [Problem("PS302", "dangling", "A"), Problem("PS203", "twice", "B", "/1/oid", "rename one")]
    _, document = problem(GraphInvalid(found))
    assert document["code"] == "duplicate_oid"
    assert [item["uid"] for item in document["errors"]] == ["B", "A"]
    assert document["errors"][0]["message"] == "twice; rename one"


def test_errors_of_managers_below_managers_stay_readable_for_old_clients() -> None:
    inner = SubManagersFailed("x", {"n": SessionExists("s")})
    status, body = old_fault(SubManagersFailed("x", {"island": inner}))
    assert status == 555
    assert body["args"]["island"]["type"] == "DaliugeException"
    assert isinstance(body["args"]["island"]["args"], list)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"{}", b'{"error": 7}', b"[" * 10_000])
def test_whatever_comes_back_is_an_error(content: bytes) -> None:
    assert isinstance(error_of(Reply(502, {}, content), "http://x"), NodeDown)
