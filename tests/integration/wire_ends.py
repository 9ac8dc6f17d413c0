"""Loops, servers and clients for tests: everything that was made is closed when the test ends."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from penstock.testing.fault_proxy import FaultProxy
from penstock.wire.loop import Loop
from penstock.wire.rpc import Limits, Method, RpcClient, RpcServer
from penstock.wire.security import Keys

LIMIT_S = 30.0
EPOCH = 7


class Ends:
    """Makes ends of connections, each side with a loop of its own, as if in two processes."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.faults: list[BaseException] = []

    def loop(self, keys: Keys | None = None, name: str = "penstock-wire") -> Loop:
        loop = Loop(keys, name, on_fault=self.faults.append)
        loop.start()
        self.stack.callback(loop.close)
        return loop

    def server(self, methods: Mapping[str, Method], loop: Loop | None = None, **options) -> RpcServer:
        server = RpcServer(
            loop or self.loop(name="served"), "127.0.0.1", options.pop("port", 0), methods, EPOCH, **options
        )
        server.start()
        self.stack.callback(server.close)
        return server

    def client(self, port: int, loop: Loop | None = None, **options) -> RpcClient:
        is_connected = options.pop("is_connected", True)
        client = RpcClient(loop or self.loop(name="asking"), "127.0.0.1", port, **options)
        connected = threading.Event()
        client.on_connected(lambda _: connected.set())
        client.start()
        self.stack.callback(client.close)
        if is_connected:
            assert connected.wait(LIMIT_S)
        return client

    def proxy(self, port: int) -> FaultProxy:
        return self.stack.enter_context(FaultProxy("127.0.0.1", port))


@contextmanager
def wire_ends() -> Iterator[Ends]:
    """Return what makes ends; a fault on any loop fails the test unless it took it from `faults`."""
    with ExitStack() as stack:
        ends = Ends(stack)
        yield ends
    assert ends.faults == []


QUICK = Limits(beat_s=0.05, silent_s=1.0, reconnect_s=0.01, reconnect_most_s=0.05)
"""For tests that wait for what otherwise takes seconds."""
