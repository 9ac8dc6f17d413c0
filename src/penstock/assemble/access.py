# SPDX-License-Identifier: Apache-2.0
"""Who may speak with a manager: decided once, before the first port opens.

Loopback is open to this user alone: keys and token are made at the first start, in a folder that nobody else may
read, and found there by this user's other managers and commands. Any other address needs keys that somebody made
and gave to those who shall take part.
"""

import ipaddress
from pathlib import Path
from typing import Literal, NamedTuple

from penstock.errors import StartRefused
from penstock.wire.security import Keys

__all__ = ["Access", "Auth", "is_loopback", "keys_of_user", "open_access"]

Auth = Literal["token", "none"]


class Access(NamedTuple):
    """What a manager shows and asks for.

    Attributes:
        token: what HTTP requests must bring; None for nothing.
        directory: where keys and token are.
    """

    keys: Keys
    token: str | None
    directory: Path


def is_loopback(host: str) -> bool:
    """Whether only processes of this machine can reach a host by this name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def open_access(host: str, auth: Auth, keys: Path | None, default: Path) -> Access:
    """Return what a manager at this address shall use.

    Args:
        keys: a folder with keys that were made before; None for this user's own.
        default: the folder of this user's own, made if it is not there.
    Raises:
        StartRefused: strangers could get in, or the keys are no good.
    """
    if not is_loopback(host):
        if auth == "none":
            reason = f"{host} can be reached from other machines and --auth none lets everybody in"
            raise StartRefused(reason, "leave --auth out, or use --host 127.0.0.1")
        if keys is None:
            reason = f"{host} can be reached from other machines and no keys are given"
            remedy = (
                "make some with 'penstock keys new DIR', copy DIR to all hosts, and start with --keys DIR"
            )
            raise StartRefused(reason, remedy)
    directory = default if keys is None else keys
    found = keys_of_user(directory) if keys is None else Keys.load(directory)
    return Access(found, None if auth == "none" else found.token, directory)


def keys_of_user(directory: Path) -> Keys:
    """Return the keys in a folder, which are made where there are none."""
    if not (directory / "token").exists():
        try:
            return Keys.create(directory)
        except StartRefused:
            if not (directory / "token").exists():
                raise  # else another process has made them just now
    return Keys.load(directory)
