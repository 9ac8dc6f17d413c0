# SPDX-License-Identifier: Apache-2.0
"""What happened in one simulated session, and whether it may have happened. The first wrong thing raises `Wrong`.

The judge knows the truth of all processes at once. It believes no sequence number and no count of theirs.
"""

from collections import Counter

from penstock.engine.states import DropState, SessionState
from penstock.testing.simulator_graphs import Scenario, reference

__all__ = ["History", "Wrong"]

_SKIPPED, _COMPLETED, _ERROR = int(DropState.SKIPPED), int(DropState.COMPLETED), int(DropState.ERROR)


class Wrong(AssertionError):
    """Something happened that must not happen."""


class History:
    """One life of a session.

    Attributes:
        excused: nodes that the owner may call lost: they crashed, or he rightly heard nothing for too long.
        cancelled: the client has cancelled.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.expected = reference(scenario)
        self.excused: set[str] = set()
        self.cancelled = False
        self.verdict: SessionState | None = None
        self.causes: list[str] = []
        self._told: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self._arrived: Counter[tuple[str, str]] = Counter()
        self._runs: Counter[int] = Counter()

    # What nodes do

    def told(self, sender: str, receiver: str, index: int, state: int) -> None:
        """Note that a fact begins its way."""
        self._told.setdefault((sender, receiver), []).append((index, state))

    def arrived(self, sender: str, receiver: str, index: int, state: int) -> None:
        """Note that a fact is applied: the next one that was told on this way, and no other."""
        told, place = self._told.get((sender, receiver), []), self._arrived[sender, receiver]
        if place >= len(told) or told[place] != (index, state):
            raise Wrong(f"{receiver} applied fact {index}={state} of {sender} that is not number {place}")
        self._arrived[sender, receiver] = place + 1

    def began(self, node: str, app: int, contents: dict[int, frozenset[str]]) -> None:
        """Note that an app runs, with what it finds in its complete inputs."""
        self._runs[app] += 1
        if self._runs[app] > 1:
            raise Wrong(f"{self.scenario.uids[app]} runs twice")
        if self.scenario.homes[app] != node:
            raise Wrong(f"{self.scenario.uids[app]} runs at {node}, which is not its home")
        for data, writers in contents.items():
            if writers != self._writers(data):
                raise Wrong(
                    f"{self.scenario.uids[app]} finds {set(writers)} in {self.scenario.uids[data]} at {node}"
                )

    def _writers(self, data: int) -> frozenset[str]:
        endings = self.scenario.endings
        return frozenset(
            self.scenario.uids[app]
            for app in self.scenario.wiring.before[data]
            if (self.expected[app] == _COMPLETED and data not in endings[app].skips)
            or (data, _COMPLETED) in endings[app].early
        )

    # What the owner says

    def judged(self, verdict: SessionState, causes: list[str], busy: list[str]) -> None:
        """Note the owner's verdict.

        Args:
            busy: the nodes that are there and not at rest, in truth.
        """
        if self.verdict is not None:
            raise Wrong(f"a second verdict: {verdict.name} after {self.verdict.name}")
        self.verdict, self.causes = verdict, list(causes)
        if verdict is SessionState.CANCELLED:
            if not self.cancelled:
                raise Wrong("CANCELLED, and nobody wanted it")
        elif causes:
            if verdict is not SessionState.FAILED or not any(name in causes[0] for name in self.excused):
                raise Wrong(f"{verdict.name} because of {causes[0]!r}; excused are {self.excused}")
        else:
            if busy:
                raise Wrong(f"{verdict.name} while {busy} are not at rest")
            on_the_way = {way for way, told in self._told.items() if len(told) != self._arrived[way]}
            if on_the_way:
                raise Wrong(f"{verdict.name} while facts are on their way: {on_the_way}")

    # The end

    def close(self, states: dict[int, int]) -> None:
        """Judge the states at the end, of all drops on nodes that kept their part."""
        if self.verdict is None:
            raise Wrong("no verdict")
        uids, ends = self.scenario.uids, self.scenario.ends
        still_open = [uids[i] for i, state in states.items() if state <= DropState.WRITING]
        if still_open:
            raise Wrong(f"{self.verdict.name}, and {still_open} are open")
        if self.causes or self.verdict is SessionState.CANCELLED:
            return
        ended_early = any(self.expected[i] == _COMPLETED for i in ends)
        for i, state in states.items():
            if state != self.expected[i] and not (ended_early and state == _SKIPPED):
                raise Wrong(f"{uids[i]} is {DropState(state).name}, not {DropState(self.expected[i]).name}")
        if len(states) < len(self.expected):  # a node went after the verdict
            return
        if ended_early and not any(states[i] == _COMPLETED for i in ends):
            raise Wrong("no EndDrop is complete")
        right = SessionState.FAILED if _ERROR in states.values() else SessionState.FINISHED
        if self.verdict is not right:
            raise Wrong(f"{self.verdict.name}, not {right.name}")
