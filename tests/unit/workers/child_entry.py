"""What the child of `test_child.py` runs: each item names one thing to do, and does it."""

import logging
import os
import sys
from contextlib import suppress

from penstock.wire.arena import Block
from penstock.workers.child import RequestFailed, Tools
from penstock.workers.frames import TOKEN, Status


def main(tools: Tools) -> "Script":
    return Script(tools)


class Script:
    """Meets `penstock.workers.child.Entry`."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._seen: list[str] = []
        self._kept: list[memoryview] = []

    def open(self, holder: int, setup: bytes) -> None:
        if setup == b"bad":
            raise ValueError("a bad setup")
        self._seen.append(f"open {holder} {setup.decode()}")

    def close(self, holder: int) -> None:
        self._seen.append(f"close {holder}")

    def run(self, holder: int, body: bytes) -> tuple[Status, bytes]:
        what, _, argument = body.partition(b" ")
        answer = getattr(self, what.decode())(argument)
        return Status.GOOD, b"" if answer is None else answer

    def echo(self, argument: bytes) -> bytes:
        return argument

    def seen(self, _: bytes) -> bytes:
        return ", ".join(self._seen).encode()

    def fail(self, _: bytes) -> None:
        raise SystemExit("the entry failed")

    def say(self, argument: bytes) -> None:
        print(argument.decode())
        os.write(2, b"low level\n")

    def say_and_log(self, _: bytes) -> None:
        print("before")
        logging.getLogger("app").warning("between")
        print("after")

    def spoil(self, _: bytes) -> None:
        print("last words")
        os.chdir("/")
        sys.stdout.close()
        sys.stderr = None  # type: ignore[assignment]
        with suppress(OSError):
            os.close(1)
        os.dup2(0, 2)

    def folder(self, _: bytes) -> bytes:
        return os.getcwd().encode()

    def close_all(self, _: bytes) -> None:
        os.closerange(3, 1000)

    def ask(self, argument: bytes) -> bytes:
        try:
            return b"told " + self._tools.request(argument)
        except RequestFailed as exc:
            return b"refused " + exc.body

    def allocate(self, argument: bytes) -> bytes:
        block = self._tools.allocate(len(argument))
        self._tools.memory.write(block, [argument])
        return b"".join(map(TOKEN.pack, block))

    def keep(self, argument: bytes) -> bytes:
        view = self._tools.memory.view(Block(*map(int, argument.split())))
        self._kept.append(view)
        return bytes(view)

    def drop(self, _: bytes) -> None:
        self._kept.clear()

    def accept(self, _: bytes) -> bytes:
        assert self._tools.listener is not None
        connection, _address = self._tools.listener.accept()
        with connection:
            return connection.recv(100)

    def fork(self, _: bytes) -> bytes:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        return str(pid).encode()  # the copy returns, too
