"""The book of calls: what comes again is not carried out again."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.replies import Replies, Seen


def test_a_call_is_new_once_then_runs_then_has_its_reply():
    book = Replies()
    assert book.begin(b"a", 1) is Seen.NEW
    assert book.begin(b"a", 1) is Seen.RUNNING
    book.finish(b"a", 1, [b"reply"])
    assert book.begin(b"a", 1) == [b"reply"]
    assert book.begin(b"b", 1) is Seen.NEW


def test_a_client_that_was_forgotten_is_new():
    book = Replies()
    book.begin(b"a", 1)
    book.forget(b"a")
    book.finish(b"a", 1, [b"late"])
    assert book.begin(b"a", 1) is Seen.NEW


def test_a_reply_too_large_to_keep_is_forgotten_and_its_call_not_carried_out_again():
    book = Replies(size_bytes=100)
    book.begin(b"a", 1)
    book.finish(b"a", 1, [b"x" * 101])
    assert book.begin(b"a", 1) is Seen.FORGOTTEN


@given(st.lists(st.tuples(st.sampled_from(["begin", "finish"]), st.integers(1, 30)), max_size=200))
def test_no_call_is_new_twice(steps: list[tuple[str, int]]):
    book = Replies(calls=4, size_bytes=50)
    new: list[int] = []
    for step, number in steps:
        if step == "begin":
            if book.begin(b"a", number) is Seen.NEW:
                new.append(number)
        else:
            book.finish(b"a", number, [b"x" * number])
    assert len(new) == len(set(new))
