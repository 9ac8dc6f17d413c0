# SPDX-License-Identifier: Apache-2.0
"""`penstock keys`: the keys of a deployment, and of guests."""

from argparse import Namespace
from pathlib import Path

from zmq.utils import z85

from penstock.cli.exits import BAD, CommandError
from penstock.cli.terminal import plain, print_json
from penstock.wire.security import Keys

__all__ = ["new"]

_KEY_CHARACTERS = 40
_NOT_PUBLIC = "secret.key"


def new(options: Namespace) -> int:
    """Make a folder with new keys, and say what to copy where; keys that are there already stay."""
    directory: Path = options.directory
    server = None if options.guest_of is None else _public_key(options.guest_of)
    keys = Keys.create(directory, server=server)
    if options.json:
        told = {"directory": str(directory), "public": keys.public.decode("ascii")}
        print_json(told | {"guest_of": None if server is None else server.decode("ascii")})
        return 0
    lines = _of_guest(directory) if server else _of_deployment(directory)
    print(f"new keys in {plain(str(directory))}, public key {keys.public.decode('ascii')}")
    for line in lines:
        print(f"  {line}")
    return 0


def _of_deployment(directory: Path) -> list[str]:
    folder = plain(str(directory))
    return [
        f"copy the whole folder to every host of the deployment: scp -rp {folder} HOST:",
        f"start each manager with:    penstock node --host HOST --keys {folder}",
        f"let a command use it with:  penstock submit GRAPH --url http://HOST:8000 --keys {folder}",
        f"or give people the token only, the file {folder}/token: --token-file FILE",
        "whoever has secret.key or token can run code on all hosts of the deployment",
    ]


def _of_guest(directory: Path) -> list[str]:
    folder = plain(str(directory))
    return [
        f"copy {folder}/public.key into the folder allowed/ of the deployment's keys, on every host,",
        "under any name; it counts at once, and no longer when it is removed",
        "REST asks for the deployment's own token: have its file given to you, and use --token-file FILE",
    ]


def _public_key(path: Path) -> bytes:
    """Return the public key in a file.

    Raises:
        CommandError: there is none.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_KEY_CHARACTERS + 10).strip()
    except OSError as exc:
        raise CommandError("usage", f"--guest-of {path}: {exc.strerror or exc}", BAD) from exc
    if path.name == _NOT_PUBLIC:
        raise CommandError("usage", f"--guest-of {path}: that is a secret key; give the file public.key", BAD)
    try:
        is_key = len(content) == _KEY_CHARACTERS and bool(z85.decode(content))
    except (ValueError, KeyError):  # what is no character of Z85 is missing in its table
        is_key = False
    if not is_key:
        raise CommandError("usage", f"--guest-of {path}: it holds no key; give the file public.key", BAD)
    return content
