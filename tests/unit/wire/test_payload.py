"""Values and errors as messages."""

import os
import pickle
import threading
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from penstock.errors import DropNotReadable, PayloadInvalid, SerializationError
from penstock.wire.arena import Arena, Attached, Block
from penstock.wire.payload import blocks, error_text, pack, pack_error, unpack, unpack_error


class Host:
    """An arena, and a child's side of it in the same process."""

    def __init__(self) -> None:
        self.arena = Arena(1 << 26)
        self.attached = Attached()

    def place(self, buffer: memoryview) -> Block:
        block = self.arena.allocate(buffer.nbytes)
        self.arena.write(block, [buffer])
        if not self.attached.has(block.segment):
            self.attached.add(block.segment, os.dup(self.arena.descriptor(block.segment)))
        return block

    def view(self, block: Block, private: bool) -> memoryview:
        return self.attached.view(block, private=private)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.attached.close()
    host.arena.close()


class Loud:
    """Tells when it is unpickled."""

    unpickled = False

    def __setstate__(self, state: object) -> None:
        Loud.unpickled = True

    def __getstate__(self) -> dict[str, int]:
        return {"x": 1}


@pytest.mark.parametrize(
    "value",
    [None, 1, "text", b"", b"abc", bytearray(b"abc"), [1, {"a": (2.5, {3})}], range(3), DropNotReadable],
)
def test_a_value_arrives_as_it_was(value: object):
    message = pack(value)
    assert unpack(message) == value
    assert type(unpack(message)) is type(value)
    assert blocks(message) == []


@pytest.mark.parametrize("writable", [False, True])
def test_arrays_are_read_only_unless_asked_for(host: Host, writable: bool):
    value = {"large": np.arange(10_000.0), "small": np.arange(3)}
    message = pack(value, place=host.place)
    assert [block.size for block in blocks(message)] == [80_000]
    again = unpack(message, view=host.view, writable=writable)
    for name, array in value.items():
        assert np.array_equal(again[name], array)
        assert again[name].flags.writeable is writable
        assert again[name].flags.aligned
    if writable:
        again["large"][0] = again["small"][0] = 99
        assert unpack(message, view=host.view)["large"][0] == 0


def test_a_large_array_arrives_without_a_copy(host: Host):
    message = pack(np.zeros(10_000), place=host.place)
    array = unpack(message, view=host.view)
    host.arena.write(blocks(message)[0], [np.ones(10_000)])
    assert array.sum() == 10_000


def test_an_array_that_was_read_only_can_be_asked_for_writable(host: Host):
    received = unpack(pack(np.arange(10_000), place=host.place), view=host.view)
    again = unpack(pack(received, place=host.place), view=host.view, writable=True)
    again[0] = 5
    assert received[0] == 0


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_large_bytes_are_placed_too(host: Host, kind: type):
    content = kind(os.urandom(100_000))
    message = pack(content, place=host.place)
    assert len(message) < 100
    again = unpack(message, view=host.view)
    assert again == content
    assert type(again) is kind
    assert host.attached.in_use() == []


def test_what_is_below_the_threshold_or_finds_no_place_stays_inside(host: Host):
    array = np.arange(1000, dtype=np.uint8)
    asked: list[int] = []
    assert blocks(pack(array, place=host.place, threshold_bytes=1001)) == []
    assert len(blocks(pack(array, place=host.place, threshold_bytes=1000))) == 1
    message = pack(array, place=lambda buffer: asked.append(buffer.nbytes), threshold_bytes=1000)
    assert asked == [1000]
    assert np.array_equal(unpack(message), array)


def test_nothing_is_placed_of_a_value_that_cannot_be_sent(host: Host):
    with pytest.raises(SerializationError, match=r"value\[1\]"):
        pack([np.zeros(100_000), threading.Lock()], place=host.place)
    assert host.arena.usage().blocks == 0


def test_blocks_are_told_without_unpickling():
    message = pack([Loud(), np.zeros(10)], place=lambda _: Block(3, 4096, 80), threshold_bytes=1)
    assert blocks(message) == [Block(3, 4096, 80)]
    assert not Loud.unpickled


