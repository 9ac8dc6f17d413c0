# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a graph: the codes, their meaning, and one finding as a value.

Codes are stable: programs and people keep them. `penstock explain CODE` prints what stands here.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import Enum
from typing import NamedTuple

__all__ = ["CATALOGUE", "Kind", "Problem", "Severity", "did_you_mean"]


class Severity(Enum):
    """Whether a graph with this problem can run."""

    ERROR = "error"
    WARNING = "warning"


class Kind(NamedTuple):
    """One kind of problem."""

    title: str
    severity: Severity
    explanation: str


class Problem(NamedTuple):
    """One finding in one graph.

    Attributes:
        code: key of `CATALOGUE`.
        message: what is wrong, without the place.
        uid: the drop, "" where the problem is not one drop's.
        path: JSON pointer into the graph's text, "" for the whole.
        hint: what to do, "" where nothing better than the message is known.
    """

    code: str
    message: str
    uid: str = ""
    path: str = ""
    hint: str = ""

    @property
    def severity(self) -> Severity:
        """Whether a graph with this problem can run."""
        return CATALOGUE[self.code].severity

    @property
    def is_error(self) -> bool:
        """Whether a graph with this problem cannot run."""
        return self.severity is Severity.ERROR

    def __str__(self) -> str:
        where = f" [{self.uid}]" if self.uid else ""
        place = f"  at {self.path}" if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.code}{where} {self.message}{hint}{place}"

    def as_json(self) -> dict[str, str]:
        """Return the finding as plain JSON values."""
        return {**self._asdict(), "severity": self.severity.value}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, "" when none is near."""
    candidates = {candidate.lower(): candidate for candidate in known}
    near = get_close_matches(word.lower(), candidates, n=1, cutoff=0.6)
    return f"did you mean {candidates[near[0]]!r}?" if near else ""


_E, _W = Severity.ERROR, Severity.WARNING

CATALOGUE: dict[str, Kind] = {
    "PS101": Kind(
        "not JSON",
        _E,
        "The text is not JSON. The message gives line and column of the first place that cannot be read. "
        "NaN, Infinity, comments, single quotes and trailing commas are not JSON.",
    ),
    "PS102": Kind(
        "not a list",
        _E,
        "A physical graph is a JSON list with one object per drop. This text is JSON but something else.",
    ),
    "PS103": Kind(
        "a logical graph",
        _E,
        "This is a logical graph, as the editor EAGLE saves it: it describes a family of physical graphs. "
        "The DALiuGE translator turns it into a physical one: "
        "dlg fill -L GRAPH | dlg unroll | dlg partition | dlg map > physical.json",
    ),
    "PS104": Kind("an empty graph", _E, "The list holds no drop, so there is nothing to run."),
    "PS105": Kind(
        "cannot be read",
        _E,
        "The file does not exist or cannot be read, or it is nested too deeply to be a graph.",
    ),
    "PS201": Kind(
        "not a drop",
        _E,
        "Each element of the list is an object that describes a drop. Only the last element may be something "
        "else: the graph-wide reproducibility record, which is {} or has the key rmode.",
    ),
    "PS202": Kind(
        "missing field",
        _E,
        "Every drop needs an oid, its name that is unique in the graph, and a categoryType "
        "(Data, Application, Container; old graphs: type plain, app, container).",
    ),
    "PS203": Kind(
        "duplicate uid",
        _E,
        "Two drops have the same oid (or uid). Links could not tell them apart.",
    ),
    "PS204": Kind(
        "unknown category",
        _E,
        "The categoryType is none that can run: Data, Application (app), Container, Socket, Service, Control; "
        "old graphs: type plain. Upper and lower case do not matter.",
    ),
    "PS205": Kind(
        "missing class",
        _E,
        "An app names its class in dropclass (old spellings: app, appclass, Application). Data may name "
        "dropclass (old: dataclass) or only a storage.",
    ),
    "PS206": Kind(
        "unknown class",
        _E,
        "The class is neither one of Penstock's own, under its own or a dlg.* name, nor can it be imported, "
        "or it is not a drop class of the kind that the category says.",
    ),
    "PS207": Kind(
        "wrong type",
        _E,
        "A field holds a value of the wrong JSON type, for instance a number where a list of links is expected.",
    ),
    "PS301": Kind(
        "wrong kind of link",
        _E,
        "Links join data and apps in turn: an app has inputs and outputs, which are data; data has producers "
        "and consumers, which are apps; only a container has children. The key or the other end is of the wrong kind.",
    ),
    "PS302": Kind(
        "unknown drop in a link",
        _W,
        "A link names a drop that is not in this graph. Real graphs have such links; they are passed over.",
    ),
    "PS303": Kind(
        "cycle",
        _E,
        "The drops named wait for each other, so none of them can ever run. Remove one of the links.",
    ),
    "PS304": Kind(
        "linked twice in different ways",
        _E,
        "An app is a consumer and a streaming consumer of the same data. It can be one of them only.",
    ),
    "PS401": Kind(
        "bad number",
        _E,
        "A field holds something that is not a number in its range: n_effective_inputs is -1 (all) or 1 to the "
        "number of inputs; input_error_threshold 0 to 100 (percent); n_tries at least 1; time_limit_s and "
        "lifespan above 0 (seconds); expectedSize at least -1 (bytes); executionMode 0 or 1.",
    ),
    "PS402": Kind(
        "two lifetimes",
        _E,
        "lifespan (seconds) and expireAfterUse (when all consumers are done) exclude each other.",
    ),
    "PS403": Kind(
        "bad parameter",
        _E,
        "A parameter that the drop's class declares cannot be converted to its type, or one that it needs is missing.",
    ),
    "PS501": Kind(
        "not placed",
        _E,
        "A manager of managers was given a drop that does not say where it lives: node on an island, island on a "
        "master. penstock map, or dlg map, writes it; penstock submit places drops by itself.",
    ),
    "PS502": Kind(
        "unknown place",
        _E,
        "A drop names a node or island that is not below the manager it was given to.",
    ),
}
