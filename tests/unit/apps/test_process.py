# SPDX-License-Identifier: Apache-2.0
"""Children: what they print, how they end, and that nothing stays."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from penstock.apps import process as process_module
from penstock.apps.process import HeadAndTail, ShellProcess
from penstock.errors import CommandFailed

pytestmark = pytest.mark.usefixtures("nothing_left")


def make(command: str, folder: Path) -> ShellProcess:
    return ShellProcess("app", command, {"PATH": os.environ["PATH"]}, folder, shown=command)


def run(command: str, folder: Path) -> tuple[int, ShellProcess]:
    process = make(command, folder)
    process.start()
    return process.wait(), process


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid: int) -> bool:
    """Whether a killed process is gone soon; the system takes a moment to remove one."""
    until = time.monotonic() + 30
    pause = threading.Event()
    while is_alive(pid) and time.monotonic() < until:
        pause.wait(0.01)
    return not is_alive(pid)


def wait_for(path: Path) -> str:
    until = time.monotonic() + 60
    pause = threading.Event()
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < until
        pause.wait(0.01)
    return path.read_text().strip()


def test_what_is_printed_is_kept(tmp_path: Path) -> None:
    code, process = run("echo out; echo err >&2", tmp_path)
    assert (code, process.stdout.text, process.stderr.text) == (0, "out\n", "err\n")


def test_the_child_starts_in_its_folder_with_its_environment_only(tmp_path: Path) -> None:
    _, process = run("pwd; env", tmp_path)
    assert process.stdout.text.splitlines()[0] == str(tmp_path)
    assert "HOME=" not in process.stdout.text


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("kill -9 $$", -9), ("nosuchcommand", 127)])
def test_bad_ends_are_told_apart(tmp_path: Path, command: str, code: int) -> None:
    ended, process = run(command, tmp_path)
    assert ended == code
    with pytest.raises(CommandFailed) as caught:
        process.check(ended)
    assert caught.value.exit_code == code
    assert command in str(caught.value)


def test_binary_output_is_no_problem(tmp_path: Path) -> None:
    code, process = run(r"printf '\xff\x00\xfe'", tmp_path)
    assert code == 0
    assert process.stdout.size == 3


def test_output_larger_than_a_pipe_keeps_its_ends_only(tmp_path: Path) -> None:
    code, process = run(
        "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last; echo e >&2", tmp_path
    )
    text = process.stdout.text
    assert code == 0
    assert text.startswith("first\n")
    assert text.endswith("\nlast\n")
    assert "bytes left out" in text
    assert len(text) < 3 * process_module.KEPT_BYTES


def test_head_and_tail_lose_nothing_short() -> None:
    kept = HeadAndTail(4)
    for piece in (b"ab", b"cdef", b"gh"):
        kept.add(piece)
    assert kept.text == "abcdefgh"
    kept.add(b"i" * 20)
    assert kept.text.startswith("abcd\n... 20 bytes left out")
    assert kept.text.endswith("iiii")


def test_cancel_ends_the_whole_group(tmp_path: Path) -> None:
    process = make("sleep 300 & echo $! > pid; wait", tmp_path)
    process.start()
    thread = threading.Thread(target=process.wait)
    thread.start()
    pid = int(wait_for(tmp_path / "pid"))
    process.cancel()
    process.cancel()
    thread.join(60)
    assert not thread.is_alive()
    assert ends(pid)


@pytest.mark.parametrize(
    "command",
    [
        "trap '' TERM; echo $$ > pid; while :; do sleep 1; done",
        "(trap '' TERM; echo $BASHPID > pid; while :; do sleep 1; done)",
    ],
)
def test_who_ignores_term_is_killed_after_the_grace_time(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "GRACE_S", 0.3)
    process = make(command, tmp_path)
    process.start()
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(process.wait()))
    thread.start()
    pid = int(wait_for(tmp_path / "pid"))
    process.cancel()
    thread.join(60)
    assert codes
    assert codes[0] in (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert ends(pid)


def test_cancel_before_start_prevents_it(tmp_path: Path) -> None:
    process = make("touch x", tmp_path)
    process.cancel()
    with pytest.raises(CommandFailed, match="cancelled"):
        process.start()
    assert not list(tmp_path.iterdir())


def test_cancel_after_the_end_does_nothing(tmp_path: Path) -> None:
    _, process = run("true", tmp_path)
    process.cancel()
    assert process.cancelled


def test_a_child_in_the_background_is_heard_to_its_end(tmp_path: Path) -> None:
    _, process = run("(sleep 0.2; echo late) & echo soon", tmp_path)
    assert process.stdout.text == "soon\nlate\n"


def test_a_silent_child_in_the_background_does_not_stay(tmp_path: Path) -> None:
    run("sleep 300 > /dev/null 2>&1 & echo $! > pid", tmp_path)
    assert ends(int((tmp_path / "pid").read_text()))


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    process = make("true", tmp_path / "none")
    with pytest.raises(CommandFailed, match="cannot be started"):
        process.start()


def test_systems_without_process_descriptors_are_served_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert run("exec >&- 2>&-; sleep 0.3; exit 4", tmp_path)[0] == 4


def test_a_command_that_closes_its_output_is_awaited(tmp_path: Path) -> None:
    assert run("exec >&- 2>&-; sleep 0.2; exit 4", tmp_path)[0] == 4
