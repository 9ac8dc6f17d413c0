# SPDX-License-Identifier: Apache-2.0
"""From a graph's ports and arguments to the text of a bash command and what its placeholders stand for.

What a placeholder stands for:

- an output port, or an input port whose drop has a path: the path (the URL where the encoding is dataurl);
- any other input port: the value that its drop holds, as text; several drops on one port are several words;
  where the graph names no encoding, content that is no pickle is text already;
- an output port whose drop has no path: the name of a file whose content becomes the drop's (`Spool`);
- an argument, or a port that nothing is linked to or whose input was skipped: the described value.

The oldest graphs have no placeholders; `command_text` puts their arguments behind the command.
"""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from penstock.apps.arguments import argument_value, is_given
from penstock.apps.call import described_encoding, encoding_of
from penstock.apps.inputs import load_port, readable_links
from penstock.apps.settings import APP_SETTINGS
from penstock.drops.app import AppDrop
from penstock.drops.base import Linked
from penstock.drops.data import CHUNK_BYTES, DataDrop
from penstock.drops.encodings import DEFAULT_ENCODING, PICKLE_MARK
from penstock.drops.null import NullDrop
from penstock.errors import ParameterInvalid

__all__ = ["COMMAND_FIELDS", "Spool", "command_text", "command_values"]

_EMPTY_BYTES = "b"
"""What pickled empty bytes stand for: Python's b'' without the quotes that bash takes away, as in DALiuGE."""


@dataclass
class Spool:
    """Files that stand for outputs without a path, until the command has ended."""

    directory: Path
    files: dict[Path, list[DataDrop]] = field(default_factory=dict)

    def path_for(self, drop: DataDrop) -> str:
        """Return the file for one output, always the same."""
        for path, drops in self.files.items():
            if drop in drops:
                return str(path)
        path = self.directory / f".out-{secrets.token_hex(8)}"
        self.files[path] = [drop]
        return str(path)

    def deliver(self) -> None:
        """Write what the command has put into the files to the drops."""
        for path, drops in self.files.items():
            if path.is_file():
                with path.open("rb") as source:
                    while chunk := source.read(CHUNK_BYTES):
                        for drop in drops:
                            drop.write(chunk)

    def remove(self) -> None:
        """Remove the files."""
        for path in self.files:
            path.unlink(missing_ok=True)


def command_values(app: AppDrop, spool: Spool) -> dict[str, list[str]]:
    """Return the words for every placeholder that the app's command may use.

    Args:
        app: the bash app.
        spool: gives files to outputs that have none.
    Raises:
        EncodingFailed: an input's content is not in its port's encoding.
    """
    values = {
        name: _words(argument_value(app, argument))
        for name, argument in app.arguments.items()
        if name not in APP_SETTINGS
    }
    sources = _Lazy(app, spool, readable_links(app))
    values.update(sources.by_name())
    values.update(_old_placeholders(app, sources))
    return values


@dataclass
class _Lazy:
    app: AppDrop
    spool: Spool
    inputs: list[Linked]

    def by_name(self) -> dict[str, list[str]]:
        """Return the words of each linked port, and of each drop by its uid."""
        command = command_text(self.app)
        words: dict[str, list[str]] = {}
        for link in self.inputs:
            for name in dict.fromkeys((link.port, link.drop.uid)):
                if name and f"{{{name}}}" in command and (found := self.input_words(link)) is not None:
                    words[name] = [*words.get(name, []), *found]
        for link in self.app.output_links:
            for name in dict.fromkeys((link.port, link.drop.uid)):
                if name and f"{{{name}}}" in command and not isinstance(link.drop, NullDrop):
                    words[name] = [*words.get(name, []), self.output_word(link)]
        return words

    def words(self, link: Linked, side: str) -> list[str]:
        """Return what a link of one side stands for: "i" or "o"; empty text where it holds nothing."""
        if side == "o":
            return [self.output_word(link)]
        return (self.input_words(link) if link in self.inputs else None) or [""]

    def input_words(self, link: Linked) -> list[str] | None:
        """Return what an input stands for; None where it holds nothing."""
        drop = cast("DataDrop", link.drop)
        encoding = described_encoding(self.app, link.port, "input_parser")
        if encoding == "dataurl":
            return [drop.url]
        if (path := getattr(drop, "path", None)) is not None:
            return [str(path)]
        value = load_port(self.app, link, encoding or _encoding_found(drop))
        unwritten = value == b"" and drop.size == 0
        return _words(value) if is_given(value) and not unwritten else None

    def output_word(self, link: Linked) -> str:
        """Return what an output stands for."""
        drop = cast("DataDrop", link.drop)
        if encoding_of(self.app, link.port, "output_parser") == "dataurl":
            return drop.url
        path = getattr(drop, "path", None)
        return self.spool.path_for(drop) if path is None else str(path)


