"""File drops: writing, settling, devices, disk errors, removal."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.drops.app import AppDrop
from penstock.drops.file import FileDrop
from penstock.engine.states import DropState
from penstock.errors import DropNotReadable, DropNotWritable, PathInvalid, StorageFailed
from penstock.testing.solo import SoloSite

A_PRODUCER = {"producers": ["app"]}


def test_what_was_written_is_in_the_file(site: SoloSite):
    drop = site.add(FileDrop, "d", filepath="sub/a.txt")
    drop.write("one ")
    drop.write(b"two")
    site.fill(drop)
    assert (site.directory / "sub/a.txt").read_bytes() == drop.read() == b"one two"
    assert drop.size == 7


@given(st.lists(st.binary(max_size=70_000), max_size=6))
def test_content_is_all_pieces(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]):
    site = SoloSite(tmp_path_factory.getbasetemp())
    drop = site.add(FileDrop, "pieces")
    for piece in pieces:
        drop.write(piece)
    site.fill(drop)
    assert drop.read() == b"".join(pieces)
    assert drop.size == sum(map(len, pieces))


def test_pieces_of_several_writers_stay_whole(site: SoloSite):
    drop = site.add(FileDrop, "d")
    pieces = [bytes([65 + i]) * 1000 for i in range(8)]
    threads = [threading.Thread(target=lambda p=p: [drop.write(p) for _ in range(50)]) for p in pieces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    site.fill(drop)
    found = drop.read()
    assert sorted(found[i : i + 1000] for i in range(0, len(found), 1000)) == sorted(pieces * 50)


def test_a_file_that_nobody_wrote_is_made_empty(site: SoloSite, tmp_path: Path):
    for name in ("sub/a", str(tmp_path / "elsewhere/a"), ""):
        drop = site.add(FileDrop, "d", filepath=name)
        site.fill(drop)
        assert (drop.path.stat().st_size, drop.size, drop.read()) == (0, 0, b"")


def test_an_old_file_is_replaced_by_the_first_piece(site: SoloSite, tmp_path: Path):
    (tmp_path / "a").write_bytes(b"of yesterday")
    drop = site.add(FileDrop, "d", filepath=str(tmp_path / "a"))
    site.fill(drop, b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_an_input_file_keeps_its_content_and_tells_its_size(site: SoloSite, tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc")
    drop = site.add(FileDrop, "d", filepath=str(tmp_path / "a"))
    site.fill(drop)
    assert (drop.size, drop.read()) == (3, b"abc")


def test_what_a_program_wrote_to_the_path_is_the_content(site: SoloSite):
    drop = site.add(FileDrop, "d", filepath="new/folder/a")
    drop.path.write_bytes(b"by a program")
    site.fill(drop)
    assert (drop.size, drop.read()) == (12, b"by a program")


def test_settling_twice_changes_nothing(site: SoloSite):
    drop = site.add(FileDrop, "d")
    drop.write(b"abc")
    drop.settle()
    drop.settle()
    assert drop.size == 3


def test_asking_for_the_url_makes_nothing(site: SoloSite):
    drop = site.add(FileDrop, "d", filepath="new folder/å.txt")
    assert drop.url.endswith(f"{site.directory}/new%20folder/%C3%A5.txt")
    assert drop.url.startswith("file://")
    assert not (site.directory / "new folder").exists()


def test_the_path_of_an_input_makes_no_folder_elsewhere(site: SoloSite, tmp_path: Path):
    assert site.add(FileDrop, "d", filepath=str(tmp_path / "x/in")).path == tmp_path / "x/in"
    assert not (tmp_path / "x").exists()
    site.add(FileDrop, "d", filepath=str(tmp_path / "x/out"), **A_PRODUCER).path
    assert (tmp_path / "x").is_dir()


def test_old_graphs_give_the_folder_as_dirname(site: SoloSite, tmp_path: Path):
    assert site.add(FileDrop, "d", dirname=str(tmp_path), filepath="a").path == tmp_path / "a"
    assert site.add(FileDrop, "d", dirname="", filepath="a").path == site.directory / "a"


def test_a_path_may_come_through_a_port(site: SoloSite):
    app = site.add(AppDrop, "app", target="made.txt")
    drop = site.add(FileDrop, "d", filepath="", port_map={"filepath": "target"})
    site.link(app, drop, "target")
    assert drop.path == site.directory / "made.txt"


def test_a_relative_name_that_leaves_the_session_is_not_made(site: SoloSite):
    drop = site.add(FileDrop, "d", filepath="../configs/functest.in", check_filepath_exists="1")
    site.fill(drop)
    assert (drop.status, drop.size, drop.read()) == (DropState.COMPLETED, 0, b"")
    assert not (site.directory.parent / "configs").exists()


def test_a_relative_name_that_leaves_the_session_is_read_and_written(site: SoloSite):
    (site.directory.parent / "in").write_bytes(b"shared")
    source, target = site.add(FileDrop, "s", filepath="../in"), site.add(FileDrop, "t", filepath="../out/a")
    site.fill(source)
    assert source.read() == b"shared"
    site.fill(target, b"asked for")
    assert (site.directory.parent / "out/a").read_bytes() == b"asked for"


@pytest.mark.parametrize("check", [True, "1", "true", 1])
def test_an_absolute_file_that_must_exist_and_does_not_fails(site: SoloSite, tmp_path: Path, check: Any):
    drop = site.add(FileDrop, "d", filepath=str(tmp_path / "absent"), check_filepath_exists=check)
    with pytest.raises(PathInvalid, match="does not exist"):
        drop.settle()
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("check", [False, "0", "false", ""])
def test_no_check_no_failure(site: SoloSite, tmp_path: Path, check: Any):
    site.fill(site.add(FileDrop, "d", filepath=str(tmp_path / "absent"), check_filepath_exists=check))
    assert (tmp_path / "absent").exists()


def test_a_file_that_must_exist_may_be_written_in_the_session(site: SoloSite, tmp_path: Path):
    drop = site.add(FileDrop, "d", filepath=str(tmp_path / "a"), check_filepath_exists=True)
    site.fill(drop, b"abc")
    assert drop.read() == b"abc"


def test_an_unset_variable_fails_when_the_path_is_needed(site: SoloSite):
    drop = site.add(FileDrop, "d", filepath="$NOPE/a")
    for use in (drop.settle, lambda: drop.write(b"a"), lambda: drop.path, lambda: drop.url):
        with pytest.raises(PathInvalid):
            use()


# Devices, pipes, folders


def test_a_device_completes_without_being_read(site: SoloSite):
    drop = site.add(FileDrop, "d", filepath="/dev/urandom", persist=False)
    site.fill(drop)
    assert (drop.status, drop.size, drop.path) == (DropState.COMPLETED, 0, Path("/dev/urandom"))
    with pytest.raises(DropNotReadable, match="device"):
        drop.read()
    drop.delete()
    assert Path("/dev/urandom").exists()


def test_the_null_device_takes_all_and_holds_nothing(site: SoloSite):
    drop = site.add(FileDrop, "d", filepath="/dev/null")
    site.fill(drop, b"abc")
    assert drop.read() == b""


def test_a_pipe_is_neither_read_nor_written_nor_removed(site: SoloSite):
    pipe = site.directory / "pipe"
    os.mkfifo(pipe)
    drop = site.add(FileDrop, "d", filepath="pipe")
    with pytest.raises(DropNotWritable, match="pipe"):
        drop.write(b"a")
    site.fill(drop)
    with pytest.raises(DropNotReadable, match="pipe"):
        drop.read()
    drop.discard()
    drop.delete()
    assert pipe.is_fifo()


def test_a_folder_in_place_of_a_file_completes_and_has_a_path(site: SoloSite, tmp_path: Path):
    (tmp_path / "set.ms").mkdir()
    drop = site.add(FileDrop, "d", filepath=str(tmp_path / "set.ms"), check_filepath_exists=True)
    site.fill(drop)
    assert drop.path.is_dir()
    with pytest.raises(DropNotReadable, match="folder"):
        drop.read()


# Disk errors


def test_a_full_disk_is_told_by_the_piece_that_does_not_fit(site: SoloSite):
    drop = site.add(FileDrop, "d", filepath="/dev/full")
    with pytest.raises(StorageFailed, match="/dev/full: cannot be written: No space left"):
        drop.write(bytes(1 << 22))
    drop.release()


def test_a_full_disk_is_told_when_the_last_bytes_do_not_fit(site: SoloSite):
    drop = site.add(FileDrop, "d", filepath="/dev/full")
    drop.write(b"small")
    with pytest.raises(StorageFailed, match="No space left"):
        drop.settle()
    drop.settle()


def test_a_failed_drop_gives_its_descriptor_back(site: SoloSite):
    drop = site.add(FileDrop, "d", filepath="/dev/full")
    drop.write(b"small")
    drop.release()
    drop.release()
    assert drop._writer is None


def test_a_parent_that_is_a_file_is_one_clear_error(site: SoloSite):
    (site.directory / "file").touch()
    drop = site.add(FileDrop, "d", filepath="file/a")
    for use in (lambda: drop.write(b"a"), drop.settle, lambda: drop.path):
        with pytest.raises(StorageFailed, match=r"drop d: .*file: cannot be made"):
            use()


def test_a_name_that_is_too_long_is_one_clear_error(site: SoloSite):
    drop = site.add(FileDrop, "d", filepath="x" * 300)
    with pytest.raises(StorageFailed, match="too long"):
        drop.write(b"a")
    with pytest.raises(StorageFailed, match="too long"):
        drop.settle()


# Reading and removing


def test_a_file_that_was_removed_cannot_be_read(site: SoloSite):
    drop = site.add(FileDrop, "d")
    site.fill(drop, b"abc")
    drop.delete()
    assert not drop.exists()
    with pytest.raises(DropNotReadable, match="No such file"):
        drop.read()


def test_deleting_twice_is_no_error(site: SoloSite):
    drop = site.add(FileDrop, "d")
    site.fill(drop)
    drop.delete()
    drop.delete()


def test_an_input_from_elsewhere_is_never_deleted(site: SoloSite, tmp_path: Path):
    (tmp_path / "precious").write_bytes(b"abc")
    drop = site.add(FileDrop, "d", filepath=str(tmp_path / "precious"), persist=False)
    site.fill(drop)
    drop.delete()
    assert (tmp_path / "precious").exists()


def test_an_output_elsewhere_is_deleted(site: SoloSite, tmp_path: Path):
    drop, app = (
        site.add(FileDrop, "d", filepath=str(tmp_path / "out"), **A_PRODUCER),
        site.add(AppDrop, "app"),
    )
    site.link(app, drop)
    drop.path.write_bytes(b"by a program")
    site.fill(drop)
    drop.delete()
    assert not (tmp_path / "out").exists()


def test_an_empty_parent_is_deleted_when_that_is_asked(site: SoloSite):
    drops = [
        site.add(FileDrop, name, filepath=f"sub/{name}", delete_parent_directory="true")
        for name in ("a", "b")
    ]
    for drop in drops:
        site.fill(drop)
    drops[0].delete()
    assert (site.directory / "sub").is_dir()
    drops[1].delete()
    assert not (site.directory / "sub").exists()


def test_the_folder_of_the_session_stays_when_parents_are_deleted(site: SoloSite):
    drop = site.add(FileDrop, "d", delete_parent_directory=True)
    site.fill(drop)
    drop.delete()
    assert site.directory.is_dir()


def test_a_second_try_begins_with_an_empty_file(site: SoloSite):
    drop = site.add(FileDrop, "d")
    drop.write(b"first try, half")
    drop.discard()
    assert not drop.exists()
    site.fill(drop, b"second")
    assert (drop.read(), drop.size) == (b"second", 6)


def test_files_are_kept_after_the_session_unless_told(site: SoloSite):
    assert site.add(FileDrop, "d").persist
    assert not site.add(FileDrop, "d", persist=False).persist
