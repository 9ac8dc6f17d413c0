"""What happens when the memory that workers share is used up."""

import gc
from functools import partial
from pathlib import Path

import pytest

from penstock.config import Settings
from penstock.runtime import result as result_module

from .making import Graph, app, data, run

MIB = 1 << 20


def give(size: int) -> bytes:
    """Return so many bytes that tell their number."""
    return bytes([size // MIB]) * size


def join(first: bytes, second: bytes) -> bytes:
    """Return both."""
    return first + second


def graph() -> Graph:
    function = "dlg.apps.pyfunc.PyFuncApp"
    here = "tests.integration.test_spill"
    raw = {"output_parser": "raw", "input_parser": "raw"}
    described = {"applicationArgs": {"size": {"value": 3 * MIB, "type": "Integer"}}}
    ports = [{"one": "first"}, {"two": "second"}]
    return [
        app("a", function, [], ["one"], func_name=f"{here}.give", **raw, **described),
        app("b", function, [], ["two"], func_name=f"{here}.give", **raw, **described),
        app("c", function, ports, ["both"], func_name=f"{here}.join", **raw),
        *(data(uid) for uid in ("one", "two", "both")),
    ]


def test_data_beyond_the_budget_goes_to_the_folder_of_the_session(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(result_module, "Settings", partial(Settings, shared_bytes=4 * MIB))
    result = run(graph(), workers=2, isolation=None, directory=tmp_path / "run")
    assert result.ok, result.errors
    assert result.read("both") == bytes([3]) * 6 * MIB
    outside = result._session._outside
    assert outside is not None
    usage = outside.pool.arena.usage()
    assert usage.spilled_bytes >= 6 * MIB
    assert usage.memory_bytes <= 4 * MIB
    assert {path.name for path in (tmp_path / "run" / ".penstock").iterdir()} <= {"session.json", "log.jsonl"}


def test_memory_goes_back_with_the_result_and_waits_for_no_collector(tmp_path: Path) -> None:
    gc.disable()
    try:
        result = run(graph(), workers=2, isolation=None, directory=tmp_path / "run")
        outside = result._session._outside
        assert outside is not None
        arena = outside.pool.arena
        assert arena.usage().memory_bytes >= 12 * MIB
        del result, outside
        assert arena.usage().segments == 0
    finally:
        gc.enable()
