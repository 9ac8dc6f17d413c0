"""The book of slots, event by event: what it is told, and what it wants then."""

import pytest

from penstock.workers.book import Book, Credit, Death, Item, Recall, Send, SlotPhase, SlotRow, Start

from .book_play import QUICK_S, learn, make_items, sends, state_of, warm_book

# Starting


def test_no_process_is_started_before_there_is_work() -> None:
    book = Book(4)
    book.open(1)
    assert book.plan(0.0) == []
    assert book.next_look_s() is None


def test_one_item_starts_one_process_and_runs_there_when_it_is_up() -> None:
    book = Book(4)
    book.open(1)
    items = make_items(1)
    book.submit(1, items)
    assert book.plan(0.0) == [Start(0)]
    assert book.plan(1.0) == []
    book.slot_ready(0, 1.0)
    assert book.plan(1.0) == [Send(0, tuple(items))]


def test_items_of_unknown_cost_start_as_many_processes_as_there_are_items() -> None:
    book = Book(8)
    book.open(1)
    book.submit(1, make_items(3))
    assert book.plan(0.0) == [Start(0), Start(1), Start(2)]


def test_so_many_processes_start_at_a_time_and_no_more() -> None:
    book = Book(8, Credit(starting=2))
    book.open(1)
    book.submit(1, make_items(100))
    assert book.plan(0.0) == [Start(0), Start(1)]
    book.slot_ready(0, 0.1)
    commands = book.plan(0.1)
    assert [type(command) for command in commands] == [Send, Start]


def test_quick_items_that_one_slot_does_at_once_start_no_second_process() -> None:
    book = Book(2)
    book.open(1)
    book.submit(1, make_items(1))
    book.plan(0.0)
    book.slot_ready(0, 0.0)
    ((slot, (item,)),) = sends(book.plan(0.0)).items()
    book.finished(slot, item, QUICK_S, 0.0)
    book.submit(1, make_items(500))
    assert list(sends(book.plan(0.0))) == [0]


def test_quick_items_behind_a_silent_slot_start_another_process_after_a_moment() -> None:
    book = Book(2)
    book.open(1)
    book.submit(1, make_items(1))
    book.plan(0.0)
    book.slot_ready(0, 0.0)
    ((slot, (item,)),) = sends(book.plan(0.0)).items()
    book.finished(slot, item, QUICK_S, 0.0)
    book.submit(1, make_items(1, kind="long"))
    book.plan(0.0)
    book.submit(1, make_items(1))
    assert book.plan(0.001) == []
    assert book.next_look_s() == pytest.approx(0.009)
    assert book.plan(0.0101) == [Start(1)]


def test_a_process_that_could_not_start_is_started_again_while_there_is_work() -> None:
    book = Book(1)
    book.open(1)
    book.submit(1, make_items(1))
    book.plan(0.0)
    book.died(0, [], 0.0)
    assert book.plan(0.0) == [Start(0)]
    assert book.slots_view() == [SlotRow(0, SlotPhase.STARTING, None, 0, 1)]


# Credit


def test_nothing_is_queued_behind_an_item_of_unknown_cost() -> None:
    book = warm_book(1)
    book.submit(1, make_items(10, kind="new"))
    assert [len(items) for items in sends(book.plan(0.0)).values()] == [1]


def test_nothing_is_queued_behind_a_long_item() -> None:
    book = warm_book(1)
    learn(book, "long", 0.005)
    book.submit(1, make_items(10, kind="long"))
    assert [len(items) for items in sends(book.plan(0.0)).values()] == [1]


def test_a_batch_is_worth_no_more_than_the_credit() -> None:
    book = warm_book(1)
    book.submit(1, make_items(10_000))
    ((_, items),) = sends(book.plan(0.0)).items()
    assert len(items) == pytest.approx(400, abs=1)


def test_a_batch_is_a_part_of_what_waits_so_that_the_end_is_shared() -> None:
    book = warm_book(2)
    book.submit(1, make_items(100))
    assert [len(items) for items in sends(book.plan(0.0)).values()] == [25, 19]


