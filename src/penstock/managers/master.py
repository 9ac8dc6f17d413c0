# SPDX-License-Identifier: Apache-2.0
"""The master: the manager of several islands."""

from collections.abc import Callable

from penstock.managers.api import Level
from penstock.managers.below import Below, Sub
from penstock.managers.composite import CompositeManager

__all__ = ["MasterManager"]


class MasterManager(CompositeManager):
    """A manager of islands: drops say in their field `island` where they live, and in `node` where there."""

    def __init__(
        self, address: str, epoch: int, below: Below, connect: Callable[[str], tuple[str, Sub]]
    ) -> None:
        super().__init__(Level.MASTER, address, epoch, below, "island", connect)
