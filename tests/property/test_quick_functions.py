"""The short way of a function in a worker promises what the long way through `PyFuncApp` does, whatever the graph."""

import re
import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any
from unittest.mock import patch

import dill
import numpy as np
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from penstock.runtime.build import prepare
from penstock.runtime.failures import Failure
from penstock.runtime.image import image_parts
from penstock.runtime.inside import _Inside
from penstock.runtime.messages import RUN, Content, Setup, Task, decode_report, encode
from penstock.runtime.quick import NOT_QUICK, QuickFunctions
from penstock.wire.arena import Block
from tests.conftest import PROVE

FUNCTION = "dlg.apps.pyfunc.PyFuncApp"
MEMORY = "dlg.data.drops.memory.InMemoryDROP"
MADE = "quick_functions_made"
"""The module that the functions of a test live in."""
ADDRESS = re.compile("0x[0-9a-f]+")


class FakeMemory:
    """Shared memory: what is placed there, each as a segment of its own."""

    def __init__(self) -> None:
        self.placed: list[bytearray] = []

    def place(self, content: bytes) -> Block:
        self.placed.append(bytearray(content))
        return Block(len(self.placed) - 1, 0, len(content))

    def read(self, block: Block) -> bytes:
        return bytes(self.placed[block.segment])

    def view(self, block: Block, *, private: bool = False) -> memoryview:
        assert private
        return memoryview(bytearray(self.placed[block.segment]))

    def write(self, block: Block, parts: Sequence[bytes]) -> None:
        content = b"".join(parts)
        assert len(content) == block.size
        self.placed[block.segment][:] = content


class FakeTools:
    """What a child offers; there is nobody to ask."""

    listener = None

    def __init__(self) -> None:
        self.memory = FakeMemory()

    def allocate(self, size: int) -> Block:
        return self.memory.place(bytes(size))

    def request(self, body: bytes) -> bytes:
        raise AssertionError(body)

    def log(self, stream: str, text: str) -> None:
        raise AssertionError(text)


def resolved(tools: FakeTools, content: Content) -> bytes:
    return content if isinstance(content, bytes) else bytes(tools.memory.placed[content[0]])


def shown(failure: Failure | None) -> tuple[Any, ...] | None:
    if failure is None:
        return None
    # Where exactly the stack is full, the length of the way decides.
    message = re.sub("(recursion depth exceeded)[^;]*", r"\1", failure.message)
    return failure.uid, failure.error, message, failure.inputs


class Worker:
    """A child that has one graph, whose app is `app`."""

    def __init__(
        self, graph: list[dict[str, Any]], contents: Mapping[str, bytes], *, placed: bool = False
    ) -> None:
        prepared = prepare(graph)
        self.tools = tools = FakeTools()
        image = tools.memory.place(b"".join(image_parts(prepared)))
        setup = Setup(
            "s", ".", {}, prepared.names, tuple(image), prepared.wiring.streaming, prepared.wiring.children
        )
        index = prepared.graph.index
        self.inside = _Inside(tools)  # type: ignore[arg-type]  # a fake
        self.inside.open(1, encode(setup))
        sent: dict[int, Content] = {}
        for uid, content in contents.items():
            sent[index[uid]] = tuple(tools.memory.place(content)) if placed else content  # type: ignore[assignment]
        self.task = encode(Task(RUN, index["app"], {}, sent))

    def run(self) -> tuple[Any, ...]:
        status, body = self.inside.run(1, self.task)
        report = decode_report(body)
        contents = {i: resolved(self.tools, content) for i, content in report.contents.items()}
        unsettled = {i: shown(failure) for i, failure in report.unsettled.items()}
        return status, contents, shown(report.failure), unsettled

    def run_long(self) -> tuple[Any, ...]:
        with patch.object(QuickFunctions, "call", lambda *_: NOT_QUICK):
            return self.run()

    def run_short(self) -> tuple[tuple[Any, ...], bool]:
        """Run the usual way, and tell whether it was the short one."""
        answers: list[object] = []
        call = QuickFunctions.call

        def noting(*arguments: Any) -> Any:
            answers.append(None)  # and that stays, where the function raises
            answers[-1] = call(*arguments)
            return answers[-1]

        with patch.object(QuickFunctions, "call", noting):
            told = self.run()
        return told, bool(answers) and answers[-1] is not NOT_QUICK


# Functions: any signature, any result


