"""Every test here begins with closed gates, and lets go of what still waits at one when it ends."""

from collections.abc import Iterator

import pytest

from .making import gates


@pytest.fixture(autouse=True)
def _gates() -> Iterator[None]:
    gates.clear()
    yield
    for gate in list(gates.values()):
        gate.set()
