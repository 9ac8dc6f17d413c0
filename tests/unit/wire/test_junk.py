"""The book of junk."""

from penstock.wire.junk import JunkBook


def test_a_peer_is_ignored_for_a_minute_after_its_eleventh_in_a_minute():
    book = JunkBook(10)
    assert [book.note(b"a", 1.0 + n) for n in range(11)] == [False] * 10 + [True]
    assert book.is_ignored(b"a", 70.0)
    assert not book.is_ignored(b"a", 71.1)
    assert not book.is_ignored(b"b", 20.0)
    assert book.counts() == {b"a": 11}


def test_a_few_every_minute_are_put_up_with():
    book = JunkBook(10)
    assert not any(book.note(b"a", 10.0 * n) for n in range(100))


def test_the_book_does_not_grow_without_end():
    book = JunkBook(10)
    for n in range(30_000):
        book.note(b"%d" % n, 0.0)
    assert len(book.counts()) == 10_000
