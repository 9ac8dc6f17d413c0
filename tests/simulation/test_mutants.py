"""A checker that never fails proves nothing: each line changed here must be found out by the simulation."""

import importlib
import inspect
import sys
import types
from dataclasses import dataclass

import pytest

from penstock.testing import simulator
from penstock.testing.simulator_history import Wrong

SEEDS = 3_000


@dataclass(frozen=True)
class Mutant:
    """One line of the protocol made wrong."""

    name: str
    module: str
    right: str
    wrong: str


MUTANTS = [
    Mutant(
        "an outbox that never sends again",
        "engine.outbox",
        "if now_s >= self._resend_s:",
        "if False:",
    ),
    Mutant(
        "the first message, with the names, is sent once only",
        "engine.outbox",
        "            start = self._first\n",
        "            start = max(self._first, 2)\n",
    ),
    Mutant(
        "acknowledging forgets one message too many",
        "engine.outbox",
        "while self._first <= sequence:",
        "while self._first <= min(sequence + 1, self._sent):",
    ),
    Mutant(
        "messages are handed over in the order of their coming, and again",
        "engine.outbox",
        "        return ready",
        "        return ready or [payload]",
    ),
    Mutant(
        "the epoch is not looked at",
        "engine.outbox",
        "        self.epoch = epoch\n        self.acknowledged = 0",
        "        self.epoch = 0\n        self.acknowledged = 0",
    ),
    Mutant(
        "repeats are applied",
        "engine.part",
        "if expected else ():",
        "if expected else (message,):",
    ),
    Mutant(
        "what has not come is acknowledged",
        "engine.part",
        "Ack(peer.inbox.epoch, peer.inbox.acknowledged)",
        "Ack(peer.inbox.epoch, peer.inbox.acknowledged + 1)",
    ),
    Mutant(
        "a reconnect is forgotten",
        "engine.part",
        "            peer.outbox.reconnected()\n",
        "            pass\n",
    ),
    Mutant(
        "messages are taken before the table of names",
        "engine.part",
        "(message.sequence > 1 and not begun)",
        "(message.sequence > 1 and False)",
    ),
    Mutant(
        "only one neighbour is told",
        "engine.part",
        "for name in self._wanted_by[index]:",
        "for name in self._wanted_by[index][:1]:",
    ),
    Mutant(
        "contents are left behind",
        "engine.part",
        "if i == index or self._homes.get(i) == name",
        "if i == index",
    ),
    Mutant(
        "ghosts are decided here",
        "engine.flow",
        "for i in self._remote:\n            self._awaited[i] = _TRIGGERED",
        "for i in ():\n            self._awaited[i] = _TRIGGERED",
    ),
    Mutant(
        "a skipped app skips its ghost outputs here",
        "engine.flow",
        "        if self._special[data] & _REMOTE:\n            return\n        if state == _SKIPPED:",
        "        if state == _SKIPPED:",
    ),
    Mutant(
        "what is asked of ghosts is not passed on",
        "engine.flow",
        "        self.asked.append((index, state))\n",
        "",
    ),
    Mutant(
        "ghosts count as leaves",
        "engine.flow",
        "if not row and i not in self._remote]",
        "if not row]",
    ),
    Mutant(
        "the rest is not skipped when an EndDrop completed elsewhere",
        "engine.flow",
        "        if not self.closed:\n            self._close(_SKIPPED, _APP_SKIPPED)\n\n    def expired",
        "        self.closed = True\n\n    def expired",
    ),
    Mutant(
        "the counts of the channels are ignored",
        "engine.whole",
        "return sent == received",
        "return True",
    ),
    Mutant(
        "whether nodes are quiet is ignored",
        "engine.whole",
        "if report is None or not report.quiet:",
        "if report is None:",
    ),
    Mutant(
        "any acknowledgement will do",
        "engine.whole",
        "if self._orders.get(node) is command:",
        "if node in self._orders:",
    ),
    Mutant(
        "a later word changes the verdict",
        "engine.whole",
        "if self.verdict is None:\n            self.causes.append(cause)",
        "if cause:\n            self.causes.append(cause)",
    ),
    Mutant(
        "a restart goes unnoticed",
        "leases.membership",
        "if known.epoch and epoch > known.epoch:",
        "if False:",
    ),
    Mutant(
        "who was paused accuses all others",
        "leases.membership",
        "            if late:",
        "            if False:",
    ),
    Mutant(
        "nobody is ever lost",
        "leases.membership",
        "if silent_s >= self._lost_s:",
        "if False:",
    ),
]


def _mutated(mutant: Mutant) -> types.ModuleType:
    """Return the module made anew from its changed source, in memory; the real one is not touched."""
    module = importlib.import_module(f"penstock.{mutant.module}")
    source = inspect.getsource(module)
    assert source.count(mutant.right) == 1, "this mutant's line is gone, or is not the only one"
    changed = types.ModuleType(module.__name__)
    code = compile(source.replace(mutant.right, mutant.wrong), f"<{mutant.name}>", "exec")
    exec(code, changed.__dict__)
    return changed


def _play_seeds() -> None:
    for seed in range(1, SEEDS):
        simulator.simulate(seed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_simulation_finds_out(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module(f"penstock.{mutant.module}")
    with monkeypatch.context() as patch:
        changed = _mutated(mutant)
        users = [
            m for n, m in sys.modules.items() if n.startswith(("penstock.engine.", "penstock.testing.sim"))
        ]
        for user in users:
            for name in real.__all__:
                if user is not real and getattr(user, name, None) is getattr(real, name):
                    patch.setattr(user, name, getattr(changed, name))
        with pytest.raises(Wrong, match="seed"):
            _play_seeds()
