# SPDX-License-Identifier: Apache-2.0
"""The base of app drops: what users derive their components from.

    class Double(AppDrop):
        def run(self) -> None:
            for link in self.outputs:
                link.write(self.inputs[0].read() * 2)

When `run` returns the session completes the app and lets its outputs know; when it raises the app fails.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from penstock.drops.base import Drop, Linked, Side
from penstock.drops.ports import Parameter
from penstock.engine.states import AppState
from penstock.errors import PortMissing

if TYPE_CHECKING:
    from penstock.drops.data import DataDrop

__all__ = ["AppDrop"]


class AppDrop(Drop):
    """The base of all app drops. One object serves one execution."""

    delayed: ClassVar[bool] = False
    """Whether `delay_s` shall be asked: the app then waits on a timer, without a thread, before `run`."""

    isolation: ClassVar[Literal["thread", "process"]] = "process"
    """Where apps of this class run unless the graph or the run says otherwise: in a worker process, where they
    can be stopped; or on a thread of the session, for what is built in, cheap and runs no user code."""

    may_open_pickles: ClassVar[bool] = False
    """Whether `opens_pickles` shall be asked of each drop."""

    @classmethod
    def opens_pickles(cls, uid: str, fields: Mapping[str, Any]) -> bool:  # Any: the drop's JSON
        """Whether an app with these fields may unpickle what its inputs hold.

        Then it runs in a worker process even where its class is for threads: a pickle is a program.
        """
        del uid, fields  # subclasses look at them
        return False

    n_tries = Parameter(int, 1, "how often `run` is tried before the app fails")

    def run(self) -> None:
        """Do the work. Called when all inputs that count have ended, on one of the session's threads."""

    def delay_s(self) -> float:
        """Return how many seconds to wait before `run`."""
        return 0.0

    def cancel(self) -> None:
        """Stop a running `run` if that is possible. Called on another thread; must return at once."""

    def data_written(self, uid: str, data: memoryview) -> None:
        """Take one piece of a streaming input as it is written, on the writer's thread.

        `data` is valid during the call only. `run` is called when all inputs have ended.
        """

    # What users read

    @property
    def input_links(self) -> tuple[Linked, ...]:
        """The inputs with their port names, in the order of the graph, streaming ones too; once for each port."""
        return self.site.linked(self.index, Side.BEFORE)

    @property
    def output_links(self) -> tuple[Linked, ...]:
        """The outputs with their port names, in the order of the graph; once for each port."""
        return self.site.linked(self.index, Side.AFTER)

    @property
    def inputs(self) -> "tuple[DataDrop, ...]":
        """The inputs in the order of the graph, each once."""
        return cast("tuple[DataDrop, ...]", tuple(dict.fromkeys(link.drop for link in self.input_links)))

    @property
    def outputs(self) -> "tuple[DataDrop, ...]":
        """The outputs in the order of the graph, each once."""
        return cast("tuple[DataDrop, ...]", tuple(dict.fromkeys(link.drop for link in self.output_links)))

    def need(self, *, inputs: int = 0, outputs: int = 0) -> None:
        """Refuse to go on without that many inputs and outputs.

        Raises:
            PortMissing: there are fewer.
        """
        for side, least, links in (
            ("input", inputs, self.input_links),
            ("output", outputs, self.output_links),
        ):
            if len(links) < least:
                raise PortMissing(
                    self.uid, f"{type(self).__name__} needs {least} {side}(s), the graph links {len(links)}"
                )

    @property
    def exec_status(self) -> AppState:
        """The present state of the execution, as the session's table has it."""
        return self.site.execution(self.index)
