"""The tree of errors."""

import copy
import pickle
from dataclasses import dataclass

import pytest

from penstock import errors
from penstock.errors import DropError, GraphInvalid, PenstockError


@dataclass(frozen=True)
class Finding:
    is_error: bool
    text: str

    def __str__(self) -> str:
        return self.text


SAMPLES: list[PenstockError] = [
    PenstockError("text"),
    errors.GraphInvalid([Finding(False, "warning"), Finding(True, "first"), Finding(True, "second")]),
    errors.SessionIdInvalid("../evil"),
    errors.SessionNotFound("s", "list them"),
    errors.DirectoryInUse("/x", "the folder is not empty"),
    errors.IllegalTransition("RUNNING", "deploy", "session s"),
    errors.DropError("d", "is wrong"),
    errors.ParameterInvalid("d", "width", "is missing"),
    errors.ClassNotFound("d", "a.B", "no module"),
    errors.PathInvalid("d", "no path"),
    errors.DropNotReadable("d", "is gone"),
    errors.DropNotWritable("d", "has ended"),
    errors.EncodingFailed("d", "no pickle"),
    errors.CommandFailed("d", "false", 1, "tail"),
    errors.TimeLimitExceeded("d", 1.5),
    errors.PortMissing("d", "no input"),
    errors.ExtraMissing("d", "yaml", "parameters"),
    errors.DownloadFailed("d", "http://x", "404"),
    errors.StreamFailed("d", "no listener"),
    errors.StorageFailed("d", "/x", "disk full"),
    errors.WorkerDied("d", "was killed by SIGSEGV", 3),
    errors.PoolBroken("it is closed"),
    errors.CallFailed("app.Odd", "is wrong", "Traceback"),
    errors.CallLost("was killed by SIGSEGV", 3),
    errors.ArenaFull(1, 2, 3),
    errors.BlockUnknown(1, 4096, 8, "gone"),
    errors.SerializationError("value[0]", "cannot pickle"),
    errors.PayloadInvalid("no version"),
    errors.GraphConflict([Finding(True, "taken")]),
    errors.SessionExists("s"),
    errors.WrongState("s", "deploying", "RUNNING", ["BUILDING"]),
    errors.DropUnknown("s", ["d"]),
    errors.NodeUnknown("n", ["m"]),
    errors.NodeDown("n", "no answer"),
    errors.SubManagersFailed("deploying", {"n": errors.NodeDown("n", "no answer")}),
    errors.Unauthorized("no token"),
    errors.WireError("no message"),
    errors.StartRefused("the port is taken", "choose another"),
]


def subclasses(cls: type[PenstockError]) -> set[type[PenstockError]]:
    below = {c for c in cls.__subclasses__() if c.__module__ == errors.__name__}
    return below.union(*(subclasses(c) for c in below))


ALL = {PenstockError} | subclasses(PenstockError)


def test_every_class_has_a_sample_here():
    assert {type(error) for error in SAMPLES} == ALL


def test_every_class_is_public():
    assert {cls.__name__ for cls in ALL} == set(errors.__all__)


def test_every_class_has_a_code_of_its_own():
    codes = [cls.__dict__.get("code") for cls in ALL]
    assert None not in codes
    assert len(set(codes)) == len(ALL)


def test_every_class_has_a_status_of_http():
    assert all(400 <= cls.status <= 599 for cls in ALL)


def test_every_class_is_in_the_tree_that_the_module_shows():
    assert all(cls.__name__ in (errors.__doc__ or "") for cls in ALL)


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "move",
    [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_errors_survive_moving(error: PenstockError, move):
    moved = move(error)
    assert type(moved) is type(error)
    # (as text: errors inside errors are others, that say the same)
    assert (str(moved), moved.args, repr(vars(moved))) == (str(error), error.args, repr(vars(error)))


@pytest.mark.parametrize(
    "error", [e for e in SAMPLES if isinstance(e, DropError)], ids=lambda e: type(e).__name__
)
def test_errors_of_drops_name_the_drop(error: DropError):
    assert error.uid == "d"
    assert str(error).startswith("drop d: ")


def test_an_invalid_graph_tells_its_first_error_and_how_many_more():
    assert str(SAMPLES[1]) == "first (and 1 more)"
    assert str(GraphInvalid([Finding(True, "only")])) == "only"
    assert str(GraphInvalid([])) == "no error is listed"


def test_a_command_ended_by_a_signal_is_told_so():
    assert "ended by signal 9" in str(errors.CommandFailed("d", "sleep 9", -9))
    assert "exited with code 3" in str(errors.CommandFailed("d", "exit 3", 3))
