# SPDX-License-Identifier: Apache-2.0
"""The keys of a deployment: a CURVE pair for its sockets, a token for REST, and whom else to let in.

    keys/               0700
      public.key        of the pair; may be given away
      secret.key        0600
      token             0600
      server.key        only for guests: the public key of the deployment that they talk to
      allowed/          further public keys, a file each

All processes of a deployment share one pair. A guest has a pair of its own, whose public key lies in the
deployment's `allowed/`; a file that comes or goes there counts at once, for connections that exist too.

No secret is ever part of a text: not of `repr`, a log, or an error.
"""

import logging
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Self

import zmq

from penstock.errors import StartRefused

__all__ = ["Keys"]

log = logging.getLogger(__name__)

_PUBLIC, _SECRET, _TOKEN, _SERVER, _ALLOWED = "public.key", "secret.key", "token", "server.key", "allowed"
_TOKEN_BYTES = 32
_KEY = re.compile(rb"[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")  # Z85
_DOMAIN = b"penstock"
_MOST_BYTES = 4096  # of a file with a key

_Seen = tuple[tuple[str, int, int], ...]


class Keys:
    """What a process shows and asks for; may be used from any thread.

    Attributes:
        public: the public key of the pair, in Z85.
        server: the public key that servers must have; the same unless this is a guest.
    """

    def __init__(
        self,
        public: bytes,
        secret: bytes,
        token: str,
        *,
        server: bytes | None = None,
        allowed: Path | None = None,
    ) -> None:
        self.public = public
        self.server = public if server is None else server
        self._secret = secret
        self._token = token
        self._folder = allowed
        self._known: tuple[_Seen, frozenset[bytes]] = (), frozenset()

    @classmethod
    def ephemeral(cls) -> Self:
        """Return a new pair and token that are nowhere but in this process."""
        public, secret = zmq.curve_keypair()
        return cls(public, secret, secrets.token_urlsafe(_TOKEN_BYTES))

    @classmethod
    def create(cls, directory: Path, *, server: bytes | None = None) -> Self:
        """Make a folder with a new pair and token.

        Args:
            server: makes the keys of a guest of the deployment with this public key.
        Raises:
            StartRefused: there are keys already, or the folder cannot be made.
        """
        public, secret = zmq.curve_keypair()
        contents = {_PUBLIC: public, _SECRET: secret, _TOKEN: secrets.token_urlsafe(_TOKEN_BYTES).encode()}
        if server is not None:
            contents[_SERVER] = server
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            (directory / _ALLOWED).mkdir(mode=0o700, exist_ok=True)
            for name, content in contents.items():
                _write_new(directory / name, content + b"\n")
        except FileExistsError as exc:
            raise StartRefused(
                f"{directory} holds keys already",
                "load them, or name another folder; to replace them, remove it",
            ) from exc
        except OSError as exc:
            raise StartRefused(f"{directory} takes no keys: {exc.strerror}", "name another folder") from exc
        return cls.load(directory)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Return the keys in a folder.

        Raises:
            StartRefused: there are none, others may read them or change the folder, or they are no keys.
        """
        _check_folder(directory)
        public, secret = _key_in(directory / _PUBLIC), _key_in(directory / _SECRET, secret=True)
        if _public_of(secret) != public:
            raise StartRefused(
                f"{directory / _PUBLIC} is not that of {_SECRET}", "restore both, or make new keys"
            )
        token = _content(directory / _TOKEN, secret=True).decode("ascii", "replace")
        if not re.fullmatch(r"[A-Za-z0-9_-]{32,}", token):
            raise StartRefused(f"{directory / _TOKEN} holds no token", "make new keys")
        server = _key_in(directory / _SERVER) if (directory / _SERVER).exists() else None
        keys = cls(public, secret, token, server=server, allowed=directory / _ALLOWED)
        _check_folder(directory / _ALLOWED)
        return keys

    @property
    def token(self) -> str:
        """The token that REST asks for."""
        return self._token

    def allows(self, public: bytes) -> bool:
        """Tell whether who has this public key may enter; looks into the folder, which may have changed.

        Raises:
            StartRefused: others may write to the folder.
            OSError: it cannot be read.
        """
        if public == self.public:
            return True
        if self._folder is None:
            return False
        _refuse_writable(self._folder)
        seen = _seen(self._folder)
        if seen != self._known[0]:
            self._known = seen, _keys_of(self._folder, seen)
        return public in self._known[1]

    def guard_server(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket one that lets in only whom the gate allows."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def guard_client(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket one that talks only to servers of the deployment."""
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.server)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret)

    def __repr__(self) -> str:
        return f"Keys(public={self.public.decode('ascii')!r})"

    def __reduce__(self) -> str:
        raise TypeError("keys are not sent anywhere; load them where they are needed")


def _seen(folder: Path) -> _Seen:
    with os.scandir(folder) as entries:
        files = [(entry.name, entry.stat()) for entry in entries if entry.is_file() and entry.name[0] != "."]
    return tuple(sorted((name, status.st_mtime_ns, status.st_size) for name, status in files))


def _keys_of(folder: Path, seen: _Seen) -> frozenset[bytes]:
    keys: set[bytes] = set()
    for name, _, _ in seen:
        try:
            keys.add(_key_in(folder / name))
        except StartRefused as exc:  # costs whom it was meant for, not all others
            log.warning("%s", exc)
    return frozenset(keys)


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _check_folder(directory: Path) -> None:
    if not directory.is_dir():
        raise StartRefused(
            f"{directory} is no folder with keys", "make some with Keys.create, or name another"
        )
    _refuse_writable(directory)


def _refuse_writable(folder: Path) -> None:
    if folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StartRefused(f"others may change {folder}", f"chmod 700 {folder}")


def _content(path: Path, *, secret: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if secret and mode & 0o077:
                raise StartRefused(
                    f"others may use {path}", f"chmod 600 {path}, and make new keys if they did"
                )
            return file.read(_MOST_BYTES).strip()
    except OSError as exc:
        raise StartRefused(
            f"{path} cannot be read: {exc.strerror}", "make new keys, or name their folder"
        ) from exc


def _key_in(path: Path, *, secret: bool = False) -> bytes:
    content = _content(path, secret=secret)
    if not _KEY.fullmatch(content):
        raise StartRefused(
            f"{path} holds no key", "a key is 40 characters of Z85; restore the file or remove it"
        )
    return content


def _public_of(secret: bytes) -> bytes:
    try:
        return zmq.curve_public(secret)
    except zmq.ZMQError:  # 40 characters that are no number of 32 bytes
        return b""
