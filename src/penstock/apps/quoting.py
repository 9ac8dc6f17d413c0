# SPDX-License-Identifier: Apache-2.0
"""Where in a bash command a character stands: bare, between which quotes, in arithmetic, in a here-document.

A scanner over one command text with a stack of open constructs, as bash nests them. It serves
`placeholders.py`, which is safe against its errors; so unusual syntax that it does not know costs
a value in the wrong quotes and never more.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

__all__ = ["Context", "Place", "contexts"]


class Context(Enum):
    """What the characters at one place of a command mean to bash."""

    BARE = "bare"
    DOUBLE = "double"  # between double quotes, or where bash treats text like it
    SINGLE = "single"
    ARITHMETIC = "arithmetic"
    DOCUMENT = "document"  # a here-document with variables
    VERBATIM = "verbatim"  # a here-document without


@dataclass(frozen=True)
class Place:
    """What is known about one place.

    Attributes:
        escaped: behind a backslash or a dollar sign, so that it is the author's own text.
        rereads: where bash may read a value as arithmetic: inside `[[ ]]`, in a subscript, for `let`,
            `declare`, `read` and their like. Arithmetic runs what stands in the subscripts it meets.
        end_word: what ends the here-document.
    """

    context: Context
    escaped: bool = False
    rereads: bool = False
    end_word: str = ""


@dataclass
class _Document:
    end_word: str
    verbatim: bool
    dashed: bool


_HEREDOC = re.compile(r"<<(-?)[ \t]*((?:'[^'\n]*'|\"[^\"\n]*\"|\\.|[^\s;&|<>()'\"\\`])+)")
_SUBSCRIPT = re.compile(r"\w\[[^\]\n]*$")
# Anywhere in the simple command: redirections and assignments may stand before its name.
_REREADING = re.compile(
    r"(?:^|[\s;&|(){}\"'\\])(?:let|declare|typeset|local|readonly|export|unset|read|mapfile|readarray|getopts"
    r"|printf[\"']?\s+-v|test[\"']?\s+-v|\[\s+-v)\b[^\n;&|]*$"
)
_BLANKS = " \t\n;|&("


def contexts(command: str, positions: Sequence[int]) -> list[Place]:
    """Return what bash makes of each of the ascending `positions` of a command."""
    scanner = _Scanner(command)
    return [scanner.advance_to(position) for position in positions]


class _Scanner:
    """Reads a command once, from left to right.

    The stack holds what closes each open construct: ")" for $( ) and ( ), "}" for ${ }, '"', "`",
    "))" and "]" for arithmetic, "]]" for a test.
    """

    def __init__(self, command: str) -> None:
        self._text = command
        self._at = 0
        self._stack: list[str] = []
        self._waiting: list[_Document] = []  # here-documents whose text begins at the next line
        self._single = False
        self._document: _Document | None = None
        self._depth = 0  # how much was open where the here-document's text began

    def advance_to(self, position: int) -> Place:
        """Return what the place `position` is."""
        while self._at < position:
            self._at = max(self._at + 1, self._step())
        return self._place(position)

    def _place(self, position: int) -> Place:
        before = self._text[:position]
        escaped = False
        if not self._single and not (self._in_document() and self._document and self._document.verbatim):
            slashes = len(before) - len(before.rstrip("\\"))
            escaped = slashes % 2 == 1 or (slashes == 0 and before.endswith("$"))
        end_word = self._document.end_word if self._document else ""
        rereads = "]]" in self._stack or bool(_SUBSCRIPT.search(before) or _REREADING.search(before))
        return Place(self._context(), escaped, rereads, end_word)

    def _in_document(self) -> bool:
        return self._document is not None and len(self._stack) == self._depth

    def _context(self) -> Context:
        if self._single:
            return Context.SINGLE
        if "))" in self._stack or "]" in self._stack:
            return Context.ARITHMETIC
        if self._document and self._in_document():
            return Context.VERBATIM if self._document.verbatim else Context.DOCUMENT
        top = next((mark for mark in reversed(self._stack) if mark in ('"', ")", "`", "]]")), "")
        return Context.DOUBLE if top == '"' else Context.BARE

    def _step(self) -> int:
        """Take in the construct at the present place and return where the next one begins."""
        if self._single:
            return self._inside_single()
        if self._in_document():
            return self._inside_document()
        top = self._stack[-1] if self._stack else ""
        char = self._text[self._at]
        if char == "\\":
            return self._at + 2
        if top and self._text.startswith(top, self._at):
            self._stack.pop()
            return self._at + len(top)
        if char in '$"`':
            return self._opening(char, top)
        return self._at + 1 if top in ('"', "}") and char != "'" else self._bare(char, top)

    def _inside_single(self) -> int:
        if self._text[self._at] == "'":
            self._single = False
        return self._at + 1

    def _opening(self, char: str, top: str) -> int:
        if self._text.startswith("$((", self._at):
            self._stack.append("))")
            return self._at + 3
        for mark, close in (("$(", ")"), ("${", "}"), ("$[", "]")):
            if self._text.startswith(mark, self._at):
                self._stack.append(close)
                return self._at + 2
        if char == "$" and self._text.startswith("$'", self._at) and top != '"':
            return self._ansi_string()
        if char in '"`':
            self._stack.append(char)
        return self._at + 1

    def _ansi_string(self) -> int:
        match = re.compile(r"\$'(?:\\.|[^'\\])*'", re.DOTALL).match(self._text, self._at)
        return match.end() if match else self._at + 2

    def _bare(self, char: str, top: str) -> int:
        before = self._text[self._at - 1] if self._at else "\n"
        if char == "'":
            self._single = self._context() not in (Context.DOUBLE, Context.ARITHMETIC)
        elif char == "#" and before in _BLANKS and top != "))":
            end = self._text.find("\n", self._at)
            return len(self._text) if end < 0 else end
        elif self._text.startswith("((", self._at) and before in _BLANKS:
            self._stack.append("))")
            return self._at + 2
        elif char == "(":
            self._stack.append(")")
        elif self._text.startswith("[[", self._at) and before in _BLANKS:
            self._stack.append("]]")
            return self._at + 2
        elif char == "<" and top != "))":
            return self._heredoc()
        elif char == "\n" and self._waiting:
            self._document, self._depth = self._waiting.pop(0), len(self._stack)
        return self._at + 1

    def _heredoc(self) -> int:
        if self._text.startswith("<<<", self._at):
            return self._at + 3
        match = _HEREDOC.match(self._text, self._at)
        if match is None:
            return self._at + 1
        word = re.sub(r"[\\'\"]", "", match[2])
        self._waiting.append(_Document(word, verbatim=word != match[2], dashed=bool(match[1])))
        return match.end()

    def _inside_document(self) -> int:
        document = self._document
        assert document is not None
        starts_line = self._text[self._at - 1] == "\n"
        end = self._text.find("\n", self._at)
        line = self._text[self._at : len(self._text) if end < 0 else end]
        if starts_line and (line.lstrip("\t") if document.dashed else line) == document.end_word:
            self._document = self._waiting.pop(0) if self._waiting else None
            return self._at + len(line) + (1 if self._document else 0)
        char = self._text[self._at]
        if document.verbatim:
            return self._at + 1
        if char == "\\":
            return self._at + 2
        return self._opening(char, "") if char in "$`" else self._at + 1
