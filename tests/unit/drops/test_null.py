"""Drops without data."""

from penstock.drops.null import EndDrop, NullDrop
from penstock.testing.solo import SoloSite


def test_what_is_written_is_dropped(site: SoloSite):
    drop = site.add(NullDrop, "d")
    assert drop.write(b"abc") == 3
    site.fill(drop)
    assert (drop.read(), drop.size) == (b"", 0)


def test_only_an_end_drop_ends_the_session():
    assert (NullDrop.ends_session, EndDrop.ends_session) == (False, True)


def test_its_url_names_session_and_drop(site: SoloSite):
    assert site.add(NullDrop, "d").url == "null://localhost/solo/d"
