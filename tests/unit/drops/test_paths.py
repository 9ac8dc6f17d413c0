"""Names of files and folders."""

import os
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.drops.app import AppDrop
from penstock.drops.data import DataDrop
from penstock.drops.paths import is_special, locate, path_from_port, remove, safe_name
from penstock.errors import PathInvalid, StorageFailed
from penstock.testing.solo import SoloSite


def relative(site: SoloSite, name: str, folder: str = "", **fields: Any) -> str:
    uid = fields.pop("uid", "u1-x_0")
    found = locate(site.add(DataDrop, uid, **fields), name, folder)
    return os.path.relpath(found.path, site.directory)


@pytest.mark.parametrize("uid", ["a", "A.b", "1_2b8a830f-0_0", "grepo-examples_x_0-0", "x" * 120])
def test_a_harmless_uid_is_the_file_name(uid: str):
    assert safe_name(uid) == uid


@given(st.text() | st.text(string.punctuation + "ab/.. \n\0", max_size=300))
def test_any_uid_makes_a_name_that_is_one_safe_word(uid: str):
    name = safe_name(uid)
    assert 0 < len(name.encode()) <= 120
    assert name not in (".", "..")
    assert not set(name) & set("/\0 \n'\"$&;|<>*?()[]{}\\`!#")
    assert name[0] not in "-."


@given(st.lists(st.text(), unique=True))
def test_different_uids_make_different_names(uids: list[str]):
    assert len({safe_name(uid) for uid in uids}) == len(uids)


def test_a_harmless_uid_never_looks_like_a_digested_one():
    assert safe_name(safe_name("a/b")) != safe_name("a/b")


@given(uid=st.text(min_size=1))
def test_a_file_with_a_generated_name_can_be_made(tmp_path_factory: pytest.TempPathFactory, uid: str):
    site = SoloSite(tmp_path_factory.getbasetemp() / "any")
    site.directory.mkdir(exist_ok=True)
    path = locate(site.add(DataDrop, uid), "").path
    assert path.parent == site.directory
    path.touch()
    path.unlink()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "u1-x_0"),
        ("a.txt", "a.txt"),
        ("sub/a b.txt", "sub/a b.txt"),
        ("sub/", "sub/u1-x_0"),
        ("x/../y.txt", "y.txt"),
        ("../configs/in", "../configs/in"),
        ("~/a", "~/a"),
        ("å.txt", "å.txt"),
        ("$DATA/a", "archive/2026/a"),
        ("${DATA}a", "archive/2026a"),
        ("$EMPTY", "u1-x_0"),
        ("a$", "a$"),
        ("{uid}.txt", "u1-x_0.txt"),
        ("{uid}/{auto}", "u1-x_0/u1-x_0"),
        ("{humanKey}.b", "3_0.b"),
        ("x{dlg}y", "xDALIGUEy"),
        ("{color}", "red/{uid}"),
        ("{number}", "7"),
        ("{described}", "yes"),
        ("{}", "{}"),
        ("{a,b}", "{a,b}"),
        ("{auto", "{auto"),
    ],
)
def test_names_of_the_graph_become_these(site: SoloSite, name: str, expected: str):
    fields = {"color": "red/{uid}", "number": 7, "humanReadableKey": "3_0", "nothing": None}
    assert relative(site, name, applicationArgs={"described": {"value": "yes"}}, **fields) == expected


def test_the_date_is_that_of_today(site: SoloSite):
    year, month, day = relative(site, "{datetime}").split("-")
    assert (len(year), len(month), len(day)) == (4, 2, 2)


def test_odd_uids_are_made_safe_in_placeholders(site: SoloSite):
    assert "/" not in relative(site, "{uid}.txt", uid="../../etc/passwd")


def test_a_folder_goes_before_relative_names_only(site: SoloSite):
    assert relative(site, "f", "dir") == "dir/f"
    assert relative(site, "", "dir") == "dir/u1-x_0"
    assert locate(site.add(DataDrop, "d"), "/data/f", "dir").path == Path("/data/f")


