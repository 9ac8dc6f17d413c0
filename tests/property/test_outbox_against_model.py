"""A stream over a network that does anything comes to a plain list: everything put, in order, once."""

import math
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.outbox import Inbox, Outbox
from tests.conftest import PROVE


@settings(max_examples=20_000 if PROVE else 500)
@given(st.integers(0, 2**60))
def test_a_stream_delivers_all_in_order_once(seed: int) -> None:
    rnd = Random(seed)
    window = rnd.choice((1, 2, 5, 64))
    outbox: Outbox[int] = Outbox(3, window=window)
    inbox: Inbox[int] = Inbox(rnd.choice((0, 3)), window=rnd.choice((1, window, 64)))
    put, got, now_s = 0, [], 0.0
    there: list[tuple[int, int]] = []
    back: list[int] = []
    trouble = rnd.random() * 0.8
    while put < 40 or len(got) < put or len(outbox):
        act = rnd.random()
        if act < 0.3 and put < 40:
            put += 1
            assert outbox.put(put) == put
        elif act < 0.5:
            when_s = outbox.next_due_s()
            assert when_s < math.inf or not len(outbox)
            now_s = (
                max(now_s, when_s) if when_s < math.inf and rnd.random() < 0.5 else now_s + rnd.random() / 10
            )
            sent = outbox.due(now_s)
            assert bool(sent) == (when_s <= now_s)
            assert len(sent) <= window
            for message in sent:
                there += [message] * rnd.choice((0, 1, 2)) if rnd.random() < trouble else [message]
        elif act < 0.75 and there:
            sequence, payload = there.pop(rnd.randrange(len(there)))
            before = inbox.acknowledged
            got += inbox.take(3, sequence, payload)
            assert inbox.acknowledged - before == len(got) - before
            assert inbox.take(2, sequence, payload) == []  # an older epoch
            if rnd.random() > trouble:
                back.append(inbox.acknowledged)
        elif act < 0.95 and back:
            outbox.acknowledge(3, back.pop(rnd.randrange(len(back))), now_s)
        elif act >= 0.95:
            outbox.reconnected()
            trouble *= 0.9
    assert got == list(range(1, put + 1))
    assert outbox.next_due_s() == math.inf
    assert outbox.due(now_s + 1000) == []
