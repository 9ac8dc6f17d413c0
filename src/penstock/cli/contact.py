# SPDX-License-Identifier: Apache-2.0
"""The manager that a command speaks with: its URL, the token that it wants, and what is said when it refuses.

Rule 1: a token comes from a file or from standard input, never from the command line or the environment, which
        other users of the machine may read.
Rule 2: this user's own token goes to this machine only.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit

from penstock.cli.exits import BAD, REFUSED, CommandError
from penstock.cli.options import DEFAULT_URL
from penstock.cli.terminal import plain
from penstock.config import state_directory
from penstock.errors import GraphInvalid, NodeDown, PenstockError, Unauthorized
from penstock.rest.calls import is_near
from penstock.rest.client import ManagerClient
from penstock.wire.security import Keys

__all__ = ["call_again", "contact", "url_of"]

_STDIN = "-"
_LONGEST_TOKEN = 4096


@contextmanager
def contact(options: Namespace, timeout_s: float = 60.0) -> Iterator[ManagerClient]:
    """Lend a client of the manager that the options name.

    Raises:
        CommandError: nobody answers there, or the manager refuses what it is asked inside.
        GraphInvalid: it finds a graph bad.
    """
    url = url_of(options)
    token = _token(options, url)
    with ManagerClient(url, token, timeout_s) as client:
        try:
            yield client
        except GraphInvalid:
            raise
        except PenstockError as exc:
            raise CommandError(exc.code, _refusal(exc, url, has_token=token is not None), REFUSED) from exc


def url_of(options: Namespace) -> str:
    """Return the URL of the manager, with its scheme.

    Raises:
        CommandError: it is none.
    """
    text: str = options.url
    url = (text if "://" in text else f"http://{text}").rstrip("/")
    if not _is_of_manager(url):
        raise CommandError("usage", f"{text!r} is not the URL of a manager: write {DEFAULT_URL}", BAD)
    return url


def _is_of_manager(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_reachable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that stands alone
        return False
    return is_reachable and not (parts.username or parts.query or parts.fragment)


def call_again(options: Namespace, verb: str, *words: str) -> str:
    """Return the command line that asks the same manager something else."""
    named = ["penstock", verb, "--url", url_of(options)]
    if options.keys is not None:
        named += ["--keys", str(options.keys)]
    if options.token_file is not None:
        named += ["--token-file", options.token_file]
    return " ".join(quote(plain(word)) for word in (*named, *words))


def _token(options: Namespace, url: str) -> str | None:
    if options.token_file is not None:
        return _read_token(options.token_file)
    if options.keys is not None:
        return Keys.load(options.keys).token
    own = state_directory() / "keys"
    return Keys.load(own).token if is_near(url) and own.is_dir() else None


def _read_token(name: str) -> str:
    try:
        if name == _STDIN:
            content = sys.stdin.buffer.read(_LONGEST_TOKEN)
        else:
            with Path(name).open("rb") as file:
                content = file.read(_LONGEST_TOKEN)
    except OSError as exc:
        raise CommandError("usage", f"--token-file {name}: {exc.strerror or exc}", BAD) from exc
    token = content.strip().decode("ascii", "replace")
    if not token.isascii() or not token.isprintable() or not token or " " in token:
        raise CommandError("usage", f"--token-file {name}: it holds no token", BAD)
    return token


def _refusal(error: PenstockError, url: str, *, has_token: bool) -> str:
    """Return what to say: the place and the remedy."""
    if isinstance(error, Unauthorized):
        why = "does not take this token" if has_token else "wants a token"
        return (
            f"the manager at {url} {why}: give --keys DIR, the keys that it runs with, or --token-file FILE"
        )
    if isinstance(error, NodeDown) and error.address == url:
        remedy = "start one with 'penstock node', or name another with --url"
        return f"no manager answers at {url} ({error.reason}): {remedy}"
    return str(error)
