"""The engine and the slow model agree on every state, for random graphs and random orders of events."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.flow import Flow
from penstock.engine.states import AppState, DropState
from penstock.engine.transitions import TRANSITIONS
from penstock.errors import IllegalTransition
from penstock.graph import analyse
from penstock.graph.load import encode, loads
from tests.conftest import PROVE

from .flow_model import App, Data, Model


class Play:
    """The same session twice: in the model and in the engine."""

    def __init__(self, drops: Sequence[Data | App], settles: set[str]) -> None:
        self.model = Model({drop.uid: drop for drop in drops})
        graph = loads(encode([_spec(drop) for drop in drops]))
        findings = analyse.check(graph)
        assert not findings.problems
        self.uids = [spec.key for spec in graph]
        self.index = dict(graph.index)
        ends = [self.index[drop.uid] for drop in drops if isinstance(drop, Data) and drop.ends]
        self.settles = {self.index[uid] for uid in settles}
        self.flow = Flow(findings.wiring, findings.rules, settling=self.settles, ends=ends)
        self.queued: set[str] = set()
        self.running: set[str] = set()

    def settle(self) -> None:
        """Take what the engine made ready; settle data at once, as the model knows no settling."""
        while self.flow.ready:
            ready, self.flow.ready = self.flow.ready, []
            for index in ready:
                if index in self.settles:
                    self.flow.begin([index])
                    self.flow.data_completed(index)
                else:
                    assert self.uids[index] not in self.queued, "made ready twice"
                    self.queued.add(self.uids[index])
        if self.flow.closed:
            self.queued.clear()

    def compare(self) -> None:
        self.settle()
        for uid, drop in self.model.drops.items():
            index = self.index[uid]
            state, execution = (
                DropState(self.flow.state[index]).name,
                AppState(self.flow.execution[index]).name,
            )
            assert state == drop.state, uid
            if isinstance(drop, App):
                assert execution == drop.execution.replace("READY", "NOT_RUN"), uid
        assert self.queued == set(self.model.apps("READY"))
        assert self.running >= set(self.model.apps("RUNNING"))


def _spec(drop: Data | App) -> dict[str, object]:
    if isinstance(drop, Data):
        return {
            "oid": drop.uid,
            "categoryType": "Data",
            "producers": [app.uid for app in drop.producers],
            "consumers": [app.uid for app in drop.consumers],
            "block_skip": drop.block_skip,
            "executionMode": int(drop.external),
        }
    return {
        "oid": drop.uid,
        "categoryType": "Application",
        "dropclass": "x.Y",
        "inputs": [data.uid for data in drop.inputs],
        "outputs": [data.uid for data in drop.outputs],
        "n_effective_inputs": drop.effective,
        "input_error_threshold": drop.threshold,
        "block_skip": drop.block_skip,
    }


def _random_drops(rnd: random.Random, *, effective: bool) -> list[Data | App]:
    layers = rnd.randint(1, 4)
    drops: list[Data | App] = []
    above: list[Data] = [Data(f"r{i}", external=rnd.random() < 0.05) for i in range(rnd.randint(1, 3))]
    drops += above
    for layer in range(layers):
        below = [
            Data(f"d{layer}.{i}", block_skip=rnd.random() < 0.4, ends=rnd.random() < 0.04)
            for i in range(rnd.randint(1, 4))
        ]
        for i in range(rnd.randint(1, 4)):
            app = App(
                f"a{layer}.{i}",
                threshold=rnd.choice([0, 0, 33, 49, 50, 99, 100]),
                block_skip=rnd.random() < 0.4,
            )
            app.inputs = rnd.sample(above, rnd.randint(0 if rnd.random() < 0.1 else 1, len(above)))
            app.outputs = rnd.sample(below, rnd.randint(0, len(below)))
            if effective and app.inputs:
                app.effective = rnd.choice([-1, *range(1, len(app.inputs) + 1)])
            for data in app.inputs:
                data.consumers.append(app)
            for data in app.outputs:
                data.producers.append(app)
            drops.append(app)
        drops += below
        above = above + below if rnd.random() < 0.5 else below
    return drops


def _play(seed: int, *, effective: bool, bad_events: bool) -> None:
    rnd = random.Random(seed)
    drops = _random_drops(rnd, effective=effective)
    # Settling takes a moment in which an EndDrop may end the session; the model knows no moments.
    has_end = any(isinstance(drop, Data) and drop.ends for drop in drops)
    settles = {drop.uid for drop in drops if isinstance(drop, Data) and not has_end and rnd.random() < 0.3}
    play = Play(drops, settles)
    roots = [d.uid for d in drops if not (d.producers if isinstance(d, Data) else d.inputs)]
    rnd.shuffle(roots)
    while True:
        play.compare()
        choices = [("trigger", uid) for uid in roots] + [("begin", uid) for uid in sorted(play.queued)]
        choices += [("end", uid) for uid in sorted(play.running)] * 2
        if not choices:
            break
        event, uid = rnd.choice(choices)
        index = play.index[uid]
        if event == "trigger":
            roots.remove(uid)
            play.model.trigger(uid) if not play.model.over else None
            play.flow.trigger([index])
            play.flow.trigger([index])  # said twice is said once
        elif event == "begin":
            play.queued.discard(uid)
            if play.flow.begin([index]):
                play.running.add(uid)
                play.model.begin(uid)
        else:
            play.running.discard(uid)
            _end(play, rnd, uid, index, bad_events=bad_events)
    play.compare()
    if not play.flow.closed:
        _check_the_end(play)


def _end(play: Play, rnd: random.Random, uid: str, index: int, *, bad_events: bool) -> None:
    model, flow = play.model, play.flow
    app = model.drops[uid]
    assert isinstance(app, App)
    over = model.over
    kind = rnd.random() if bad_events else 1.0
    if kind < 0.15:
        flow.app_failed(index)
        if not over:
            model.fail(uid)
    elif kind < 0.35 and app.outputs and not over:
        skipped = rnd.choice(app.outputs)
        if skipped.state == "INITIALIZED":
            flow.skip(play.index[skipped.uid])
            play.settle()
            model.finish(uid, skipped.uid)
        else:
            model.finish(uid)
        flow.apps_finished([index])
    elif kind < 0.4 and app.outputs and not over:
        early = rnd.choice(app.outputs)
        if early.state == "INITIALIZED":
            flow.data_writing(play.index[early.uid])
            flow.data_completed(play.index[early.uid])
            model.complete_early(early.uid)
        play.settle()
        flow.apps_finished([index])
        if not model.over:
            model.finish(uid)
    elif kind < 0.42:
        flow.cancel()
        if not over:
            model.cancel()
    else:
        flow.apps_finished([index])
        if not over:
            model.finish(uid)
    if rnd.random() < 0.2:
        flow.apps_finished([index])  # told again, late: nothing changes
        flow.app_failed(index)


def _check_the_end(play: Play) -> None:
    stalled = any(drop.state == "INITIALIZED" for drop in play.model.drops.values())
    assert bool(list(play.flow.waiting())) == stalled
    if play.flow.leaves_have_ended():
        play.flow.conclude()
        assert not list(play.flow.waiting())


@settings(max_examples=20_000 if PROVE else 1_000)
@given(st.integers(0, 2**60))
def test_engine_and_model_agree_when_all_goes_well(seed: int) -> None:
    _play(seed, effective=True, bad_events=False)


@settings(max_examples=20_000 if PROVE else 1_000)
@given(st.integers(0, 2**60))
def test_engine_and_model_agree_under_failures_skips_and_cancels(seed: int) -> None:
    _play(seed, effective=False, bad_events=True)


@pytest.mark.parametrize("event", sorted(TRANSITIONS))
@pytest.mark.parametrize("state", list(DropState))
def test_each_event_does_what_the_table_says_and_nothing_else(event: str, state: DropState) -> None:
    graph = loads(encode([{"oid": "d", "categoryType": "Data"}]))
    findings = analyse.check(graph)
    flow = Flow(findings.wiring, findings.rules)
    flow.state[0] = state
    expected = TRANSITIONS[event].get(state)
    if expected is None:
        with pytest.raises(IllegalTransition):
            getattr(flow, event)(0)
        assert flow.state[0] == state
    else:
        getattr(flow, event)(0)
        assert flow.state[0] == expected
