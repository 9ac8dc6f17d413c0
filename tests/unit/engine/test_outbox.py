"""One stream: when messages are sent, sent again, refused."""

import math

import pytest

from penstock.engine.outbox import RESEND_MOST_S, RESEND_S, Inbox, Outbox
from penstock.errors import WireError


def _outbox(*payloads: str, window: int = 64) -> Outbox[str]:
    outbox: Outbox[str] = Outbox(7, window=window)
    for payload in payloads:
        outbox.put(payload)
    return outbox


def test_messages_are_numbered_from_one_and_sent_at_once() -> None:
    outbox = _outbox("a", "b")
    assert outbox.next_due_s() == 0.0
    assert outbox.due(10.0) == [(1, "a"), (2, "b")]
    assert outbox.due(10.0) == []
    assert outbox.put("c") == 3
    assert outbox.due(10.1) == [(3, "c")]


def test_what_is_not_acknowledged_is_sent_again_after_ever_longer_pauses() -> None:
    outbox = _outbox("a")
    outbox.due(0.0)
    pauses, now_s = [], 0.0
    for _ in range(8):
        due_s = outbox.next_due_s()
        assert outbox.due(due_s - 0.001) == []
        assert outbox.due(due_s) == [(1, "a")]
        pauses.append(round(due_s - now_s, 6))
        now_s = due_s
    assert pauses == [RESEND_S, 0.4, 0.8, 1.6, 3.2, RESEND_MOST_S, RESEND_MOST_S, RESEND_MOST_S]


def test_an_acknowledgement_is_of_all_up_to_a_number() -> None:
    outbox = _outbox("a", "b", "c")
    outbox.due(0.0)
    outbox.acknowledge(7, 2, 1.0)
    assert len(outbox) == 1
    assert outbox.next_due_s() == 1.0 + RESEND_S
    outbox.acknowledge(7, 1, 1.0)  # late
    outbox.acknowledge(6, 3, 1.0)  # of another epoch
    assert outbox.due(2.0) == [(3, "c")]
    outbox.acknowledge(7, 3, 3.0)
    assert (len(outbox), outbox.next_due_s()) == (0, math.inf)


def test_what_was_never_sent_cannot_be_acknowledged() -> None:
    outbox = _outbox("a", "b", window=1)
    outbox.due(0.0)
    with pytest.raises(WireError, match="only 1 were sent"):
        outbox.acknowledge(7, 2, 0.0)
    assert len(outbox) == 2


def test_no_more_than_a_window_is_on_the_way() -> None:
    outbox = _outbox("a", "b", "c", window=2)
    assert outbox.is_full
    assert outbox.due(0.0) == [(1, "a"), (2, "b")]
    assert outbox.next_due_s() == RESEND_S
    outbox.acknowledge(7, 1, 0.1)
    assert outbox.next_due_s() == 0.0
    assert outbox.due(0.1) == [(3, "c")]
    assert outbox.is_full


def test_after_a_reconnect_all_goes_out_at_once_and_pauses_begin_anew() -> None:
    outbox = _outbox("a", "b")
    for now_s in (0.0, 1.0, 5.0, 20.0):
        outbox.due(now_s)
    outbox.reconnected()
    assert outbox.next_due_s() == 0.0
    assert outbox.due(20.5) == [(1, "a"), (2, "b")]
    assert outbox.next_due_s() == 20.5 + RESEND_S
    empty = _outbox()
    empty.reconnected()
    assert empty.next_due_s() == math.inf


def test_messages_are_handed_over_in_order_once() -> None:
    inbox: Inbox[str] = Inbox()
    assert inbox.take(1, 2, "b") == []
    assert inbox.take(1, 2, "b") == []
    assert inbox.take(1, 1, "a") == ["a", "b"]
    assert inbox.take(1, 1, "a") == []
    assert inbox.acknowledged == 2


def test_what_comes_far_too_early_is_not_kept() -> None:
    inbox: Inbox[str] = Inbox(window=2)
    assert inbox.take(1, 3, "c") == []
    assert inbox.take(1, 1, "a") == ["a"]
    assert inbox.take(1, 2, "b") == ["b"]
    assert inbox.expects(1, 3)
    assert not inbox.expects(2, 3)
    assert inbox.expects(2, 1)


def test_an_older_epoch_is_refused_and_a_newer_one_begins_anew() -> None:
    inbox: Inbox[str] = Inbox(4)
    assert inbox.take(3, 1, "old") == []
    assert inbox.take(4, 1, "a") == ["a"]
    assert inbox.take(4, 3, "c") == []
    assert inbox.take(5, 1, "A") == ["A"]
    assert inbox.take(5, 2, "B") == ["B"]
    assert inbox.take(4, 2, "b") == []
    assert (inbox.epoch, inbox.acknowledged) == (5, 2)
