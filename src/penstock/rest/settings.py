# SPDX-License-Identifier: Apache-2.0
"""How a manager is reached over HTTP, and how much a request may take. Nothing here is read from anywhere."""

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Limits", "RestSettings"]

MIB = 1 << 20


def _nobody(_: str) -> bool:
    return False


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Limits:
    """What one body may take; what passes one of these is cut off with 413.

    Attributes:
        sent_bytes: of a body as it comes over the line.
        inflated_bytes: of the same when it is inflated.
        ratio: most bytes that one byte may inflate to.
        ratio_from_bytes: inflated size from which `ratio` counts; small texts may be squeezed well.
        small_bytes: of a body that is no graph.
    """

    sent_bytes: int = 2048 * MIB
    compressed_bytes: int = 256 * MIB
    inflated_bytes: int = 2048 * MIB
    ratio: int = 200
    ratio_from_bytes: int = MIB
    small_bytes: int = 8 * MIB


@dataclass(frozen=True)
class RestSettings:
    """One HTTP face.

    Attributes:
        port: 0 for one that the system chooses.
        token: what every request must bring as a bearer token; None for no authentication.
        allow_origins: web pages of these origins may ask, besides our own and the translator's.
        allow_hosts: names under which we are reached, besides loopback and `host`.
        address: this manager's name as other managers write it, `host:rest:events:rpc`.
        epoch: names this run of the process; versions of events count within it.
        is_member: whether an address belongs to the deployment; nodes are told of no other peers.
        stop: ends the process, soon; called on a thread of the server.
        header_s: how long the head of a request may take; seconds.
        idle_s: how long a body may pause; seconds.
        connections: most at once; those beyond get 503.
        beat_s: pause between signs of life on streams of events; seconds.
        threads: calls of the manager that run at once.
        close_s: how long closing waits for requests under way; seconds.
        bad_tries: wrong tokens that one address may send in a minute.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = field(default=None, repr=False)
    allow_origins: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    address: str = ""
    epoch: str = "1"
    is_member: Callable[[str], bool] = _nobody
    stop: Callable[[], None] = _nothing
    limits: Limits = field(default_factory=Limits)
    header_s: float = 10.0
    idle_s: float = 30.0
    keep_alive_s: float = 30.0
    connections: int = 512
    backlog: int = 2048
    beat_s: float = 10.0
    threads: int = 64
    close_s: float = 5.0
    bad_tries: int = 10
