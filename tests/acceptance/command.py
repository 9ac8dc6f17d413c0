"""The real command in a process of its own, and small graphs for it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

TIMEOUT_S = 60

# Components of a user, found through PYTHONPATH; `tell` writes to a pipe that the test waits on.
USER_APPS = '''
import json
import os
import subprocess
import sys
import threading

from penstock import AppDrop


def tell(word):
    pipe = os.open(os.environ["TEST_PIPE"], os.O_WRONLY)
    os.write(pipe, word)
    os.close(pipe)


class Failing(AppDrop):
    def run(self):
        print("about to fail")
        raise ValueError("niter must be positive, got -1")


class Endless(AppDrop):
    """Never ends by itself, and cannot be stopped."""

    def run(self):
        tell(b"r")
        threading.Event().wait()


class Stubborn(Endless):
    """Never ends its cancel either."""

    def cancel(self):
        tell(b"c")
        threading.Event().wait()


class Closing(AppDrop):
    """Takes standard output away from everybody."""

    def run(self):
        sys.stdout.buffer.close()
        sys.stdout.close()
        sys.stdout = None


class ByPartial(AppDrop):
    """Fails inside the standard library."""

    def run(self):
        json.loads("no json")


class Noisy(AppDrop):
    """Prints in every way there is."""

    def run(self):
        print("from the slot")
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()
        os.write(1, b"past all of Python\\n")
        subprocess.run(["echo", "from a child"], check=True)
'''


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the variables of a command whose user components lie in `folder`."""
    (folder / "user_apps.py").write_text(USER_APPS)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")
    }
    return {**kept, "PYTHONPATH": str(folder), "TERM": "xterm-256color", **more}


def words(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "penstock", *map(str, arguments)]


def penstock(
    *arguments: str | Path, text: bytes | None = None, variables: Mapping[str, str] | None = None
) -> Done:
    """Run a command in the current folder to its end."""
    done = subprocess.run(
        words(*arguments),
        input=text if text is not None else b"",
        capture_output=True,
        timeout=TIMEOUT_S,
        env=environment(Path.cwd(), **(variables or {})),
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


Drop = dict[str, Any]


def app(oid: str, cls: str = "dlg.apps.simple.CopyApp", **fields: Any) -> Drop:
    return {"oid": oid, "categoryType": "Application", "dropclass": cls, **fields}


def memory(oid: str, **fields: Any) -> Drop:
    return {"oid": oid, "categoryType": "Data", "dropclass": "dlg.data.drops.memory.InMemoryDROP", **fields}


def file(oid: str, **fields: Any) -> Drop:
    return {"oid": oid, "categoryType": "Data", "dropclass": "dlg.data.drops.file.FileDROP", **fields}


def write(name: str, *drops: Any) -> Path:
    path = Path(name)
    path.write_text(json.dumps(drops))
    return path


def hello(name: str = "hello.json") -> Path:
    """Write a graph that greets into a file: an app and two data drops."""
    return write(
        name,
        app("greet", "dlg.apps.simple.HelloWorldApp", outputs=["greeting", "memory"]),
        file("greeting", filepath="greeting.txt"),
        memory("memory"),
    )


def failing(name: str = "failing.json", **fields: Any) -> Path:
    """Write a graph whose app `bad` fails, with one input before it and two drops behind."""
    return write(
        name,
        memory("source", pydata="some text", consumers=["bad"]),
        app("bad", "user_apps.Failing", inputs=["source"], outputs=["middle"]),
        memory("middle", consumers=["copy"]),
        app("copy", inputs=["middle"], outputs=["end"], **fields),
        memory("end"),
    )