def test_what_may_be_made_is_absolute_or_in_the_session(site: SoloSite):
    drop = site.add(DataDrop, "d")
    found = [locate(drop, name).may_be_made for name in ("/data/a", "a", "x/../a", "../a", "x/../../a")]
    assert found == [True, True, True, False, False]


@pytest.mark.parametrize("name", ["$NOPE/a", "${NOPE}"])
def test_an_unset_variable_is_refused(site: SoloSite, name: str):
    with pytest.raises(PathInvalid, match=r"\$NOPE in .* is not set"):
        relative(site, name)


@pytest.mark.parametrize("name", ["{nope}", "{nothing}", "{list}"])
def test_an_unknown_placeholder_is_refused(site: SoloSite, name: str):
    with pytest.raises(PathInvalid, match="no field of this drop"):
        relative(site, name, nothing=None, list=[1])


@pytest.mark.parametrize("name", ["a\0b", "\ud800", ".", "x/..", "./"])
def test_names_that_are_no_file_are_refused(site: SoloSite, name: str):
    if name == "./":
        assert relative(site, name) == "u1-x_0"
        return
    with pytest.raises(PathInvalid):
        relative(site, name)


def test_names_do_not_depend_on_the_current_folder(
    site: SoloSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert locate(site.add(DataDrop, "d"), "a").path == site.directory / "a"


def port(value: str = "", usage: str = "InputPort") -> dict[str, Any]:
    return {"value": value, "usage": usage}


def test_a_path_comes_through_the_port_map(site: SoloSite):
    app = site.add(AppDrop, "app", applicationArgs={"target": port("/data/made", "OutputPort")})
    drop = site.add(DataDrop, "d", port_map={"filepath": "target"})
    site.link(app, drop, "target")
    assert path_from_port(drop, "filepath") == "/data/made"


def test_a_path_comes_through_a_port_of_the_same_name(site: SoloSite):
    app = site.add(AppDrop, "app", filepath="made.txt")
    drop = site.add(DataDrop, "d", applicationArgs={"filepath": port()})
    site.link(app, drop, "filepath")
    assert path_from_port(drop, "filepath") == "made.txt"


def test_without_such_a_port_no_path_comes(site: SoloSite):
    app = site.add(AppDrop, "app", filepath="made.txt")
    drop = site.add(
        DataDrop, "d", port_map={"other": "filepath"}, applicationArgs={"filepath": port("", "NoPort")}
    )
    site.link(app, drop, "filepath")
    assert path_from_port(drop, "filepath") == ""


def test_a_port_whose_producer_knows_no_path_gives_none(site: SoloSite):
    app = site.add(AppDrop, "app")
    drop = site.add(DataDrop, "d", port_map={"filepath": "target"})
    site.link(app, drop, "target")
    assert path_from_port(drop, "filepath") == ""


def test_devices_and_pipes_are_special_and_files_are_not(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    found = [
        is_special(path) for path in (Path("/dev/urandom"), tmp_path / "pipe", tmp_path / "file", tmp_path)
    ]
    assert found == [True, True, False, False]
    assert not is_special(tmp_path / "absent")


def test_the_folder_of_the_session_is_never_removed(site: SoloSite):
    drop = site.add(DataDrop, "d")
    for path in (site.directory, site.directory.parent, Path("/")):
        with pytest.raises(StorageFailed, match="session's folder"):
            remove(drop, path)


def test_a_link_to_a_folder_is_removed_and_the_folder_stays(site: SoloSite, tmp_path: Path):
    (tmp_path / "real").mkdir()
    (site.directory / "link").symlink_to(tmp_path / "real")
    remove(site.add(DataDrop, "d"), site.directory / "link")
    assert (tmp_path / "real").is_dir()
    assert not (site.directory / "link").is_symlink()


def test_what_cannot_be_removed_is_told(site: SoloSite):
    (site.directory / "file").touch()
    with pytest.raises(StorageFailed, match="cannot be removed"):
        remove(site.add(DataDrop, "d"), site.directory / "file" / "below")
