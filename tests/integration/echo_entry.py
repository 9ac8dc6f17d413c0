"""An object that lives in a dedicated process: serves a listening socket, and counts what it has served."""

import os
import signal

import msgspec

from penstock.workers.child import Tools
from penstock.workers.frames import Status


def main(tools: Tools) -> "Echo":
    return Echo(tools)


class Echo:
    """Meets `penstock.workers.child.Entry`."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._served: list[str] = []

    def open(self, holder: int, setup: bytes) -> None:
        self._served.append(setup.decode())

    def close(self, holder: int) -> None: ...

    def run(self, holder: int, body: bytes) -> tuple[Status, bytes]:
        if body == b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        if body == b"exit":
            os._exit(5)
        if body == b"serve":
            self._serve()
        elif not body.startswith(b"-"):
            self._served.append(body.decode())
        return Status.GOOD, msgspec.msgpack.encode((os.getpid(), self._served))

    def _serve(self) -> None:
        """Serve one connection: send back what comes, with our process in front."""
        listener = self._tools.listener
        assert listener is not None
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(b"%d:" % os.getpid() + data)
                self._served.append(data.decode())
