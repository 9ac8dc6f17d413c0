# SPDX-License-Identifier: Apache-2.0
"""What a session and its workers tell each other: the bodies of the pool's frames.

To a child: `Setup` once, a `Task` per item, and the answers to its requests. From a child: a `Report` per
item, and `Request`s. The contents of data in memory travel inside where they are small and as a `Block` of
shared memory where they are not. Sessions never unpickle anything of a child; a child does unpickle the errors
that its session answers with.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from penstock.runtime.failures import Failure
from penstock.wire.arena import Block

__all__ = [
    "DESCRIBE",
    "FINISH",
    "PIECE",
    "RUN",
    "SETTLE",
    "ClassFacts",
    "Content",
    "Report",
    "Request",
    "Setup",
    "Task",
    "decode_facts",
    "decode_report",
    "decode_request",
    "decode_task",
    "encode",
    "to_content",
]

T = TypeVar("T")

Content = bytes | tuple[int, int, int]
"""Bytes, or where they are: the fields of a `Block`."""

RUN, PIECE, FINISH, SETTLE, DESCRIBE = range(5)
"""What to do: run an app; give a resident app a piece of a stream, or its end; settle data; describe a class."""


class Setup(msgspec.Struct, frozen=True, array_like=True):
    """A session, as a child needs it.

    Attributes:
        classes: names of classes, "module:Class" for our own, as the graph has them for others; with the kind.
        image: where the graph is; see `image.py`.
        streaming: data to the apps that take it piece by piece.
        children: containers to their members.
        main: what the graph names of the program that runs it; see `mainscope.py`.
    """

    session_id: str
    directory: str
    environment: dict[str, str]
    classes: list[tuple[str, int]]
    image: tuple[int, int, int]
    streaming: dict[int, tuple[int, ...]]
    children: dict[int, tuple[int, ...]]
    main: bytes = b""


class Task(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One item.

    Attributes:
        kind: RUN, PIECE, FINISH, SETTLE or DESCRIBE; then `index` is the number of a class.
        states: of those inputs that are not COMPLETED.
        contents: of those inputs whose content is in memory.
        piece: with PIECE, the data drop and what was written to it.
    """

    kind: int
    index: int
    states: dict[int, int] = {}
    contents: dict[int, Content] = {}
    piece: tuple[int, Content] | None = None


class Report(msgspec.Struct, array_like=True, gc=False):
    """How an item ended.

    Attributes:
        contents: of the outputs that were written and whose content is in memory.
        failure: of the app itself, None where it ended well.
        unsettled: outputs that could not be completed, and why.
    """

    contents: dict[int, Content] = {}
    failure: Failure | None = None
    unsettled: dict[int, Failure] = {}


class ClassFacts(msgspec.Struct, frozen=True, array_like=True):
    """What a session must know of a class that it never imports.

    Attributes:
        reason, hint: why there is no such class, "" where there is.
        findings: what is wrong with drops of the class; see `members.Finding`.
        in_memory: whether the content of such data is bytes in memory.
        settling: the drops whose completion takes work.
        ends_session: whether the session is over when such a drop completes.
        isolation: what the class says of itself, "" where it says nothing.
    """

    reason: str = ""
    hint: str = ""
    findings: list[tuple[int, str, str, str]] = []
    in_memory: bool = False
    settling: list[int] = []
    ends_session: bool = False
    isolation: str = ""


class Request(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a running app asks of its session.

    Attributes:
        what: write, complete, skip, note, status, execution or content.
        index: the drop that is meant.
        content: with write and complete what was written.
        text: with note the stream and the text.
    """

    what: str
    index: int
    content: Content | None = None
    text: tuple[str, str] | None = None


encode = msgspec.msgpack.Encoder().encode


def _decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Return what reads messages of one kind; whatever is none makes it raise `msgspec.DecodeError`."""
    decode = msgspec.msgpack.Decoder(kind).decode

    def read(body: bytes) -> T:
        try:
            return decode(body)
        except (
            UnicodeDecodeError
        ) as exc:  # text that is no UTF-8: the one nonsense that msgspec does not tell itself
            raise msgspec.DecodeError(str(exc)) from exc

    return read


decode_task = _decoder(Task)
decode_report = _decoder(Report)
decode_facts = _decoder(ClassFacts)
decode_request = _decoder(Request)


def to_content(value: Any) -> Content:  # Any: a Block is a tuple already, bytes-like becomes bytes
    """Return a content as it travels."""
    if isinstance(value, Block):
        return value[0], value[1], value[2]
    return bytes(value)
