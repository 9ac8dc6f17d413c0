"""Functions that `workers.py` lets workers run; found by their dotted names."""

import time
from typing import Any

import numpy as np

MIB = 1 << 20


def nothing(value: Any = None) -> None:
    """Do nothing."""


def compute(value: Any = None) -> int:
    """Keep the interpreter busy for about 10 ms."""
    total = 0
    for i in range(160_000):
        total += i * i
    return total


def nap(value: Any = None) -> None:
    """Keep a slot, and no processor, for a while."""
    time.sleep(0.5)


def make(value: Any = None) -> np.ndarray:
    """Return an array of 1 MiB."""
    return np.ones(MIB // 8)


def pass_on(array: np.ndarray) -> np.ndarray:
    """Return the array that came, looked at and changed in one place."""
    array[0] += 1
    return array


def make_large(value: Any = None) -> np.ndarray:
    """Return an array of 1 GiB."""
    return np.ones(1024 * MIB // 8)


def look(array: np.ndarray) -> float:
    """Read all of an array."""
    return float(array.sum())
