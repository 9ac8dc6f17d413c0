"""Sessions over several nodes survive faults; what it takes to run them is in `penstock.testing.simulator`."""

import pytest

from penstock.testing.simulator import main, simulate, simulate_many
from penstock.testing.simulator_history import Wrong
from tests.conftest import PROVE

FAULTS = 100_000
SEED = 1


def test_a_hundred_thousand_faults_do_no_harm() -> None:
    _, faults = simulate_many(FAULTS, SEED)
    assert min(faults[kind] for kind in ("lost", "doubled", "reordered", "cut", "paused", "crashed")) > 0


@pytest.mark.prove
@pytest.mark.parametrize("part", range(10))
@pytest.mark.skipif(not PROVE, reason="a million faults more; run by `make prove`")
def test_a_million_faults_do_no_harm(part: int) -> None:
    simulate_many(FAULTS, (part + 1) * 1_000_000)


def test_a_seed_is_a_history() -> None:
    assert simulate(17) == simulate(17)


def test_the_command_tells_what_was_survived(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--faults", "100", "--seed", "3"]) == 0
    assert "sessions" in capsys.readouterr().out
    assert main(["--replay", "3"]) == 0
    assert capsys.readouterr().out.startswith("1 sessions")


def test_a_failing_seed_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(seed: int) -> None:
        raise Wrong(f"seed {seed}, at 1.000 s: something")

    monkeypatch.setattr("penstock.testing.simulator.simulate", fail)
    assert main(["--replay", "12"]) == 1
    assert capsys.readouterr().out == "seed 12, at 1.000 s: something\n"
