"""Folders as data."""

from pathlib import Path

import pytest

from penstock.drops.app import AppDrop
from penstock.drops.directory import DirectoryDrop
from penstock.errors import DropNotReadable, DropNotWritable, ParameterInvalid, PathInvalid, StorageFailed
from penstock.testing.solo import SoloSite


def test_the_name_is_mandatory(site: SoloSite):
    with pytest.raises(ParameterInvalid, match="dirname"):
        site.add(DirectoryDrop, "d").path


def test_an_empty_name_is_generated(site: SoloSite):
    assert site.add(DirectoryDrop, "d", dirname="").path == site.directory / "d"


def test_names_are_made_as_those_of_files(site: SoloSite):
    assert site.add(DirectoryDrop, "d", dirname="$DATA/{uid}/").path == site.directory / "archive/2026/d"
    assert (
        site.add(DirectoryDrop, "d", applicationArgs={"dirname": {"value": "x"}}).path == site.directory / "x"
    )


def test_a_folder_is_made_when_that_is_asked(site: SoloSite):
    kept, made = (
        site.add(DirectoryDrop, "a", dirname="x/a"),
        site.add(DirectoryDrop, "b", dirname="x/b", create_if_missing="1"),
    )
    site.fill(kept)
    site.fill(made)
    assert (kept.exists(), made.exists()) == (False, True)
    assert kept.path.parent.is_dir()


def test_a_folder_that_must_exist_and_does_not_fails(site: SoloSite, tmp_path: Path):
    with pytest.raises(PathInvalid, match="is not a folder"):
        site.add(DirectoryDrop, "d", dirname=str(tmp_path / "no"), check_exists=True).settle()
    site.add(DirectoryDrop, "d", dirname=str(tmp_path), check_exists=True).settle()


def test_a_folder_that_cannot_be_made_is_told(site: SoloSite):
    (site.directory / "file").touch()
    with pytest.raises(StorageFailed):
        site.add(DirectoryDrop, "d", dirname="file/x", create_if_missing=True).settle()


def test_it_moves_no_bytes(site: SoloSite):
    drop = site.add(DirectoryDrop, "d", dirname="x")
    with pytest.raises(DropNotWritable):
        drop.write(b"a")
    site.fill(drop)
    with pytest.raises(DropNotReadable):
        drop.read()


def test_deleting_removes_all_that_is_in_it(site: SoloSite):
    drop = site.add(DirectoryDrop, "d", dirname="x", create_if_missing=True)
    (drop.path / "sub").mkdir()
    (drop.path / "sub/file").touch()
    drop.delete()
    drop.delete()
    assert not drop.exists()


def test_an_input_folder_from_elsewhere_is_never_deleted(site: SoloSite, tmp_path: Path):
    (tmp_path / "in").mkdir()
    drop = site.add(DirectoryDrop, "d", dirname=str(tmp_path / "in"))
    drop.delete()
    assert drop.exists()
    site.link(site.add(AppDrop, "app"), drop)
    drop.delete()
    assert not drop.exists()


def test_a_second_try_begins_with_an_empty_folder(site: SoloSite):
    drop = site.add(DirectoryDrop, "d", dirname="x", create_if_missing=True)
    drop.discard()
    (drop.path / "half").touch()
    drop.discard()
    assert list(drop.path.iterdir()) == []


def test_its_url_is_that_of_the_folder(site: SoloSite):
    assert site.add(DirectoryDrop, "d", dirname="x").url.endswith(f"{site.directory}/x")


def test_a_missing_name_is_found_before_the_run():
    with pytest.raises(ParameterInvalid, match="dirname"):
        DirectoryDrop.check("d", {"create_if_missing": True})
    DirectoryDrop.check("d", {"dirname": ""})
    DirectoryDrop.check("d", {"componentParams": {"dirname": {"usage": "InputPort"}}})
