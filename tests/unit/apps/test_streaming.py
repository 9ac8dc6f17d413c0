# SPDX-License-Identifier: Apache-2.0
"""Streams between bash apps: data, order, failures of either side, nothing left."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from penstock.apps import pipes, process
from penstock.apps.pipes import OutgoingPipe, take_pipe
from penstock.apps.streaming import StreamingInputBashApp, StreamingInputOutputBashApp, StreamingOutputBashApp
from penstock.drops.app import AppDrop
from penstock.drops.file import FileDrop
from penstock.drops.memory import MemoryDrop
from penstock.errors import CommandFailed, ParameterInvalid, PortMissing, StreamFailed
from penstock.testing.solo import SoloSite

pytestmark = pytest.mark.usefixtures("nothing_left")

OUT = {"to": {"usage": "OutputPort", "encoding": "path"}}


def chain(site: SoloSite, *commands: str) -> list[Any]:
    """Join bash apps by streams: the first only writes, the last only reads."""
    apps: list[Any] = [site.add(StreamingOutputBashApp, "app0", command=commands[0])]
    for place, command in enumerate(commands[1:], 1):
        kind = StreamingInputBashApp if place == len(commands) - 1 else StreamingInputOutputBashApp
        app = site.add(kind, f"app{place}", command=command, applicationArgs=OUT)
        drop = site.add(MemoryDrop, f"stream{place}")
        site.link(apps[-1], drop)
        site.link(drop, app, streaming=True)
        apps.append(app)
    return apps


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_stream_carries_more_than_a_pipe_holds(site: SoloSite, tmp_path: Path) -> None:
    first, last = chain(site, "head -c 5000000 /dev/zero", "wc -c > count")
    site.run(first)
    site.run(last)
    assert (tmp_path / "count").read_text().strip() == "5000000"
    assert not files(tmp_path)


def test_a_chain_of_streams_runs_on_one_thread(site: SoloSite, tmp_path: Path) -> None:
    apps = chain(site, "seq 1 100000", "grep 7", "tee copy", "sort -n | tail -1 > last")
    for app in apps:
        site.run(app)
    assert (tmp_path / "last").read_text() == "99997\n"
    assert not files(tmp_path)


def test_a_consumer_writes_its_file_outputs(site: SoloSite, tmp_path: Path) -> None:
    first, last = chain(site, "echo hello", "cat > {to}")
    site.link(last, site.add(FileDrop, "result", filepath="result.txt"), "to")
    site.run(first)
    site.run(last)
    assert (tmp_path / "result.txt").read_text() == "hello\n"


def test_a_consumer_that_prints_much_does_not_block_the_producer(site: SoloSite) -> None:
    first, last = chain(site, "seq 1 300000", "tee /dev/stderr")
    site.run(first)
    site.run(last)
    assert last.stdout.endswith("300000\n")


def test_an_empty_stream_ends(site: SoloSite) -> None:
    first, last = chain(site, "true", "cat; echo end")
    site.run(first)
    site.run(last)
    assert last.stdout == "end\n"


def test_a_failing_producer_ends_its_consumer(site: SoloSite) -> None:
    first, last = chain(site, "echo part; exit 3", "cat")
    with pytest.raises(CommandFailed, match="code 3"):
        site.run(first)
    site.run(last)
    assert last.stdout == "part\n"


def test_a_failing_consumer_ends_its_producer(site: SoloSite) -> None:
    first, last = chain(site, "exec cat /dev/zero", "head -c 10 > /dev/null; exit 5")
    with pytest.raises(CommandFailed, match="signal 13"):
        site.run(first)
    with pytest.raises(CommandFailed, match="code 5"):
        site.run(last)


def test_a_consumer_that_dies_at_once_does_not_hang_the_producer(site: SoloSite) -> None:
    first, last = chain(site, "exec cat /dev/zero", "exit 9")
    with pytest.raises(CommandFailed):
        site.run(first)
    with pytest.raises(CommandFailed, match="code 9"):
        site.run(last)


def test_a_consumer_that_cannot_start_ends_the_producer_and_tells_later(site: SoloSite) -> None:
    first, last = chain(site, "exec cat /dev/zero", "")
    with pytest.raises(CommandFailed):
        site.run(first)
    with pytest.raises(ParameterInvalid, match="command"):
        site.run(last)


@pytest.mark.parametrize("which", [0, 1])
def test_cancel_of_either_side_ends_both(site: SoloSite, which: int, tmp_path: Path) -> None:
    apps = chain(site, "exec cat /dev/zero", "touch begun; exec cat > /dev/null")
    failures: list[BaseException] = []

    def run() -> None:
        for app in apps:
            try:
                app.run()
            except CommandFailed as exc:
                failures.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    pause = threading.Event()
    while not (tmp_path / "begun").exists():
        pause.wait(0.01)
    apps[which].cancel()
    thread.join(10)
    assert not thread.is_alive()
    assert failures
    assert not files(tmp_path)


def test_cancel_reaches_a_consumer_whose_run_was_never_called(
    site: SoloSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    _, last = chain(site, "true", "trap '' TERM; touch begun; sleep 300")
    with OutgoingPipe("app0", tmp_path) as pipe:
        last.data_written("stream1", memoryview(pipe.address))
        pause = threading.Event()
        while not (tmp_path / "begun").exists():
            pause.wait(0.01)
        last.cancel()
        last._thread.join(10)
        assert not last._thread.is_alive()


def test_a_stream_nobody_takes_fails_in_bounded_time(
    site: SoloSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = chain(site, "echo x", "cat")
    monkeypatch.setattr(OutgoingPipe.wait_taken, "__defaults__", (0.1,))
    monkeypatch.setattr(last, "data_written", lambda uid, data: None)
    with pytest.raises(StreamFailed, match="no streaming consumer"):
        site.run(first)
    with pytest.raises(StreamFailed, match="no stream came"):
        site.run(last)
    assert not files(tmp_path)


def test_cancel_ends_the_wait_for_a_taker(site: SoloSite, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = chain(site, "echo x", "cat")
    monkeypatch.setattr(last, "data_written", lambda uid, data: first.cancel())
    with pytest.raises(StreamFailed, match="cancelled"):
        site.run(first)


def test_a_producer_needs_a_streaming_consumer(site: SoloSite) -> None:
    app = site.add(StreamingOutputBashApp, "app", command="echo")
    with pytest.raises(PortMissing):
        site.run(app)
    site.link(app, site.add(MemoryDrop, "m"))
    with pytest.raises(PortMissing):
        app.run()


def test_one_stream_has_one_consumer(site: SoloSite) -> None:
    first, _last = chain(site, "echo x", "cat")
    site.link(first.outputs[0], site.add(StreamingInputBashApp, "second", command="cat"), streaming=True)
    with pytest.raises(StreamFailed, match="one streaming consumer"):
        site.run(first)


def test_a_second_stream_into_one_app_is_refused(site: SoloSite, tmp_path: Path) -> None:
    _, last = chain(site, "true", "cat")
    with OutgoingPipe("a", tmp_path) as one, OutgoingPipe("b", tmp_path) as two:
        last.data_written("stream1", memoryview(one.address))
        last.data_written("stream2", memoryview(two.address))
    with pytest.raises(StreamFailed, match="one stream"):
        site.run(last)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (b"tcp://host:1234", "tcp"),
        (b"just data", "no stream's address"),
        (b"pipe://elsewhere/tmp/x", "not on this machine"),
        (b"pipe:///etc/passwd", "not in the session's folder"),
    ],
)
def test_other_addresses_are_refused_with_their_reason(site: SoloSite, address: bytes, reason: str) -> None:
    _, last = chain(site, "true", "cat")
    last.data_written("stream1", memoryview(address))
    with pytest.raises(StreamFailed, match=reason):
        site.run(last)


def test_only_pipes_are_taken_and_each_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StreamFailed, match="no pipe"):
        take_pipe("app", tmp_path, f"pipe://{tmp_path}/file".encode())
    with OutgoingPipe("app", tmp_path) as pipe:
        os.close(take_pipe("app", tmp_path, pipe.address))
        with pytest.raises(StreamFailed, match="another consumer"):
            take_pipe("app", tmp_path, pipe.address)


def test_a_pipe_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    with OutgoingPipe("app", tmp_path):
        (path,) = tmp_path.iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.iterdir())
    assert pipes.TAKE_TIMEOUT_S > 1


@pytest.mark.parametrize("writer", ["exec cat /dev/zero", "cat /dev/zero; exit $?"])
@pytest.mark.parametrize("reader", ["head -c 10 > /dev/null", "head -c 10 > /dev/null; exec <&-; sleep 0.2"])
def test_a_reader_that_has_read_enough_leaves_its_writer_finished(
    site: SoloSite, writer: str, reader: str
) -> None:
    first, last = chain(site, writer, reader)
    site.run(first)
    site.run(last)
    assert first.exit_code in (-13, 141)
    assert [text for uid, _, text in site.log if uid == "app0" and "SIGPIPE" in text]


def test_a_whole_chain_ends_well_when_its_last_reader_has_read_enough(site: SoloSite) -> None:
    apps = chain(site, "exec cat /dev/zero", "exec cat", "exec cat", "head -c 3 > /dev/null")
    for app in apps:
        site.run(app)
    assert [app.exit_code for app in apps] == [-13, -13, -13, 0]


@pytest.mark.parametrize("writer", ["exec cat /dev/zero", "cat /dev/zero; exit $?"])
def test_a_writer_whose_reader_failed_names_it(site: SoloSite, writer: str) -> None:
    first, last = chain(site, writer, "head -c 10 > /dev/null; exit 3")
    with pytest.raises(CommandFailed, match="its reader app1 ended first: command exited with code 3"):
        site.run(first)
    with pytest.raises(CommandFailed, match="code 3"):
        site.run(last)


def test_a_broken_pipe_within_a_command_is_its_own_failure(site: SoloSite) -> None:
    first, last = chain(site, "set -o pipefail; yes | head -n 1", "cat; cat > /dev/null")
    with pytest.raises(CommandFailed, match="code 141") as caught:
        site.run(first)
    assert "reader" not in str(caught.value)
    site.run(last)
    assert last.stdout == "y\n"


def test_a_reader_of_another_kind_is_named(site: SoloSite, tmp_path: Path) -> None:
    class Taker(AppDrop):
        def data_written(self, uid: str, data: memoryview) -> None:
            os.close(take_pipe(uid, tmp_path, bytes(data)))

    first, stream = (
        site.add(StreamingOutputBashApp, "app0", command="exec cat /dev/zero"),
        site.add(MemoryDrop, "s"),
    )
    site.link(first, stream)
    site.link(stream, site.add(Taker, "taker"), streaming=True)
    with pytest.raises(CommandFailed, match="its reader taker ended first"):
        site.run(first)


def test_cancel_ends_the_wait_for_a_reader_that_works_on(site: SoloSite, tmp_path: Path) -> None:
    first, last = chain(site, "exec cat /dev/zero", "exec <&-; touch begun; exec sleep 300")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            first.run()
        except CommandFailed as exc:
            failures.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    pause = threading.Event()
    while not (tmp_path / "begun").exists() or first.exit_code is None:
        pause.wait(0.01)
    first.cancel()
    thread.join(10)
    assert not thread.is_alive()
    last.cancel()
    last._thread.join(10)
    assert "its reader app1 ended first" in str(failures[0])


def test_a_pipe_knows_when_it_is_left(tmp_path: Path) -> None:
    with OutgoingPipe("app", tmp_path) as pipe:
        fd = take_pipe("app", tmp_path, pipe.address)
        assert not pipe.is_left
        os.close(fd)
        assert pipe.is_left
    assert not pipe.is_left
