"""What a session and its workers tell each other arrives as it was sent, or is refused."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.runtime.failures import Failure, InputState
from penstock.runtime.messages import (
    ClassFacts,
    Report,
    Request,
    Setup,
    Task,
    decode_facts,
    decode_report,
    decode_request,
    decode_task,
    encode,
    to_content,
)
from penstock.wire.arena import Block

INDEX = st.integers(0, 2**32)
NUMBER = st.integers(0, 2**63)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
CONTENT = st.binary(max_size=40) | st.tuples(NUMBER, NUMBER, NUMBER)
CONTENTS = st.dictionaries(INDEX, CONTENT, max_size=3)
FAILURE = st.builds(
    Failure,
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    st.lists(st.builds(InputState, TEXT, TEXT, st.none() | NUMBER), max_size=2),
)
ROWS = st.dictionaries(INDEX, st.lists(INDEX, max_size=3).map(tuple), max_size=3)

TASKS = st.builds(
    Task,
    st.integers(0, 4),
    INDEX,
    st.dictionaries(INDEX, st.integers(0, 7), max_size=3),
    CONTENTS,
    st.none() | st.tuples(INDEX, CONTENT),
)
REPORTS = st.builds(Report, CONTENTS, st.none() | FAILURE, st.dictionaries(INDEX, FAILURE, max_size=2))
FACTS = st.builds(
    ClassFacts,
    TEXT,
    TEXT,
    st.lists(st.tuples(INDEX, TEXT, TEXT, TEXT), max_size=2),
    st.booleans(),
    st.lists(INDEX, max_size=3),
    st.booleans(),
    TEXT,
)
REQUESTS = st.builds(Request, TEXT, INDEX, st.none() | CONTENT, st.none() | st.tuples(TEXT, TEXT))
SETUPS = st.builds(
    Setup,
    TEXT,
    TEXT,
    st.dictionaries(TEXT, TEXT, max_size=3),
    st.lists(st.tuples(TEXT, st.integers(0, 2)), max_size=3),
    st.tuples(NUMBER, NUMBER, NUMBER),
    ROWS,
    ROWS,
    st.binary(max_size=20),
)
DECODERS: list[Callable[[bytes], Any]] = [decode_task, decode_report, decode_facts, decode_request]
MESSAGES = [
    encode(Task(0, 5, {1: 2}, {1: b"x", 2: (0, 64, 5)}, (3, b"y"))),
    encode(
        Report({1: b"x", 2: (0, 64, 5)}, Failure("a", "E", "m", "t", [InputState("d", "ERROR", None)]), {})
    ),
    encode(ClassFacts("r", "h", [(1, "PS403", "x", "f")], True, [1], False, "thread")),
    encode(Request("write", 3, b"x", ("stdout", "text"))),
]


def same(found: Failure, sent: Failure) -> bool:
    return [*found.inputs] == [*sent.inputs] and msgspec.structs.replace(found, inputs=sent.inputs) == sent


@given(TASKS)
def test_tasks_arrive_as_they_were_sent(task: Task) -> None:
    assert decode_task(encode(task)) == task


@given(REPORTS)
def test_reports_arrive_as_they_were_sent(report: Report) -> None:
    found = decode_report(encode(report))
    assert found.contents == report.contents
    failures = [report.failure, *report.unsettled.values()]
    for arrived, sent in zip([found.failure, *found.unsettled.values()], failures, strict=True):
        assert arrived is sent is None or (arrived is not None and sent is not None and same(arrived, sent))
    assert found.unsettled.keys() == report.unsettled.keys()


@given(FACTS)
def test_facts_arrive_as_they_were_sent(facts: ClassFacts) -> None:
    assert decode_facts(encode(facts)) == facts


@given(REQUESTS)
def test_requests_arrive_as_they_were_sent(request: Request) -> None:
    assert decode_request(encode(request)) == request


@given(SETUPS)
def test_setups_arrive_as_they_were_sent(setup: Setup) -> None:
    assert msgspec.msgpack.decode(encode(setup), type=Setup) == setup


def test_what_is_not_said_takes_no_room() -> None:
    assert decode_report(encode(Report())) == Report()
    assert decode_report(b"\x90") == Report()
    assert decode_facts(b"\x90") == ClassFacts()
    assert decode_task(b"\x92\x00\x05") == Task(0, 5)


def test_blocks_travel_as_three_numbers_and_all_else_as_bytes() -> None:
    assert to_content(Block(1, 64, 5)) == (1, 64, 5)
    assert type(to_content(Block(1, 64, 5))) is tuple
    for value in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
        assert to_content(value) == b"abc"
        assert type(to_content(value)) is bytes
    assert decode_report(encode(Report({1: to_content(Block(1, 64, 5))}))).contents == {1: (1, 64, 5)}


# Children are not trusted: whatever they send is a message, or refused in one way


def reads_or_refuses(body: bytes) -> None:
    for decode in DECODERS:
        try:
            decode(body)
        except msgspec.MsgspecError:
            continue


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x91" * 100_000)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x93\xdf\xff\xff\xff\xff")
@example(b"\x93\x80\xc0\x81\x01\x95\xa1\xff\xa0\xa0\xa0\x90")
def test_any_bytes(body: bytes) -> None:
    reads_or_refuses(body)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats()
        | TEXT
        | st.binary(max_size=9),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | INDEX, inner, max_size=4),
        max_leaves=15,
    )
)
def test_any_msgpack(value: object) -> None:
    reads_or_refuses(encode(value))


@given(st.sampled_from(MESSAGES), st.integers(0, 1000), st.integers(0, 255), st.booleans())
def test_a_message_with_one_byte_changed_or_cut_short(message: bytes, at: int, byte: int, cut: bool) -> None:
    at %= len(message)
    reads_or_refuses(message[:at] if cut else message[:at] + bytes([byte]) + message[at + 1 :])


@pytest.mark.parametrize("decode", DECODERS)
def test_bytes_behind_a_message_are_refused(decode: Callable[[bytes], Any]) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(encode(Report()) + b"\x00")
