# SPDX-License-Identifier: Apache-2.0
"""Files as answers: content of drops and logs, read on threads, with their length where it is known."""

import os
import tarfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import IO, BinaryIO
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from penstock.managers.api import Level, Manager
from penstock.rest.service import Service

__all__ = ["download", "log_archive", "open_log"]

_PIECE = 1 << 20
_SPOOLED = 1 << 20


def _size(file: IO[bytes]) -> int | None:
    # Content that comes from another node, or from a user's drop class, may only know how to be read.
    is_seekable = getattr(file, "seekable", None)
    if is_seekable is None or not is_seekable():
        return None
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


async def download(
    service: Service, file: IO[bytes], name: str, media_type: str, size_bytes: int | None = None
) -> Response:
    """Return an answer that is the content of a file, which is closed when the answer has ended.

    Args:
        size_bytes: its size, if the caller knows it where the file does not.
    """
    found = await service.ask(_size, file)
    size = size_bytes if found is None else found
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
    if size is not None:
        headers["Content-Length"] = str(size)

    async def pieces() -> AsyncIterator[bytes]:
        left = size
        try:
            while left is None or left > 0:
                data = await service.ask(file.read, _PIECE if left is None else min(_PIECE, left))
                if not data:
                    break
                left = None if left is None else left - len(data)
                yield data
        finally:
            service.later(file.close)  # a read may be under way

    return StreamingResponse(pieces(), headers=headers, media_type=media_type)


def open_log(manager: Manager, session_id: str) -> tuple[IO[bytes], str, str]:
    """Return a file with a session's log, its name and its type: the file itself on a node, else an archive."""
    if manager.level is not Level.NODE:
        return log_archive(manager, session_id), f"{session_id}.tar.gz", "application/gzip"
    path = manager.log_file(session_id)
    if path is not None and Path(path).is_file():
        file: BinaryIO = Path(path).open("rb")  # noqa: SIM115  # closed with the answer
        return file, Path(path).name, "text/plain; charset=utf-8"
    text: IO[bytes] = SpooledTemporaryFile(_SPOOLED)  # noqa: SIM115  # closed with the answer
    for record in manager.log(session_id):
        text.write(line_of(record))
    return text, f"{session_id}.log", "text/plain; charset=utf-8"


def line_of(record: Mapping[str, str]) -> bytes:
    """Return a record of a log as a line of text."""
    where = f"[{record.get('drop', '')}]" if record.get("drop") else ""
    parts = (record.get("time", ""), where, record.get("stream", ""), record.get("text", ""))
    return (" ".join(part for part in parts if part) + "\n").encode()


def log_archive(manager: Manager, session_id: str) -> IO[bytes]:
    """Return a tar.gz with one log per node, open at its beginning."""
    logs: dict[str, IO[bytes]] = {}
    archive: IO[bytes] = TemporaryFile()  # noqa: SIM115  # closed with the answer
    try:
        for record in manager.log(session_id):
            node = record.get("node", "") or "manager"
            if node not in logs:
                logs[node] = SpooledTemporaryFile(_SPOOLED)  # noqa: SIM115  # closed below
            logs[node].write(line_of(record))
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            for node, log in logs.items():
                entry = tarfile.TarInfo(f"{session_id}/{node.replace(':', '_').replace('/', '_')}.log")
                entry.size = log.tell()
                log.seek(0)
                tar.addfile(entry, log)
    except BaseException:
        archive.close()
        raise
    finally:
        for log in logs.values():
            log.close()
    archive.seek(0)
    return archive
