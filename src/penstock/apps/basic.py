# SPDX-License-Identifier: Apache-2.0
"""The simplest stock apps: copy, wait, greet, do nothing, checksum.

    CopyApp, SleepApp, SleepAndCopyApp, NullBarrierApp, HelloWorldApp, CrcApp, CrcStreamApp,
    ListAppendThrashingApp

Those with isolation `thread` run no user code and unpickle nothing but plain values.
"""

import logging
import math
import pickle
import random
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from penstock.apps.inputs import check_numbers, number_from_port, readable_drops
from penstock.apps.plain import PICKLE_PROTOCOL, load_plain
from penstock.drops.app import AppDrop
from penstock.drops.base import Side
from penstock.drops.container import ContainerDrop
from penstock.drops.data import CHUNK_BYTES, DataDrop
from penstock.drops.directory import DirectoryDrop
from penstock.drops.ports import Parameter
from penstock.errors import DropNotWritable, PortMissing

__all__ = [
    "CopyApp",
    "CrcApp",
    "CrcStreamApp",
    "HelloWorldApp",
    "ListAppendThrashingApp",
    "NullBarrierApp",
    "SleepAndCopyApp",
    "SleepApp",
    "copy_all",
]

log = logging.getLogger(__name__)


class NullBarrierApp(AppDrop):
    """Wait for all inputs and do nothing."""

    isolation = "thread"


def copy_all(sources: Iterable[DataDrop], targets: Iterable[DataDrop], bufsize: int = CHUNK_BYTES) -> None:
    """Copy every source, one after the other, into every target.

    Containers give their members' data, folders go into folders.

    Raises:
        DropNotWritable: a folder shall go into something that is no folder.
    """
    targets = tuple(targets)
    for source in sources:
        if isinstance(source, ContainerDrop):
            members = (link.drop for link in source.site.linked(source.index, Side.CHILDREN))
            copy_all(cast("Iterable[DataDrop]", members), targets, bufsize)
        elif isinstance(source, DirectoryDrop):
            _copy_folder(source, targets)
        else:
            _copy_content(source, targets, bufsize)


def _copy_folder(source: DirectoryDrop, targets: Iterable[DataDrop]) -> None:
    for target in targets:
        if not isinstance(target, DirectoryDrop):
            raise DropNotWritable(target.uid, f"is no folder and cannot take the folder of drop {source.uid}")
        shutil.copytree(source.path, target.path, dirs_exist_ok=True)


def _copy_content(source: DataDrop, targets: tuple[DataDrop, ...], bufsize: int) -> None:
    with source.open() as reader:
        while chunk := reader.read(bufsize):
            for target in targets:
                target.write(chunk)


class CopyApp(AppDrop):
    """Copy all inputs, in the order of the graph, into each output."""

    isolation = "thread"

    bufsize = Parameter(int, CHUNK_BYTES, "bytes per read")

    def run(self) -> None:
        copy_all(readable_drops(self), self.outputs, max(1, self.bufsize))


class SleepApp(AppDrop):
    """Let some time pass: the value of the input port, field or old field that gives the seconds.

    The session's timer does the waiting; no thread sleeps. What comes through the port and is no number of
    seconds counts as 0.
    """

    delayed = True
    isolation = "thread"

    @classmethod
    def check(cls, uid: str, fields: Mapping[str, Any]) -> None:  # Any: the drop's JSON
        """Refuse a graph whose seconds are no number.

        Raises:
            ParameterInvalid: they are none.
        """
        check_numbers(uid, fields, "sleep_time", "sleepTime")

    def delay_s(self) -> float:
        old_spelling = number_from_port(self, "sleepTime", float, 0.0)
        seconds = number_from_port(self, "sleep_time", float, old_spelling)
        return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


class SleepAndCopyApp(SleepApp):
    """Let some time pass, then copy as `CopyApp` does."""

    bufsize = Parameter(int, CHUNK_BYTES, "bytes per read")

    def run(self) -> None:
        copy_all(readable_drops(self), self.outputs, max(1, self.bufsize))


class HelloWorldApp(AppDrop):
    """Write a greeting to all outputs: of `greet`, or of the first item of the single input."""

    isolation = "thread"

    greet = Parameter(str, "World", "whom to greet when there is no input")

    def run(self) -> None:
        self.need(outputs=1)
        sources = readable_drops(self)
        if len(sources) > 1:
            raise PortMissing(self.uid, f"greets one input, the graph links {len(sources)}")
        text = f"Hello, {_first_item(sources[0])}" if sources else f"Hello {self.greet}"
        for output in self.outputs:
            output.write(text)


def _first_item(source: DataDrop) -> object:
    value: Any = load_plain(source)  # Any: a plain value of any kind
    if isinstance(value, str | bytes):
        return value
    try:
        return value[0]
    except (TypeError, IndexError, KeyError):  # what has no first item is greeted whole
        return value


def _crc_extend() -> Callable[[int, bytes], int]:
    try:
        from google_crc32c import extend
    except ImportError:
        return lambda crc, chunk: zlib.crc32(chunk, crc)
    return cast("Callable[[int, bytes], int]", extend)


class CrcApp(AppDrop):
    """Write the checksum of the single input, as decimal text, to the outputs."""

    isolation = "thread"

    def run(self) -> None:
        self.need(inputs=1, outputs=1)
        source, *others = self.inputs
        if others:
            raise PortMissing(self.uid, f"takes one input, the graph links {1 + len(others)}")
        text = str(source.checksum)
        for output in self.outputs:
            output.write(text)


class CrcStreamApp(AppDrop):
    """Compute the checksum of a streaming input while it is written; at its end write it as decimal text."""

    isolation = "thread"

    def initialize(self) -> None:
        self._crc = 0
        self._extend = _crc_extend()

    def data_written(self, uid: str, data: memoryview) -> None:  # noqa: ARG002  one stream, one checksum
        self._crc = self._extend(self._crc, bytes(data))

    def run(self) -> None:
        self.need(outputs=1)
        for output in self.outputs:
            output.write(str(self._crc))


class ListAppendThrashingApp(AppDrop):
    """Fill lists of random numbers again and again, `size` times `size`; write the last, pickled."""

    size = Parameter(int, 100, "length of the list, and how often it is made")

    def run(self) -> None:
        self.need(outputs=1)
        numbers: list[float] = []
        for _ in range(self.size):
            numbers = []
            for _ in range(self.size):
                numbers.append(random.random())
        content = pickle.dumps(numbers, protocol=PICKLE_PROTOCOL)
        for output in self.outputs:
            output.write(content)
