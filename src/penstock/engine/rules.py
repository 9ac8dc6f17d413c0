# SPDX-License-Identifier: Apache-2.0
"""The rules of failing and skipping, as functions of counts.

Source: the ancestor's rules, but for the places where it loses results (see ARCHITECTURE.md, last chapter).
"""

from enum import Enum

__all__ = ["Verdict", "judge_app", "judge_data"]


class Verdict(Enum):
    """What becomes of a drop when all it waits for has ended."""

    GO = "run, or complete"
    FAIL = "fail without running"
    SKIP = "skip"


def judge_app(effective: int, errors: int, skips: int, threshold: float, *, block_skip: bool) -> Verdict:
    """Decide about an app at the moment when `effective` inputs have ended.

    Args:
        effective: how many inputs count, at least 1.
        errors: how many of them failed.
        skips: how many of them were skipped.
        threshold: percent of failed inputs that the app bears.
        block_skip: whether one real input is enough to run.
    """
    if 100 * errors // effective > threshold:
        return Verdict.FAIL
    if skips and (not block_skip or skips >= effective):
        return Verdict.SKIP
    return Verdict.GO


def judge_data(producers: int, errors: int, skips: int) -> Verdict:
    """Decide about data at the moment when all its producers have ended.

    Data that is skipped by its first skipped producer has ended before; so if there are skips here, the data
    has `block_skip`, and one real result is enough.
    """
    if errors:
        return Verdict.FAIL
    return Verdict.SKIP if skips >= producers > 0 else Verdict.GO
