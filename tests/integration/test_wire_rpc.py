"""Calls between processes: answers, errors, deadlines, cuts, beats."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from penstock.errors import NodeDown, SessionNotFound, StartRefused, WireError
from penstock.wire.loop import Loop
from penstock.wire.rpc import Method, RpcClient, RpcServer
from penstock.wire.security import Keys

from .wire_ends import EPOCH, LIMIT_S, QUICK, Ends, wire_ends


@pytest.fixture
def ends() -> Iterator[Ends]:
    with wire_ends() as made:
        yield made


def echo(peer, body, buffers):
    return body, buffers


ECHO = {"echo": Method(echo)}


@pytest.mark.parametrize("is_guarded", [False, True])
def test_a_call_brings_body_and_buffers_there_and_back(ends: Ends, is_guarded: bool):
    keys = Keys.ephemeral() if is_guarded else None
    server = ends.server(ECHO, ends.loop(keys))
    client = ends.client(server.port, ends.loop(keys))
    large = os.urandom(3 << 20)
    body, buffers = client.call("echo", b"body", [b"", b"small", large, memoryview(large)[7:]])
    assert body == b"body"
    assert [bytes(buffer) for buffer in buffers] == [b"", b"small", large, large[7:]]


def test_an_error_arrives_as_the_class_that_was_raised(ends: Ends):
    def refuse(peer, body, buffers):
        raise SessionNotFound("x", "make it")

    client = ends.client(ends.server({"refuse": Method(refuse)}).port)
    with pytest.raises(SessionNotFound, match="make it") as told:
        client.call("refuse")
    assert told.value.name == "x"


def test_any_other_error_of_a_method_is_told_and_the_server_goes_on(ends: Ends, caplog):
    def fail(peer, body, buffers):
        return 1 // 0

    client = ends.client(ends.server({"fail": Method(fail), **ECHO}).port)
    with pytest.raises(Exception, match="ZeroDivisionError"):
        client.call("fail")
    assert client.call("echo", b"still there")[0] == b"still there"
    assert "the method fail failed" in caplog.text


@pytest.mark.parametrize("name", ["", "nothing", "__class__", "_echo", "echo.__call__", "x" * 10_000])
def test_only_the_names_of_the_table_can_be_called(ends: Ends, name: str):
    client = ends.client(ends.server(ECHO).port)
    with pytest.raises(WireError, match="no such method"):
        client.call(name)


def test_a_call_without_an_answer_ends_at_its_deadline_and_leaves_nothing(ends: Ends):
    gate = threading.Event()
    client = ends.client(ends.server({"wait": Method(lambda *_: (gate.wait(LIMIT_S) and b"", ()))}).port)
    with pytest.raises(NodeDown, match="no answer"):
        client.call("wait", timeout_s=0.05)
    assert not client._waiting
    gate.set()


def test_a_call_waits_for_the_connection_and_ends_at_its_deadline(ends: Ends):
    server = ends.server(ECHO)
    server.close()
    client = ends.client(server.port, is_connected=False)
    with pytest.raises(NodeDown, match="no connection"):
        client.call("echo", timeout_s=0.2)


def test_a_server_that_comes_later_gets_the_calls_that_still_wait(ends: Ends):
    first = ends.server(ECHO)
    port = first.port
    client = ends.client(port, limits=QUICK)
    first.close()
    future = client.call_async("echo", b"late", repeat=True)
    ends.server(ECHO, port=port)
    assert future.result(LIMIT_S)[0] == b"late"


def test_calls_of_many_threads_are_told_apart(ends: Ends):
    client = ends.client(ends.server(ECHO).port)
    wrong: list[bytes] = []

    def ask(number: int) -> None:
        for round_ in range(50):
            body = b"%d-%d" % (number, round_)
            if client.call("echo", body)[0] != body:
                wrong.append(body)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert wrong == []


def test_a_method_may_answer_later_without_keeping_a_thread(ends: Ends):
    answers: list[Future] = []

    def later(peer, body, buffers):
        answers.append(Future())
        return answers[-1]

    client = ends.client(ends.server({"later": Method(later), **ECHO}, threads=1).port)
    waiting = client.call_async("later")
    client.call("echo")
    answers[0].set_result((b"at last", ()))
    assert waiting.result(LIMIT_S)[0] == b"at last"


def test_a_push_reaches_the_client_that_called(ends: Ends):
    came: Future = Future()
    peers: list = []
    server = ends.server({"here": Method(lambda peer, *_: (peers.append(peer) or b"", ()))})
    client = RpcClient(ends.loop(), "127.0.0.1", server.port)
    client.on_push(lambda body, buffers: came.set_result((body, bytes(buffers[0]))))
    client.start()
    client.call("here")
    server.push(peers[0], b"news", [b"x" * 100_000])
    assert came.result(LIMIT_S) == (b"news", b"x" * 100_000)


def test_beats_are_answered_with_the_epoch_while_methods_hang(ends: Ends):
    gate = threading.Event()
    epochs: list[int] = []
    enough = threading.Event()
    server = ends.server({"wait": Method(lambda *_: (gate.wait(LIMIT_S) and b"", ()))}, threads=1)
    client = RpcClient(ends.loop(), "127.0.0.1", server.port, limits=QUICK)
    client.on_beat(lambda epoch: (epochs.append(epoch), len(epochs) == 5 and enough.set()))
    client.start()
    waiting = client.call_async("wait")
    assert enough.wait(LIMIT_S)
    assert set(epochs) == {EPOCH}
    gate.set()
    waiting.result(LIMIT_S)


def test_a_cut_ends_a_call_that_may_not_be_repeated(ends: Ends):
    gate, begun = threading.Event(), threading.Event()
    server = ends.server({"wait": Method(lambda *_: (begun.set() or (gate.wait(LIMIT_S) and b""), ()))})
    proxy = ends.proxy(server.port)
    client = ends.client(proxy.port, limits=QUICK)
    future = client.call_async("wait")
    assert begun.wait(LIMIT_S)
    proxy.reset()
    with pytest.raises(NodeDown, match="cut"):
        future.result(LIMIT_S)
    gate.set()


def test_a_call_that_may_be_repeated_is_carried_out_once_however_often_it_is_cut(ends: Ends):
    runs: list[bytes] = []
    gate, begun = threading.Event(), threading.Event()

    def once(peer, body, buffers):
        runs.append(body)
        begun.set()
        gate.wait(LIMIT_S)
        return body, ()

    server = ends.server({"once": Method(once)})
    proxy = ends.proxy(server.port)
    connected = threading.Semaphore(0)
    client = RpcClient(ends.loop(), "127.0.0.1", proxy.port, limits=QUICK)
    client.on_connected(lambda _: connected.release())
    client.start()
    future = client.call_async("once", b"one", repeat=True)
    assert begun.wait(LIMIT_S)
    for _ in range(3):
        assert connected.acquire(timeout=LIMIT_S)
        proxy.reset()
    assert connected.acquire(timeout=LIMIT_S)
    gate.set()
    assert future.result(LIMIT_S)[0] == b"one"
    assert runs == [b"one"]


def test_no_call_is_lost_or_doubled_while_the_connection_is_cut_again_and_again(ends: Ends):
    runs: list[bytes] = []
    server = ends.server({"add": Method(lambda peer, body, buffers: (runs.append(body) or body, ()))})
    proxy = ends.proxy(server.port)
    connected = threading.Semaphore(0)
    client = RpcClient(ends.loop(), "127.0.0.1", proxy.port, limits=QUICK)
    client.on_connected(lambda _: connected.release())
    client.start()
    futures: list[Future] = []
    for turn in range(30):
        assert connected.acquire(timeout=LIMIT_S)
        futures += [client.call_async("add", b"%d/%d" % (turn, n), repeat=True) for n in range(20)]
        if turn % 3 == 0:
            futures[-10].result(LIMIT_S)
        (proxy.reset if turn % 2 else proxy.cut)()
    answers = [future.result(LIMIT_S)[0] for future in futures]
    assert len(set(answers)) == 600
    assert sorted(runs) == sorted(answers)


def test_a_connection_that_is_dead_and_does_not_know_it_is_made_again(ends: Ends):
    server = ends.server(ECHO)
    proxy = ends.proxy(server.port)
    cut = threading.Event()
    client = RpcClient(ends.loop(), "127.0.0.1", proxy.port, limits=QUICK)
    client.on_disconnected(cut.set)
    client.start()
    client.call("echo")
    proxy.hold()
    future = client.call_async("echo", b"through", repeat=True)
    assert cut.wait(LIMIT_S)
    proxy.release()
    assert future.result(LIMIT_S)[0] == b"through"


STOPPED = """
import sys, threading
from penstock.wire.loop import Loop
from penstock.wire.rpc import Method, RpcServer
loop = Loop()
loop.start()
server = RpcServer(loop, "127.0.0.1", 0, {"echo": Method(lambda peer, body, buffers: (body, buffers))}, 3)
server.start()
print(server.port, flush=True)
sys.stdin.read()
server.close()
loop.close()
"""


def test_a_process_that_was_stopped_is_noticed_by_its_beats_and_comes_back(ends: Ends):
    process = subprocess.Popen([sys.executable, "-c", STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        port = int(process.stdout.readline())
        beat, cut = threading.Event(), threading.Event()
        client = RpcClient(ends.loop(), "127.0.0.1", port, limits=QUICK)
        client.on_beat(lambda _: beat.set())
        client.on_disconnected(cut.set)
        client.start()
        assert beat.wait(LIMIT_S)
        process.send_signal(signal.SIGSTOP)
        assert cut.wait(LIMIT_S)
        beat.clear()
        with pytest.raises(NodeDown):
            client.call("echo", timeout_s=0.5)
        assert not beat.is_set()
        process.send_signal(signal.SIGCONT)
        assert beat.wait(LIMIT_S)
        assert client.call("echo", b"again")[0] == b"again"
        process.stdin.close()
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_an_address_that_is_taken_refuses_the_start(ends: Ends):
    taken = ends.server(ECHO)
    other = RpcServer(ends.loop(), "127.0.0.1", taken.port, ECHO, 1)
    with pytest.raises(StartRefused, match="cannot be listened on"):
        other.start()
    other.close()


def test_ipv6_is_spoken(ends: Ends):
    server = RpcServer(ends.loop(), "::1", 0, ECHO, 1)
    try:
        server.start()
    except StartRefused:
        pytest.skip("this machine has no IPv6")
    client = RpcClient(ends.loop(), "::1", server.port)
    client.start()
    assert client.call("echo", b"six")[0] == b"six"
    client.close()
    server.close()


def test_threads_end_with_their_owner():
    before = set(threading.enumerate())
    with wire_ends() as ends:
        client = ends.client(ends.server(ECHO).port)
        client.call("echo")
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not any(name.startswith(("served", "asking", "penstock")) for name in left)


def test_calls_after_the_end_are_refused_at_once(ends: Ends):
    loop = ends.loop()
    client = ends.client(ends.server(ECHO).port, loop)
    client.close()
    with pytest.raises(NodeDown, match="closed"):
        client.call("echo")
    loop.close()
    with pytest.raises(NodeDown, match="closed"):
        client.call("echo")


def test_the_end_of_the_loop_ends_all_calls(ends: Ends):
    gate = threading.Event()
    server = ends.server({"wait": Method(lambda *_: (gate.wait(LIMIT_S) and b"", ()))})
    loop = ends.loop()
    client = ends.client(server.port, loop)
    unreachable = ends.client(1, loop, is_connected=False)
    futures = [
        one.call_async("wait", repeat=repeat) for one in (client, unreachable) for repeat in (True, False)
    ]
    loop.close()
    for future in futures:
        with pytest.raises(NodeDown):
            future.result(LIMIT_S)
    gate.set()


def test_a_call_that_raises_is_reported_and_the_loop_goes_on():
    faults: list[BaseException] = []
    reported, went_on = threading.Event(), threading.Event()
    with Loop(on_fault=lambda error: (faults.append(error), reported.set())) as loop:
        loop.soon(lambda: 1 // 0)
        loop.later(0.01, lambda: [][1])
        assert reported.wait(LIMIT_S)
        loop.later(0.02, went_on.set)
        assert went_on.wait(LIMIT_S)
        with pytest.raises(ZeroDivisionError):
            loop.ask(lambda: 1 // 0)
    assert [type(fault) for fault in faults] == [ZeroDivisionError, IndexError]


def test_a_call_that_hangs_makes_the_end_late_and_not_endless():
    gate = threading.Event()
    loop = Loop(name="hanging")
    loop.start()
    loop.soon(lambda: gate.wait(LIMIT_S) and None)
    with pytest.raises(WireError, match="hanging did not end"):
        loop.close(0.05)
    gate.set()
    loop.close(LIMIT_S)
    assert not loop.soon(lambda: None)
    with pytest.raises(WireError, match="not running"):
        loop.ask(lambda: None)


def test_timers_go_off_in_order_and_cancelled_ones_do_not():
    done = threading.Event()
    order: list[int] = []
    with Loop() as loop:
        loop.later(0.06, done.set)
        loop.later(0.04, lambda: order.append(2))
        loop.later(0.02, lambda: order.append(1))
        loop.later(0.03, lambda: order.append(9)).cancel()
        assert done.wait(LIMIT_S)
    assert order == [1, 2]


def test_a_loop_that_waits_uses_no_processor():
    idle = threading.Event()
    with Loop() as loop:
        turns: list[int] = []
        before = loop._turn
        loop._turn = lambda: (turns.append(1), before())
        loop.later(0.5, idle.set)
        assert idle.wait(LIMIT_S)
    assert len(turns) < 20
