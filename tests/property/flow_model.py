"""A slow, obvious model of a session: objects that call each other, written from the rules, not from the engine.

Every drop is an object with its own lists of what has ended before it. Nothing is counted down, nothing is
indexed, nothing is fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field

COMPLETED, ERROR, SKIPPED, CANCELLED = "COMPLETED", "ERROR", "SKIPPED", "CANCELLED"


@dataclass(eq=False)
class Data:
    uid: str
    block_skip: bool = False
    external: bool = False
    ends: bool = False
    producers: list[App] = field(default_factory=list, repr=False)
    consumers: list[App] = field(default_factory=list, repr=False)
    heard: list[str] = field(default_factory=list)  # how each producer ended
    skips: int = 0
    state: str = "INITIALIZED"

    @property
    def over(self) -> bool:
        return self.state in (COMPLETED, ERROR, SKIPPED, CANCELLED)

    def producer_ended(self, how: str) -> None:
        self.heard.append(how)
        if how == SKIPPED:
            self.skip_told()
        if len(self.heard) < len(self.producers) or self.over:
            return
        if ERROR in self.heard:
            self.end(ERROR)
        elif self.skips >= len(self.producers):
            self.end(SKIPPED)
        else:
            self.end(COMPLETED)

    def skip_told(self) -> None:
        self.skips += 1
        may_wait = self.block_skip and len(self.producers) > 1
        if not self.over and not may_wait:
            self.end(SKIPPED)

    def end(self, state: str) -> None:
        self.state = state
        if not self.external:
            for app in self.consumers:
                app.input_ended(state)


@dataclass(eq=False)
class App:
    uid: str
    effective: int = -1
    threshold: int = 0
    block_skip: bool = False
    inputs: list[Data] = field(default_factory=list, repr=False)
    outputs: list[Data] = field(default_factory=list, repr=False)
    heard: list[str] = field(default_factory=list)  # how each input ended, until enough had
    state: str = "INITIALIZED"
    execution: str = "NOT_RUN"

    @property
    def enough(self) -> int:
        return len(self.inputs) if self.effective == -1 else self.effective

    def input_ended(self, how: str) -> None:
        if len(self.heard) == self.enough or self.execution != "NOT_RUN":
            return
        self.heard.append(how)
        if len(self.heard) < self.enough:
            return
        failed, skipped = self.heard.count(ERROR), self.heard.count(SKIPPED)
        if int(100 * failed / self.enough) > self.threshold:
            self.end(ERROR, "ERROR")
        elif (skipped and not self.block_skip) or skipped == self.enough:
            self.end(SKIPPED, "SKIPPED")
        else:
            self.execution = "READY"

    def end(self, state: str, execution: str) -> None:
        self.state, self.execution = state, execution
        for data in self.outputs:
            data.producer_ended(state)


class Model:
    """One session."""

    def __init__(self, drops: dict[str, Data | App]) -> None:
        self.drops = drops
        self.over = False

    def apps(self, execution: str) -> list[str]:
        return [d.uid for d in self.drops.values() if isinstance(d, App) and d.execution == execution]

    def trigger(self, uid: str) -> None:
        drop = self.drops[uid]
        if isinstance(drop, Data):
            if not drop.over:
                self._follow(drop.end, COMPLETED)
        elif drop.execution == "NOT_RUN":
            drop.execution = "READY"

    def begin(self, uid: str) -> None:
        app = self.drops[uid]
        assert isinstance(app, App)
        app.execution = "RUNNING"

    def finish(self, uid: str, skipped: str | None = None) -> None:
        app = self.drops[uid]
        assert isinstance(app, App)
        if skipped is not None:
            data = self.drops[skipped]
            assert isinstance(data, Data)
            if not data.over:
                self._follow(data.skip_told)
        if not self.over:
            self._follow(app.end, COMPLETED, "FINISHED")

    def fail(self, uid: str) -> None:
        app = self.drops[uid]
        assert isinstance(app, App)
        self._follow(app.end, ERROR, "ERROR")

    def complete_early(self, uid: str) -> None:
        data = self.drops[uid]
        assert isinstance(data, Data)
        if not data.over:
            self._follow(data.end, COMPLETED)

    def fail_early(self, uid: str) -> None:
        data = self.drops[uid]
        assert isinstance(data, Data)
        if not data.over:
            self._follow(data.end, ERROR)

    def cancel(self) -> None:
        self._end_all(CANCELLED, "CANCELLED")

    def _follow(self, event, *arguments: str) -> None:  # type: ignore[no-untyped-def]
        event(*arguments)
        if any(isinstance(d, Data) and d.ends and d.state == COMPLETED for d in self.drops.values()):
            self._end_all(SKIPPED, "SKIPPED")

    def _end_all(self, state: str, execution: str) -> None:
        self.over = True
        for drop in self.drops.values():
            if drop.state == "INITIALIZED":
                drop.state = state
                if isinstance(drop, App):
                    drop.execution = execution
