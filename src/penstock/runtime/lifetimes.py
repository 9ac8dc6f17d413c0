# SPDX-License-Identifier: Apache-2.0
"""Which data of a graph has an end of its own."""

from penstock.drops.memory import MemoryDrop
from penstock.graph.rules import is_true
from penstock.runtime.build import Prepared
from penstock.runtime.isolation import own_values

__all__ = ["expiring"]


def expiring(prepared: Prepared) -> list[int]:
    """Return the data in memory that expires after use: where its graph says so itself and does not persist it.

    Members of containers never do, because who reads the container reads them too.
    """
    classes, class_of = prepared.classes, prepared.class_of
    asked = {i for i in prepared.rules.expiring if issubclass(classes[class_of[i]], MemoryDrop)}
    asked.difference_update(*prepared.wiring.children.values())
    persisted = own_values(prepared, "persist") if asked else {}
    return [i for i in asked if not is_true(persisted.get(i))]
