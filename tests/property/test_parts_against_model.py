"""Flows over the parts of a graph come to what the slow model makes of the whole, in whatever order facts come."""

from collections import deque
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.flow import Flow
from penstock.engine.part import Part
from penstock.engine.states import DropState
from penstock.graph.links import APP
from penstock.testing.simulator_graphs import Scenario, Share, end_app, random_scenario, share
from tests.conftest import PROVE

from .flow_model import App, Data, Model


def _model(scenario: Scenario) -> Model:
    drops: dict[str, Data | App] = {}
    for i, uid in enumerate(scenario.uids):
        skips = i in scenario.rules.block_skip
        if scenario.wiring.kinds[i] == APP:
            drops[uid] = App(uid, threshold=int(scenario.rules.threshold.get(i, 0)), block_skip=skips)
        else:
            drops[uid] = Data(uid, block_skip=skips)
    for i, uid in enumerate(scenario.uids):
        app = drops[uid]
        if isinstance(app, App):
            app.inputs = [drops[scenario.uids[j]] for j in scenario.wiring.before[i]]  # type: ignore[misc]
            app.outputs = [drops[scenario.uids[j]] for j in scenario.wiring.after[i]]  # type: ignore[misc]
            for data in app.inputs:
                data.consumers.append(app)
            for data in app.outputs:
                data.producers.append(app)
    return Model(drops)


def _play_model(scenario: Scenario, rnd: Random) -> dict[str, str]:
    model, index = _model(scenario), {uid: i for i, uid in enumerate(scenario.uids)}
    todo = [scenario.uids[i] for i in scenario.roots]
    rnd.shuffle(todo)
    for uid in todo:
        model.trigger(uid)
    while ready := model.apps("READY"):
        uid = rnd.choice(ready)
        ending = scenario.endings[index[uid]]
        model.begin(uid)
        for data, state in ending.early:
            end_early = model.complete_early if state == DropState.COMPLETED else model.fail_early
            end_early(scenario.uids[data])
        if ending.fails:
            model.fail(uid)
        else:
            skipped = next(iter(ending.skips), None)
            model.finish(uid, None if skipped is None else scenario.uids[skipped])
    return {uid: drop.state for uid, drop in model.drops.items()}


class _Node:
    """One flow over a part, and the facts on their way to it."""

    def __init__(self, scenario: Scenario, name: str) -> None:
        self.share: Share = share(scenario, name)
        own = self.share
        self.scenario = scenario
        self.flow = Flow(own.wiring, own.rules, settling=own.settling, remote=own.ghosts)
        self.part = Part(own.wiring, lambda row: scenario.uids[own.indices[row]], own.ghosts, 1)
        self.row_of = {i: row for row, i in enumerate(own.indices)}
        self.work: list[int] = []
        self.coming: dict[str, deque[tuple[int, int]]] = {}

    def act(self, rnd: Random) -> None:
        """Do one thing that is ready."""
        row = self.work.pop(rnd.randrange(len(self.work)))
        if not self.flow.begin([row]):
            return
        if not self.flow.is_app(row):
            self.flow.data_completed(row)
            return
        ending = self.scenario.endings[self.share.indices[row]]
        end_app(self.flow, row, ending, self.row_of)

    def facts(self) -> list[tuple[str, int, int]]:
        """Return (node, drop of the whole, state) of all that is to be told, and take what is ready."""
        own, flow = self.share, self.flow
        told = [(own.ghosts[row], own.indices[row], state) for row, state in flow.asked]
        for row in flow.changes:
            told += [(peer, own.indices[row], flow.state[row]) for peer in self.part.wanted_by(row)]
        self.work += flow.ready
        for left in (flow.asked, flow.changes, flow.ready):
            left.clear()
        return told


def _play_parts(scenario: Scenario, rnd: Random) -> dict[str, str]:
    nodes = {name: _Node(scenario, name) for name in scenario.nodes}
    roots = [(name, i) for i, name in enumerate(scenario.homes) if i in scenario.roots]
    rnd.shuffle(roots)
    while True:
        for name, node in nodes.items():
            for peer, index, state in node.facts():
                nodes[peer].coming.setdefault(name, deque()).append((index, state))
        choices = [("root", name, "") for name, _ in roots[:1]]
        choices += [("act", name, "") for name, node in nodes.items() if node.work]
        choices += [("fact", name, peer) for name, n in nodes.items() for peer, q in n.coming.items() if q]
        if not choices:
            break
        kind, name, peer = rnd.choice(choices)
        node = nodes[name]
        if kind == "root":
            node.flow.trigger([node.row_of[roots.pop(0)[1]]])
        elif kind == "act":
            node.act(rnd)
        else:
            index, state = node.coming[peer].popleft()
            row = node.row_of[index]
            node.flow.remote_ended([row], state)
            if node.flow.is_remote(row) and rnd.random() < 0.3:
                node.flow.remote_ended([row], state)  # told twice is told once
    for node in nodes.values():
        assert node.flow.leaves_have_ended()
        assert not list(node.flow.waiting())
    return {
        uid: DropState(nodes[home].flow.state[nodes[home].row_of[i]]).name
        for i, (uid, home) in enumerate(zip(scenario.uids, scenario.homes, strict=True))
    }


@settings(max_examples=20_000 if PROVE else 500)
@given(st.integers(0, 2**60))
def test_parts_come_to_what_the_model_makes_of_the_whole(seed: int) -> None:
    scenario = random_scenario(seed)
    expected = _play_model(scenario, Random(seed))
    assert _play_parts(scenario, Random(seed + 1)) == expected
