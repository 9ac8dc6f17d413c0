"""Managers as processes, and commands that speak with them. Each test ends the processes that it started."""

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.acceptance.command import TIMEOUT_S, Done, app, environment, memory, penstock, words, write

ANY_PORTS = ("--port", "0", "--rpc-port", "0")


@dataclass(frozen=True)
class Started:
    """A manager that runs."""

    process: "subprocess.Popen[bytes]"
    address: str
    url: str

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)


@dataclass(frozen=True)
class Deployment:
    """Two nodes and an island over them, with the folder where this user's keys are."""

    nodes: tuple[Started, Started]
    island: Started
    state: Path

    @property
    def token(self) -> str:
        return (self.state / "penstock" / "keys" / "token").read_text().strip()

    def ask(self, *arguments: str | Path, url: str | None = None, text: bytes | None = None) -> Done:
        """Run a command that speaks with the island, or with whom `url` names."""
        variables = {"XDG_STATE_HOME": str(self.state)}
        return penstock(*arguments, "--url", url or self.island.url, text=text, variables=variables)

    def content(self, session_id: str, uid: str) -> bytes:
        """Return what a data drop holds, over REST."""
        url = f"{self.island.url}/api/v1/sessions/{session_id}/drops/{uid}/data"
        request = Request(url, headers={"Authorization": f"Bearer {self.token}"})
        with urlopen(request, timeout=TIMEOUT_S) as response:
            content: bytes = response.read()
            return content


@contextmanager
def manager(*arguments: str, state: Path, more: Mapping[str, str] | None = None) -> Iterator[Started]:
    """Start a manager on ports that the system chooses; it is ended like others end it, and killed if that fails."""
    state.mkdir(exist_ok=True)
    process = subprocess.Popen(
        words(*arguments, *ANY_PORTS, "--json"),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=environment(state, XDG_STATE_HOME=str(state), **(more or {})),
        cwd=state,
    )
    assert process.stdout is not None
    try:
        told: dict[str, Any] = json.loads(process.stdout.readline())
        yield Started(process, told["address"], told["url"])
    finally:
        try:
            if process.poll() is None:
                process.terminate()
                process.wait(TIMEOUT_S)
        finally:
            process.kill()
            process.stdout.close()
            process.wait(TIMEOUT_S)


@contextmanager
def deployment(state: Path, more: Mapping[str, str] | None = None) -> Iterator[Deployment]:
    """Start two nodes and an island."""
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(manager("node", "--events-port", "0", state=state, more=more))
            for _ in range(2)
        )
        below = f"{first.address},{second.address}"
        island = stack.enter_context(manager("island", "--nodes", below, state=state))
        yield Deployment((first, second), island, state)


def pair(name: str = "pair.json", command: str = "echo from a shell > %o0; echo said") -> Path:
    """Write a graph of a shell command, its file, and a copy of it."""
    return write(
        name,
        app("tell", "dlg.apps.bash_shell_app.BashShellApp", command=command, outputs=["text"]),
        {
            "oid": "text",
            "categoryType": "Data",
            "dropclass": "dlg.data.drops.file.FileDROP",
            "consumers": ["copy"],
        },
        app("copy", inputs=["text"], outputs=["end"]),
        memory("end"),
    )


def endless(name: str = "endless.json") -> Path:
    """Write a graph that hangs in a function and in a shell command, neither of which ends by itself."""
    hang = "def hang():\n    import threading\n    threading.Event().wait()\n"
    return write(
        name,
        app("hang", "dlg.apps.pyfunc.PyFuncApp", func_name="hang", func_code=hang, outputs=["never"]),
        memory("never"),
        app("sleep", "dlg.apps.bash_shell_app.BashShellApp", command="sleep 1000", outputs=["neither"]),
        memory("neither"),
    )
