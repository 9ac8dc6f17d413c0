"""Classes and functions of a program that runs a graph itself, without a guard around it."""

import subprocess
import sys
from pathlib import Path

from .making import HANG_S

SCRIPT = """
import os, threading
import penstock
from penstock import AppDrop, Parameter

FACTOR = 7
{more}

class Scale(AppDrop):
    by = Parameter(int, 2)

    def run(self):
        print("process", os.getpid())
        self.outputs[0].write(bytes([self.by * FACTOR]))

def add(value=1):
    return value + FACTOR

DATA = "dlg.data.drops.memory.InMemoryDROP"
graph = [
    {{"oid": "a", "categoryType": "Application", "dropclass": "__main__.Scale", "by": 3, "outputs": ["x"]}},
    {{"oid": "x", "categoryType": "Data", "dropclass": DATA, "producers": ["a"]}},
    {{"oid": "f", "categoryType": "Application", "dropclass": "dlg.apps.pyfunc.PyFuncApp",
      "func_name": "__main__.{function}", "outputs": ["y"]}},
    {{"oid": "y", "categoryType": "Data", "dropclass": DATA, "producers": ["f"]}},
]
result = penstock.run(graph, timeout_s=60)
print(result.status, result.read("x"), result.read("y"), str(os.getpid()) in result.log("a"))
"""


def played(folder: Path, more: str = "", function: str = "add") -> "subprocess.CompletedProcess[str]":
    script = folder / "script.py"
    script.write_text(SCRIPT.format(more=more, function=function))
    words = [sys.executable, str(script)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=HANG_S)


def test_they_run_in_workers_with_what_they_use(tmp_path: Path) -> None:
    done = played(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == r"FINISHED b'\x15' b'\x80\x04K\x08.' False"


def test_what_cannot_be_sent_is_one_clear_error(tmp_path: Path) -> None:
    more = "LOCK = threading.Lock()\n\ndef locked():\n    return LOCK.locked()\n"
    done = played(tmp_path, more, "locked")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("penstock.errors.SerializationError")
    assert "LOCK" in last
