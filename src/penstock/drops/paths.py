# SPDX-License-Identifier: Apache-2.0
"""Where the files and folders of drops are: names, placeholders, and what may be made or removed there.

Rules:
 1. A relative name lives in the session's folder, never in the process's current one. It may leave that
    folder with `../`, as real graphs do to reach shared inputs; then nothing is made there unasked.
 2. `$NAME` and `${NAME}` come from the session's environment; an unset one is an error, not empty text.
 3. `{auto} {uid} {datetime} {dlg} {humanKey}` and `{any field}` are replaced once; what comes out of a
    replacement is not looked at again.
 4. Generated names are unique within a session and safe in a shell, whatever the uid holds.

Source: `engine/data/path_builder.py` of the ancestor, observed.
"""

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from penstock.config import RESERVED
from penstock.drops.base import Drop, Side
from penstock.errors import PathInvalid, StorageFailed

__all__ = ["Location", "is_special", "locate", "make_folder", "path_from_port", "remove", "safe_name"]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=,@-]{0,119}")
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}|\$(\w+)|\{(\w[\w.]*)\}")
_NAME_CHARACTERS = 80
_DIGEST_CHARACTERS = 16


class Location(NamedTuple):
    """Where a file or folder is.

    Attributes:
        path: absolute, without `..`.
        is_absolute: whether the graph gave an absolute name.
        is_inside: whether it lies in the session's folder.
    """

    path: Path
    is_absolute: bool
    is_inside: bool

    @property
    def may_be_made(self) -> bool:
        """Whether something empty may be made there because nobody wrote it."""
        return self.is_absolute or self.is_inside


def safe_name(uid: str) -> str:
    """Return a file name for a drop: the uid if it is harmless, else what is harmless of it and a digest."""
    if _PLAIN_NAME.fullmatch(uid):
        return uid
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", uid).strip("._-")[:_NAME_CHARACTERS]
    digest = hashlib.sha256(uid.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{readable or 'drop'}~{digest}"  # no plain name holds a tilde, so the two kinds never meet


def locate(drop: Drop, name: str, folder: str = "") -> Location:
    """Return where the file or folder is that the graph calls `name`.

    Args:
        drop: gives the session's folder, the environment and the fields for placeholders.
        name: as the graph gives it; empty or with "/" at the end a name is generated.
        folder: put before a relative name.
    Raises:
        PathInvalid: an unset variable, an unknown placeholder, or no name that the system takes.
    """
    text = _expand(drop, name)
    if not text or text.endswith("/"):
        text += safe_name(drop.uid)
    if folder:
        text = os.path.join(_expand(drop, folder), text)  # noqa: PTH118  Path would lose a final "/."
    try:
        os.fsencode(text)
    except UnicodeEncodeError as exc:
        raise PathInvalid(drop.uid, f"{name!r} is no file name: {exc.reason}") from exc
    if "\0" in text:
        raise PathInvalid(drop.uid, f"{name!r} is no file name: it holds a NUL character")
    base = drop.site.directory.absolute()
    path = Path(os.path.normpath(base / text))
    if path == base:
        raise PathInvalid(drop.uid, f"{name!r} is the folder of the session itself; add a name")
    if path.is_relative_to(base / RESERVED):
        raise PathInvalid(
            drop.uid, f"{name!r} lies in {RESERVED}, which is the session's own; choose another folder"
        )
    return Location(path, is_absolute=text.startswith("/"), is_inside=path.is_relative_to(base))


def _expand(drop: Drop, text: str) -> str:
    def replace(found: re.Match[str]) -> str:
        variable = found[1] or found[2]
        if variable:
            return _variable(drop, variable, text)
        return _placeholder(drop, found[3], text)

    return _PLACEHOLDER.sub(replace, text)


def _variable(drop: Drop, name: str, text: str) -> str:
    try:
        return drop.site.environment[name]
    except KeyError as exc:
        reason = f"${name} in {text!r} is not set; export it before the session starts"
        raise PathInvalid(drop.uid, reason) from exc


def _placeholder(drop: Drop, name: str, text: str) -> str:
    match name:
        case "auto" | "uid":
            return safe_name(drop.uid)
        case "datetime":
            return datetime.now(UTC).date().isoformat()
        case "dlg":
            return "DALIGUE"  # this spelling; names on disk must be those of the ancestor
        case "humanKey":
            value = drop.field("humanKey") or drop.field("humanReadableKey")
        case _:
            value = drop.field(name)
    if value is None or isinstance(value, list | Mapping):
        known = "{auto} {uid} {datetime} {dlg} {humanKey}"
        raise PathInvalid(drop.uid, f"{{{name}}} in {text!r} is no field of this drop; use one, or {known}")
    return str(value)


def path_from_port(drop: Drop, name: str) -> str:
    """Return the path that reaches a drop through its input port `name`; "" where none does.

    The producer's own parameter of the linked name holds it, as EAGLE's palettes have it.
    """
    mapped: Any = drop.fields.get("port_map")  # Any: JSON
    source = mapped.get(name) if isinstance(mapped, Mapping) else None
    argument = drop.arguments.get(name)
    if not source and not (argument is not None and argument.is_input):
        return ""  # the common case ends here, before any app object is made
    for link in drop.site.linked(drop.index, Side.BEFORE):
        port = source or link.port
        value = link.drop.fields.get(port)
        described = link.drop.arguments.get(port)
        if not value and described is not None:
            value = described.value
        if value and isinstance(value, str) and link.port in (name, port):
            return value
    return ""


def is_special(path: Path) -> bool:
    """Whether a device, pipe or socket is there: something to be neither read, cut nor removed unasked."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def make_folder(uid: str, folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        StorageFailed: the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StorageFailed(uid, str(folder), f"cannot be made: {exc.strerror}") from exc


def remove(drop: Drop, path: Path) -> None:
    """Remove a file or a folder with all that is in it; what is not there or is a device stays.

    Raises:
        StorageFailed: the system refuses, or the session's folder lies in it.
    """
    if drop.site.directory.absolute().is_relative_to(path):
        raise StorageFailed(drop.uid, str(path), "is not removed: the session's folder lies in it")
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif not is_special(path):
            path.unlink(missing_ok=True)
    except OSError as exc:
        raise StorageFailed(drop.uid, str(path), f"cannot be removed: {exc.strerror}") from exc
