"""Drops that stand for others."""

import pytest

from penstock.drops.container import ContainerDrop
from penstock.drops.memory import MemoryDrop
from penstock.errors import DropNotReadable, DropNotWritable
from penstock.testing.solo import SoloSite


@pytest.fixture
def container(site: SoloSite) -> ContainerDrop:
    drop = site.add(ContainerDrop, "c")
    for uid in ("a", "b"):
        child = site.add(MemoryDrop, uid)
        site.fill(child, uid * 3)
        site.put(drop, child)
    return drop


def test_children_come_in_the_order_of_the_graph(container: ContainerDrop):
    assert [child.uid for child in container.children] == ["a", "b"]
    assert container.size == 6


def test_deleting_deletes_all_children(container: ContainerDrop):
    assert container.exists()
    container.delete()
    assert not container.exists()
    assert not any(child.exists() for child in container.children)


def test_it_is_gone_when_one_child_is(container: ContainerDrop):
    container.children[0].delete()
    assert not container.exists()


def test_it_takes_no_bytes(container: ContainerDrop):
    with pytest.raises(DropNotWritable, match="children"):
        container.write(b"a")


def test_it_has_no_bytes(site: SoloSite, container: ContainerDrop):
    site.fill(container)
    with pytest.raises(DropNotReadable, match="children"):
        container.read()
