# SPDX-License-Identifier: Apache-2.0
"""Every error class of Penstock, in one tree.

    PenstockError                 everything below; `code` is stable, `status` is the HTTP status
    +-- GraphInvalid              a graph with problems, all of them at once
    |   +-- GraphConflict         drops that the session has already
    +-- SessionIdInvalid          an id outside the allowed alphabet
    +-- SessionNotFound           nothing is known under that id or folder
    +-- SessionExists             the id is taken
    +-- WrongState                an operation that the session's state does not allow
    +-- DropUnknown               drops that a session does not have
    +-- NodeUnknown               a node or island that is not below this manager
    +-- NodeDown                  a sub-manager that does not answer
    +-- SubManagersFailed         an operation that some sub-managers refused or missed, each with its error
    +-- Unauthorized              no token, or a wrong one
    +-- WireError                 a message between processes that cannot be read, sent or answered
    +-- StartRefused              an address, key or token setting that would be unsafe
    +-- DirectoryInUse            a session folder that is not absent or empty
    +-- IllegalTransition         an event that the state table does not list
    +-- ArenaFull                 no room for a block in memory or on disk
    +-- BlockUnknown              a block of shared memory that nobody has, or not at that place
    +-- SerializationError        a value that cannot be sent to another process, or not read there
    +-- PayloadInvalid            bytes that are no message of this version
    +-- PoolBroken                worker processes cannot be started, or the pool is closed
    +-- CallFailed                a called function raised what cannot be sent, or must not be raised here
    +-- CallLost                  a called function whose worker process ended, with how it ended
    +-- DropError                 something about one drop; carries its uid
        +-- ParameterInvalid      a declared parameter that cannot be converted
        +-- ClassNotFound         a class or function that cannot be imported
        +-- PathInvalid           a file name that cannot be built or found
        +-- DropNotReadable       data read before it is complete, or after it is gone
        +-- DropNotWritable       data written in a state that takes no data
        +-- EncodingFailed        a value that an encoding cannot write or read
        +-- CommandFailed         a child process that ended badly: exit code or signal
        +-- TimeLimitExceeded     an app that ran longer than its time limit
        +-- PortMissing           an app without an input or output that it needs
        +-- ExtraMissing          an optional library that is not installed
        +-- DownloadFailed        a URL that could not be fetched, or not whole
        +-- StreamFailed          a streaming link that cannot be made or taken
        +-- StorageFailed         a file or folder that the system will not make, write or remove
        +-- WorkerDied            an app whose worker process ended, with how it ended

Messages are built here from the fields, say where and what to do, and hold no secrets.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

__all__ = [
    "ArenaFull",
    "BlockUnknown",
    "CallFailed",
    "CallLost",
    "ClassNotFound",
    "CommandFailed",
    "DirectoryInUse",
    "DownloadFailed",
    "DropError",
    "DropNotReadable",
    "DropNotWritable",
    "DropUnknown",
    "EncodingFailed",
    "ExtraMissing",
    "GraphConflict",
    "GraphInvalid",
    "IllegalTransition",
    "NodeDown",
    "NodeUnknown",
    "ParameterInvalid",
    "PathInvalid",
    "PayloadInvalid",
    "PenstockError",
    "PoolBroken",
    "PortMissing",
    "SerializationError",
    "SessionExists",
    "SessionIdInvalid",
    "SessionNotFound",
    "StartRefused",
    "StorageFailed",
    "StreamFailed",
    "SubManagersFailed",
    "TimeLimitExceeded",
    "Unauthorized",
    "WireError",
    "WorkerDied",
    "WrongState",
]


class PenstockError(Exception):
    """The root of all errors that Penstock raises on purpose."""

    code: ClassVar[str] = "penstock-error"
    status: ClassVar[int] = 500

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call the class with the finished message alone; an error must survive pickling.
        return _rebuild, (type(self), self.args, self.__dict__)


class _Finding(Protocol):
    """What `GraphInvalid` needs to know of a problem."""

    @property
    def is_error(self) -> bool: ...


class GraphInvalid(PenstockError):
    """A graph cannot run; `problems` holds every finding, warnings too."""

    code = "graph-invalid"
    status = 400

    def __init__(self, problems: Sequence[_Finding]) -> None:
        self.problems = tuple(problems)
        errors = [problem for problem in self.problems if problem.is_error]
        first = str(errors[0]) if errors else "no error is listed"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{first}{more}")


class GraphConflict(GraphInvalid):
    """Drops whose names the session has already, from a part that was added before."""

    code = "graph-conflict"
    status = 409


class SessionIdInvalid(PenstockError):
    """A session id that does not match `[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}`."""

    code = "session-id-invalid"
    status = 400

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(
            f"{text[:140]!r} is not a session id: use 1 to 128 letters, digits and . _ : + - "
            "and begin with a letter or digit"
        )


class SessionNotFound(PenstockError):
    """Nothing is known under a session id or folder."""

    code = "session-not-found"
    status = 404

    def __init__(self, name: str, remedy: str) -> None:
        self.name = name
        super().__init__(f"no session {name!r}: {remedy}")


class SessionExists(PenstockError):
    """A session id that is taken."""

    code = "session-exists"
    status = 409

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f"session {session_id!r} exists: choose another id, or delete that session first")


class WrongState(PenstockError):
    """An operation that the present state of a session does not allow.

    Attributes:
        state: the name of the state that the session is in.
        allowed: the names of the states in which it could be done.
    """

    code = "wrong-state"
    status = 409

    def __init__(self, session_id: str, operation: str, state: str, allowed: Sequence[str]) -> None:
        self.session_id = session_id
        self.operation = operation
        self.state = state
        self.allowed = tuple(allowed)
        super().__init__(
            f"session {session_id!r} is {state}: {operation} needs it to be {' or '.join(self.allowed)}"
        )


class DropUnknown(PenstockError):
    """Drops that a session does not have."""

    code = "drop-unknown"
    status = 404

    def __init__(self, session_id: str, uids: Sequence[str]) -> None:
        self.session_id = session_id
        self.uids = tuple(uids)
        named = ", ".join(repr(uid) for uid in self.uids[:5])
        more = f" and {len(self.uids) - 5} more" if len(self.uids) > 5 else ""
        super().__init__(f"session {session_id!r} has no drop {named}{more}: use the uids of its graph")


class NodeUnknown(PenstockError):
    """A node or island that is not below this manager."""

    code = "node-unknown"
    status = 404

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = tuple(known)
        listed = ", ".join(self.known[:10]) or "none"
        super().__init__(f"{name!r} is not below this manager: it has {listed}")


class NodeDown(PenstockError):
    """A sub-manager that does not answer; what it was asked may or may not have happened."""

    code = "node-down"
    status = 503

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(f"{address}: {reason}; the same request can be made again")


class SubManagersFailed(PenstockError):
    """An operation that some sub-managers refused or did not get.

    Attributes:
        errors: each sub-manager's address with its own error.
    """

    code = "sub-managers-failed"
    status = 503

    def __init__(self, operation: str, errors: Mapping[str, PenstockError]) -> None:
        self.operation = operation
        self.errors = dict(errors)
        told = "; ".join(f"{address}: {error}" for address, error in list(self.errors.items())[:5])
        super().__init__(f"{operation} failed on {len(self.errors)} manager(s): {told}")


class Unauthorized(PenstockError):
    """A request without a token, or with a wrong one."""

    code = "unauthorized"
    status = 401

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: send the manager's token as 'Authorization: Bearer TOKEN'")


class WireError(PenstockError):
    """A message between processes that cannot be read, sent, or answered."""

    code = "wire-error"
    status = 502

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class StartRefused(PenstockError):
    """Settings under which a process would be open to strangers, or cannot work; it does not start."""

    code = "start-refused"
    status = 500

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{reason}: {remedy}")


class DirectoryInUse(PenstockError):
    """A session folder exists and is not empty, or is no folder."""

    code = "directory-in-use"
    status = 409

    def __init__(self, directory: str, reason: str) -> None:
        self.directory = directory
        super().__init__(f"{directory}: {reason}; name a folder that is absent or empty")


class IllegalTransition(PenstockError):
    """An event that the state table does not list for the present state."""

    code = "illegal-transition"
    status = 409

    def __init__(self, state: str, event: str, subject: str = "") -> None:
        self.state = state
        self.event = event
        self.subject = subject
        super().__init__(f"{subject + ': ' if subject else ''}{event} is not possible in state {state}")


class ArenaFull(PenstockError):
    """No room for a block of shared memory: the budget is used up, or the system gives no more.

    Attributes:
        size_bytes: what was asked for.
        used_bytes: how much of the budget is in use; of a child process, which does not know, 0.
        budget_bytes: how much memory blocks may take up in all; of a child process 0.
    """

    code = "arena-full"
    status = 507

    def __init__(self, size_bytes: int, used_bytes: int, budget_bytes: int, reason: str = "") -> None:
        self.size_bytes = size_bytes
        self.used_bytes = used_bytes
        self.budget_bytes = budget_bytes
        self.reason = reason
        cause = (
            reason or f"{used_bytes} of the {budget_bytes} bytes that data may take up in memory are in use"
        )
        super().__init__(
            f"no room for {size_bytes} bytes: {cause}; raise the memory budget, name a folder with free space "
            "to spill to, or have fewer results wait at a time"
        )


class BlockUnknown(PenstockError):
    """A block of shared memory that nobody has, that is free already, or that is not at the place named."""

    code = "block-unknown"
    status = 404

    def __init__(self, segment: int, offset: int, size_bytes: int, reason: str) -> None:
        self.segment = segment
        self.offset = offset
        self.size_bytes = size_bytes
        self.reason = reason
        super().__init__(f"block of {size_bytes} bytes at {offset} in segment {segment}: {reason}")


class SerializationError(PenstockError):
    """A value that cannot be sent to another process, or that cannot be read there.

    Attributes:
        path: which part of the value it is, written as Python would reach it: `value['models'][3].handle`.
    """

    code = "serialization-error"
    status = 400

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class PayloadInvalid(PenstockError):
    """Bytes that are no message of the version that this process reads."""

    code = "payload-invalid"
    status = 400

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"not a message that can be read here: {reason}; have both ends run the same version"
        )


class DropError(PenstockError):
    """Something about one drop; `uid` names it."""

    code = "drop-error"
    status = 409

    def __init__(self, uid: str, reason: str) -> None:
        self.uid = uid
        self.reason = reason
        super().__init__(f"drop {uid}: {reason}")


def _rebuild(cls: type[Exception], args: tuple[object, ...], fields: dict[str, object]) -> Exception:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class ParameterInvalid(DropError):
    """A declared parameter that cannot be converted to its type, or is missing."""

    code = "parameter-invalid"
    status = 400

    def __init__(self, uid: str, name: str, reason: str) -> None:
        super().__init__(uid, f"parameter {name!r} {reason}")
        self.name = name


class ClassNotFound(DropError):
    """A class, function or module that a drop names and that cannot be imported."""

    code = "class-not-found"
    status = 400

    def __init__(self, uid: str, name: str, reason: str) -> None:
        super().__init__(uid, f"{name!r} cannot be used: {reason}")
        self.name = name


class PathInvalid(DropError):
    """A file name that cannot be built, or that must exist and does not."""

    code = "path-invalid"


class DropNotReadable(DropError):
    """Data that is not complete yet, or that is gone."""

    code = "drop-not-readable"


class DropNotWritable(DropError):
    """Data that takes no more data in its present state."""

    code = "drop-not-writable"


class EncodingFailed(DropError):
    """A value that an encoding cannot write, or content that it cannot read."""

    code = "encoding-failed"


class CommandFailed(DropError):
    """A child process that ended with a non-zero exit code or by a signal.

    Attributes:
        exit_code: as `subprocess` gives it; minus the signal's number when one ended the process.
        command: the line that ran.
    """

    code = "command-failed"

    def __init__(self, uid: str, command: str, exit_code: int, tail: str = "") -> None:
        how = f"was ended by signal {-exit_code}" if exit_code < 0 else f"exited with code {exit_code}"
        super().__init__(uid, f"command {how}: {command}" + (f"\n{tail}" if tail else ""))
        self.command = command
        self.exit_code = exit_code


class TimeLimitExceeded(DropError):
    """An app that ran longer than the limit that its graph gives it."""

    code = "time-limit-exceeded"

    def __init__(self, uid: str, limit_s: float) -> None:
        super().__init__(uid, f"ran longer than its time limit of {limit_s:g} s (field time_limit_s)")
        self.limit_s = limit_s


class PortMissing(DropError):
    """An app that lacks an input or output which it cannot work without."""

    code = "port-missing"


class ExtraMissing(DropError):
    """An optional library that this drop needs and that is not installed."""

    code = "extra-missing"

    def __init__(self, uid: str, library: str, extra: str) -> None:
        super().__init__(uid, f"needs the library {library}: pip install 'penstock[{extra}]'")
        self.library = library
        self.extra = extra


class DownloadFailed(DropError):
    """A URL that could not be fetched, or of which only a part came."""

    code = "download-failed"
    status = 502

    def __init__(self, uid: str, url: str, reason: str) -> None:
        super().__init__(uid, f"{url} cannot be fetched: {reason}")
        self.url = url


class StreamFailed(DropError):
    """A streaming link that cannot be made, or that nobody takes."""

    code = "stream-failed"


class StorageFailed(DropError):
    """A file or folder that the operating system will not make, write, read or remove.

    Attributes:
        path: what was to be touched.
    """

    code = "storage-failed"
    status = 507

    def __init__(self, uid: str, path: str, reason: str) -> None:
        super().__init__(uid, f"{path}: {reason}")
        self.path = path


class WorkerDied(DropError):
    """The worker process of an app ended while it ran.

    Args:
        uid: of the app.
        cause: how it ended, see `ended_by`.
        deaths: how often; more than once where the app was run again.
    """

    code = "worker-died"

    def __init__(self, uid: str, cause: str, deaths: int = 1) -> None:
        self.cause = cause
        self.deaths = deaths
        times = f" {deaths} times" if deaths > 1 else ""
        remedy = "its log has what it said last"
        super().__init__(uid, f"its worker process {cause}{times}; {remedy}")


class PoolBroken(PenstockError):
    """A pool of worker processes cannot go on."""

    code = "pool-broken"
    status = 503

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the worker processes cannot be used: {reason}")


class CallFailed(PenstockError):
    """A function called in a worker process raised something that cannot be raised where it was called from.

    Either it does not survive being sent, or it would end the caller: `SystemExit`, `StopIteration` and such.

    Attributes:
        kind: the class with its module, without it for built-in ones.
        message: its text.
        traceback: as the interpreter would have printed it.
    """

    code = "call-failed"

    def __init__(self, kind: str, message: str, traceback: str) -> None:
        self.kind = kind
        self.message = message
        self.traceback = traceback
        super().__init__(f"the function raised {kind}" + (f": {message}" if message else ""))


class CallLost(PenstockError):
    """The worker process of a called function ended while it ran.

    Args:
        cause: how it ended, see `penstock.workers.customer.Death`.
        deaths: how often; more than once where the function was called again.
    """

    code = "call-lost"

    def __init__(self, cause: str, deaths: int = 1) -> None:
        self.cause = cause
        self.deaths = deaths
        times = f" {deaths} times" if deaths > 1 else ""
        super().__init__(
            f"the worker process of the call {cause}{times}; call the function in this process to see where"
        )
