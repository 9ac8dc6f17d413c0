# SPDX-License-Identifier: Apache-2.0
"""The session's own folder: where files of drops live, and in `.penstock/` what is known of the run.

    session.json    the outcome: states of all drops, as `penstock run --json` prints it
    log.jsonl       what drops printed and logged, a line {"drop", "stream", "text", "time"} per piece
    errors.jsonl    a line per failure: drop, class, message, traceback, inputs

Everything in `.penstock` can be read with a text editor; session.json is replaced in one step.
"""

import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from penstock.config import RESERVED
from penstock.engine.states import SessionState
from penstock.errors import DirectoryInUse, SessionNotFound

__all__ = ["Folder", "LogLine", "encodable", "find_folder"]

_FLUSH_BYTES = 1 << 16


class LogLine(msgspec.Struct):
    """One piece of a drop's output."""

    drop: str
    stream: str
    text: str
    time: float = 0.0
    """Seconds since 1970."""


def encodable(text: str) -> str:
    """Return a text without lone surrogates, which file names may bring along: UTF-8 cannot hold them."""
    return text.encode("utf-8", "backslashreplace").decode() if not text.isascii() else text


class Folder:
    """One session's folder. Thread safe.

    Attributes:
        trouble: what could not be written, "" where all was.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.trouble = ""
        self._inside = directory / RESERVED
        self._lock = threading.Lock()
        self._files: dict[str, BinaryIO] = {}
        self._closed = False
        self._encoder = msgspec.json.Encoder()

    def create(self) -> None:
        """Make the folder.

        Raises:
            DirectoryInUse: something is there already, or it cannot be made.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if any(self.directory.iterdir()):
                raise DirectoryInUse(str(self.directory), "the folder is not empty")
            self._inside.mkdir(mode=0o700)
        except OSError as exc:
            raise DirectoryInUse(str(self.directory), exc.strerror or str(exc)) from exc

    def append(self, name: str, record: Any) -> None:  # Any: whatever msgspec can encode
        """Add a line to one of the files; after `close` nothing is added any more."""
        line = self._encoder.encode(record) + b"\n"
        with self._lock:
            if self._closed:
                return
            try:
                file = self._files.get(name)
                if file is None:
                    file = self._files[name] = (self._inside / name).open("ab", buffering=_FLUSH_BYTES)
                file.write(line)
            except OSError as exc:  # a full disk must not fail the app that printed; it is told at the end
                self.trouble = f"{self._inside / name} is not complete: {exc.strerror or exc}"

    def write_start(self, session_id: str) -> None:
        """Write what is known of a session that begins."""
        self.write_session(
            {
                "session": session_id,
                "status": SessionState.RUNNING.name,
                "directory": encodable(str(self.directory)),
                "pid": os.getpid(),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )

    def write_session(self, outcome: Any) -> None:  # Any: likewise
        """Replace what is known of the session; what does not work is kept in `trouble`."""
        self.write_outcome([self._encoder.encode(outcome)])

    def write_outcome(self, texts: Iterable[bytes]) -> None:
        """Do the same with JSON text that comes in pieces."""
        part = self._inside / "session.json.part"
        try:
            with part.open("wb") as file:
                file.writelines(texts)
            part.replace(self._inside / "session.json")
        except OSError as exc:
            self.trouble = f"{self._inside / 'session.json'} cannot be written: {exc.strerror or exc}"

    def flush(self) -> None:
        """Let readers, and whoever comes after a crash, see what was appended."""
        with self._lock:
            try:
                for file in self._files.values():
                    file.flush()
            except OSError as exc:
                self.trouble = f"files in {self._inside} are not complete: {exc.strerror or exc}"

    def close(self) -> None:
        """Write out and close all files."""
        with self._lock:
            for name, file in self._files.items():
                try:
                    file.close()
                except OSError as exc:
                    self.trouble = f"{self._inside / name} is not complete: {exc.strerror or exc}"
            self._closed = True
            self._files.clear()

    def path(self, name: str) -> Path:
        """Return the path of one of the files, whether it exists or not."""
        return self._inside / name

    def remove(self, *, keep_data: bool) -> None:
        """Remove what is known of the session, and all else in its folder unless data is to stay."""
        shutil.rmtree(self._inside if keep_data else self.directory, ignore_errors=True)

    def read_session(self) -> dict[str, Any]:
        """Return what is known of the session.

        Raises:
            SessionNotFound: nothing is, or it is damaged.
        """
        path = self._inside / "session.json"
        try:
            outcome: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict)
        except (OSError, msgspec.DecodeError) as exc:
            raise SessionNotFound(str(self.directory), f"{path.name} cannot be read ({exc})") from exc
        return outcome

    def read_lines(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the lines of one of the files, none where it does not exist; a torn last line is left out."""
        path = self._inside / name
        if not path.exists():
            return
        with path.open("rb") as file:
            for line in file:
                try:
                    yield msgspec.json.decode(line, type=dict)
                except msgspec.DecodeError:
                    return


def find_folder(name: str, runs: Path) -> Folder:
    """Return the folder of a session by its id under `runs`, or by a path.

    Raises:
        SessionNotFound: neither is there.
    """
    for directory in (runs / name, Path(name)):
        if (directory / RESERVED / "session.json").is_file():
            return Folder(directory)
    raise SessionNotFound(name, f"no such folder, and no session of that id under {runs}")
