# SPDX-License-Identifier: Apache-2.0
"""What drops printed, logged and failed with, and the word by which somebody means a drop."""

import sys
from collections.abc import Callable, Collection, Iterable

from penstock.cli.terminal import plain, plain_text
from penstock.graph.problems import did_you_mean

__all__ = ["find_drop", "print_pieces", "tell_nothing"]

_MOST_DROPS = 20


def find_drop(word: str, uids: Collection[str], *, all_known: bool) -> str | None:
    """Return the drop that a word means: the one of that uid, else the only one that begins or ends so.

    Where there is none, or several, None; then this was said.

    Args:
        all_known: whether `uids` are all drops there are.
    """
    if word in uids:
        return word
    found = [uid for uid in uids if uid.startswith(word) or uid.endswith(word)] if word else []
    if len(found) == 1:
        return found[0]
    _tell_not_found(word, found, uids, all_known=all_known)
    return None


def _tell_not_found(word: str, found: list[str], uids: Collection[str], *, all_known: bool) -> None:
    if found:
        some = "".join(f"  {plain(uid)}\n" for uid in found[:_MOST_DROPS])
        sys.stderr.write(f"penstock: {len(found)} drops begin or end with {plain(word)!r}:\n{some}")
        return
    if not all_known and not did_you_mean(word, uids):
        why = "the run has not come to its end, so only drops that printed or failed are known"
        sys.stderr.write(f"penstock: nothing is known of a drop {plain(word)!r}; {why}\n")
        return
    hint = plain(did_you_mean(word, uids)) or "penstock show lists the drops"
    sys.stderr.write(f"penstock: this run has no drop {plain(word)!r}; {hint}\n")


def print_pieces(pieces: Iterable[tuple[str, str]], *, headings: bool) -> bool:
    """Print pieces (drop, text), with a heading where another drop begins; whether there were any.

    Programs get them as they are; on a terminal they must not act.
    """
    shown: Callable[[str], str] = plain_text if sys.stdout.isatty() else str
    last, at_start = None, True
    for uid, text in pieces:
        if uid != last:
            sys.stdout.write("" if at_start else "\n")
            if headings:
                sys.stdout.write(f"==> {plain(uid) or 'the session'} <==\n")
            last, at_start = uid, True
        sys.stdout.write(shown(text))
        at_start = text.endswith("\n") if text else at_start
    sys.stdout.write("" if at_start else "\n")
    return last is not None


def tell_nothing(uid: str | None, state: str) -> None:
    """Say that there was nothing to print.

    Args:
        uid: the drop that was asked for, None for all.
        state: how it ended, "" where that is not known.
    """
    what = "no drop printed anything" if uid is None else f"{plain(uid)} printed nothing"
    sys.stderr.write(f"penstock: {what}{f'; it ended {state}' if state else ''}\n")
