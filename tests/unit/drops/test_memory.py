"""Memory drops: pieces, readers, and the content that graphs give."""

import base64
import hashlib
import os
import pickle
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.drops.app import AppDrop
from penstock.drops.data import Buffer
from penstock.drops.memory import MemoryDrop
from penstock.drops.shared_memory import SharedMemoryDrop
from penstock.engine.states import DropState
from penstock.errors import DropNotReadable, DropNotWritable, ParameterInvalid
from penstock.testing.solo import SoloSite


def described(value: Any, kind: str | None) -> dict[str, Any]:
    """What graph editors write for `pydata`."""
    entry = {"name": "pydata", "value": value, "type": kind, "usage": "NoPort"}
    return {"pydata": value, "fields": [entry], "componentParams": {"pydata": entry}}


def content(site: SoloSite, **fields: Any) -> bytes:
    drop = site.add(MemoryDrop, "d", **fields)
    assert (
        MemoryDrop.needs_settling(drop.fields) or not fields.get("pydata") or drop.fields["pydata"] == "None"
    )
    site.fill(drop)
    assert drop.size == len(drop.read())
    return drop.read()


@given(st.lists(st.binary(max_size=9000) | st.binary(max_size=3)))
def test_content_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]):
    site = SoloSite(tmp_path_factory.getbasetemp())
    drop = site.add(MemoryDrop, "d")
    for piece in pieces:
        drop.write(piece)
    site.fill(drop)
    assert drop.read() == drop.read() == b"".join(pieces)
    assert drop.size == len(drop.read())


def test_a_buffer_that_changes_after_writing_does_not_change_the_content(site: SoloSite):
    drop, buffer = site.add(MemoryDrop, "d"), bytearray(b"x" * 10_000)
    drop.write(buffer)
    buffer[0:1] = b"y"
    site.fill(drop)
    assert drop.read() == b"x" * 10_000


def test_a_large_piece_is_kept_and_read_without_a_copy(site: SoloSite):
    drop, piece = site.add(MemoryDrop, "d"), bytes(1 << 20)
    site.fill(drop, piece)
    assert drop.read() is piece


