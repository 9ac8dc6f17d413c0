# SPDX-License-Identifier: Apache-2.0
"""Which peers are there: beats come in, suspicion and loss come out.

Rule 1: pure. `heard` notes a sign of life; `tick`, called about every `beat_s`, tells what has changed since.
Rule 2: a peer that is silent for `suspect_s` is suspected, for `lost_s` lost. Whoever is heard again is back.
Rule 3: a peer is one incarnation: a higher epoch means that it was started anew and knows nothing. Words of a lower
        epoch come late and count for nothing.
Rule 4: whoever was paused himself accuses nobody. When a tick comes much too late, the beats of that time may still lie
        unread, so every peer has its full time anew.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

__all__ = ["Back", "Event", "Lost", "Membership", "PeerState", "Restarted", "Suspected"]


class PeerState(Enum):
    """What is known of a peer."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Suspected:
    """A peer was not heard for a while."""

    peer: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A peer was not heard for so long that it counts as gone.

    Attributes:
        silent_s: for how long, seconds.
    """

    peer: str
    silent_s: float


@dataclass(frozen=True, slots=True)
class Back:
    """A suspected or lost peer was heard, the same incarnation."""

    peer: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """A peer was heard that was started anew.

    Attributes:
        epoch: its incarnation number now.
    """

    peer: str
    epoch: int


Event: TypeAlias = Suspected | Lost | Back | Restarted


class _Peer:
    """One peer: when it was heard last, and what was said about it."""

    def __init__(self, now_s: float) -> None:
        self.epoch = 0  # not heard yet
        self.heard_s = now_s
        self.state = PeerState.ALIVE


class Membership:
    """The peers of one manager.

    Args:
        suspect_s: silence after which a peer is suspected; seconds.
        lost_s: silence after which it is lost; seconds.
        beat_s: how often peers make themselves heard, and `tick` is called; seconds.
    """

    def __init__(self, suspect_s: float = 3.0, lost_s: float = 6.0, beat_s: float = 1.0) -> None:
        self.beat_s = beat_s
        self._suspect_s = suspect_s
        self._lost_s = lost_s
        self._peers: dict[str, _Peer] = {}
        self._events: list[Event] = []
        self._ticked_s: float | None = None

    def expect(self, peer: str, now_s: float, epoch: int = 0) -> None:
        """Begin to wait for a peer, or learn its incarnation.

        Args:
            epoch: its incarnation number where it is known otherwise, as when something was deployed on it: if it is
                then heard for the first time with a higher one, it was started anew.
        """
        known = self._peers.setdefault(peer, _Peer(now_s))
        known.epoch = max(known.epoch, epoch)

    def forget(self, peer: str) -> None:
        """Stop watching a peer."""
        self._peers.pop(peer, None)
        self._events = [event for event in self._events if event.peer != peer]

    def heard(self, peer: str, epoch: int, now_s: float) -> None:
        """Note a sign of life, of a peer with an incarnation number from 1; `tick` tells what follows."""
        self.expect(peer, now_s)
        known = self._peers[peer]
        if epoch < known.epoch:
            return
        if known.epoch and epoch > known.epoch:
            self._events.append(Restarted(peer, epoch))
        elif known.state is not PeerState.ALIVE:
            self._events.append(Back(peer))
        known.epoch, known.heard_s, known.state = epoch, now_s, PeerState.ALIVE

    def tick(self, now_s: float) -> list[Event]:
        """Return what has happened since the last tick."""
        late = self._ticked_s is not None and now_s - self._ticked_s > 2 * self.beat_s
        self._ticked_s = now_s
        for name, peer in self._peers.items():
            if peer.state is PeerState.LOST:
                continue
            if late:
                peer.heard_s = now_s
            silent_s = now_s - peer.heard_s
            if silent_s >= self._lost_s:
                peer.state = PeerState.LOST
                self._events.append(Lost(name, silent_s))
            elif silent_s >= self._suspect_s and peer.state is PeerState.ALIVE:
                peer.state = PeerState.SUSPECT
                self._events.append(Suspected(name))
        events, self._events = self._events, []
        return events

    def silent_s(self, peer: str, now_s: float) -> float:
        """Return for how long a peer has not been heard, seconds; of an unknown peer for ever."""
        known = self._peers.get(peer)
        return float("inf") if known is None else now_s - known.heard_s

    def state(self, peer: str) -> PeerState:
        """Return what is known of a peer; one that nobody waits for is lost."""
        known = self._peers.get(peer)
        return PeerState.LOST if known is None else known.state

    def epoch(self, peer: str) -> int:
        """Return the incarnation number of a peer, 0 where it was not heard yet."""
        known = self._peers.get(peer)
        return 0 if known is None else known.epoch
