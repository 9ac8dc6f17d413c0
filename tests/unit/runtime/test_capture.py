"""What apps print goes to their drop; what others print goes where it went before."""

import logging
import subprocess
import sys

import pytest

from penstock.runtime.capture import capturing, listen


class Ear:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def hear(self, stream: str, text: str) -> None:
        self.heard.append((stream, text))


@pytest.fixture
def ear() -> Ear:
    return Ear()


def test_a_listening_thread_is_heard(ear: Ear, capsys: pytest.CaptureFixture[str]) -> None:
    with capturing():
        listen(ear)
        try:
            sys.stdout.write("text")
            sys.stdout.buffer.write(b"bytes")
            sys.stderr.writelines(["one", "two"])
            logging.getLogger("x").error("record")
            sys.stdout.close()
        finally:
            listen(None)
    expected = [
        ("stdout", "text"),
        ("stdout", "bytes"),
        ("stderr", "one"),
        ("stderr", "two"),
        ("ERROR", "x: record\n"),
    ]
    assert ear.heard == expected
    print("still open")
    assert capsys.readouterr().out == "still open\n"


def test_others_print_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    with capturing():
        print("mine")
        assert sys.stdout.encoding
    assert capsys.readouterr().out == "mine\n"


def test_everything_is_put_back_when_the_last_session_ends() -> None:
    before, handlers = sys.stdout, list(logging.getLogger().handlers)
    with capturing(), capturing():
        assert sys.stdout is not before
    assert sys.stdout is before
    assert logging.getLogger().handlers == handlers


def test_messages_of_a_program_without_handlers_are_not_hidden() -> None:
    code = """
import logging
from penstock.runtime.capture import capturing
with capturing():
    logging.warning("seen")
    logging.getLogger("quiet").info("not seen")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == "seen\n"
