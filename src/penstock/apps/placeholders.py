# SPDX-License-Identifier: Apache-2.0
"""Putting values into bash commands so that no value is ever read as a command.

    render('cp {from} "{to}"', {"from": ["/a b"], "to": ["$(touch x)"]}, taken=())
      -> Rendered('cp "${PENSTOCK_0}" "${PENSTOCK_1}"', {"PENSTOCK_0": "/a b", "PENSTOCK_1": "$(touch x)"})

Rule 1: a value never becomes part of the command's text. It travels in an environment variable, and the text
        gets the variable's name: what bash puts in place of a variable it does not read as a command again.
Rule 2: the quotes around the name depend on where the placeholder stands (`quoting.py` tells). A wrong answer
        would show the name, or split a value at blanks; it could not run it.
Rule 3: arithmetic reads a variable's content once more and runs commands in subscripts: only whole numbers
        are let in, and where bash may do arithmetic, no such subscripts. A here-document with a quoted end
        has no variables: the value stands there itself, if it is a word of harmless characters.
Rule 4: only known names are placeholders. `{x}` after a backslash or `$`, or of unknown name, is left alone.

What the command itself hands to another interpreter (`eval`, `bash -c "..."`, `ssh`, an awk program in which
a placeholder stands) is outside: that interpreter reads the value as its own text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.apps.quoting import Context, Place, contexts

__all__ = ["MAX_VALUE_BYTES", "Rendered", "ValueRefused", "render"]

MAX_VALUE_BYTES = 131_000
"""What Linux allows in one environment variable (128 KiB), with room for the name."""

_OLD = r"%(?P<side>[io])(?P<url>DataURL)?(?:\[(?P<uid>[^\]\s]+)\]|(?P<place>\d+))"
_NUMBER = re.compile(r"\s*[-+]?\d+\s*")
_HARMLESS = re.compile(r"[\w./:=@%+,-]+")
_SUBSCRIPT_CODE = re.compile(r"\[.*(\$\(|`|\$\{|<\()", re.DOTALL)


class ValueRefused(ValueError):
    """A value that cannot stand where its placeholder stands; the caller knows the drop and says so."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


@dataclass(frozen=True)
class Rendered:
    """A command for `bash -c`, and the variables that it needs."""

    command: str
    variables: dict[str, str] = field(default_factory=dict)


def render(command: str, values: Mapping[str, Sequence[str]]) -> Rendered:
    """Return the command with variables in place of the placeholders.

    Args:
        command: text for bash.
        values: by placeholder without its braces, or in the older form with its percent sign: the words that
            stand for it, mostly one.
    Raises:
        ValueRefused: a value that bash cannot take there.
    """
    pattern = _pattern(values)
    if pattern is None:
        return Rendered(command)
    matches = [match for match in pattern.finditer(command) if _key(match) in values]
    places = contexts(command, [match.start() for match in matches])
    pieces: list[str] = []
    variables: dict[str, str] = {}
    end = 0
    for match, place in zip(matches, places, strict=True):
        if place.escaped:
            continue
        pieces += [
            command[end : match.start()],
            _replacement(_key(match), values[_key(match)], place, variables),
        ]
        end = match.end()
    return Rendered("".join([*pieces, command[end:]]), variables)


def _pattern(values: Mapping[str, Sequence[str]]) -> re.Pattern[str] | None:
    if not values:
        return None
    names = sorted((name for name in values if not name.startswith("%")), key=len, reverse=True)
    named = "|".join(re.escape(name) for name in names) or r"(?!)"
    return re.compile(r"\{(?P<name>" + named + r")\}|" + _OLD)


def _key(match: re.Match[str]) -> str:
    return match["name"] if match["name"] is not None else match[0]


def _replacement(name: str, words: Sequence[str], place: Place, variables: dict[str, str]) -> str:
    for word in words:
        _check(name, word, place)
    if place.context is Context.VERBATIM:
        return " ".join(words)
    references = [_reference(word, variables) for word in words]
    if place.context is Context.BARE:
        return " ".join(f'"{reference}"' for reference in references) or "''"
    if place.context is Context.SINGLE:
        return "'\"" + " ".join(references) + "\"'"
    return " ".join(references)  # between double quotes, in arithmetic, in a here-document


def _reference(word: str, variables: dict[str, str]) -> str:
    name = next((name for name, known in variables.items() if known == word), f"PENSTOCK_{len(variables)}")
    variables[name] = word
    return f"${{{name}}}"


def _check(name: str, word: str, place: Place) -> None:
    if "\0" in word:
        raise ValueRefused(name, "holds a zero byte, which no command can take")
    if len(word.encode(errors="surrogateescape")) > MAX_VALUE_BYTES:
        raise ValueRefused(
            name, f"is longer than the {MAX_VALUE_BYTES} bytes that a command can take: link a file"
        )
    if place.context is Context.ARITHMETIC and not _NUMBER.fullmatch(word):
        raise ValueRefused(name, f"stands in arithmetic and must be a whole number, not {word[:40]!r}")
    if place.rereads and _SUBSCRIPT_CODE.search(word):
        raise ValueRefused(name, f"stands where bash could run a part of {word[:40]!r}")
    if place.context is Context.VERBATIM and (not _HARMLESS.fullmatch(word) or word in place.end_word):
        reason = "stands in a here-document whose end word is quoted; without these quotes it could be"
        raise ValueRefused(name, f"{reason} {word[:40]!r}")
