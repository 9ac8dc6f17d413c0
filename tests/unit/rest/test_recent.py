"""What is remembered of earlier requests."""

from penstock.rest.recent import Recent


def test_what_is_put_is_found_until_it_is_old() -> None:
    recent: Recent[str] = Recent(10, 5.0)
    recent.put("k", "v", 0.0)
    assert recent.get("k", 5.0) == "v"
    assert recent.get("k", 5.1) is None
    assert recent.get("other", 0.0) is None


def test_the_oldest_goes_first() -> None:
    recent: Recent[int] = Recent(2, 5.0)
    for i, key in enumerate("abac"):
        recent.put(key, i, 0.0)
    assert [recent.get(key, 0.0) for key in "abc"] == [2, None, 3]


def test_what_is_forgotten_is_gone() -> None:
    recent: Recent[int] = Recent(2, 5.0)
    recent.put("a", 1, 0.0)
    recent.forget("a")
    recent.forget("a")
    assert recent.get("a", 0.0) is None