def test_a_slot_is_refilled_when_half_of_its_items_have_ended() -> None:
    book = warm_book(1)
    book.submit(1, make_items(10_000))
    ((_, items),) = sends(book.plan(0.0)).items()
    half = len(items) // 2
    for item in items[: half - 1]:
        book.finished(0, item, QUICK_S, 0.001)
        assert book.plan(0.001) == []
    for item in items[half - 1 : half + 1]:
        book.finished(0, item, QUICK_S, 0.001)
    ((_, more),) = sends(book.plan(0.001)).items()
    assert len(more) == pytest.approx(half, abs=2)


def test_a_mean_rises_at_once_and_falls_slowly() -> None:
    book = warm_book(1)
    learn(book, "quick", 0.1)
    learn(book, "quick", QUICK_S)
    book.submit(1, make_items(100))
    assert [len(items) for items in sends(book.plan(0.0)).values()] == [1]


# Taking back


def test_what_waits_behind_a_silent_item_is_taken_back_and_runs_elsewhere() -> None:
    book = warm_book(2)
    book.submit(1, make_items(100))
    sent = sends(book.plan(0.0))
    assert book.next_look_s() == pytest.approx(0.005)
    for item in sent[0]:
        book.finished(0, item, QUICK_S, 0.004)
    book.plan(0.004)
    commands = book.plan(0.0051)
    assert Recall(1) in commands
    book.recalled(1, sent[1][1:], 0.0051)
    assert 1 not in sends(book.plan(0.0051)), "it must not go back behind the slow one"
    book.finished(1, sent[1][0], 0.2, 0.2)
    assert any(isinstance(command, Send) and command.slot == 1 for command in book.plan(0.2))


def _drained(book: Book, count: int, *, spare: int) -> list[Item]:
    """Let one slot of two do all items but those that the other one was given, and return these."""
    book.submit(1, make_items(count))
    sent = sends(book.plan(0.0))
    kept = sent[spare]
    while items := sent.get(1 - spare):
        for item in items:
            book.finished(1 - spare, item, QUICK_S, 0.001)
        commands = book.plan(0.001)
        if any(isinstance(command, Recall) for command in commands):
            assert commands == [Recall(spare)]
            return kept
        sent = sends(commands)
    return kept