def test_part_of_large_bytes_does_not_keep_the_rest(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    site.fill(drop, memoryview(b"a" * 5000 + b"b" * 5000)[5000:])
    assert drop.read() == b"b" * 5000


def test_a_million_small_pieces_are_gathered(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    for _ in range(100_000):
        drop.write(b"0123456789")
    assert len(drop._pieces) < 100
    site.fill(drop)
    assert drop.read() == b"0123456789" * 100_000


def test_pieces_of_several_writers_stay_whole(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    pieces = [bytes([65 + i]) * 5000 for i in range(8)]
    threads = [threading.Thread(target=lambda p=p: [drop.write(p) for _ in range(20)]) for p in pieces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    site.fill(drop)
    found = drop.read()
    assert sorted(found[i : i + 5000] for i in range(0, len(found), 5000)) == sorted(pieces * 20)


def test_deleted_memory_is_gone_but_open_readers_go_on(site: SoloSite):
    drop = site.add(MemoryDrop, "d", pydata="text")
    site.fill(drop)
    with drop.open() as reader:
        drop.delete()
        assert reader.read() == b"text"
    assert not drop.exists()
    with pytest.raises(DropNotReadable, match="persist"):
        drop.read()


def test_a_deleted_drop_does_not_settle_again(site: SoloSite):
    drop = site.add(MemoryDrop, "d", pydata="text")
    drop.delete()
    drop.settle()
    assert drop.size == 0


def test_discarded_pieces_do_not_come_back(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    drop.write(b"first try")
    drop.discard()
    site.fill(drop, b"second")
    assert drop.read() == b"second"


def test_memory_expires_after_use_only_where_told(site: SoloSite):
    assert not site.add(MemoryDrop, "d").expireAfterUse
    assert site.add(MemoryDrop, "e", expireAfterUse="true").expireAfterUse


def test_its_url_names_process_session_and_drop(site: SoloSite):
    url = site.add(MemoryDrop, "a/b").url
    assert url.startswith("mem://")
    assert url.endswith(f"/{os.getpid()}/solo/a%2Fb")


def test_shared_memory_behaves_like_memory_under_its_own_url(site: SoloSite):
    drop = site.add(SharedMemoryDrop, "d" * 40)
    site.fill(drop, b"abc")
    assert drop.read() == b"abc"
    assert drop.url.startswith("shmem://")
    assert drop.url.endswith("d" * 40)


# Content that the graph gives


def test_without_pydata_there_is_nothing_to_settle(site: SoloSite):
    assert not MemoryDrop.needs_settling({"oid": "d", "applicationArgs": {"x": {"value": 1}}})
    assert content(site) == b""


def test_a_pickle_in_base64_is_decoded_and_not_unpickled(site: SoloSite):
    found = content(site, **described("gASVCgAAAAAAAABHP/O+dsi0OVgu", "Object"))
    assert hashlib.sha256(found).hexdigest().startswith("648dcf6cdccd544bed417a0a1b8a6540")
    assert pickle.loads(found) == 1.234


def test_a_malicious_pickle_stays_bytes(site: SoloSite):
    evil = b"cos\n_exit\n(I1\ntR."
    assert content(site, **described(base64.b64encode(evil).decode(), "Object.thing")) == evil


def test_none_as_text_of_an_object_is_the_pickle_of_no_bytes(site: SoloSite):
    found = content(site, **described("None", "Object"))
    assert found == b"\x80\x04\x95\x04\x00\x00\x00\x00\x00\x00\x00C\x00\x94."


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (5, "Integer", 5),
        ("5", "int", 5),
        (5.0, "INTEGER", 5),
        ("2.5", "Float", 2.5),
        (3, "float", 3.0),
        ("false", "Boolean", False),
        (True, "bool", True),
        (None, "bool", False),
        ('{"a": [1, null]}', "Json", {"a": [1, None]}),
        ({"a": 1}, "json", {"a": 1}),
        ("(1, 'a')", "eval", (1, "a")),
        ([1], "eval", [1]),
        ([1, "a"], "Object", [1, "a"]),
        (None, "Object", None),
        (None, "Integer", None),
        (None, "Float", None),
        ("text", "Select", "text"),
        (7, "Unknown", 7),
        ("", "Json", b""),
    ],
)
def test_values_become_pickles_of_their_type(site: SoloSite, value: Any, kind: str, expected: Any):
    found = pickle.loads(content(site, **described(value, kind)))
    assert found == expected
    assert type(found) is type(expected)


def test_a_number_is_pickled_with_protocol_4(site: SoloSite):
    assert content(site, **described(5, "Integer")) == b"\x80\x04K\x05."


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", b"text"),
        ("å", b"\xc3\xa5"),
        ("None", b""),
        ("", b""),
        (None, b""),
        (5, b"5"),
        ({"a": 1}, b'{"a": 1}'),
    ],
)
def test_text_is_kept_as_utf8(site: SoloSite, value: Any, expected: bytes):
    assert content(site, **described(value, "String")) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain text", b"plain text"),
        ({"value": "x", "type": "String"}, b"x"),
        ({"value": "x"}, b"x"),
        (b"raw bytes", b"raw bytes"),
        (bytearray(b"raw"), b"raw"),
    ],
)
def test_a_key_alone_is_enough(site: SoloSite, value: Any, expected: bytes):
    assert content(site, pydata=value) == expected


@pytest.mark.parametrize(
    "value", [5, [1, 2], {"a": 1}, {"value": 1, "unit": "Jy"}, {"value": 5, "type": "int"}]
)
def test_values_of_a_key_alone_are_pickled(site: SoloSite, value: Any):
    expected = 5 if isinstance(value, dict) and "type" in value else value
    assert pickle.loads(content(site, pydata=value)) == expected


def test_null_as_a_key_alone_is_nothing(site: SoloSite):
    assert not MemoryDrop.needs_settling({"pydata": None})
    assert content(site, pydata=None) == b""


def test_the_list_of_fields_beats_the_key(site: SoloSite):
    fields = {
        "pydata": "key",
        "fields": [{"name": "other"}, {"name": "pydata", "value": "list", "type": "String"}],
    }
    assert content(site, **fields) == b"list"


