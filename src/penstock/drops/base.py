# SPDX-License-Identifier: Apache-2.0
"""What every drop object is: a view on one row of a session's table.

A drop object owns no state of its own life; it asks its `Site`, which is the session it lives in (or the
stand-in of `penstock.testing`). Objects are made when they are first touched, so a graph of a million
drops does not become a million objects. Read next: `data.py`, `app.py`, `ports.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar, overload

from penstock.drops.ports import Argument, parse_arguments
from penstock.engine.states import AppState, DropState

__all__ = ["Drop", "Linked", "Side", "Site", "kept"]

T = TypeVar("T")


class Side(Enum):
    """Which neighbours of a drop are meant."""

    BEFORE = "before"  # inputs of an app, producers of data
    AFTER = "after"  # outputs of an app, consumers of data
    CHILDREN = "children"  # members of a container


class Linked(NamedTuple):
    """A neighbour, and the name of the port through which it is linked ("" where the graph names none)."""

    port: str
    drop: "Drop"
    streaming: bool = False


class Site(Protocol):
    """What a drop may ask of, and tell, the session it lives in. All methods may be called on any thread."""

    @property
    def session_id(self) -> str: ...

    @property
    def directory(self) -> Path:
        """The session's own folder; relative file names live in it."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that `$NAME` in graphs and child processes see; a snapshot."""
        ...

    def uid(self, index: int) -> str: ...

    def fields(self, index: int) -> Mapping[str, Any]:
        """The drop's whole JSON object as the graph gave it."""
        ...

    def status(self, index: int) -> DropState: ...

    def execution(self, index: int) -> AppState: ...

    def linked(self, index: int, side: Side) -> tuple[Linked, ...]: ...

    def stored(self, index: int) -> "bytes | bytearray | memoryview | None":
        """The content of data in memory that another process wrote, None where none did."""

    def place(self, index: int, parts: "Sequence[bytes | bytearray | memoryview]") -> memoryview | None:
        """Put the whole, large content of data in memory where other processes see it, and return a view of it.

        None where the drop's object shall keep it.
        """

    def writing(self, index: int, data: memoryview) -> bool:
        """Note that data arrives; True where the site has taken it and the drop's object must not keep it.

        Raises:
            DropNotWritable: the drop has ended.
        """
        ...

    def written(self, index: int, data: memoryview) -> None:
        """Hand a written piece to the streaming consumers; `data` is valid during the call only."""

    def completed(self, index: int) -> None:
        """Note that a data drop holds all its data, before its producers have ended."""

    def note(self, index: int, stream: str, text: str) -> None:
        """Add to a drop's log."""

    def skip(self, index: int) -> None:
        """Note that a drop will not happen: it and what only it feeds are skipped."""


class kept(Generic[T]):  # noqa: N801  used like `property`
    """A property that is asked once; Python then finds the answer in the object and does not come here.

    Threads may both ask, and get equal answers; `functools.cached_property` would have them wait, all the
    objects of a class for one another.
    """

    def __init__(self, ask: Callable[[Any], T]) -> None:  # Any: the drop, of whatever class
        self._ask = ask
        self.__doc__ = ask.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, drop: None, owner: type) -> "kept[T]": ...
    @overload
    def __get__(self, drop: "Drop", owner: type) -> T: ...
    def __get__(self, drop: "Drop | None", owner: type) -> "kept[T] | T":
        if drop is None:
            return self
        answer: T = self._ask(drop)
        drop.__dict__[self._name] = answer
        return answer


class Drop:
    """The base of data drops and app drops.

    Subclasses override `initialize` instead of the constructor.

    Args:
        site: the session.
        index: the row in the session's table.
    """

    libraries: ClassVar[tuple[str, ...]] = ()
    """Modules that drops of this class import when they work; a session imports them before its clock starts."""

    def __init__(self, site: Site, index: int) -> None:
        self.site = site
        self.index = index

    def initialize(self) -> None:
        """Prepare this object; called once, before its first use. Nothing to do unless overridden."""

    @kept
    def uid(self) -> str:
        """The name of this instance, unique in its session."""
        return self.site.uid(self.index)

    @property
    def oid(self) -> str:
        """The identity of the data's meaning; copies share it."""
        return str(self.fields.get("oid") or self.uid)

    @property
    def name(self) -> str:
        """The name that people gave this drop; its oid if they gave none."""
        return str(self.fields.get("name") or self.oid)

    @kept
    def fields(self) -> Mapping[str, Any]:  # Any: whatever JSON the graph's author wrote
        """The drop's JSON object as the graph gave it."""
        return self.site.fields(self.index)

    @kept
    def arguments(self) -> Mapping[str, Argument]:
        """The described parameters and ports of this drop by name, application arguments first."""
        fields = self.fields
        if "applicationArgs" not in fields and "componentParams" not in fields:
            return {}
        return parse_arguments(self.uid, fields)

    def field(self, name: str, default: Any = None) -> Any:  # Any: JSON in, JSON out
        """Return the value of a parameter: the key itself, else the described argument's value.

        The value of an argument that is a port does not count: it is a place for data, not a setting.
        """
        fields = self.fields
        if name in fields:
            return fields[name]
        argument = self.arguments.get(name)
        if argument is None or argument.is_port:
            return default
        return argument.value

    @property
    def status(self) -> DropState:
        """The present state, as the session's table has it."""
        return self.site.status(self.index)

    def note(self, text: str, stream: str = "note") -> None:
        """Add a text to this drop's log."""
        self.site.note(self.index, stream, text)

    def skip(self) -> None:
        """Skip this drop: it will not happen, and neither will what only it feeds.

        Not for an app that is running: what runs does happen, so `run` skips outputs, never its own app.

        Raises:
            IllegalTransition: the drop is a running app, or is complete or has failed.
        """
        self.site.skip(self.index)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uid}>"
