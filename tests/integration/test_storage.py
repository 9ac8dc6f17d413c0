"""Disks that are full, folders that cannot be written: one clear error, and an end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import penstock
from penstock.errors import DirectoryInUse

from .making import HANG_S, Fail, Give, app, codes, data, file, run

LIMITED = """
import json, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.path.insert(0, {root!r})
import penstock, tests.integration.test_storage
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
graph = json.loads({graph!r})
result = penstock.run(graph, timeout_s=30, directory="run", isolation="thread")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
states = {{uid: int(state) for uid, (state, _) in result.states.items()}}
errors = [[error.uid, error.error, error.message] for error in result.errors]
print(json.dumps({{"status": result.status, "notes": result.notes, "states": states, "errors": errors}}))
"""


class Flood(penstock.AppDrop):
    """Writes a megabyte."""

    def run(self) -> None:
        for _ in range(16):
            self.outputs[0].write(b"x" * 65536)


class Chatter(penstock.AppDrop):
    """Prints much, in many drops more than the log may hold."""

    def run(self) -> None:
        for _ in range(100):
            print("x" * 1000)


def limited(graph: list[dict[str, object]], limit: int) -> dict[str, object]:
    """Run a graph in a process whose files cannot grow beyond a size."""
    root = str(Path(__file__).resolve().parent.parent.parent)
    code = LIMITED.format(root=root, limit=limit, graph=json.dumps(graph))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    outcome: dict[str, object] = json.loads(done.stdout)
    return outcome


def test_a_full_disk_is_one_clear_error() -> None:
    graph = [app("flood", Flood, [], ["f"]), file("f", "f.bin"), app("give", Give, [], ["a"]), data("a")]
    outcome = limited(graph, 100_000)
    assert outcome["status"] == "FAILED"
    ((uid, error, message),) = outcome["errors"]  # type: ignore[misc, attr-defined]
    assert (uid, error) == ("flood", "StorageFailed")
    assert "f.bin" in message
    assert outcome["states"]["a"] == 2  # type: ignore[index]


def test_a_disk_that_is_full_only_when_the_file_is_closed_is_an_error_of_the_file() -> None:
    graph = [
        app("give", Give, [], ["f"], text="x" * 3000),
        file("f", "f.bin"),
        app("after", Give, ["f"], ["a"]),
        data("a"),
    ]
    outcome = limited(graph, 2048)
    assert outcome["status"] == "FAILED"
    assert outcome["errors"][0][1] == "StorageFailed"  # type: ignore[index]
    assert outcome["states"]["after"] == 3  # type: ignore[index]


def test_a_log_that_does_not_fit_fails_no_app_and_is_told() -> None:
    outcome = limited([app(f"c{i}", Chatter) for i in range(10)], 100_000)
    assert outcome["status"] == "FINISHED"
    assert outcome["notes"]


def test_an_outcome_that_cannot_be_written_is_told() -> None:
    outcome = limited([app(f"a{i}", Give) for i in range(200)], 64)
    assert outcome["status"] == "FINISHED"
    assert any("session.json" in note for note in outcome["notes"])  # type: ignore[attr-defined]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(DirectoryInUse):
        run([data("a")], directory=tmp_path / "closed" / "run")
    with pytest.raises(DirectoryInUse):
        run([data("a")], directory=tmp_path / "closed")


def test_a_folder_of_a_file_system_that_takes_no_folders_is_refused() -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc here")
    with pytest.raises(DirectoryInUse):
        run([data("a")], directory="/proc/self/run")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DirectoryInUse):
            run([data("a")], directory=directory)
    assert (tmp_path / "file").is_file()


def test_a_broken_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "at" / "all")
    with pytest.raises(DirectoryInUse):
        run([data("a")], directory=tmp_path / "link")


def test_a_folder_that_is_removed_while_the_session_runs_ends_in_an_error() -> None:
    graph = [app("remove", Remove, [], ["f"]), file("f", "deep/f.txt"), app("fail", Fail)]
    result = run(graph)
    assert result.status == "FAILED"
    assert codes(result)["f"][0] in (2, 3)
    assert result.notes


class Remove(penstock.AppDrop):
    """Removes the session's folder."""

    def run(self) -> None:
        import shutil

        shutil.rmtree(self.site.directory)
        self.outputs[0].write("x")


def test_a_folder_that_was_refused_may_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "theirs").touch()
    with pytest.raises(DirectoryInUse):
        run([data("a")], directory=tmp_path / "run")
    (tmp_path / "run" / "theirs").unlink()
    assert run([data("a")], directory=tmp_path / "run").ok
