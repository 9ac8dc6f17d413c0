# SPDX-License-Identifier: Apache-2.0
"""Random graphs whose states and contents do not depend on where, when and in which order their drops run."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

from .manager_making import COPY, SHELL, Fields, app, data, file

FUNCTION = "dlg.apps.pyfunc.PyFuncApp"
BRANCH = "dlg.apps.simple.Branch"
NULL = "dlg.data.drops.data_base.NullDROP"
END = "penstock.drops.null.EndDrop"
CONTAINER = "dlg.data.drops.container.ContainerDROP"
DIRECTORY = "dlg.data.drops.directory.DirectoryDROP"
SIZES = (0, 10, 10, 100_000, 5_000_000)

_JOIN = "def f({names}): return b'<' + b'|'.join([{names}]) + b'>'"


class RandomGraph:
    """One graph, and what may be compared of it.

    Attributes:
        drops: without places, in an order that puts neighbours apart now and then.
        unordered: data that several apps write: the pieces come in any order.
    """

    def __init__(self, seed: int, absolute: Path) -> None:
        self._rnd = Random(f"managers {seed}")
        self._absolute = absolute
        absolute.mkdir(parents=True, exist_ok=True)
        self.drops: list[Fields] = []
        self.unordered: set[str] = set()
        self._data: list[Fields] = []
        self._count = 0
        self._fails = self._rnd.choice((0.0, 0.0, 0.15))
        for _ in range(self._rnd.randint(2, 4)):
            self._source()
        for _ in range(self._rnd.randint(4, 14)):
            self._layer()
        if self._rnd.random() < 0.4:
            self._folder()
        if self._rnd.random() < 0.3:
            self._container()
        if not self._fails and self._rnd.random() < 0.25:
            self._end()
        if self._rnd.random() < 0.3:
            self._rnd.shuffle(self.drops)

    def _uid(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    def _add(self, drop: Fields) -> str:
        self.drops.append(drop)
        if drop["categoryType"] == "Data":
            self._data.append(drop)
        uid: str = drop["oid"]
        return uid

    def _new(self, *, is_file: bool = False) -> str:
        """Add data that some app will write."""
        rnd, uid = self._rnd, self._uid("d")
        kind = rnd.random()
        if is_file or kind < 0.4:
            fields: Fields = rnd.choice(
                ({}, {"filepath": f"sub/{uid}.dat"}, {"filepath": f"{self._absolute}/{uid}"})
            )
            return self._add(file(uid, **fields))
        return self._add(data(uid))

    def _source(self) -> None:
        rnd = self._rnd
        if rnd.random() < 0.3:
            self._add(data(self._uid("d"), pydata=rnd.choice(("", "0123456789", "x" * 40_000))))
            return
        size, letter = rnd.choice(SIZES), rnd.choice("abc")
        out = self._new(is_file=True)
        command = f"head -c {size} /dev/zero | tr '\\0' {letter} > {{{out}}}"
        self._add(app(self._uid("a"), outputs=[out], cls=SHELL, command=command))

    def _some(self, most: int, cls: str = "") -> list[str]:
        found = [
            drop["oid"]
            for drop in self._data
            if (not cls or drop["dropclass"] == cls) and drop["oid"] not in self.unordered
        ]
        return self._rnd.sample(found, min(len(found), self._rnd.randint(1, most)))

    def _layer(self) -> None:
        kinds = (self._copy, self._copy, self._shell, self._shell, self._call, self._branch, self._many)
        make = self._rnd.choice(kinds)
        if self._rnd.random() < self._fails:
            make = self._failing
        make()

    def _copy(self) -> None:
        outputs = [self._new() for _ in range(self._rnd.choice((1, 1, 2)))]
        rules = {"input_error_threshold": 100} if self._rnd.random() < 0.3 else {}
        inputs = [uid for uid in self._some(3) if uid not in outputs]
        self._add(app(self._uid("a"), inputs=inputs, outputs=outputs, **rules))

    def _shell(self) -> None:
        inputs = self._some(3, "dlg.data.drops.file.FileDROP")
        out = self._new(is_file=True)
        uid = self._uid("a")
        named = [{one: f"p{i}"} for i, one in enumerate(inputs)]
        read = "".join(f"cat {{p{i}}}; " for i in range(len(inputs)))
        command = f"({read}echo {uid}) > {{out}}"
        self._add(app(uid, inputs=named, outputs=[{out: "out"}], cls=SHELL, command=command))

    def _call(self) -> None:
        inputs = self._some(2)
        out = self._new()
        names = [f"x{i}" for i in range(len(inputs))]
        code = _JOIN.format(names=", ".join(names))
        named = [{uid: name} for uid, name in zip(inputs, names, strict=True)]
        function = {"func_name": "f", "func_code": code, "input_parser": "binary", "output_parser": "binary"}
        self._add(app(self._uid("a"), inputs=named, outputs=[out], cls=FUNCTION, **function))

    def _branch(self) -> None:
        inputs = self._some(1)
        ways = {"true": self._new(), "false": self._new()}
        code = f"def f(x): return {self._rnd.choice((True, False))}"
        self._add(
            app(
                self._uid("a"),
                inputs=[{uid: "x"} for uid in inputs if uid not in ways.values()],
                outputs=[{uid: way} for way, uid in ways.items()],
                cls=BRANCH,
                func_name="f",
                func_code=code,
                input_parser="binary",
            )
        )

    def _many(self) -> None:
        """Data that several apps write."""
        source = self._some(1)
        out = self._add(data(self._uid("d")))
        self.unordered.add(out)
        for _ in range(self._rnd.randint(2, 3)):
            self._add(app(self._uid("a"), inputs=source, outputs=[out]))

    def _failing(self) -> None:
        inputs = self._some(2)
        out = self._new()
        self._add(app(self._uid("a"), inputs=inputs, outputs=[out], cls=SHELL, command="exit 3"))

    def _folder(self) -> None:
        folder = self._add(
            data(self._uid("d"), cls=DIRECTORY, dirname=self._uid("folder"), create_if_missing=True)
        )
        out = self._new(is_file=True)
        write = f"mkdir -p {{{folder}}} && echo hello > {{{folder}}}/f"
        read = f"cat {{{folder}}}/f > {{{out}}}"
        self._add(app(self._uid("a"), outputs=[folder], cls=SHELL, command=write))
        self._add(app(self._uid("a"), inputs=[folder], outputs=[out], cls=SHELL, command=read))
        self._data = [drop for drop in self._data if drop["oid"] != folder]

    def _container(self) -> None:
        uid, members = self._uid("c"), self._some(3)
        self.drops.append(
            {"oid": uid, "categoryType": "Container", "dropclass": CONTAINER, "children": members}
        )

    def _end(self) -> None:
        """An end that comes when all else is done, but for what nobody triggers."""
        leaves = [drop["oid"] for drop in self._data]
        end = self._uid("e")
        self._add(app(self._uid("a"), inputs=leaves, outputs=[end], cls=COPY, input_error_threshold=100))
        self.drops.append(data(end, cls=END))

    @property
    def roots(self) -> list[str]:
        """The drops that a client triggers."""
        written = {_name(link) for drop in self.drops for link in drop.get("outputs", ())}
        return [
            drop["oid"]
            for drop in self.drops
            if (drop["categoryType"] == "Data" and drop["oid"] not in written)
            or (drop["categoryType"] == "Application" and not drop["inputs"])
            or drop["categoryType"] == "Container"
        ]

    @property
    def readable(self) -> list[str]:
        """Data whose content can be compared."""
        return [drop["oid"] for drop in self._data]

    def placed(self, nodes: Sequence[str], seed: int) -> list[Fields]:
        """Return the drops, each on a random one of these nodes."""
        rnd = Random(f"places {seed} {len(nodes)}")
        return [{**drop, "node": rnd.choice(nodes)} for drop in self.drops]


def _name(link: str | dict[str, str]) -> str:
    return link if isinstance(link, str) else next(iter(link))
