# SPDX-License-Identifier: Apache-2.0
"""Copy, sleep, greet, checksum."""

import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest

from penstock.apps import basic
from penstock.apps.basic import (
    CopyApp,
    CrcApp,
    CrcStreamApp,
    HelloWorldApp,
    ListAppendThrashingApp,
    NullBarrierApp,
    SleepAndCopyApp,
    SleepApp,
)
from penstock.drops.app import AppDrop
from penstock.drops.container import ContainerDrop
from penstock.drops.directory import DirectoryDrop
from penstock.drops.file import FileDrop
from penstock.drops.memory import MemoryDrop
from penstock.drops.null import NullDrop
from penstock.errors import DropNotWritable, PortMissing
from penstock.testing.solo import SoloSite


def linked(
    site: SoloSite, app: AppDrop, *contents: bytes, outputs: int = 1, port: str = ""
) -> list[MemoryDrop]:
    for content in contents:
        source = site.add(MemoryDrop, f"in{len(site._drops)}")
        site.link(source, app, port)
        site.fill(source, content)
    targets = [site.add(MemoryDrop, f"out{place}") for place in range(outputs)]
    for target in targets:
        site.link(app, target)
    return targets


def test_every_input_is_copied_into_every_output(site: SoloSite) -> None:
    app = site.add(CopyApp, "app", bufsize=2)
    targets = linked(site, app, b"abcde", b"fgh", outputs=2)
    site.run(app)
    assert [target.read() for target in targets] == [b"abcdefgh"] * 2


def test_events_and_skipped_inputs_are_not_copied(site: SoloSite) -> None:
    app = site.add(CopyApp, "app")
    (target,) = linked(site, app, b"x")
    event, skipped = site.add(NullDrop, "event"), site.add(MemoryDrop, "skipped")
    for drop in (event, skipped):
        site.link(drop, app)
    site.fill(event)
    skipped.skip()
    site.run(app)
    assert target.read() == b"x"


def test_containers_give_their_members(site: SoloSite) -> None:
    app = site.add(CopyApp, "app")
    container = site.add(ContainerDrop, "box")
    for content in (b"a", b"b"):
        member = site.add(MemoryDrop, f"member-{content.decode()}")
        site.put(container, member)
        site.fill(member, content)
    site.link(container, app)
    site._status[container.index] = member.status
    (target,) = linked(site, app)
    site.run(app)
    assert target.read() == b"ab"


def test_folders_are_copied_into_folders_only(site: SoloSite, tmp_path: Path) -> None:
    source, target = site.add(DirectoryDrop, "a", dirname="from"), site.add(DirectoryDrop, "b", dirname="to")
    (tmp_path / "from" / "deep").mkdir(parents=True)
    (tmp_path / "from" / "deep" / "file").write_text("x")
    app = site.add(CopyApp, "app")
    site.link(source, app)
    site.link(app, target)
    site._status[source.index] = 2
    site.run(app)
    assert (tmp_path / "to" / "deep" / "file").read_text() == "x"
    site.link(app, site.add(FileDrop, "file"))
    with pytest.raises(DropNotWritable, match="no folder"):
        app.run()


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, 0.0),
        ({"sleep_time": 2}, 2.0),
        ({"sleep_time": "1.5"}, 1.5),
        ({"sleepTime": 3}, 3.0),
        ({"sleep_time": 5, "sleepTime": 2}, 5.0),
        ({"sleep_time": "", "sleepTime": 2}, 2.0),
        ({"sleep_time": "soon"}, 0.0),
        ({"sleep_time": -1}, 0.0),
        ({"sleep_time": "inf"}, 0.0),
        ({"sleep_time": "nan"}, 0.0),
        ({"componentParams": {"sleep_time": {"value": 4}}}, 4.0),
    ],
)
def test_the_seconds_come_from_either_spelling(
    site: SoloSite, fields: dict[str, object], seconds: float
) -> None:
    app = site.add(SleepApp, "app", **fields)
    assert app.delayed
    assert app.delay_s() == seconds


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (pickle.dumps(2), 2.0),
        (pickle.dumps(np.float64(0.25)), 0.25),
        (pickle.dumps(np.array([])), 7.0),
        (pickle.dumps(np.array([1.5])[0]), 1.5),
        (b"3.5", 3.5),
        (b"", 7.0),
        (b"\xff\xfe", 7.0),
        (pickle.dumps(print), 7.0),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_seconds_come_from_the_port_first(site: SoloSite, content: bytes, seconds: float) -> None:
    app = site.add(SleepApp, "app", sleep_time=9, sleepTime=7)
    linked(site, app, content, port="sleep_time")
    assert app.delay_s() == seconds


