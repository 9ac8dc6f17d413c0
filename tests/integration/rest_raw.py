"""Requests byte by byte, for what no client library would send."""

import json
import socket
from contextlib import closing
from typing import Any, NamedTuple

LIMIT_S = 60.0


class Raw(NamedTuple):
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), LIMIT_S)


def read(connection: socket.socket) -> Raw:
    """Read one answer with a length."""
    with closing(connection.makefile("rb")) as file:
        status = int(file.readline().split()[1])
        headers = {}
        while line := file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return Raw(status, headers, file.read(int(headers.get("content-length", 0))))


def chunked(body: bytes, size: int = 1000) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> Raw:
    """Send one request on a connection of its own; `_` in names of headers stands for `-`."""
    told = {"Host": f"127.0.0.1:{port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body is not None and "Transfer-Encoding" not in told:
        told.setdefault("Content-Length", str(len(body)))
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in told.items())
    with connect(port) as connection:
        connection.sendall(head.encode() + b"\r\n" + (body or b""))
        return read(connection)


def ask_json(port: int, method: str, path: str, value: Any = None, **headers: str) -> Raw:
    body = None if value is None else json.dumps(value).encode()
    return ask(port, method, path, body, **{"Content_Type": "application/json", **headers})


def as_old_client(port: int, path: str, body: bytes, **headers: str) -> Raw:
    """Post as the ecosystem's clients do: a connection for nothing, then the body in pieces without a length."""
    connect(port).close()
    more = {
        "Accept_Encoding": "identity",
        "Content_Type": "application/json",
        "Transfer-Encoding": "chunked",
        "Origin": "http://dlg-tm.localhost",
        **headers,
    }
    return ask(port, "POST", path, chunked(body), **more)
