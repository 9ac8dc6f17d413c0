"""The base of data drops: size, expected size, readers, checksums."""

import io
import sys
import threading
import zlib

import pytest

from penstock.drops.app import AppDrop
from penstock.drops.data import DataDrop, as_bytes
from penstock.drops.memory import MemoryDrop
from penstock.engine.states import DropState
from penstock.errors import DropNotReadable, DropNotWritable, ParameterInvalid
from penstock.testing.solo import SoloSite


def test_text_becomes_utf8():
    assert bytes(as_bytes("å")) == b"\xc3\xa5"


def test_any_buffer_becomes_flat_bytes():
    assert bytes(as_bytes(memoryview(b"abcd").cast("B", (2, 2)))) == b"abcd"


def test_what_is_no_buffer_is_refused():
    with pytest.raises(TypeError):
        as_bytes(5)  # type: ignore[arg-type]


def test_write_tells_the_number_of_bytes_and_size_follows(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    assert drop.write("åb") == 3
    assert drop.size == 3
    assert drop.status == DropState.WRITING


def test_read_before_complete_is_refused(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    drop.write(b"a")
    with pytest.raises(DropNotReadable, match="WRITING"):
        drop.read()


def test_write_after_complete_is_refused(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    site.fill(drop, b"a")
    with pytest.raises(DropNotWritable, match="COMPLETED"):
        drop.write(b"b")
    assert drop.read() == b"a"


def test_data_completes_when_its_expected_size_is_reached(site: SoloSite):
    drop = site.add(MemoryDrop, "d", expectedSize=4)
    drop.write(b"abc")
    assert drop.status == DropState.WRITING
    drop.write(b"de")
    assert drop.status == DropState.COMPLETED
    assert drop.read() == b"abcde"


def test_expected_size_that_is_no_number_is_refused(site: SoloSite):
    with pytest.raises(ParameterInvalid, match="expectedSize"):
        site.add(MemoryDrop, "d", expectedSize="many").write(b"a")


def test_of_many_writers_one_completes_the_data(site: SoloSite):
    class Counting(MemoryDrop):
        completions = 0

        def complete(self) -> None:
            Counting.completions += 1  # and the drop stays open, as it does until the session has noted it

    drop = site.add(Counting, "d", expectedSize=1000)
    threads = [threading.Thread(target=lambda: [drop.write(b"x") for _ in range(250)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (drop.size, Counting.completions) == (2000, 1)


def test_data_counts_as_being_read_while_a_reader_is_open(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    site.fill(drop, b"abc")
    first, second = drop.open(), drop.open()
    assert drop.is_being_read
    first.close()
    first.close()
    assert drop.is_being_read
    second.close()
    assert not drop.is_being_read


def test_readers_have_positions_of_their_own(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    site.fill(drop, b"abc")
    with drop.open() as first, drop.open() as second:
        assert (first.read(2), second.read(1), first.read(), second.read()) == (b"ab", b"a", b"c", b"bc")
        assert first.read() == b""


def test_checksum_is_crc32c_where_the_library_is(site: SoloSite):
    pytest.importorskip("google_crc32c")
    drop = site.add(MemoryDrop, "d")
    site.fill(drop, b"123456789")
    assert (drop.checksum_type, drop.checksum) == ("CRC_32C", 0xE3069283)


def test_checksum_is_crc32_where_the_library_is_not(site: SoloSite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    drop = site.add(MemoryDrop, "d")
    site.fill(drop, b"123456789" * 20_000)
    assert (drop.checksum_type, drop.checksum) == ("CRC_32", zlib.crc32(b"123456789" * 20_000))


def test_checksum_of_no_data_is_zero(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    site.fill(drop)
    assert drop.checksum == 0


def test_streaming_consumers_get_each_piece(site: SoloSite):
    class Listener(AppDrop):
        heard: list[tuple[str, bytes]] = []

        def data_written(self, uid: str, data: memoryview) -> None:
            self.heard.append((uid, bytes(data)))

    drop, app = site.add(MemoryDrop, "d"), site.add(Listener, "a")
    site.link(drop, app, streaming=True)
    drop.write(b"one")
    drop.write("two")
    assert Listener.heard == [("d", b"one"), ("d", b"two")]


def test_producers_and_consumers_are_the_linked_apps(site: SoloSite):
    before, drop, after = site.add(AppDrop, "b"), site.add(MemoryDrop, "d"), site.add(AppDrop, "a")
    site.link(before, drop)
    site.link(drop, after)
    assert (drop.producers, drop.consumers) == ((before,), (after,))


def test_a_class_that_defines_nothing_takes_and_holds_no_bytes(site: SoloSite):
    drop = site.add(DataDrop, "d")
    with pytest.raises(DropNotWritable):
        drop.write(b"a")
    site.fill(drop)
    drop.release()
    drop.delete()
    assert drop.exists()
    assert drop.url == "null://localhost/solo/d"
    with pytest.raises(DropNotReadable):
        drop.read()


def test_discard_forgets_the_size(site: SoloSite):
    class Counted(DataDrop):
        def _append(self, data: memoryview) -> None: ...

    drop = site.add(Counted, "d")
    drop.write(b"abc")
    drop.discard()
    assert drop.size == 0


def test_settling_is_a_matter_of_the_class_unless_it_says_otherwise():
    class Settling(DataDrop):
        settles = True

    assert (DataDrop.needs_settling({}), Settling.needs_settling({})) == (False, True)


def test_the_content_as_a_buffer_is_shared_and_read_only(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    content = bytes(10_000)
    site.fill(drop, content)
    assert drop.buffer().obj is content
    assert drop.buffer().readonly


def test_the_buffer_joins_pieces(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    for piece in (b"abc", b"d", b"e" * 5000):
        drop.write(piece)
    site.fill(drop)
    assert drop.buffer() == b"abcd" + b"e" * 5000


def test_a_buffer_is_refused_as_reading_is(site: SoloSite):
    drop = site.add(MemoryDrop, "d")
    with pytest.raises(DropNotReadable, match="is INITIALIZED"):
        drop.buffer()
    site.fill(drop, b"abc")
    drop.delete()
    with pytest.raises(DropNotReadable, match="was deleted"):
        drop.buffer()


@pytest.mark.parametrize("method", ["read", "_reader"])
def test_the_buffer_of_who_reads_in_its_own_way_is_what_it_reads(site: SoloSite, method: str):
    own = {"read": lambda self: b"own", "_reader": lambda self: io.BytesIO(b"own")}[method]
    drop = site.add(type("Own", (MemoryDrop,), {method: own}), "d")
    site.fill(drop, b"abc")
    assert drop.buffer() == b"own"


def test_several_buffers_are_one_piece(site: SoloSite):
    pieces: list[bytes] = []

    class Listening(AppDrop):
        def data_written(self, uid: str, data: memoryview) -> None:
            pieces.append(bytes(data))

    drop = site.add(MemoryDrop, "d")
    site.link(drop, site.add(Listening, "app"), streaming=True)
    assert drop.write_parts([b"ab", memoryview(b"cd"), bytearray(b"e")]) == 5
    assert pieces == [b"abcde"]
