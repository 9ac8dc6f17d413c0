"""Beats, suspicion, loss, return."""

import math

from penstock.leases.membership import Back, Event, Lost, Membership, PeerState, Restarted, Suspected


def _ticks(members: Membership, first_s: int, last_s: int) -> list[tuple[int, Event]]:
    return [(now_s, event) for now_s in range(first_s, last_s + 1) for event in members.tick(float(now_s))]


def test_silence_is_suspected_and_then_lost() -> None:
    members = Membership()
    members.heard("a", 1, 0.0)
    assert _ticks(members, 0, 10) == [(3, Suspected("a")), (6, Lost("a", 6.0))]
    assert members.state("a") is PeerState.LOST
    assert members.silent_s("a", 10.0) == 10.0


def test_a_peer_that_was_expected_and_never_heard_is_lost_too() -> None:
    members = Membership(suspect_s=1.0, lost_s=2.0)
    members.expect("a", 0.0)
    members.expect("a", 1.0)
    assert _ticks(members, 0, 3) == [(1, Suspected("a")), (2, Lost("a", 2.0))]


def test_who_is_heard_again_is_back() -> None:
    members = Membership()
    members.heard("a", 1, 0.0)
    _ticks(members, 0, 4)
    assert members.state("a") is PeerState.SUSPECT
    members.heard("a", 1, 4.5)
    assert _ticks(members, 5, 5) == [(5, Back("a"))]
    _ticks(members, 6, 11)
    members.heard("a", 1, 11.5)
    assert _ticks(members, 12, 12) == [(12, Back("a"))]
    assert members.state("a") is PeerState.ALIVE


def test_a_higher_epoch_is_a_restart_and_a_lower_one_comes_late() -> None:
    members = Membership()
    members.heard("a", 3, 0.0)
    assert members.tick(0.5) == []
    members.heard("a", 4, 1.0)
    assert members.tick(1.0) == [Restarted("a", 4)]
    members.heard("a", 3, 4.0)
    assert members.silent_s("a", 4.0) == 3.0
    assert members.epoch("a") == 4


def test_a_restart_before_the_first_beat_is_noticed_where_the_epoch_was_known() -> None:
    members = Membership()
    members.expect("a", 0.0, epoch=3)
    members.heard("a", 4, 1.0)
    assert members.tick(1.0) == [Restarted("a", 4)]


def test_who_was_paused_accuses_nobody() -> None:
    members = Membership()
    members.heard("a", 1, 0.0)
    members.heard("b", 1, 0.0)
    _ticks(members, 0, 6)
    members.heard("b", 1, 6.5)
    assert _ticks(members, 7, 7) == [(7, Back("b"))]
    assert members.tick(100.0) == []
    assert _ticks(members, 101, 106) == [(103, Suspected("b")), (106, Lost("b", 6.0))]


def test_what_is_forgotten_is_unknown() -> None:
    members = Membership()
    members.heard("a", 1, 0.0)
    members.heard("a", 2, 0.0)
    members.forget("a")
    assert members.tick(10.0) == []
    assert (members.state("a"), members.epoch("a"), members.silent_s("a", 0.0)) == (
        PeerState.LOST,
        0,
        math.inf,
    )
