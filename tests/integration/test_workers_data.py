"""Data between apps in worker processes, apps on threads, and the session: the same bytes everywhere."""

import hashlib
import json
import pickle
from typing import Any

import pytest

from .making import COMPLETED, ERROR, HANG_S, SKIPPED, Graph, app, codes, data, file, run, shell
from .worker_data import pattern

APPS = "tests.integration.worker_data"
COPY = "dlg.apps.simple.CopyApp"
FUNCTION = "dlg.apps.pyfunc.PyFuncApp"
SHARED = "dlg.data.drops.data_base.SharedMemoryDROP"
SIZES = (0, 1, 32 << 10, (32 << 10) + 1, 40 << 10, 1 << 20, 20 << 20)
BOTH = pytest.mark.parametrize("isolation", ["thread", "process", None])


def digest(content: bytes) -> list[Any]:
    return [len(content), hashlib.sha256(content).hexdigest(), 0]


@pytest.mark.parametrize("kind", ["memory", "sharedmemory", "file"])
def test_contents_of_all_sizes_are_the_same_for_all(kind: str) -> None:
    def drop(uid: str) -> dict[str, Any]:
        return {"oid": uid, "categoryType": "Data", "storage": kind}

    graph: Graph = []
    for size in SIZES:
        graph += [
            app(f"fill{size}", f"{APPS}.Fill", [], [f"m{size}"], bytes_=size, pieces=3),
            drop(f"m{size}"),
            app(f"copy{size}", COPY, [f"m{size}"], [f"c{size}"]),
            drop(f"c{size}"),
            app(f"digest{size}", f"{APPS}.Digest", [f"m{size}", f"c{size}"], [f"d{size}"]),
            data(f"d{size}"),
        ]
    result = run(graph, isolation=None, workers=3)
    assert result.ok, result.errors
    for size in SIZES:
        content = pattern(size)
        found = json.loads(result.read(f"d{size}"))
        assert found == {f"m{size}": digest(content), f"c{size}": digest(content)}
        assert result.read(f"m{size}") == result.read(f"c{size}") == content


@BOTH
def test_two_producers_of_one_drop_write_both(isolation: Any) -> None:
    graph = [
        app("one", f"{APPS}.Fill", [], ["m"], bytes_=50_000),
        app("two", f"{APPS}.Fill", [], ["m"], bytes_=50_000, first=7),
        data("m"),
        app("digest", f"{APPS}.Digest", ["m"], ["d"]),
        data("d"),
    ]
    result = run(graph, isolation=isolation)
    assert result.ok, result.errors
    one, two = pattern(50_000), pattern(50_000, 7)
    assert result.read("m") in (one + two, two + one)
    assert json.loads(result.read("d")) == {"m": digest(result.read("m"))}


@BOTH
def test_data_is_complete_when_its_expected_size_is_there(isolation: Any) -> None:
    graph = [
        app("w", f"{APPS}.WaitsThen", [], ["m"]),
        data("m", expectedSize=5),
        app("late", f"{APPS}.Late", ["m"], ["n"]),
        data("n"),
    ]
    result = run(graph, isolation=isolation, workers=2)
    assert result.ok, result.errors
    assert result.read("m") == b"12345"


@BOTH
def test_data_that_its_producer_completes_takes_no_more_and_stays_as_it_is(isolation: Any) -> None:
    graph = [app("early", f"{APPS}.Early", [], ["m"]), data("m"), app("copy", COPY, ["m"], ["c"]), data("c")]
    before = "c"
    for i in range(20):  # these would take the place of what is given back too early
        graph += [
            app(f"f{i}", f"{APPS}.Fill", [before], [f"o{i}"], bytes_=100_000, first=i + 1),
            data(f"o{i}"),
        ]
        before = f"o{i}"
        if i == 5:
            graph += [app("late", f"{APPS}.Late", [before], ["n"]), data("n")]
    graph += [app("digest", f"{APPS}.Digest", ["m", "c"], ["d"]), data("d")]
    result = run(graph, isolation=isolation, workers=2)
    assert result.ok, result.errors
    assert "takes no more data" in (result.directory / "refused").read_text()
    assert result.read("m") == result.read("c") == pattern(100_000)
    assert [result.read(f"o{i}") for i in range(20)] == [pattern(100_000, i + 1) for i in range(20)]


