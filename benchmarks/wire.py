"""What the wire between processes costs, each figure beside what a bare socket does in the same minute.

    python benchmarks/wire.py
    python benchmarks/wire.py --rounds 3 --mebibytes 64

Every case is two fresh processes on this host, one that measures and one that it starts; cases take turns.

Cases: `facts` sends batches of 16,384 facts as fast as they go, over a `Facts` each; `oneway` sends single messages
with pauses between them and tells the time from one process to the callback in the other (both read the same clock);
`oneway-busy` has a Python thread compute beside the receiver, `oneway-tuned` too but with the switch interval that the
composition root sets. `bulk` reads a content with `read_data`, `bulk-keys` under CURVE, `bulk-near` where both are on
one host and share memory; `calls` are calls of one thread, one after the other. `socket-bulk` and `socket-oneway` are
a bare TCP socket with the same bytes, `zmq-oneway` a bare DEALER and ROUTER that no other thread shares, and
`socket-keys` bare PUSH and PULL under CURVE.

Figures: `facts_per_s`, `us` (median of one run), `us_p99`, `mb_per_s` (of 10^6 bytes); `ratio` is to the bare
counterpart named in `CASES`.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import zmq
from rounds import Case, Line, leave_after, medians, play, show

from penstock.engine.part import Ack, Batch
from penstock.wire.data import DataServer, Region, read_data
from penstock.wire.facts import Facts
from penstock.wire.loop import Loop
from penstock.wire.rpc import Method, RpcClient, RpcServer
from penstock.wire.security import Keys

HOST = "127.0.0.1"
LIMIT_S = 120.0
PER_BATCH = 1 << 14
MESSAGES = 2000
PAUSE_S = 0.0005
TUNED_S = 0.0005
PIECE = 1 << 20

# The other process: prints one line of JSON, and serves until its standard input ends.


def keys_of(given: Line) -> Keys | None:
    """Return keys made of what the measuring process gave."""
    if "secret" not in given:
        return None
    return Keys(given["public"].encode(), given["secret"].encode(), "")


def serve(case: str, given: Line) -> None:
    """Be the other process of a case."""
    with ExitStack() as stack:
        SERVES[case.split("-")[0]](case, given, stack)


def tell(line: Line) -> None:
    print(json.dumps(line), flush=True)


def send_facts(case: str, given: Line, stack: ExitStack) -> None:
    connected = threading.Event()
    loop = stack.enter_context(Loop())
    facts = Facts(loop, HOST, 0, "sender", 1, lambda *_: None, lambda _: connected.set())
    facts.start()
    peer = f"{HOST}:1:{given['port']}:1"
    facts.meet(peer)
    connected.wait(LIMIT_S)
    if case == "facts":
        numbers, states = array("i", range(PER_BATCH)).tobytes(), b"\2" * PER_BATCH
        for sequence in range(given["batches"]):
            facts.send(peer, "s", Batch(1, sequence, (), numbers, states))
    else:
        for number in range(MESSAGES):
            facts.send(peer, "s", Ack(time.monotonic_ns(), number))
            time.sleep(PAUSE_S)
    tell({})
    sys.stdin.read()


def serve_bulk(case: str, given: Line, stack: ExitStack) -> None:
    size = given["size"]
    loop = stack.enter_context(Loop(keys_of(given)))
    descriptor = os.memfd_create("bench")
    for _ in range(size // PIECE):
        os.write(descriptor, os.urandom(1024) * 1024)
    data = DataServer(loop, lambda *_: Region(descriptor, 0, size))
    server = RpcServer(
        loop, HOST, 0, {**data.methods, "echo": Method(lambda peer, body, buffers: (body, buffers))}, 1
    )
    server.start()
    tell({"port": server.port})
    sys.stdin.read()
    server.close()


def serve_socket(case: str, given: Line, stack: ExitStack) -> None:
    if case == "socket-keys":
        context = zmq.Context()
        push = context.socket(zmq.PUSH)
        push.set_hwm(8)
        push.curve_server = 1
        push.curve_secretkey = given["secret"].encode()
        port = push.bind_to_random_port(f"tcp://{HOST}")
        tell({"port": port})
        piece = os.urandom(PIECE)
        for _ in range(given["size"] // PIECE):
            push.send(piece, copy=False)
        sys.stdin.read()
        context.destroy(0)
        return
    listening = stack.enter_context(socket.create_server((HOST, 0)))
    tell({"port": listening.getsockname()[1]})
    peer = stack.enter_context(listening.accept()[0])
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if case == "socket-bulk":
        piece = os.urandom(PIECE)
        for _ in range(given["size"] // PIECE):
            peer.sendall(piece)
    else:
        for _ in range(MESSAGES):
            peer.sendall(time.monotonic_ns().to_bytes(8, "big"))
            time.sleep(PAUSE_S)
    sys.stdin.read()


def send_zmq(case: str, given: Line, stack: ExitStack) -> None:
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.connect(f"tcp://{HOST}:{given['port']}")
    for _ in range(MESSAGES):
        dealer.send(b"", zmq.SNDMORE)
        dealer.send(time.monotonic_ns().to_bytes(8, "big"))
        time.sleep(PAUSE_S)
    tell({})
    sys.stdin.read()
    context.destroy(0)


SERVES: dict[str, Callable[[str, Line, ExitStack], None]] = {
    "facts": send_facts,
    "oneway": send_facts,
    "bulk": serve_bulk,
    "calls": serve_bulk,
    "socket": serve_socket,
    "zmq": send_zmq,
}


# The measuring process


@contextmanager
def other(case: str, given: Line) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", case, json.dumps(given)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
        process.stdin.close()
        process.wait(LIMIT_S)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def told(process: subprocess.Popen) -> Line:
    return json.loads(process.stdout.readline())


def measure_facts(case: str, size: int) -> Line:
    batches = max(10, size // (5 * PER_BATCH) // 4)
    times: list[int] = []
    done = threading.Event()

    def receive(peer: str, session_id: str, message: Batch) -> None:
        times.append(time.monotonic_ns())
        if len(times) == batches:
            done.set()

    with Loop() as loop:
        facts = Facts(loop, HOST, 0, "receiver", 1, receive, lambda _: None)
        facts.start()
        with other(case, {"port": facts.port, "batches": batches}):
            if not done.wait(LIMIT_S):
                print(f"{len(times)} of {batches} batches came", file=sys.stderr)
        facts.close()
    seconds = (times[-1] - times[0]) / 1e9
    return {"case": case, "facts_per_s": (len(times) - 1) * PER_BATCH / seconds}


def percentiles(case: str, times_ns: list[int]) -> Line:
    ordered = sorted(times_ns[100:])  # the first ones find cold caches
    return {
        "case": case,
        "us": statistics.median(ordered) / 1e3,
        "us_p99": ordered[len(ordered) * 99 // 100] / 1e3,
    }


def measure_oneway(case: str, size: int) -> Line:
    if case == "oneway-tuned":
        sys.setswitchinterval(TUNED_S)
    times: list[int] = []
    done = threading.Event()
    is_over = False

    def receive(peer: str, session_id: str, message: Ack) -> None:
        times.append(time.monotonic_ns() - message.epoch)
        if len(times) == MESSAGES:
            done.set()

    def compute() -> None:
        number = 0
        while not is_over:
            number += 1

    with Loop() as loop:
        facts = Facts(loop, HOST, 0, "receiver", 1, receive, lambda _: None)
        facts.start()
        computing = threading.Thread(target=compute)
        with other(case, {"port": facts.port}):
            if case != "oneway":
                computing.start()
            done.wait(LIMIT_S)
            is_over = True
        facts.close()
    return percentiles(case, times)


class Nowhere:
    """A sink that only counts."""

    size = 0

    def write(self, piece: bytes) -> None:
        self.size += len(piece)


def measure_zmq(case: str, size: int) -> Line:
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port(f"tcp://{HOST}")
    times: list[int] = []
    with other(case, {"port": port}):
        while len(times) < MESSAGES:
            sent = int.from_bytes(router.recv_multipart()[2], "big")
            times.append(time.monotonic_ns() - sent)
    context.destroy(0)
    return percentiles(case, times)


def measure_bulk(case: str, size: int) -> Line:
    public, secret = zmq.curve_keypair()
    given: Line = {"size": size}
    if case == "bulk-keys":
        given |= {"public": public.decode(), "secret": secret.decode()}
    with other(case, given) as process, Loop(keys_of(given)) as loop:
        client = RpcClient(loop, HOST, told(process)["port"])
        client.start()
        client.call("echo")
        sink = Nowhere()
        begun = time.monotonic()
        read_data(client, "s", "d", sink, is_near_allowed=case == "bulk-near")
        seconds = time.monotonic() - begun
        client.close()
    assert sink.size == size
    return {"case": case, "mb_per_s": size / seconds / 1e6}


def measure_calls(case: str, size: int) -> Line:
    with other(case, {"size": 0}) as process, Loop() as loop:
        client = RpcClient(loop, HOST, told(process)["port"])
        client.start()
        times: list[int] = []
        for _ in range(MESSAGES):
            begun = time.monotonic_ns()
            client.call("echo", b"x" * 50)
            times.append(time.monotonic_ns() - begun)
        client.close()
    return percentiles(case, times)


def measure_socket(case: str, size: int) -> Line:
    if case == "socket-keys":
        return measure_socket_keys(case, size)
    with other(case, {"size": size}) as process:
        port = told(process)["port"]
        with socket.create_connection((HOST, port)) as peer:
            if case == "socket-bulk":
                buffer, left = memoryview(bytearray(PIECE)), size
                begun = time.monotonic()
                while left:
                    left -= peer.recv_into(buffer[: min(left, PIECE)])
                return {"case": case, "mb_per_s": size / (time.monotonic() - begun) / 1e6}
            times: list[int] = []
            while len(times) < MESSAGES:
                sent = int.from_bytes(peer.recv(8, socket.MSG_WAITALL), "big")
                times.append(time.monotonic_ns() - sent)
            return percentiles(case, times)


def measure_socket_keys(case: str, size: int) -> Line:
    public, secret = zmq.curve_keypair()
    context = zmq.Context()
    with other(case, {"size": size, "secret": secret.decode()}) as process:
        pull = context.socket(zmq.PULL)
        pull.set_hwm(8)
        pull.curve_serverkey = public
        pull.curve_publickey, pull.curve_secretkey = zmq.curve_keypair()
        pull.connect(f"tcp://{HOST}:{told(process)['port']}")
        left = size - len(pull.recv(copy=False).buffer)
        begun = time.monotonic()
        while left:
            left -= len(pull.recv(copy=False).buffer)
        seconds = time.monotonic() - begun
        context.destroy(0)
    return {"case": case, "mb_per_s": (size - PIECE) / seconds / 1e6}


MEASURES: dict[str, Callable[[str, int], Line]] = {
    "facts": measure_facts,
    "oneway": measure_oneway,
    "bulk": measure_bulk,
    "calls": measure_calls,
    "socket": measure_socket,
    "zmq": measure_zmq,
}
CASES = {  # each with the bare one that it is compared with
    "socket-bulk": "",
    "bulk": "socket-bulk",
    "bulk-near": "socket-bulk",
    "socket-keys": "",
    "bulk-keys": "socket-keys",
    "socket-oneway": "",
    "zmq-oneway": "socket-oneway",
    "oneway": "zmq-oneway",
    "oneway-busy": "zmq-oneway",
    "oneway-tuned": "zmq-oneway",
    "calls": "socket-oneway",
    "facts": "",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--case", action="append", choices=sorted(CASES), default=[])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = options.mebibytes << 20
    if options.serve:
        serve(options.serve[0], json.loads(options.serve[1]))
        return
    if options.one:
        leave_after(lambda: MEASURES[options.one.split("-")[0]](options.one, size))
    names = options.case or list(CASES)
    more = ("--mebibytes", str(options.mebibytes))
    cases = [Case(name, sys.executable, more) for name in names]
    lines = play(__file__, cases, options.rounds, LIMIT_S)
    found: dict[str, Line] = {}
    for name in names:
        if name not in lines:
            continue
        main_figure = next(key for key in ("facts_per_s", "mb_per_s", "us") if key in lines[name][0])
        line = found[name] = medians(lines[name], main_figure)
        bare = found.get(CASES[name])
        if bare is not None:
            line["ratio"] = round(line[main_figure] / bare[main_figure], 3)
        show(line)


if __name__ == "__main__":
    main()
