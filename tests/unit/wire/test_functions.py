"""Functions by value, and the table of a process that has been sent them."""

import hashlib
import threading

import pytest

from penstock.errors import SerializationError
from penstock.wire.functions import FunctionTable, pack_function


class Counted:
    """Counts how often it is unpickled."""

    made = 0

    def __call__(self) -> None: ...

    def __setstate__(self, state: object) -> None:
        Counted.made += 1

    def __getstate__(self) -> dict[str, int]:
        return {"x": 1}


def test_a_function_is_called_by_its_digest():
    factor = 3
    function = pack_function(lambda number: number * factor)
    assert function.digest == hashlib.sha256(function.code).digest()
    table = FunctionTable()
    assert table.get(function.digest) is None
    assert table.add(function.code) == function.digest
    assert table.get(function.digest)(2) == 6


def test_each_content_is_unpickled_once():
    Counted.made = 0
    function = pack_function(Counted())
    table = FunctionTable()
    for _ in range(3):
        table.add(function.code)
    assert Counted.made == 1


def test_the_least_recently_used_goes_first():
    functions = [pack_function(lambda number=number: number) for number in range(4)]
    table = FunctionTable(3)
    for function in functions[:3]:
        table.add(function.code)
    table.get(functions[0].digest)
    table.add(functions[1].code)
    table.add(functions[3].code)
    assert [table.get(function.digest) is None for function in functions] == [False, False, True, False]


def test_a_function_that_uses_what_cannot_be_sent_is_told():
    lock = threading.Lock()
    with pytest.raises(SerializationError, match="function variable 'lock': cannot pickle"):
        pack_function(lambda: lock)


def test_only_functions_are_taken():
    from penstock.wire.pickling import pickled

    with pytest.raises(SerializationError, match="int cannot be called"):
        FunctionTable().add(pickled(1, None))
    with pytest.raises(SerializationError):
        FunctionTable().add(b"nonsense")