def test_a_message_with_blocks_needs_a_reader_who_has_them():
    message = pack(np.zeros(10), place=lambda _: Block(3, 4096, 80), threshold_bytes=1)
    with pytest.raises(PayloadInvalid, match="shared memory"):
        unpack(message)


def test_local_functions_are_sent_by_value_only_on_demand():
    with pytest.raises(SerializationError):
        pack(lambda: 1)
    assert unpack(pack(lambda: 1, by_value=True))() == 1


def test_a_message_that_would_be_too_large_is_told():
    with pytest.raises(SerializationError, match="placed in blocks"):
        pack(bytes(1 << 32))  # never touched, so it takes up no memory


def test_a_value_that_cannot_be_made_is_told():
    with pytest.raises(SerializationError, match="cannot be read in this process"):
        unpack(msgspec.msgpack.encode(["penstock.value", 1, "pickle", b"no pickle", []]))


@pytest.mark.parametrize(
    "content",
    [
        ["penstock.value", 2, "pickle", b"", []],
        ["penstock.value", 1, "json", b"", []],
        ["penstock.value", 1, "bytes", b"", []],
        ["penstock.value", 1, "bytes", b"x", [b""]],
        ["penstock.value", 1, "bytes", b"", [b"", b""]],
        ["penstock.value", 1, "pickle", b"", [], 1],
        ["penstock.value", 1, "pickle", "", []],
        ["penstock.value", 1, "pickle", b"", [[1, 2]]],
        ["penstock.value", 1, "pickle", b"", [[1, -4096, 3]]],
        ["penstock.value", 1, "pickle", b"", [[1, 2**63, 3]]],
        ["penstock.value", 1, "pickle", b"", [[1, 0.5, 3]]],
        ["penstock.error", 1, "pickle", b"", []],
        {"version": 1},
        None,
    ],
)
def test_other_messages_are_refused(content: object):
    message = msgspec.msgpack.encode(content)
    for read in (blocks, unpack, error_text, unpack_error):
        with pytest.raises(PayloadInvalid):
            read(message)


class Twisted(Exception):
    """Comes out of a pickle with another text."""

    def __init__(self, name: str) -> None:
        super().__init__(f"bad {name}")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Heavy(Exception):
    def __init__(self, content: bytes) -> None:
        super().__init__(content)

    def __str__(self) -> str:
        return "heavy"


def caught(error: BaseException) -> BaseException:
    try:
        try:
            raise KeyError("cause")
        except KeyError as exc:
            raise error from exc
    except BaseException as exc:
        return exc


@pytest.mark.parametrize(
    "error", [ValueError("x", 1), DropNotReadable("d", "gone"), SystemExit(3), KeyError("\ud800")]
)
def test_an_error_arrives_itself_and_as_text(error: BaseException):
    message = pack_error(caught(error))
    again, text = unpack_error(message)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert error_text(message) == text
    assert text.kind.endswith(type(error).__name__)
    assert "KeyError: 'cause'" in text.traceback
    assert "in caught" in text.traceback


@pytest.mark.parametrize(
    "error", [Twisted("x"), Mute("x"), Heavy(bytes(1 << 20)), ValueError(threading.Lock())]
)
def test_an_error_that_does_not_survive_arrives_as_text(error: BaseException):
    again, text = unpack_error(pack_error(caught(error)))
    assert again is None
    assert type(error).__name__ in text.kind
    assert text.message
    assert "in caught" in text.traceback


def test_errors_are_bounded():
    message = pack_error(ValueError("x" * 1_000_000))
    assert len(message) < 400_000
    text = error_text(message)
    assert text.message.startswith("xxx")
    assert "characters left out" in text.message


def test_an_error_whose_class_is_not_here_is_read_as_text():
    content = pickle.dumps(ValueError("x")).replace(b"ValueError", b"ValueErroz")
    message = msgspec.msgpack.encode(["penstock.error", 1, "m.E", "x", "trace", content])
    assert unpack_error(message) == (None, ("m.E", "x", "trace"))
    no_error = msgspec.msgpack.encode(["penstock.error", 1, "m.E", "x", "trace", pickle.dumps(1)])
    assert unpack_error(no_error)[0] is None