def test_the_key_takes_its_type_from_the_described_argument(site: SoloSite):
    fields = {"pydata": "6", "applicationArgs": {"pydata": {"value": "5", "type": "Integer"}}}
    assert pickle.loads(content(site, **fields)) == 6


def test_a_described_argument_alone_is_enough(site: SoloSite):
    assert content(site, applicationArgs={"pydata": {"value": "a", "type": "String"}}) == b"a"


def test_a_port_named_pydata_is_no_content(site: SoloSite):
    entry = {"name": "pydata", "value": "a", "type": "String", "usage": "InputPort"}
    assert content(site, fields=[entry], applicationArgs={"pydata": entry}) == b""


@pytest.mark.parametrize(
    ("value", "kind", "word"),
    [
        ("five", "Integer", "five"),
        (1.5, "Integer", "whole"),
        ([1], "Float", "Float"),
        ("perhaps", "Boolean", "neither"),
        ("{", "Json", "Json"),
        ("__import__('os').getpid()", "eval", "eval"),
        ("no base64!", "Object", "base64"),
        ("true", "Object", "no pickle"),
        ("é", "raw", "base64"),
    ],
)
def test_values_that_are_not_of_their_type_are_refused(site: SoloSite, value: Any, kind: str, word: str):
    drop = site.add(MemoryDrop, "d", **described(value, kind))
    with pytest.raises(ParameterInvalid, match=word):
        drop.settle()


def test_raw_is_any_bytes_in_base64(site: SoloSite):
    assert content(site, **described("//79\n/A==", "raw")) == b"\xff\xfe\xfd\xfc"


def test_what_a_producer_wrote_beats_pydata(site: SoloSite):
    drop = site.add(MemoryDrop, "d", **described("None", "Object"))
    site.fill(drop, pickle.dumps(5, 4))
    assert drop.read() == b"\x80\x04K\x05."


def test_streaming_consumers_get_the_content_that_the_graph_gives(site: SoloSite):
    class Listener(AppDrop):
        heard: list[bytes] = []

        def data_written(self, uid: str, data: memoryview) -> None:
            self.heard.append(bytes(data))

    drop, app = site.add(MemoryDrop, "d", pydata="text"), site.add(Listener, "a")
    site.link(drop, app, streaming=True)
    site.fill(drop)
    assert Listener.heard == [b"text"]


@pytest.mark.parametrize("entries", [True, 5, "text", {"name": "pydata"}])
def test_fields_that_are_no_list_are_refused(site: SoloSite, entries: object):
    with pytest.raises(ParameterInvalid, match="drop m: parameter 'fields' must be a list"):
        MemoryDrop.needs_settling({"uid": "m", "pydata": "x", "fields": entries})
    with pytest.raises(ParameterInvalid, match="fields"):
        site.fill(site.add(MemoryDrop, "m", pydata="x", fields=entries))


def test_entries_of_fields_that_are_nonsense_are_passed_over(site: SoloSite):
    drop = site.add(MemoryDrop, "m", pydata="x", fields=[True, {"name": ["pydata"]}, {"usage": []}])
    site.fill(drop)
    assert drop.read() == b"x"


# Content that is kept elsewhere