def test_an_idle_slot_gets_what_another_has_not_begun() -> None:
    book = warm_book(2)
    kept = _drained(book, 400, spare=0)
    assert book.plan(0.001) == []
    book.recalled(0, kept[1:], 0.001)
    assert sends(book.plan(0.001))[1] == kept[1 : 1 + (len(kept) + 2) // 4]


def test_what_a_slot_holds_is_shared_at_once_when_it_turns_out_to_be_slow() -> None:
    book = warm_book(2)
    kept = _drained(book, 40, spare=0)
    assert len(kept) == 10
    assert book.plan(0.001) == [], "it is hardly worth a message"
    book.finished(0, kept[0], 0.001, 0.001)
    assert book.plan(0.001) == [Recall(0)]


def test_items_like_a_silent_one_are_sent_one_at_a_time_and_none_to_its_slot() -> None:
    book = warm_book(2)
    book.submit(1, make_items(400))
    sent = sends(book.plan(0.0))
    assert set(book.plan(0.006)) == {Recall(0), Recall(1)}
    book.recalled(0, sent[0][1:], 0.006)
    book.recalled(1, sent[1][1:], 0.006)
    book.finished(1, sent[1][0], QUICK_S, 0.006)
    sizes = []
    for _ in range(10):  # what ends on the other slot lowers the mean again
        ((slot, items),) = sends(book.plan(0.006)).items()
        assert slot == 1
        sizes.append(len(items))
        for item in items:
            book.finished(1, item, QUICK_S, 0.006)
    assert sizes[0] == 1 < sizes[-1]


def test_a_slot_whose_items_have_all_begun_is_not_asked_again() -> None:
    book = warm_book(2)
    learn(book, "short", 0.001)
    book.submit(1, make_items(8, kind="short"))
    sent = sends(book.plan(0.0))
    assert len(sent[0]) == 2
    todo = sent[1]
    while todo:
        book.finished(1, todo.pop(0), 0.001, 0.001)
        commands = book.plan(0.001)
        if commands == [Recall(0)]:
            break
        todo += sends(commands).get(1, [])
    book.recalled(0, [], 0.001)  # one runs, and the outcome of the other is under way
    assert book.plan(0.001) == []
    assert book.plan(0.1) == []


def test_what_is_hardly_worth_a_message_is_not_taken_back() -> None:
    book = warm_book(2)
    book.submit(1, make_items(12))
    sent = sends(book.plan(0.0))
    assert [len(items) for items in sent.values()] == [3, 3]
    done = list(sent.values())[1]
    slot = list(sent)[1]
    for _ in range(20):
        for item in done:
            book.finished(slot, item, QUICK_S, 0.0001)
        commands = book.plan(0.0001)
        if not commands:
            break
        done = sends(commands)[slot]
    assert book.plan(0.0001) == []


def test_items_taken_back_wait_before_the_others_in_their_order() -> None:
    book = warm_book(1)
    items = make_items(10)
    book.submit(1, items)
    ((_, sent),) = sends(book.plan(0.0)).items()
    book.recalled(0, sent[1:], 0.0)
    assert book.withdraw(1) == items[1:]


def test_a_slot_with_an_open_recall_gets_nothing() -> None:
    book = warm_book(1)
    book.submit(1, make_items(100))
    ((_, sent),) = sends(book.plan(0.0)).items()
    assert book.plan(0.006) == [Recall(0)]
    for item in sent:
        book.finished(0, item, QUICK_S, 0.006)
    assert book.plan(0.006) == []
    book.recalled(0, [], 0.006)
    assert list(sends(book.plan(0.006))) == [0]


# Wide and lonely items


def test_a_lonely_item_goes_to_an_idle_slot_and_nothing_behind_it() -> None:
    book = warm_book(1)
    lonely = Item(1, 99, "quick", alone=True)
    book.submit(1, [lonely, *make_items(50)])
    assert sends(book.plan(0.0)) == {0: [lonely]}
    book.submit(1, make_items(50))
    assert book.plan(0.0) == []
    book.recalled(0, [], 0.0)
    assert book.plan(0.0) == []
    book.finished(0, lonely, QUICK_S, 0.0)
    assert len(sends(book.plan(0.0))[0]) > 1


def test_a_wide_item_waits_for_room_and_is_not_overtaken() -> None:
    book = warm_book(2, holders=2)
    learn(book, "long", 1.0)
    first = make_items(2, kind="long")
    book.submit(1, first)
    sent = sends(book.plan(0.0))
    wide = Item(2, 1, "long", width=2)
    book.submit(2, [wide])
    book.submit(1, make_items(5, kind="long"))
    book.plan(0.0)
    slots = list(sent)
    book.finished(slots[0], sent[slots[0]][0], 1.0, 1.0)
    assert book.plan(1.0) == [], "room for the wide item comes first"
    book.finished(slots[1], sent[slots[1]][0], 1.0, 1.5)
    ((slot, items),) = sends(book.plan(1.5)).items()
    assert items == [wide]
    book.finished(slot, wide, 1.0, 2.5)
    assert len(sends(book.plan(2.5))) == 2


def test_slots_are_not_refilled_while_room_is_kept_for_a_wide_item() -> None:
    book = warm_book(2, holders=2)
    first = make_items(1, holder=2)
    book.submit(2, first)
    ((slot, _),) = sends(book.plan(0.0)).items()
    book.finished(slot, first[0], 1.0, 0.0)  # it has had more time than the other
    learn(book, "fast", QUICK_S)
    book.submit(1, make_items(1000, kind="fast"))
    sent = sends(book.plan(0.0))
    book.submit(2, [Item(2, 2, "wide", width=2)])
    (recall,) = book.plan(0.0)
    yielding, other = recall.slot, 1 - recall.slot
    book.recalled(yielding, sent[yielding][1:], 0.0)
    book.finished(yielding, sent[yielding][0], QUICK_S, 0.0)
    for item in sent[other][:-1]:
        book.finished(other, item, QUICK_S, 0.0)
        assert book.plan(0.0) == []
    book.finished(other, sent[other][-1], QUICK_S, 0.0)
    assert [items[0].width for items in sends(book.plan(0.0)).values()] == [2]


def test_a_wide_item_that_waits_for_its_own_holder_keeps_no_room_from_others() -> None:
    book = warm_book(2, holders=2)
    book.submit(1, make_items(1, kind="long"))
    ((slot, _),) = sends(book.plan(0.0)).items()
    book.submit(1, [Item(1, 9, "wide", width=2)])
    assert book.plan(0.0) == []
    book.submit(2, make_items(100, holder=2))
    ((other, sent),) = sends(book.plan(0.0)).items()
    assert other == 1 - slot
    for item in sent:
        book.finished(other, item, QUICK_S, 0.0)
    assert list(sends(book.plan(0.0))) == [other]


def test_no_process_is_started_for_a_wide_item_that_waits_for_room() -> None:
    book = Book(3)
    book.open(1)
    book.open(2)
    book.submit(1, make_items(1))
    book.plan(0.0)
    book.slot_ready(0, 0.0)
    book.plan(0.0)
    book.submit(2, [Item(2, 5, "wide", width=3), Item(2, 6, "wide", width=3)])
    assert book.plan(0.0) == []


def test_an_item_wider_than_the_pool_takes_all_of_it() -> None:
    book = warm_book(2)
    wide = Item(1, 1, "quick", width=9)
    book.submit(1, [wide, *make_items(5)])
    assert list(sends(book.plan(0.0)).values()) == [[wide]]


# Holders


def test_a_higher_priority_goes_first() -> None:
    book = warm_book(1)
    book.open(2, priority=1)
    low, high = make_items(1), make_items(1, holder=2)
    book.submit(1, low)
    book.submit(2, high)
    assert sends(book.plan(0.0)) == {0: high}


def test_slots_are_given_by_share() -> None:
    book = warm_book(4)
    book.open(2, share=3.0)
    book.submit(1, make_items(10, kind="new"))
    book.submit(2, make_items(10, holder=2, kind="new"))
    holders = [items[0].holder for items in sends(book.plan(0.0)).values()]
    assert sorted(holders) == [1, 2, 2, 2]


def test_items_of_two_holders_do_not_share_a_slot() -> None:
    book = warm_book(1, holders=2)
    book.submit(1, make_items(2))
    book.plan(0.0)
    book.submit(2, make_items(2, holder=2))
    assert book.plan(0.0) == []


def test_a_late_holder_makes_another_yield_unstarted_items() -> None:
    book = warm_book(2, holders=2)
    book.submit(1, make_items(10_000))
    sent = sends(book.plan(0.0))
    book.submit(2, make_items(10, holder=2))
    (recall,) = book.plan(0.0)
    assert isinstance(recall, Recall)
    book.recalled(recall.slot, sent[recall.slot][1:], 0.0)
    assert book.plan(0.0) == []
    book.finished(recall.slot, sent[recall.slot][0], QUICK_S, 0.0)
    assert [items[0].holder for items in sends(book.plan(0.0)).values()] == [2]


def test_a_closed_holder_gets_its_waiting_items_and_its_running_ones_end() -> None:
    book = warm_book(1)
    items = make_items(10)
    book.submit(1, items)
    ((_, sent),) = sends(book.plan(0.0)).items()
    assert book.close(1) == items[len(sent) :]
    assert book.recalled(0, sent[2:], 0.0) == sent[2:]
    book.finished(0, sent[0], QUICK_S, 0.0)
    assert book.died(0, [], 0.0) == Death(sent[1], again=False)
    assert book.plan(0.0) == []


def test_items_put_before_the_others_keep_their_order() -> None:
    book = warm_book(1)
    late, early = make_items(3), make_items(3, kind="early")
    book.submit(1, late)
    book.submit(1, early, front=True)
    assert book.withdraw(1) == early + late


def test_a_refused_item_is_out_of_the_book() -> None:
    book = warm_book(1)
    items = make_items(1)
    book.submit(1, items)
    book.plan(0.0)
    book.refused(0, items[0])
    assert state_of(book, 0) == SlotPhase.IDLE
    assert book.withdraw(1) == []
