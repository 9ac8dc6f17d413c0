"""Settings of the test suite: two tiers of counts, and no writes outside temporary folders."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

PROVE = bool(os.environ.get("PENSTOCK_PROVE"))

settings.register_profile(
    "quick", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "prove", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("prove" if PROVE else "quick")

SHARED_GRAPHS = Path(__file__).resolve().parent.parent.parent / "shared" / "graphs"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shared_graphs() -> Path:
    """The folder of real graphs, which is no part of the project."""
    if not SHARED_GRAPHS.is_dir():
        pytest.skip("the folder of real graphs, ../shared/graphs, is not here; they may not be shipped")
    return SHARED_GRAPHS
