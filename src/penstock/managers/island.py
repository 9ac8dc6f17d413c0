# SPDX-License-Identifier: Apache-2.0
"""The manager of an island: one group of nodes."""

from collections.abc import Callable

from penstock.managers.api import Level
from penstock.managers.below import Below, Sub
from penstock.managers.composite import CompositeManager

__all__ = ["DataIslandManager"]


class DataIslandManager(CompositeManager):
    """A manager of nodes: drops say in their field `node` where they live."""

    def __init__(
        self, address: str, epoch: int, below: Below, connect: Callable[[str], tuple[str, Sub]]
    ) -> None:
        super().__init__(Level.ISLAND, address, epoch, below, "node", connect)
