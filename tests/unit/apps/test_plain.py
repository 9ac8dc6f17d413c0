# SPDX-License-Identifier: Apache-2.0
"""Plain values are read; anything that would run code is not."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from penstock.apps.plain import plain_value


@pytest.mark.parametrize(
    "value", [None, True, 5, 2.5, "text", b"bytes", [1, {"a": (2,)}], {1, 2}, 1j, range(3), bytearray(b"x")]
)
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_plain_values_come_back(value: object, protocol: int) -> None:
    assert plain_value(pickle.dumps(value, protocol=protocol)) == value


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_come_back(protocol: int) -> None:
    for array in (np.arange(6).reshape(2, 3), np.array(["a\n", "bc"]), np.float64(1.5)):
        assert np.array_equal(plain_value(pickle.dumps(array, protocol=protocol)), array)


def test_text_and_bytes_that_are_no_pickle() -> None:
    assert plain_value(b"") is None
    assert plain_value(b"hello") == "hello"
    assert plain_value(b"\xff\xfe") == b"\xff\xfe"


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


def test_a_pickle_that_names_functions_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for bomb in (Bomb(), [Bomb()], np.array([Bomb()], dtype=object)):
        content = pickle.dumps(bomb)
        assert plain_value(content) in (content, content.decode(errors="ignore"))
    assert not list(tmp_path.iterdir())
