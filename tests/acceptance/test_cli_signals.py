"""Real signals to the real command."""

import json
import os
import pty
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TypeVar

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

T = TypeVar("T")


@contextmanager
def started(*arguments: str | Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Start a command; yield it with the reading end of the pipe to which user components tell."""
    path = Path.cwd() / "told"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDWR)
    process = subprocess.Popen(
        words(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=environment(Path.cwd(), TEST_PIPE=str(path)),
    )
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


def eventually(look: Callable[[], T]) -> T:
    """Wait until `look` finds something: what other processes do sends us no event."""
    end = monotonic() + TIMEOUT_S
    while monotonic() < end:
        with suppress(StopIteration, ValueError, OSError):
            if found := look():
                return found
        select.select([], [], [], 0.02)
    raise AssertionError("nothing was found in time")


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, though nobody may have reaped it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def endless(cls: str = "Endless") -> Path:
    return write("endless.json", app("endless", f"user_apps.{cls}", outputs=["never"]), memory("never"))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a_signal_cancels_the_run_and_writes_what_is_known(number: int, code: int, isolation: str) -> None:
    with started("run", endless(), "--session", "cut", "--json", "--isolation", isolation) as (process, pipe):
        assert heard(pipe) == b"r"
        process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == code
    outcome = json.loads(out)
    assert outcome["status"] == "CANCELLED"
    drops = {uid: (drop["status"], drop["execStatus"]) for uid, drop in outcome["drops"].items()}
    assert drops == {"endless": (6, 4), "never": (6, None)}
    assert ("worker" in outcome["drops"]["endless"]) == (isolation == "process")
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


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a_second_interrupt_leaves_at_once(isolation: str) -> None:
    with started("run", endless("Stubborn"), "--session", "cut", "--isolation", isolation) as (process, pipe):
        assert heard(pipe) == b"r"
        process.send_signal(signal.SIGINT)
        assert heard(pipe) == b"c"  # now the first one hangs in a cancel that never returns
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=TIMEOUT_S) == 130


def test_a_second_interrupt_kills_running_commands() -> None:
    command = "echo $$ > pid; exec sleep 1000"
    graph = write(
        "both.json",
        memory("go", consumers=["shell"]),
        app("stubborn", "user_apps.Stubborn"),
        app(
            "shell", "dlg.apps.bash_shell_app.BashShellApp", command=f"trap '' TERM; {command}", inputs=["go"]
        ),
    )
    with started("run", graph, "--session", "cut") as (process, pipe):
        assert heard(pipe) == b"r"
        pid = eventually(lambda: int(next(Path("penstock-runs/cut").rglob("pid")).read_text()))
        process.send_signal(signal.SIGINT)
        assert heard(pipe) == b"c"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert b"1 running command killed" in err
    assert eventually(lambda: is_gone(pid))


def test_a_killed_run_is_told_in_one_line() -> None:
    with started("run", endless(), "--session", "cut") as (process, pipe):
        assert heard(pipe) == b"r"
        process.kill()
        process.communicate(timeout=TIMEOUT_S)
    done = penstock("show", "cut")
    assert done.code == 0
    assert "KILLED" in done.out
    assert f"process {process.pid} is gone" in done.out
    assert penstock("logs", "cut").code == 0


def test_a_run_that_goes_on_is_shown_as_running() -> None:
    with started("run", endless(), "--session", "on") as (process, pipe):
        assert heard(pipe) == b"r"
        done = penstock("show", "on")
        assert (done.code, done.err) == (0, "")
        assert f"process {process.pid} is there" in done.out
        assert penstock("logs", "on").code == 0


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


def test_a_terminal_does_not_act_on_what_a_drop_printed() -> None:
    penstock("run", failing(), "--session", "f")
    log = Path("penstock-runs/f/.penstock/log.jsonl")
    log.write_text(json.dumps({"drop": "bad", "stream": "stdout", "text": "a\x1b]0;b\x07\tc\n"}) + "\n")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(words("logs", "f"), stdout=theirs, env=environment(Path.cwd()))
    assert process.wait(timeout=TIMEOUT_S) == 0
    drawn = os.read(ours, 4096)
    os.close(ours)
    os.close(theirs)
    assert b"a\\x1b]0;b\\x07\tc" in drawn
    assert "a\x1b]0;b\x07\tc\n" in penstock("logs", "f").out


@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
@pytest.mark.parametrize("options", ["", " --json", " --outputs"])
def test_a_good_run_that_cannot_print_is_still_good(where: str, options: str) -> None:
    done = in_shell(f"run {hello()}{options} {where}")
    assert done.returncode == 0
    assert done.stderr.count(b"penstock: standard output cannot be written") == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
@pytest.mark.parametrize("verb", ["explain", "graph hello.json", "show s", "logs f"])
def test_other_commands_that_cannot_print_say_so(where: str, verb: str) -> None:
    penstock("run", hello(), "--session", "s")
    penstock("run", failing(), "--session", "f")
    done = in_shell(f"{verb} {where}")
    assert (done.returncode, done.stderr.count(b"\n")) == (74, 1)
    assert b"standard output cannot be written" in done.stderr


def in_shell(line: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command as a shell's line, with its redirections."""
    return subprocess.run(
        f"{' '.join(words())} {line}",
        shell=True,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_S,
        env=environment(Path.cwd()),
        check=False,
    )
