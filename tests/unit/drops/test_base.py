"""What every drop has: names, fields, described arguments."""

from penstock.drops.app import AppDrop
from penstock.drops.data import DataDrop
from penstock.engine.states import DropState
from penstock.testing.solo import SoloSite


def test_names_fall_back_from_name_to_oid_to_uid(site: SoloSite):
    assert site.add(DataDrop, "u", oid="o", name="n").name == "n"
    assert site.add(DataDrop, "u", oid="o").name == "o"
    drop = site.add(DataDrop, "u", oid="")
    assert (drop.oid, drop.name) == ("u", "u")


def test_a_key_beats_the_described_argument(site: SoloSite):
    drop = site.add(DataDrop, "d", width=3, applicationArgs={"width": {"value": 4}, "depth": {"value": 5}})
    assert (drop.field("width"), drop.field("depth"), drop.field("height", 6)) == (3, 5, 6)


def test_the_value_of_a_port_is_no_setting(site: SoloSite):
    drop = site.add(DataDrop, "d", applicationArgs={"width": {"value": 4, "usage": "InputPort"}})
    assert drop.field("width", 1) == 1


def test_a_skipped_drop_is_skipped_by_its_site(site: SoloSite):
    drop = site.add(AppDrop, "a")
    drop.skip()
    assert drop.status == DropState.SKIPPED


def test_repr_names_class_and_uid(site: SoloSite):
    assert repr(site.add(DataDrop, "d")) == "<DataDrop d>"