@BOTH
def test_a_users_branch_skips_the_other_way(isolation: Any) -> None:
    graph = [
        app("choose", f"{APPS}.Choose", [], ["a", "b"]),
        data("a"),
        data("b"),
        app("yes", f"{APPS}.Late", ["a"], ["c"]),
        data("c"),
        app("no", f"{APPS}.Late", ["b"], ["d"]),
        data("d"),
    ]
    result = run(graph, isolation=isolation)
    states = {uid: state for uid, (state, _) in codes(result).items()}
    skipped = dict.fromkeys(("a", "yes", "c"), SKIPPED)
    assert states == {**skipped, **dict.fromkeys(("choose", "b", "no", "d"), COMPLETED)}


@BOTH
@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("WritesInput", "DropNotWritable", "takes no more data"),
        ("ReadsOutput", "DropNotReadable", "COMPLETED"),
    ],
)
def test_drops_refuse_what_does_not_suit_their_state(
    isolation: Any, name: str, error: str, text: str
) -> None:
    graph = [
        app("fill", f"{APPS}.Fill", [], ["m"], bytes_=5),
        data("m"),
        app("bad", f"{APPS}.{name}", ["m"], ["n"]),
        data("n"),
    ]
    result = run(graph, isolation=isolation)
    (failure,) = result.errors
    assert (failure.uid, failure.error) == ("bad", error)
    assert text in failure.message
    assert result.read("m") == pattern(5)


@BOTH
def test_apps_see_the_same_of_their_drops(isolation: Any) -> None:
    graph = [
        app("fill", f"{APPS}.Fill", [], ["m"], bytes_=5),
        data("m"),
        app("looks", f"{APPS}.Looks", ["m"], ["n"], extra={"a": [1]}),
        data("n"),
        app("late", f"{APPS}.Late", ["n"]),
    ]
    result = run(graph, isolation=isolation)
    assert result.ok, result.errors
    seen = json.loads(result.read("n"))
    assert seen[:4] == ["COMPLETED", True, False, "INITIALIZED"]
    assert seen[4:8] == ["WRITING", "RUNNING", ["fill"], ["late"]]
    assert seen[9:] == [{"a": [1]}, "looks"]


@BOTH
def test_containers_folders_and_json(isolation: Any) -> None:
    graph = [
        *(app(f"fill{i}", f"{APPS}.Fill", [], [f"m{i}"], bytes_=3, first=65 + i) for i in range(3)),
        *(data(f"m{i}", parent="box") for i in range(3)),
        {"oid": "box", "categoryType": "container", "children": ["m0", "m1", "m2"]},
        app("late", f"{APPS}.Late", ["m0", "m1", "m2"], ["filled"]),
        data("filled"),
        app("members", f"{APPS}.Members", ["box", "filled"], ["inside"]),
        data("inside"),
        {"oid": "folder", "categoryType": "Data", "storage": "directory", "dirname": "folder"},
        {"oid": "json", "categoryType": "Data", "storage": "json", "filepath": "a.json"},
        app("make", f"{APPS}.ListFolder", [], ["folder"]),
        app("list", f"{APPS}.ListFolder", ["folder"], ["listed"]),
        data("listed"),
        app("writes", f"{APPS}.WritesJson", [], ["json"]),
        app("reads", f"{APPS}.ReadsJson", ["json"], ["value"]),
        data("value"),
    ]
    result = run(graph, isolation=isolation)
    assert result.ok, result.errors
    assert result.read("listed") == b"inside"
    assert result.read("value") == b"2"
    assert result.read("inside") == b"ABC|BCD|CDE"


