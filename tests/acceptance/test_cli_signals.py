"""Real signals to the real command."""

import json
import os
import pty
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.command import (
    TIMEOUT_S,
    app,
    environment,
    failing,
    hello,
    memory,
    penstock,
    words,
    write,
)


@contextmanager
def started(*arguments: str | Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Start a command; yield it with the reading end of the pipe to which user components tell."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        words(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=environment(Path.cwd(), TEST_PIPE=str(writing)),
        pass_fds=[writing],
    )
    os.close(writing)
    try:
        yield process, reading
    finally:
        process.kill()
        process.communicate()
        os.close(reading)


def heard(pipe: int) -> bytes:
    """Wait until a user component tells something."""
    ready, _, _ = select.select([pipe], [], [], TIMEOUT_S)
    assert ready, "nobody told anything"
    return os.read(pipe, 1)


def endless(cls: str = "Endless") -> Path:
    return write("endless.json", app("endless", f"user_apps.{cls}", outputs=["never"]), memory("never"))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_cancels_the_run_and_writes_what_is_known(number: int, code: int) -> None:
    with started("run", endless(), "--session", "cut", "--json") as (process, pipe):
        assert heard(pipe) == b"r"
        process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == code
    outcome = json.loads(out)
    assert outcome["status"] == "CANCELLED"
    assert outcome["drops"] == {
        "endless": {"status": 6, "execStatus": 4},
        "never": {"status": 6, "execStatus": None},
    }
    assert b"Traceback" not in err
    kept = json.loads(Path("penstock-runs/cut/.penstock/session.json").read_bytes())
    assert kept["drops"] == outcome["drops"]
    assert "CANCELLED" in penstock("show", "cut").out


def test_an_interrupted_run_tells_people_so() -> None:
    with started("run", endless(), "--session", "cut") as (process, pipe):
        assert heard(pipe) == b"r"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert b"CANCELLED" in out
    assert b"once more to leave at once" in err


def test_a_second_interrupt_leaves_at_once() -> None:
    with started("run", endless("Stubborn"), "--session", "cut") as (process, pipe):
        assert heard(pipe) == b"r"
        process.send_signal(signal.SIGINT)
        assert heard(pipe) == b"c"  # now the first one hangs in a cancel that never returns
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=TIMEOUT_S) == 130
    assert not Path("penstock-runs/cut/.penstock/session.json").exists()


def test_a_killed_run_is_told_in_one_line() -> None:
    with started("run", endless(), "--session", "cut") as (process, pipe):
        assert heard(pipe) == b"r"
        process.kill()
        process.communicate(timeout=TIMEOUT_S)
    done = penstock("show", "cut")
    assert done.code == 2
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["run", "hello.json"], ["run", "hello.json", "--json"], ["check", "hello.json"]]
)
def test_a_closed_pipe_is_no_traceback(arguments: list[str]) -> None:
    hello()
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        words(*arguments),
        stdout=writing,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
        env=environment(Path.cwd()),
        check=False,
    )
    os.close(writing)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"Broken" not in done.stderr


@pytest.mark.parametrize("verb", ["logs", "graph"])
def test_a_closed_pipe_ends_a_long_text_quietly(verb: str) -> None:
    penstock("run", failing(), "--session", "f")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        words(verb, "f" if verb == "logs" else "failing.json"),
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_S,
        env=environment(Path.cwd()),
        check=False,
    )
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr == b""


def on_terminal(*arguments: str | Path, **variables: str) -> str:
    """Run a command whose standard error is a terminal and return what it drew there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        words(*arguments), stdout=subprocess.DEVNULL, stderr=theirs, env=environment(Path.cwd(), **variables)
    )
    os.close(theirs)
    drawn = b""
    try:
        while select.select([ours], [], [], TIMEOUT_S)[0] and (piece := os.read(ours, 4096)):
            drawn += piece
    except OSError:  # how Linux says that the other side of a terminal is closed
        pass
    finally:
        os.close(ours)
        process.wait(timeout=TIMEOUT_S)
    assert process.returncode == 0
    return drawn.decode()


def test_a_terminal_sees_a_bar_by_state() -> None:
    graph = write(
        "slow.json", app("slow", "dlg.apps.simple.SleepApp", sleep_time=0.5, outputs=["x"]), memory("x")
    )
    drawn = on_terminal("run", graph, COLUMNS="80")
    assert "2 drops" in drawn
    assert "0/2" in drawn
    assert "\x1b[" in drawn


def test_no_color_is_respected() -> None:
    drawn = on_terminal("run", hello(), NO_COLOR="1")
    assert "3 drops" in drawn
    assert "\x1b[3" not in drawn.replace("\x1b[39m", "")
