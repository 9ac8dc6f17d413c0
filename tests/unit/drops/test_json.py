"""JSON that can be indexed."""

import pytest

from penstock.drops.json import JsonDrop
from penstock.errors import DropNotReadable, EncodingFailed
from penstock.testing.solo import SoloSite


def test_content_is_indexed(site: SoloSite):
    drop = site.add(JsonDrop, "d", filepath="a.json")
    site.fill(drop, '{"a": [1, {"b": 2}]}')
    assert (drop["a"][1]["b"], drop.value) == (2, {"a": [1, {"b": 2}]})


def test_content_before_complete_is_refused(site: SoloSite):
    with pytest.raises(DropNotReadable):
        site.add(JsonDrop, "d")["a"]


def test_content_that_is_no_json_is_refused(site: SoloSite):
    drop = site.add(JsonDrop, "d", filepath="a.json")
    site.fill(drop, "{")
    with pytest.raises(EncodingFailed, match=r"a\.json holds no JSON"):
        drop["a"]
