"""Keys in a folder: what is made, what is refused, what is never told."""

import pickle

import pytest

from penstock.errors import StartRefused
from penstock.wire.security import Keys


def test_what_is_made_can_be_loaded_again(tmp_path):
    made = Keys.create(tmp_path / "keys")
    again = Keys.load(tmp_path / "keys")
    assert (again.public, again._secret, again.token) == (made.public, made._secret, made.token)
    assert again.server == again.public
    assert len(again.token) >= 43


def test_secrets_are_for_their_owner_only(tmp_path):
    Keys.create(tmp_path / "keys")
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    for name in ("secret.key", "token"):
        assert (tmp_path / "keys" / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["secret.key", "token"])
def test_files_that_others_can_read_are_refused(tmp_path, name: str):
    Keys.create(tmp_path / "keys")
    (tmp_path / "keys" / name).chmod(0o640)
    with pytest.raises(StartRefused, match="chmod 600"):
        Keys.load(tmp_path / "keys")


@pytest.mark.parametrize("name", ["", "allowed"])
def test_folders_that_others_can_change_are_refused(tmp_path, name: str):
    Keys.create(tmp_path / "keys")
    (tmp_path / "keys" / name).chmod(0o777)
    with pytest.raises(StartRefused, match="others may change"):
        Keys.load(tmp_path / "keys")


@pytest.mark.parametrize("name", ["public.key", "secret.key", "token"])
@pytest.mark.parametrize("content", [None, b"", b"short", b"x" * 20, b"#" * 40, b"\xff" * 40])
def test_what_is_missing_or_no_key_is_refused(tmp_path, name: str, content: bytes | None):
    Keys.create(tmp_path / "keys")
    path = tmp_path / "keys" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(StartRefused):
        Keys.load(tmp_path / "keys")


def test_keys_are_never_made_over_others(tmp_path):
    made = Keys.create(tmp_path / "keys")
    with pytest.raises(StartRefused, match="already"):
        Keys.create(tmp_path / "keys")
    assert Keys.load(tmp_path / "keys").public == made.public


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(StartRefused, match="no folder"):
        Keys.load(tmp_path / "nowhere")


def test_no_secret_is_told(tmp_path):
    keys = Keys.create(tmp_path / "keys")
    told = f"{keys!r} {keys} {keys:}"
    assert keys._secret.decode() not in told
    assert keys.token not in told
    with pytest.raises(TypeError):
        pickle.dumps(keys)


def test_allowed_keys_come_and_go_with_their_files(tmp_path):
    keys = Keys.create(tmp_path / "keys")
    guest = Keys.ephemeral()
    assert keys.allows(keys.public)
    assert not keys.allows(guest.public)
    path = tmp_path / "keys" / "allowed" / "guest"
    path.write_bytes(guest.public + b"\n")
    assert keys.allows(guest.public)
    path.write_bytes(Keys.ephemeral().public)
    assert not keys.allows(guest.public)
    path.unlink()
    assert not keys.allows(guest.public)
    assert keys.allows(keys.public)


def test_a_bad_file_among_the_allowed_costs_nobody_else(tmp_path):
    keys = Keys.create(tmp_path / "keys")
    guest = Keys.ephemeral()
    (tmp_path / "keys" / "allowed" / "bad").write_bytes(b"nonsense")
    (tmp_path / "keys" / "allowed" / "guest").write_bytes(guest.public)
    assert keys.allows(guest.public)


def test_ephemeral_keys_allow_themselves_only():
    keys = Keys.ephemeral()
    assert keys.allows(keys.public)
    assert not keys.allows(Keys.ephemeral().public)
