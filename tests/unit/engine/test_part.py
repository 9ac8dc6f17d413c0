"""What goes over the borders of a part: facts, tables of names, contents; and what is refused."""

import math
from dataclasses import replace

import pytest

from penstock.engine import part as part_module
from penstock.engine.outbox import RESEND_S, WINDOW
from penstock.engine.part import Ack, Arrived, Batch, Part
from penstock.engine.states import DropState
from penstock.errors import WireError
from penstock.graph.links import APP, DATA, Wiring

C, E, S = DropState.COMPLETED, DropState.ERROR, DropState.SKIPPED

# At node m: a -> x -> d, e -> x, b -> y. At node n: d -> z, e -> z; so d and e have their home at n, a and b at m.
# Each node has its own order of rows.
M_ROWS = ["a", "b", "d", "e", "x", "z"]
M_LINKS = [("a", "x"), ("x", "d"), ("x", "e"), ("a", "z"), ("b", "z")]
N_ROWS = ["z", "e", "d", "x", "b", "a"]
N_LINKS = [("x", "d"), ("x", "e"), ("a", "z"), ("b", "z"), ("d", "z")]
AT_M, AT_N = {"d": "n", "e": "n", "z": "n"}, {"a": "m", "b": "m", "x": "m"}


def _part(
    rows: list[str], links: list[tuple[str, str]], ghosts: dict[str, str], epoch: int, **more: object
) -> Part:
    index = {uid: i for i, uid in enumerate(rows)}
    kinds = bytearray(APP if uid in "xyz" else DATA for uid in rows)
    before = [tuple(index[a] for a, b in links if b == uid) for uid in rows]
    after = [tuple(index[b] for a, b in links if a == uid) for uid in rows]
    homes = {index[uid]: home for uid, home in ghosts.items()}
    return Part(Wiring(kinds, before, after, {}, {}), rows.__getitem__, homes, epoch, **more)  # type: ignore[arg-type]


@pytest.fixture
def m() -> Part:
    return _part(M_ROWS, M_LINKS, AT_M, 5)


@pytest.fixture
def n() -> Part:
    return _part(N_ROWS, N_LINKS, AT_N, 9)


def _batch(part: Part, now_s: float = 0.0) -> Batch:
    ((_, message),) = part.due(now_s)
    assert isinstance(message, Batch)
    return message


def _names(arrived: list[Arrived]) -> list[tuple[str, int, dict[str, object]]]:
    return [(N_ROWS[a.drop], a.state, {N_ROWS[i]: c for i, c in a.contents.items()}) for a in arrived]


def test_those_who_wait_are_told_once_and_nobody_else(m: Part) -> None:
    assert [m.wanted_by(i) for i in range(6)] == [("n",), ("n",), (), (), ("n",), ()]
    assert m.wanted == bytearray((1, 1, 0, 0, 1, 0))
    m.tell(2, C)
    m.tell(0, DropState.CANCELLED)
    assert m.due(0.0) == []
    m.tell(0, C)
    m.tell(0, C)
    assert m.counts() == ({"n": 1}, {"n": 0})
    assert len(_batch(m).states) == 1
    assert m.wanted[0] == 0


def test_facts_of_one_moment_travel_together_with_what_was_written(m: Part, n: Part) -> None:
    m.tell(0, C, {0: "content of a"})
    m.ask(3, S)
    m.tell(4, C, {2: "content of d", 0: "of no concern"})
    m.tell(1, E)
    batch = _batch(m)
    assert batch.names == ("a", "b", "d", "e", "x")
    assert _names(n.receive("m", batch, 0.0)) == [
        ("a", C, {"a": "content of a"}),
        ("e", S, {}),
        ("x", C, {"d": "content of d"}),
        ("b", E, {}),
    ]
    assert n.counts() == ({"m": 0}, {"m": 4})
    assert n.due(0.0) == [("m", Ack(5, 1))]
    assert n.next_due_s() == math.inf


def test_names_travel_in_the_first_message_only(m: Part, n: Part) -> None:
    m.tell(0, C)
    first = _batch(m)
    m.tell(1, C)
    second = _batch(m)
    assert second.names == ()
    assert n.receive("m", second, 0.0) == []
    assert n.due(0.0) == []  # passed over: its table has not come
    n.receive("m", first, 0.0)
    assert _names(n.receive("m", second, 0.0)) == [("b", C, {})]
    assert n.receive("m", second, 0.0) == []
    assert n.due(0.0) == [("m", Ack(5, 2))]


def test_messages_are_sent_again_until_acknowledged(m: Part) -> None:
    assert m.next_due_s() == math.inf
    m.tell(0, C)
    assert m.next_due_s() == 0.0
    first = _batch(m)
    assert m.next_due_s() == RESEND_S
    assert _batch(m, RESEND_S) == first
    m.reconnected("n")
    m.reconnected("unknown")
    assert _batch(m, RESEND_S) == first
    assert m.receive("n", Ack(5, 1), 1.0) == []
    m.reconnected("n")
    assert m.due(100.0) == []


def test_after_a_reconnect_the_neighbour_learns_again_what_has_come(m: Part, n: Part) -> None:
    m.tell(0, C)
    n.receive("m", _batch(m), 0.0)
    n.due(0.0)
    n.reconnected("m")
    assert n.due(0.0) == [("m", Ack(5, 1))]


def test_what_does_not_fit_the_window_waits_and_travels_together(m: Part) -> None:
    for _ in range(WINDOW):
        m.ask(2, S)
        m.due(0.0)
    m.ask(2, S)
    m.ask(2, S)
    assert m.due(0.0) == []
    assert m.next_due_s() > 0
    m.receive("n", Ack(5, 1), 0.0)
    assert m.next_due_s() == 0.0
    assert len(_batch(m).states) == 2