class PlacingSite(SoloSite):
    """Keeps large content itself, as a worker's site does in shared memory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.placed: dict[int, list[bytes]] = {}

    def place(self, index: int, parts: Sequence[Buffer]) -> memoryview:
        whole = b"".join(parts)
        self.placed.setdefault(index, []).append(whole)
        return memoryview(whole).toreadonly()


class StoringSite(SoloSite):
    """Has content that another process wrote; each look at it is a private one."""

    content: Buffer | None = None
    looks = 0

    def stored(self, index: int) -> Buffer | None:
        self.looks += 1
        return memoryview(bytearray(self.content)) if isinstance(self.content, bytearray) else self.content


LARGE = [b"a" * 50_000, bytearray(b"b" * 50_000), memoryview(b"c" * 10)]
WHOLE = b"".join(LARGE)


@pytest.fixture
def placing(tmp_path: Path) -> PlacingSite:
    return PlacingSite(tmp_path)


@pytest.fixture
def storing(tmp_path: Path) -> StoringSite:
    return StoringSite(tmp_path)


def test_large_parts_are_placed_and_not_kept_twice(placing: PlacingSite):
    drop = placing.add(MemoryDrop, "d")
    assert drop.write_parts(LARGE) == len(WHOLE) == drop.size
    assert placing.placed == {0: [WHOLE]}
    (part,) = drop.parts()
    assert isinstance(part, memoryview)
    assert part.obj is placing.placed[0][0]
    placing.fill(drop)
    assert drop.read() == WHOLE
    assert drop.size == len(WHOLE)


def test_placed_content_is_read_where_it_is(placing: PlacingSite):
    drop = placing.add(MemoryDrop, "d")
    drop.write_parts(LARGE)
    placing.fill(drop)
    for buffer in (drop.buffer(), drop.private_buffer()):
        assert buffer.readonly
        assert buffer.obj is placing.placed[0][0]
        assert buffer == WHOLE


def test_small_parts_are_not_placed(placing: PlacingSite):
    drop = placing.add(MemoryDrop, "d")
    drop.write_parts([b"ab", b"", b"c"])
    drop.write_parts([])
    placing.fill(drop)
    assert drop.read() == b"abc"
    assert placing.placed == {}


def test_a_write_behind_what_was_placed(placing: PlacingSite):
    drop = placing.add(MemoryDrop, "d")
    drop.write_parts(LARGE)
    drop.write(b"small")
    drop.write_parts(LARGE)
    assert len(placing.placed[0]) == 1
    placing.fill(drop)
    assert drop.size == 2 * len(WHOLE) + 5
    assert drop.read() == WHOLE + b"small" + WHOLE
    assert drop.buffer() == drop.read()


def test_parts_behind_another_write_are_not_placed(placing: PlacingSite):
    drop = placing.add(MemoryDrop, "d")
    drop.write(b"small")
    drop.write_parts(LARGE)
    placing.fill(drop)
    assert drop.read() == b"small" + WHOLE
    assert placing.placed == {}


def test_what_was_placed_is_discarded_and_placed_again(placing: PlacingSite):
    drop = placing.add(MemoryDrop, "d")
    drop.write_parts(LARGE)
    drop.discard()
    assert (drop.size, drop.parts()) == (0, [])
    drop.write_parts([b"z" * 70_000])
    placing.fill(drop)
    assert drop.read() == b"z" * 70_000
    assert placing.placed == {0: [WHOLE, b"z" * 70_000]}


def test_after_a_discard_small_writes_are_kept_here(placing: PlacingSite):
    drop = placing.add(MemoryDrop, "d")
    drop.write_parts(LARGE)
    drop.discard()
    placing.fill(drop, b"small")
    assert drop.read() == b"small"


def test_placed_content_can_be_deleted(placing: PlacingSite):
    drop = placing.add(MemoryDrop, "d")
    drop.write_parts(LARGE)
    placing.fill(drop)
    drop.delete()
    assert drop.parts() == []
    for read in (drop.read, drop.buffer, drop.private_buffer):
        with pytest.raises(DropNotReadable, match="deleted"):
            read()


def test_a_drop_that_has_ended_takes_no_parts(placing: PlacingSite):
    drop = placing.add(MemoryDrop, "d")
    placing.fill(drop, b"x")
    for parts in (LARGE, [b"small"]):
        with pytest.raises(DropNotWritable):
            drop.write_parts(parts)
    assert drop.read() == b"x"


def test_streaming_consumers_and_the_expected_size_see_what_is_placed(placing: PlacingSite):
    class Listener(AppDrop):
        heard: list[bytes] = []

        def data_written(self, uid: str, data: memoryview) -> None:
            self.heard.append(bytes(data))

    drop, app = placing.add(MemoryDrop, "d", expectedSize=len(WHOLE)), placing.add(Listener, "a")
    placing.link(drop, app, streaming=True)
    drop.write_parts(LARGE)
    assert Listener.heard == [WHOLE]
    assert drop.status == DropState.COMPLETED


@given(st.lists(st.lists(st.binary(max_size=20) | st.just(b"x" * 40_000), max_size=4), max_size=4))
def test_parts_are_content_however_they_come(
    tmp_path_factory: pytest.TempPathFactory, writes: list[list[bytes]]
):
    for site in (PlacingSite(tmp_path_factory.getbasetemp()), SoloSite(tmp_path_factory.getbasetemp())):
        drop = site.add(MemoryDrop, "d")
        whole = b"".join(b"".join(parts) for parts in writes)
        assert sum(drop.write_parts(parts) for parts in writes) == len(whole) == drop.size
        assert b"".join(drop.parts()) == whole
        site.fill(drop)
        assert drop.read() == bytes(drop.buffer()) == whole


@pytest.mark.parametrize("content", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_a_drop_has_the_content_that_another_process_wrote(storing: StoringSite, content: Buffer):
    storing.content = content
    drop = storing.add(MemoryDrop, "d", pydata="of the graph")
    assert drop.size == 3
    storing.fill(drop)
    assert drop.read() == bytes(drop.buffer()) == bytes(drop.private_buffer()) == b"abc"
    assert b"".join(drop.parts()) == b"abc"
    with drop.open() as reader:
        assert (reader.read(2), reader.read()) == (b"ab", b"c")


def test_stored_bytes_are_read_without_a_copy(storing: StoringSite):
    storing.content = b"abc"
    drop = storing.add(MemoryDrop, "d")
    storing.fill(drop)
    assert drop.read() is storing.content
    assert drop.private_buffer().readonly


def test_empty_stored_content_leaves_room_for_that_of_the_graph(storing: StoringSite):
    storing.content = b""
    drop = storing.add(MemoryDrop, "d", pydata="of the graph")
    storing.fill(drop)
    assert drop.read() == b"of the graph"


def test_a_private_buffer_is_the_callers_own(storing: StoringSite):
    storing.content = bytearray(b"abc")
    drop = storing.add(MemoryDrop, "d")
    storing.fill(drop)
    first = drop.private_buffer()
    assert not first.readonly
    first[:] = b"xyz"
    assert bytes(drop.private_buffer()) == b"abc"
    assert drop.buffer().readonly
    assert drop.read() == b"abc"


def test_what_was_read_before_can_still_be_looked_at_in_private(storing: StoringSite):
    storing.content = bytearray(b"abc")
    drop = storing.add(MemoryDrop, "d")
    storing.fill(drop)
    assert drop.read() == b"abc"
    looks = storing.looks
    assert not drop.private_buffer().readonly
    assert storing.looks == looks + 1


def test_what_is_written_behind_stored_content_is_content_too(storing: StoringSite):
    storing.content = bytearray(b"abc")
    drop = storing.add(MemoryDrop, "d")
    drop.write(b"def")
    storing.fill(drop)
    assert drop.size == 6
    assert drop.private_buffer().readonly
    assert drop.read() == b"abcdef"


def test_only_complete_data_has_buffers(storing: StoringSite):
    storing.content = bytearray(b"abc")
    drop = storing.add(MemoryDrop, "d")
    for read in (drop.buffer, drop.private_buffer, drop.read):
        with pytest.raises(DropNotReadable):
            read()
    assert b"".join(drop.parts()) == b"abc"


def test_adopted_content_replaces_what_was_there(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    site.fill(drop, b"before")
    kept = b"behind"
    drop.adopt(memoryview(kept))
    assert drop.size == 6
    assert drop.buffer().obj is kept
    assert drop.read() == b"behind"


def test_a_subclass_that_reads_in_its_own_way_is_asked(storing: StoringSite):
    class Upper(MemoryDrop):
        def read(self) -> bytes:
            return super().read().upper()

    storing.content = b"abc"
    drop = storing.add(Upper, "d")
    storing.fill(drop)
    assert bytes(drop.buffer()) == bytes(drop.private_buffer()) == b"ABC"


def test_reading_leaves_what_is_kept_elsewhere_there(tmp_path: Path) -> None:
    class Elsewhere(SoloSite):
        def stored(self, index: int) -> memoryview | None:
            return memoryview(bytearray(b"far away"))

    site = Elsewhere(tmp_path)
    drop = site.add(MemoryDrop, "d")
    drop.complete()
    before = drop.parts()
    assert drop.read() == b"far away"
    assert drop.buffer().readonly
    assert drop.parts()[0] is before[0]
