"""Books whose slots are up and know what quick items take, for the tests of the book."""

from collections.abc import Sequence

from penstock.workers.book import Book, Command, Credit, Item, Send, SlotPhase, Start

QUICK_S = 10e-6


def make_items(count: int, holder: int = 1, kind: str = "quick", **more: int) -> list[Item]:
    return [Item(holder, ident, kind, **more) for ident in range(count)]


def sends(commands: Sequence[Command]) -> dict[int, list[Item]]:
    assert all(isinstance(command, Send) for command in commands)
    return {command.slot: list(command.items) for command in commands if isinstance(command, Send)}


def warm_book(slots: int, *, holders: int = 1, credit: Credit = Credit()) -> Book:
    """Return a book whose slots are all idle and which knows that quick items take 10 us."""
    book = Book(slots, credit)
    for holder in range(1, holders + 1):
        book.open(holder)
    book.submit(1, make_items(slots, kind="never seen"))
    started: list[int] = []
    while commands := book.plan(0.0):
        started += [command.slot for command in commands if isinstance(command, Start)]
    for slot in started:
        book.slot_ready(slot, 0.0)
    sent = sends(book.plan(0.0))
    assert len(sent) == slots
    for slot, (item,) in sent.items():
        book.finished(slot, item, 0.0, 0.0)
    learn(book, "quick", QUICK_S)
    assert book.plan(0.0) == []
    return book


def learn(book: Book, kind: str, seconds: float) -> None:
    (item,) = make_items(1, kind=kind)
    book.submit(1, [item])
    ((slot, _),) = sends(book.plan(0.0)).items()
    book.finished(slot, item, seconds, 0.0)


def state_of(book: Book, slot: int) -> SlotPhase:
    return next(row.state for row in book.slots_view() if row.slot == slot)