class BadText(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Reduces:
    """Raises an error when it is pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


Pair = namedtuple("Pair", "o p")


def alone(text: str) -> Any:
    """Return a function that is pickled by value, without all that this module holds."""
    return eval(text, {"__name__": MADE})


def deep() -> Any:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    return value


def raising(error: Callable[[], BaseException]) -> Callable[[], Any]:
    def call() -> Any:
        raise error()

    return call


RESULTS: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "number": lambda: 5,
    "large number": lambda: 2**2000,
    "float": lambda: float("nan"),
    "text": lambda: "å\ud800",
    "bytes": lambda: b"abc",
    "empty bytes": lambda: b"",
    "large bytes": lambda: bytes(100_000),
    "pair": lambda: (1, 2),
    "named pair": lambda: Pair(1, [2]),
    "list": lambda: [1, "a", [None]],
    "dict": lambda: {"o": 1, "p": (2,)},
    "array": lambda: np.arange(6.0).reshape(2, 3),
    "large array": lambda: np.arange(20_000),
    "array of objects": lambda: np.array([None, {}]),
    "lambda": lambda: alone("lambda x: x + 1"),
    "module": lambda: sys,
    "class": lambda: BadText,
    "deep": deep,
    "lock": threading.Lock,
    "generator": lambda: (i for i in range(3)),
    "fails in pickling": lambda: Reduces(ValueError("not me")),
    "exits in pickling": lambda: [Reduces(SystemExit(3))],
    "interrupts in pickling": lambda: Reduces(KeyboardInterrupt()),
    "ValueError": raising(lambda: ValueError("it must be positive")),
    "no text": raising(BadText),
    "SystemExit": raising(lambda: SystemExit(3)),
    "KeyboardInterrupt": raising(KeyboardInterrupt),
    "GeneratorExit": raising(GeneratorExit),
    "StopIteration": raising(lambda: StopIteration(1)),
    "RecursionError": raising(lambda: RecursionError("deep")),
}


@pytest.fixture(scope="module", autouse=True)
def _module() -> Iterator[None]:
    sys.modules[MADE] = ModuleType(MADE)
    define("", "None")  # a graph is refused whose function is not there
    yield
    del sys.modules[MADE]


def define(signature: str, result: str) -> list[str]:
    """Make the function `f`; return a list of the arguments of its calls."""
    calls: list[str] = []

    def called(arguments: dict[str, Any]) -> Any:
        calls.append(ADDRESS.sub("", repr(arguments)))
        return RESULTS[result]()

    scope = vars(sys.modules[MADE])
    scope["called"] = called
    exec(f"def f({signature}):\n    return called(dict(locals()))", scope)
    return calls


NAMES = ["a", "a", "b", "b", "c", "name", "weight", "command"]


@st.composite
def signatures(draw: st.DrawFn) -> str:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    plain, keyword = names, list[str]()
    if not draw(st.integers(0, 9)):
        cut = draw(st.integers(0, len(names)))
        plain, keyword = names[:cut], names[cut:]
    required = draw(st.sampled_from([0, 0, 1, len(plain)]))
    parts = [name if k < required else f"{name}={k}" for k, name in enumerate(plain)]
    if plain and not draw(st.integers(0, 5)):
        parts.insert(draw(st.integers(1, len(plain))), "/")
    star = draw(st.sampled_from([*[""] * 7, "*args"]))
    if keyword or star:
        parts.append(star or "*")
    parts += [name if draw(st.booleans()) else f"{name}='k'" for name in keyword]
    if not draw(st.integers(0, 12)):
        parts.append("**kwargs")
    return ", ".join(parts)


# Graphs: one app, up to three inputs, up to two outputs, links written in all ways

PORTS = st.sampled_from(["", "", "a", "b", "c", "name", "unknown", "args", "kwargs", "func_name"])
CLASSES = st.sampled_from(
    [MEMORY] * 30 + ["dlg.data.drops.memory.SharedMemoryDROP", "dlg.data.drops.data_base.NullDROP"]
)
FUNCTIONS = st.sampled_from([f"{MADE}.f"] * 24 + [f" {MADE}.f ", "builtins.len", "builtins.dict"])
FIELDS = st.sampled_from(
    [{}] * 40
    + [
        {"name": "a name", "rank": [1], "weight": 3, "num_cpus": 2, "node": "n", "island": None},
        {"a": 7},
        {"pickle": True},
        {"input_parser": "utf-8"},
        {"func_defaults": {"a": 1, "b": [2]}},
        {"func_arg_mapping": {"a": "d0"}},
        {"applicationArgs": {"a": {"name": "a", "value": "4", "type": "Integer"}}},
        {"applicationArgs": {"o": {"name": "o", "encoding": "utf-8", "usage": "OutputPort"}}},
    ]
)


@st.composite
def links(draw: st.DrawFn, uid: str) -> tuple[list[Any], list[Any]]:
    """Draw how a link between the app and a data drop is written: at the app, and at the data."""
    ends = draw(st.sampled_from([(1, 0), (1, 1), (1, 1), (0, 1), (2, 1)]))
    here, there = (
        [{name: port} if (port := draw(PORTS)) else name for _ in range(count)]
        for count, name in zip(ends, (uid, "app"), strict=True)
    )
    return here, there


PICKLES = [
    dill.dumps(value, protocol=4)
    for value in (None, 0, [1, "å"], {"a": 1}, len, np.ones(3), alone("lambda: 1"))
]
CONTENTS = st.sampled_from(
    PICKLES * 3 + [b"", b"", b"junk", b"\x80\x04junk", b"csys\nexit\n(I3\ntR."]
) | st.binary(max_size=5)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    app: dict[str, Any] = {
        "oid": "app",
        "categoryType": "Application",
        "dropclass": FUNCTION,
        "func_name": draw(FUNCTIONS),
        **draw(FIELDS),
    }
    graph, contents = [app], dict[str, bytes]()
    for side, back, count in (
        ("inputs", "consumers", st.integers(0, 3)),
        ("outputs", "producers", st.sampled_from([0, 1, 1, 1, 1, 2])),
    ):
        for k in range(draw(count)):
            uid = f"{side[0]}{k}" if side == "outputs" else f"d{k}"
            here, there = draw(links(uid))
            drop = {"oid": uid, "categoryType": "Data", "dropclass": draw(CLASSES)}
            if there or draw(st.booleans()):
                drop[back] = there
            if here or draw(st.booleans()):
                app[side] = [*app.get(side, []), *here]
            graph.append(drop)
            if side == "inputs" and "Null" not in drop["dropclass"] and draw(st.integers(0, 9)):
                contents[uid] = draw(CONTENTS)
    return graph, contents


def simple(*inputs: str, result: str = "None") -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    app = {"oid": "app", "categoryType": "Application", "dropclass": FUNCTION, "func_name": f"{MADE}.f"}
    names = [f"d{k}" for k in range(len(inputs))]
    graph = [
        {**app, "inputs": [{n: p} if p else n for n, p in zip(names, inputs, strict=True)], "outputs": ["o0"]}
    ]
    graph += [
        {"oid": name, "categoryType": "Data", "dropclass": MEMORY, "consumers": ["app"]} for name in names
    ]
    graph += [{"oid": "o0", "categoryType": "Data", "dropclass": MEMORY, "producers": ["app"]}]
    return graph, dict.fromkeys(names, PICKLES[2])


def compare(
    case: tuple[list[dict[str, Any]], dict[str, bytes]], signature: str, result: str, *, placed: bool = False
) -> bool:
    """Run an app the long way and twice as usual; return whether the short way was taken."""
    worker = Worker(*case, placed=placed)
    calls = define(signature, result)
    expected = worker.run_long()
    told = calls.copy()
    was_short = False
    for _ in range(2):  # the second time the function is known
        calls.clear()
        found, was_short = worker.run_short()
        assert found == expected
        assert calls == told
    return was_short


@settings(max_examples=5000 if PROVE else 400)
@given(cases(), signatures(), st.sampled_from(sorted(RESULTS)) | st.just("list"), st.booleans())
@example(simple("", "a", "c"), "a, b, c=5", "list", False)
def test_the_short_way_does_what_the_long_way_does(
    case: tuple[list[dict[str, Any]], dict[str, bytes]], signature: str, result: str, placed: bool
) -> None:
    event(f"short: {compare(case, signature, result, placed=placed)}")


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("outputs", [0, 1])
def test_every_result(result: str, outputs: int) -> None:
    graph, contents = simple("")
    if not outputs:
        graph[0]["outputs"] = []
        del graph[-1]
    compare((graph, contents), "x", result)


@pytest.mark.parametrize("inputs", [(), ("",), ("a",), ("b", "a"), ("", "a"), ("a", "a"), ("unknown", "")])
def test_plain_graphs_take_the_short_way(inputs: tuple[str, ...]) -> None:
    assert compare(simple(*inputs), "a=1, b=2", "list")


def test_apps_of_other_classes_take_the_long_way() -> None:
    graph, contents = simple("")
    graph[0]["dropclass"] = "dlg.apps.simple.CopyApp"
    worker = Worker(graph, contents)
    (told, was_short) = worker.run_short()
    assert told == worker.run_long()
    assert not was_short
    assert list(told[1].values()) == [contents["d0"]]


def test_an_argument_with_the_name_of_a_setting_takes_the_long_way() -> None:
    assert not compare(simple("command"), "command", "number")


def test_a_function_that_is_replaced_is_looked_up_anew() -> None:
    worker = Worker(*simple(""))
    first = define("x", "number")
    worker.run()
    second = define("y", "text")
    assert worker.run() == worker.run_long()
    assert (len(first), len(second)) == (1, 2)


def test_a_module_that_is_gone_is_not_used_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(*simple(""))
    calls = define("x", "number")
    worker.run()
    monkeypatch.delitem(sys.modules, MADE)
    assert worker.run() == worker.run_long()
    assert worker.run()[2][1] == "ClassNotFound"
    assert len(calls) == 1


def test_defaults_that_a_function_changes_are_those_of_its_next_call() -> None:
    worker = Worker(*simple())
    calls = define("a=1", "number")
    worker.run()
    sys.modules[MADE].f.__defaults__ = (2,)
    worker.run()
    assert calls == ["{'a': 1}", "{'a': 2}"]
