# SPDX-License-Identifier: Apache-2.0
"""Settings of the sockets of a process, with units and defaults."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What peers may send, and how long is waited for them.

    Attributes:
        frame_bytes: a peer that sends a larger frame is cut off.
        frames: most frames of one message.
        high_water: messages that wait for one peer; what is sent beyond is lost and counted.
        beat_s: how often a client says that it is there.
        silent_s: a connection over which nothing came for so long is cut and made again.
        reconnect_s: pause before the first try to connect again; doubled for each further one.
        reconnect_most_s: the longest such pause.
        forget_s: what is remembered of a client that has not been heard for so long is forgotten.
        junk_per_minute: a peer with more messages that cannot be read is ignored for a minute.
    """

    frame_bytes: int = 256 << 20
    frames: int = 1024
    high_water: int = 10_000
    beat_s: float = 1.0
    silent_s: float = 10.0
    reconnect_s: float = 0.1
    reconnect_most_s: float = 2.0
    forget_s: float = 600.0
    junk_per_minute: int = 10
