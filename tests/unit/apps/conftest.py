# SPDX-License-Identifier: Apache-2.0
"""What the tests of the apps share: a site, a check that nothing is left behind."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.testing.solo import SoloSite
from tests.processes import children


@pytest.fixture
def site(tmp_path: Path) -> SoloSite:
    return SoloSite(tmp_path, environment={"PATH": os.environ["PATH"], "DLG_ROOT": str(tmp_path)})


def open_descriptors() -> set[str]:
    return {name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fail where a test leaves descriptors, threads or children."""
    before = open_descriptors(), {thread.name for thread in threading.enumerate()}, children()
    yield
    assert (open_descriptors(), {thread.name for thread in threading.enumerate()}, children()) == before