def test_a_message_carries_only_so_much(m: Part, n: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_module, "_FACTS_PER_BATCH", 3)
    monkeypatch.setattr(part_module, "_CONTENTS_PER_BATCH", 1)
    m.tell(4, C, {2: "d", 3: "e"})
    m.tell(0, C, {0: "a"})
    for _ in range(4):
        m.ask(2, S)
    batches = [message for _, message in m.due(0.0)]
    assert [len(batch.states) for batch in batches if isinstance(batch, Batch)] == [1, 3, 2]
    arrived = [fact for batch in batches for fact in n.receive("m", batch, 0.0)]
    assert _names(arrived)[:2] == [("x", C, {"d": "d", "e": "e"}), ("a", C, {"a": "a"})]


def test_an_older_epoch_is_refused_and_a_newer_one_begins_anew(m: Part, n: Part) -> None:
    m.tell(0, C)
    n.receive("m", _batch(m), 0.0)
    reborn, ancestor = _part(M_ROWS, M_LINKS, AT_M, 6), _part(M_ROWS, M_LINKS, AT_M, 4)
    ancestor.tell(0, E)
    reborn.tell(1, C)
    assert n.receive("m", _batch(ancestor), 0.0) == []
    assert _names(n.receive("m", _batch(reborn), 0.0)) == [("b", C, {})]
    assert n.counts()[1] == {"m": 1}
    assert n.due(0.0) == [("m", Ack(6, 1))]


def test_what_is_left_of_an_earlier_session_is_refused(m: Part) -> None:
    later = _part(N_ROWS, N_LINKS, AT_N, 10, least={"m": 6})
    m.tell(0, C)
    assert later.receive("m", _batch(m), 0.0) == []
    assert later.due(0.0) == []


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little", signed=True)


@pytest.mark.parametrize(
    "fault",
    [
        {"numbers": b"\0\0\0"},
        {"numbers": b"", "states": b""},
        {"states": bytes((C, C))},
        {"states": bytes((DropState.CANCELLED,))},
        {"numbers": _number(5)},
        {"numbers": _number(-1)},
        {"names": ()},
        {"names": ("a", "b", "d", "e", "z")},
        {"names": ("a", "b", "d", "e")},
        {"contents": ((1, 0, "?"),)},
        {"contents": ((0, 5, "?"),)},
        {"contents": ((0, 4, "of an app"),)},
    ],
    ids=str,
)
def test_what_is_inconsistent_is_refused_and_changes_nothing(
    m: Part, n: Part, fault: dict[str, object]
) -> None:
    m.tell(0, C)
    good = _batch(m)
    with pytest.raises(WireError):
        n.receive("m", replace(good, **fault), 0.0)  # type: ignore[arg-type]
    assert n.counts() == ({"m": 0}, {"m": 0})
    assert n.due(0.0) == []
    assert _names(n.receive("m", good, 0.0)) == [("a", C, {})]


def test_a_later_message_with_names_or_a_number_below_one_is_none(m: Part, n: Part) -> None:
    m.tell(0, C)
    good = _batch(m)
    n.receive("m", good, 0.0)
    n.due(0.0)
    with pytest.raises(WireError, match="message 2 brings 5 names"):
        n.receive("m", replace(good, sequence=2), 0.0)
    assert n.receive("m", replace(good, sequence=0), 0.0) == []
    assert n.due(0.0) == []


def test_strangers_and_false_acknowledgements_are_refused(m: Part) -> None:
    with pytest.raises(WireError, match="'q'"):
        m.receive("q", Ack(5, 1), 0.0)
    with pytest.raises(WireError, match="only 0 were sent"):
        m.receive("n", Ack(5, 1), 0.0)


def test_links_between_ghosts_are_of_no_concern() -> None:
    part = _part(
        ["a", "x", "y", "d"], [("a", "x"), ("x", "d"), ("d", "y")], {"x": "n", "d": "q", "y": "q"}, 1
    )
    assert part.wanted_by(0) == ("n",)
    assert part.counts() == ({"n": 0, "q": 0}, {"n": 0, "q": 0})


def test_a_part_without_neighbours_is_silent() -> None:
    part = _part(["a", "x"], [("a", "x")], {}, 1)
    part.tell(0, C)
    assert (part.due(0.0), part.next_due_s(), part.counts()) == ([], math.inf, ({}, {}))


def test_numbers_travel_with_their_least_byte_first(
    m: Part, n: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    m.tell(1, C)
    batch = _batch(m)
    assert batch.numbers == _number(1)
    monkeypatch.setattr(part_module.sys, "byteorder", "big")
    other = _part(M_ROWS, M_LINKS, AT_M, 5)
    other.tell(1, C)
    assert _batch(other).numbers == _number(1)[::-1]  # as on a machine whose own order is the other one
    assert _names(n.receive("m", replace(batch, numbers=_number(1)[::-1]), 0.0)) == [("b", C, {})]


def test_of_a_neighbour_only_what_is_waited_for_must_be_told() -> None:
    ghosts = {"a": "n", "z": "n", "b": "q"}
    part = _part(["a", "b", "d", "x", "z"], [("a", "x"), ("b", "x"), ("d", "z")], ghosts, 1)
    arrived = part.receive("n", Batch(1, 1, ("a",), _number(0), bytes((C,))), 0.0)
    assert [(fact.drop, fact.state) for fact in arrived] == [(0, C)]
    with pytest.raises(WireError, match="'z', which is none"):
        part.receive("n", Batch(2, 1, ("a", "z"), _number(0), bytes((C,))), 0.0)
