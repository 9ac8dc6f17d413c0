"""What the tests of the drops share."""

from pathlib import Path

import pytest

from penstock.testing.solo import SoloSite


@pytest.fixture
def site(tmp_path: Path) -> SoloSite:
    session = tmp_path / "session"
    session.mkdir()
    return SoloSite(session, environment={"DATA": "archive/2026", "EMPTY": ""})