def _encoding_found(drop: DataDrop) -> str:
    """Return the encoding of content of which the graph says nothing: pickled, or text."""
    with drop.open() as reader:
        begin = reader.read(len(PICKLE_MARK))
    return "utf-8" if begin and begin != PICKLE_MARK else DEFAULT_ENCODING


def _old_placeholders(app: AppDrop, sources: _Lazy) -> dict[str, list[str]]:
    """Return the words for %i0, %o0, %i[uid], %iDataURL0 and their like, as far as the command has them."""
    command = command_text(app)
    if "%i" not in command and "%o" not in command:
        return {}
    values: dict[str, list[str]] = {}
    for side, links in (("i", app.input_links), ("o", app.output_links)):
        for place, link in enumerate(links):
            for key in (str(place), f"[{link.drop.uid}]"):
                if f"%{side}DataURL{key}" in command:
                    values[f"%{side}DataURL{key}"] = [cast("DataDrop", link.drop).url]
                if f"%{side}{key}" in command:
                    values[f"%{side}{key}"] = sources.words(link, side)
    return values


def _words(value: Any) -> list[str]:  # Any: JSON, or what a drop's content decodes to
    """Return a value as words for bash: an item of a list each, anything else as one."""
    if isinstance(value, list | tuple):
        return [word for item in value for word in _words(item)]
    if isinstance(value, bytes | bytearray | memoryview):
        return [bytes(value).decode(errors="surrogateescape") or _EMPTY_BYTES]
    return ["" if value is None else str(value)]


# The command itself

_NUMBERED = tuple(f"Arg{place:02}" for place in range(10))

COMMAND_FIELDS = (
    "command",
    "command_line_arguments",
    "input_redirection",
    "output_redirection",
    *_NUMBERED,
)
"""The fields of an app that become its command."""


def command_text(app: AppDrop) -> str:
    """Return the command, with the arguments of old graphs behind it.

    Raises:
        ParameterInvalid: there is no command.
    """
    command = str(app.field("command") or "").strip()
    if not command:
        raise ParameterInvalid(app.uid, "command", "is missing: write what /bin/bash shall run")
    parts = [command, *_prefixed(app, command), *_numbered(app), _text(app, "command_line_arguments")]
    source, target = _text(app, "input_redirection"), _text(app, "output_redirection")
    if source:
        parts.append(source if source.startswith("<") else f"< {source}")
    if target:
        parts.append(target if target.startswith((">", "|")) else f"> {target}")
    return " ".join(part for part in parts if part)


def _text(app: AppDrop, name: str) -> str:
    return str(app.field(name) or "").strip()


def _numbered(app: AppDrop) -> list[str]:
    return [text for name in _NUMBERED if (text := _text(app, name))]


def _prefixed(app: AppDrop, command: str) -> list[str]:
    """Return `--name {name}` for each argument that the command has no place for, where a prefix is given."""
    prefix = app.field("argumentPrefix")
    if prefix is None:
        return []
    between = app.field("paramValueSeparator")
    separator = " " if between is None or between == "" else str(between)
    described = app.fields.get("applicationArgs")
    parts: list[str] = []
    for name in described if isinstance(described, dict) else ():
        argument = app.arguments[name]
        value = argument_value(app, argument)
        if (
            name in APP_SETTINGS
            or argument.is_port
            or f"{{{name}}}" in command
            or value is False
            or not is_given(value)
        ):
            continue
        option = "" if str(argument.positional).lower() == "true" else f"{prefix}{name}"
        place = "" if value is True else f"{{{name}}}"
        parts.append(f"{option}{separator if option and place else ''}{place}")
    return parts
