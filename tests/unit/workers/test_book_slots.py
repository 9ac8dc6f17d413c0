"""The book of slots when processes die, are lent to long-lived objects, or cannot be."""

import pytest

from penstock.errors import IllegalTransition
from penstock.workers.book import Book, Credit, Death, End, Item, SlotPhase, SlotRow, Start

from .book_play import QUICK_S, learn, make_items, sends, state_of, warm_book

# Death


def test_who_had_begun_is_blamed_and_the_others_are_not() -> None:
    book = warm_book(1)
    items = make_items(10)
    book.submit(1, items)
    ((_, sent),) = sends(book.plan(0.0)).items()
    book.finished(0, sent[0], QUICK_S, 0.0)
    assert book.died(0, sent[2:], 0.0) == Death(sent[1], again=True)
    assert [item.deaths for item in items] == [0, 1] + [0] * 8
    assert book.withdraw(1) == items[1:]


def test_a_culprit_runs_alone_and_not_a_fourth_time() -> None:
    book = warm_book(1)
    items = make_items(20)
    book.submit(1, items)
    ((_, sent),) = sends(book.plan(0.0)).items()
    for deaths in (1, 2, 3):
        begun, *rest = sent
        assert book.died(0, rest, 0.0) == Death(items[0], again=deaths < 3)
        assert begun.deaths == deaths
        assert book.plan(0.0) == [Start(0)]
        book.slot_ready(0, 0.0)
        ((_, sent),) = sends(book.plan(0.0)).items()
        if deaths < 3:
            assert sent == [items[0]]
    assert sent[0] is items[1]


def test_who_was_killed_on_purpose_is_not_blamed_and_not_run_again() -> None:
    book = warm_book(1)
    items = make_items(4)
    book.submit(1, items)
    ((_, sent),) = sends(book.plan(0.0)).items()
    book.ending(0)
    book.recalled(0, sent[1:], 0.0)
    assert book.plan(0.0) == []
    assert book.died(0, [], 0.0, blame=False) == Death(sent[0], again=False)
    assert sent[0].deaths == 0
    assert book.withdraw(1) == items[1:]


def test_nobody_is_blamed_for_the_death_of_an_idle_process() -> None:
    book = warm_book(1)
    assert book.died(0, [], 0.0) == Death(None, again=False)
    assert book.slots_view() == [SlotRow(0, SlotPhase.COLD, None, 0, 1)]


# Dedicated slots


def test_an_additional_slot_starts_at_once_and_ends_when_released() -> None:
    book = warm_book(1)
    slot = book.dedicate(1)
    assert slot == 1
    assert book.plan(0.0) == [Start(1)]
    assert book.slots_view()[1] == SlotRow(1, SlotPhase.DEDICATED, 1, 0, 0)
    book.release(1)
    assert book.plan(0.0) == [End(1)]
    assert state_of(book, 1) == SlotPhase.ENDING
    book.died(1, [], 0.0, blame=False)
    assert len(book.slots_view()) == 1
    assert book.dedicate(1) == 2, "late news of the old one must not be taken for this one's"


def test_an_additional_slot_released_before_its_start_leaves_nothing() -> None:
    book = Book(1)
    book.open(1)
    slot = book.dedicate(1)
    assert slot is not None
    book.release(slot)
    assert book.plan(0.0) == []
    assert len(book.slots_view()) == 1


def test_one_of_the_pools_slots_is_lent_and_comes_back() -> None:
    book = warm_book(2)
    slot = book.dedicate(1, counts=True)
    assert slot is not None
    book.submit(1, make_items(9, kind="new"))
    assert list(sends(book.plan(0.0))) == [1 - slot]
    assert book.dedicate(1, counts=True) is None, "none is free now"
    book.release(slot)
    assert list(sends(book.plan(0.0))) == [slot]


def test_a_lent_slot_whose_process_dies_is_the_pools_again() -> None:
    book = warm_book(1)
    assert book.dedicate(1, counts=True) == 0
    book.submit(1, make_items(1))
    assert book.plan(0.0) == []
    book.gone(0)
    assert book.plan(0.0) == [Start(0)]


def test_a_lent_slot_that_is_killed_comes_back_when_it_is_dead() -> None:
    book = warm_book(1)
    book.dedicate(1, counts=True)
    book.ending(0)
    book.release(0)
    assert state_of(book, 0) == SlotPhase.ENDING
    book.died(0, [], 0.0, blame=False)
    book.submit(1, make_items(1))
    assert book.plan(0.0) == [Start(0)]


def test_a_cold_slot_is_lent_with_a_start_and_may_come_back_before_it_is_up() -> None:
    book = Book(1)
    book.open(1)
    assert book.dedicate(1, counts=True) == 0
    assert book.plan(0.0) == [Start(0)]
    book.release(0)
    assert state_of(book, 0) == SlotPhase.STARTING
    book.submit(1, make_items(1))
    assert book.plan(0.0) == []
    book.slot_ready(0, 0.0)
    assert list(sends(book.plan(0.0))) == [0]


# What cannot be


def test_events_that_cannot_be_are_told() -> None:
    book = warm_book(1)
    items = make_items(3)
    book.submit(1, items)
    ((_, sent),) = sends(book.plan(0.0)).items()
    stranger = Item(1, 77, "quick")
    for event in (
        lambda: book.finished(0, stranger, 0.0, 0.0),
        lambda: book.recalled(0, [stranger], 0.0),
        lambda: book.finished(9, sent[0], 0.0, 0.0),
        lambda: book.slot_ready(0, 0.0),
        lambda: book.release(0),
        lambda: book.submit(2, []),
        lambda: book.open(1),
        lambda: book.open(3, share=0.0),
        lambda: book.dedicate(2),
        lambda: book.close(2),
    ):
        with pytest.raises(IllegalTransition):
            event()


def test_a_death_with_two_begun_items_cannot_be() -> None:
    book = warm_book(1)
    book.submit(1, make_items(10))
    ((_, sent),) = sends(book.plan(0.0)).items()
    assert len(sent) > 2
    with pytest.raises(IllegalTransition, match="more than one item begun"):
        book.died(0, sent[2:], 0.0)


def test_costs_of_many_kinds_do_not_pile_up() -> None:
    book = warm_book(1, credit=Credit(kinds=3))
    for kind in ("a", "b", "c"):
        learn(book, kind, QUICK_S)
    book.submit(1, make_items(10))
    assert [len(items) for items in sends(book.plan(0.0)).values()] == [1], "the oldest is unknown again"