@BOTH
@pytest.mark.parametrize("encoding", ["npy", "dill", "pickle"])
def test_arrays_go_from_function_to_function(isolation: Any, encoding: str) -> None:
    def function(name: str, before: Any, after: Any) -> dict[str, Any]:
        ports = {}
        if before:
            ports["x"] = {"usage": "InputPort", "encoding": encoding}
        ports["out"] = {"usage": "OutputPort", "encoding": "dill" if name == "sum_array" else encoding}
        links = ([{before: "x"}] if before else [], [{after: "out"}])
        return app(after + " app", FUNCTION, *links, func_name=f"{APPS}.{name}", applicationArgs=ports)

    graph = [
        function("make_array", None, "a"),
        data("a"),
        function("double_array", "a", "b"),
        data("b"),
        function("sum_array", "b", "c"),
        data("c"),
        function("sum_array", "a", "d"),
        data("d"),
    ]
    result = run(graph, isolation=isolation)
    assert result.ok, result.errors
    assert pickle.loads(result.read("c")) == 2 * sum(range(100_000))
    assert pickle.loads(result.read("d")) == sum(range(100_000))


@pytest.mark.parametrize("isolation", ["process", None])
def test_data_classes_of_users_work_in_workers(isolation: Any) -> None:
    graph: Graph = []
    for name in ("Backwards", "Stamped", "Elsewhere"):
        fields = {"filepath": "stamped.txt"} if name == "Stamped" else {}
        graph += [
            app(f"fill {name}", f"{APPS}.Fill", [], [name], bytes_=50_000, pieces=2),
            data(name, f"{APPS}.{name}", **fields),
            app(f"digest {name}", f"{APPS}.Digest", [name], [f"d{name}"]),
            data(f"d{name}"),
        ]
    result = run(graph, isolation=isolation)
    assert result.ok, result.errors
    content = pattern(50_000)
    expected = {"Backwards": content[::-1], "Stamped": b"stamp\n" + content, "Elsewhere": content}
    for name, whole in expected.items():
        _, sha, ways = json.loads(result.read(f"d{name}"))[name]
        assert (sha, ways) == (hashlib.sha256(whole).hexdigest(), 0), name
    assert (result.directory / "stamped.txt").read_bytes() == expected["Stamped"]
    assert (result.directory / "elsewhere-Elsewhere").read_bytes() == content


def test_commands_and_workers_share_files() -> None:
    graph = [
        shell("sh", "printf abc > {f}", [], ["f"]),
        file("f", "f.txt"),
        app("digest", f"{APPS}.Digest", ["f"], ["d"]),
        file("d", "d.txt"),
        shell("cat", "cat {d} > {e}", ["d"], ["e"]),
        file("e", "e.txt"),
    ]
    result = run(graph, isolation=None, timeout_s=HANG_S)
    assert result.ok, result.errors
    assert json.loads(result.read("e")) == {"f": digest(b"abc")}


def test_data_that_has_no_room_in_its_own_folder_fails_alone() -> None:
    graph = [
        app("fill", f"{APPS}.Fill", [], ["f", "m"], bytes_=5),
        file("f", "taken/f.txt"),
        data("m"),
        shell("sh", "echo x > taken", [], ["begin"]),
        data("begin"),
    ]
    graph[0]["inputs"] = ["begin"]
    result = run(graph, isolation=None)
    states = {uid: state for uid, (state, _) in codes(result).items()}
    assert states["f"] == ERROR
    assert states["sh"] == COMPLETED


def test_a_buffer_that_outlives_its_app_is_not_written_over() -> None:
    graph: Graph = []
    before: list[str] = []
    for i in range(30):
        graph += [
            app(f"f{i}", f"{APPS}.Fill", before, [f"m{i}"], bytes_=100_000, first=i),
            data(f"m{i}", expireAfterUse=True),
            app(f"k{i}", f"{APPS}.Keeps", [f"m{i}"], [f"n{i}"]),
            data(f"n{i}"),
        ]
        before = [f"n{i}"]
    result = run(graph, isolation=None, workers=1)
    assert result.ok, result.errors
    lines = (result.directory / "kept").read_text().splitlines()
    assert lines == [f"{i} of {i}" for i in range(1, 31)]