def test_sleep_and_copy_does_both(site: SoloSite) -> None:
    app = site.add(SleepAndCopyApp, "app")
    (target,) = linked(site, app, pickle.dumps(2), port="sleep_time")
    assert app.delay_s() == 2.0
    site.run(app)
    assert pickle.loads(target.read()) == 2


def test_the_null_app_inherits_its_run(site: SoloSite) -> None:
    assert NullBarrierApp.run is AppDrop.run
    assert NullBarrierApp.isolation == "thread"


@pytest.mark.parametrize(
    ("content", "greeting"),
    [
        (pickle.dumps(["ICRAR\n"]), "Hello, ICRAR\n"),
        (pickle.dumps(np.array(["Perth"])), "Hello, Perth"),
        (pickle.dumps("World"), "Hello, World"),
        (b"text", "Hello, text"),
        (pickle.dumps(7), "Hello, 7"),
        (pickle.dumps([]), "Hello, []"),
    ],
)
def test_the_input_is_greeted(site: SoloSite, content: bytes, greeting: str) -> None:
    app = site.add(HelloWorldApp, "app", greet="nobody")
    targets = linked(site, app, content, outputs=2)
    site.run(app)
    assert [target.read() for target in targets] == [greeting.encode()] * 2


def test_without_input_the_parameter_is_greeted(site: SoloSite) -> None:
    for fields, greeting in (({}, b"Hello World"), ({"greet": "you"}, b"Hello you")):
        app = site.add(HelloWorldApp, f"app{fields}", **fields)
        target = site.add(MemoryDrop, f"out{fields}")
        site.link(app, target)
        site.run(app)
        assert target.read() == greeting


def test_greeting_needs_an_output_and_at_most_one_input(site: SoloSite) -> None:
    with pytest.raises(PortMissing):
        site.run(site.add(HelloWorldApp, "alone"))
    app = site.add(HelloWorldApp, "app")
    linked(site, app, b"a", b"b")
    with pytest.raises(PortMissing, match="one input"):
        site.run(app)


def test_both_checksums_agree_with_the_drops(site: SoloSite) -> None:
    content = bytes(range(256)) * 700
    app, stream = site.add(CrcApp, "crc"), site.add(CrcStreamApp, "stream")
    source, target, streamed = (site.add(MemoryDrop, uid) for uid in ("in", "out", "streamed"))
    site.link(source, app)
    site.link(source, stream, streaming=True)
    site.link(app, target)
    site.link(stream, streamed)
    source.write(content[:1000])
    source.write(content[1000:])
    source.complete()
    site.run(app)
    site.run(stream)
    assert target.read() == streamed.read() == str(source.checksum).encode()


def test_the_checksum_is_crc32_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "google_crc32c", None)
    assert basic._crc_extend()(0, b"abc") == zlib.crc32(b"abc")


def test_a_checksum_takes_one_input(site: SoloSite) -> None:
    app = site.add(CrcApp, "app")
    linked(site, app, b"a", b"b")
    with pytest.raises(PortMissing):
        site.run(app)
    with pytest.raises(PortMissing):
        site.run(site.add(CrcApp, "none"))


def test_thrashing_writes_a_list_of_that_length(site: SoloSite) -> None:
    app = site.add(ListAppendThrashingApp, "app", size=5)
    (target,) = linked(site, app)
    site.run(app)
    assert len(pickle.loads(target.read())) == 5
