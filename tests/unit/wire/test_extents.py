"""Ranges of one segment; the property tests compare them with a model."""

import pytest

from penstock.wire.extents import Extents


def test_a_new_segment_is_one_free_range():
    assert Extents(100).free() == [(0, 100)]
    assert Extents(100).empty


def test_the_range_given_back_last_is_taken_first():
    extents = Extents(100)
    first, _, third, _ = (extents.take(10) for _ in range(4))
    extents.give(third)
    extents.give(first)
    assert extents.take(10) == first
    assert extents.take(10) == third


def test_warm_ranges_are_found_before_the_cold_rest_is_touched():
    extents = Extents(100)
    first = extents.take(30)
    extents.take(10)
    extents.give(first)
    assert extents.take(40, warm=True) is None
    assert extents.take(30, warm=True) == first
    assert extents.warm_bytes == 40


def test_a_refusal_is_forgotten_when_room_is_given_back():
    extents = Extents(20)
    offset = extents.take(20)
    assert extents.take(10) is None
    extents.give(offset)
    assert extents.take(10) == 0


def test_a_range_is_given_back_once():
    extents = Extents(20)
    offset = extents.take(10)
    extents.give(offset)
    with pytest.raises(KeyError):
        extents.give(offset)


@pytest.mark.parametrize("size", [0, -1])
def test_ranges_and_segments_have_a_size(size: int):
    with pytest.raises(ValueError, match="bytes"):
        Extents(size)
    with pytest.raises(ValueError, match="bytes"):
        Extents(10).take(size)
