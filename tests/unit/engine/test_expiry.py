"""Which data expires when which apps have ended."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.expiry import Expiry
from penstock.graph.links import APP, DATA, Row, Wiring


def wiring(readers: list[Row], apps: int) -> Wiring:
    """Data first, each with the apps that read it, numbered from 0; then so many apps."""
    size = len(readers)
    after: list[Row] = [*(tuple(size + app for app in row) for row in readers), *[()] * apps]
    given_to = [tuple(d for d in range(size) if app in readers[d]) for app in range(apps)]
    before: list[Row] = [*[()] * size, *given_to]
    return Wiring(bytearray([DATA] * size + [APP] * apps), before, after, {}, {})


def test_data_expires_with_its_last_consumer() -> None:
    expiry = Expiry(wiring([(0, 1)], 2), [0])
    assert expiry
    assert expiry.ended([0]) == []
    assert expiry.ended([2]) == []
    assert expiry
    assert expiry.ended([1]) == [0]


def test_data_expires_when_it_is_complete_if_its_consumers_ended_before() -> None:
    expiry = Expiry(wiring([(0,)], 1), [0])
    assert expiry.ended([1]) == []
    assert expiry.ended([0]) == [0]


def test_data_that_is_never_complete_never_expires() -> None:
    expiry = Expiry(wiring([(0, 1)], 2), [0])
    assert expiry.ended([1, 2]) == []


def test_when_all_have_expired_nothing_is_left_to_count() -> None:
    expiry = Expiry(wiring([(0,)], 1), [0])
    expiry.ended([0, 1])
    assert not expiry


def test_data_without_consumers_never_expires() -> None:
    assert not Expiry(wiring([()], 1), [0])


def test_data_that_was_not_named_never_expires() -> None:
    expiry = Expiry(wiring([(0,), (0,)], 1), [1])
    assert expiry.ended([0, 1, 2]) == [1]


def test_consumers_that_end_at_once_are_counted_each() -> None:
    assert Expiry(wiring([(0, 1), (1, 2)], 3), [0, 1]).ended([0, 1, 2, 3, 4]) == [0, 1]


def test_apps_without_inputs_change_nothing() -> None:
    expiry = Expiry(wiring([(0,)], 2), [0])
    assert expiry.ended([2, 0]) == []
    assert expiry.ended([]) == []


@given(st.data())
def test_any_order_of_ends_says_each_drop_once_and_not_too_early(draw: st.DataObject) -> None:
    apps = draw.draw(st.integers(1, 5))
    rows = st.sets(st.integers(0, apps - 1)).map(lambda row: tuple(sorted(row)))
    readers = draw.draw(st.lists(rows, max_size=6))
    size = len(readers)
    data = draw.draw(st.sets(st.integers(0, size - 1))) if readers else set()
    order = draw.draw(st.permutations(range(size + apps)))
    expiry = Expiry(wiring(readers, apps), data)
    done: set[int] = set()
    told: list[int] = []
    while order:
        count = draw.draw(st.integers(1, len(order)))
        batch, order = order[:count], order[count:]
        done.update(batch)
        told += expiry.ended(batch)
        needed = {i: {i, *(size + app for app in readers[i])} for i in sorted(data) if readers[i]}
        assert sorted(told) == [i for i, drops in needed.items() if done.issuperset(drops)]
    assert not expiry
