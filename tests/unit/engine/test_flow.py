"""The rules of failing, skipping, settling and ending, one by one (graph specification, B4)."""

from typing import Any

import pytest

from penstock.engine.flow import Flow
from penstock.engine.rules import Verdict, judge_app, judge_data
from penstock.engine.states import AppState, DropState
from penstock.errors import IllegalTransition
from penstock.graph import analyse
from penstock.graph.load import encode, loads


class Script:
    """A session told in uids: events go in, states and what is ready come out."""

    def __init__(self, *drops: dict[str, Any], settling: str = "", ends: str = "") -> None:
        graph = loads(encode(drops))
        self.index = dict(graph.index)
        self.uids = [spec.key for spec in graph]
        findings = analyse.check(graph)
        assert not [p for p in findings.problems if p.is_error], findings.problems
        self.flow = Flow(findings.wiring, findings.rules, settling=self._ids(settling), ends=self._ids(ends))

    def _ids(self, uids: str) -> list[int]:
        return [self.index[uid] for uid in uids.split()]

    def trigger(self, uids: str) -> "Script":
        self.flow.trigger(self._ids(uids))
        return self

    def finish(self, uids: str) -> "Script":
        self.flow.begin(self._ids(uids))
        self.flow.apps_finished(self._ids(uids))
        return self

    def fail(self, uid: str) -> "Script":
        self.flow.begin(self._ids(uid))
        self.flow.app_failed(self.index[uid])
        return self

    def do(self, event: str, uid: str) -> "Script":
        getattr(self.flow, event)(self.index[uid])
        return self

    def ready(self) -> list[str]:
        """Return what became ready since the last call."""
        ready, self.flow.ready = self.flow.ready, []
        return sorted(self.uids[i] for i in ready)

    def state(self, uid: str) -> str:
        return DropState(self.flow.state[self.index[uid]]).name

    def execution(self, uid: str) -> str:
        return AppState(self.flow.execution[self.index[uid]]).name


def data(uid: str, **fields: Any) -> dict[str, Any]:
    return {"oid": uid, "categoryType": "Data", **fields}


def app(uid: str, inputs: str, outputs: str, **fields: Any) -> dict[str, Any]:
    return {
        "oid": uid,
        "categoryType": "Application",
        "dropclass": "a.B",
        "inputs": inputs.split(),
        "outputs": outputs.split(),
        **fields,
    }


def test_app_is_ready_when_its_last_input_completes() -> None:
    script = Script(data("a"), data("b"), app("x", "a b", "c"), data("c"))
    assert script.trigger("a").ready() == []
    assert script.trigger("b").ready() == ["x"]
    script.finish("x")
    assert (script.state("x"), script.execution("x"), script.state("c")) == (
        "COMPLETED",
        "FINISHED",
        "COMPLETED",
    )


def test_a_failing_app_fails_its_outputs_and_all_behind_them() -> None:
    script = (
        Script(data("a"), app("x", "a", "b"), data("b"), app("y", "b", "c"), data("c")).trigger("a").fail("x")
    )
    assert [script.state(uid) for uid in "xbyc"] == ["ERROR"] * 4
    assert script.execution("y") == "ERROR"
    assert script.flow.has_failed()


@pytest.mark.parametrize(("threshold", "runs"), [(0, False), (49, False), (50, True), (100, True)])
def test_one_of_two_inputs_in_error_is_borne_from_fifty_percent_on(threshold: int, runs: bool) -> None:
    script = Script(
        app("x", "", "a"),
        data("a"),
        data("b"),
        app("y", "a b", "c", input_error_threshold=threshold),
        data("c"),
    )
    script.trigger("x b").ready()
    script.fail("x")
    assert script.ready() == (["y"] if runs else [])
    assert script.state("y") == ("INITIALIZED" if runs else "ERROR")


def test_inputs_after_the_effective_number_change_nothing() -> None:
    script = Script(
        data("a"), app("x", "", "b"), data("b"), app("y", "a b", "c", n_effective_inputs=1), data("c")
    )
    script.trigger("x")
    script.ready()
    assert script.trigger("a").ready() == ["y"]
    script.finish("y").fail("x")
    assert (script.state("y"), script.state("b"), script.state("c")) == ("COMPLETED", "ERROR", "COMPLETED")


def test_a_skip_goes_down_to_the_leaves() -> None:
    script = Script(data("a"), app("x", "a", "b"), data("b"), app("y", "b", "c"), data("c")).do("skip", "a")
    assert [script.state(uid) for uid in "axbyc"] == ["SKIPPED"] * 5
    assert script.execution("x") == "SKIPPED"


def test_block_skip_of_an_app_asks_for_one_real_input() -> None:
    drops = (data("a"), data("b"), app("x", "a b", "c", block_skip=True), data("c"))
    assert Script(*drops).do("skip", "a").trigger("b").ready() == ["x"]
    assert Script(*drops).do("skip", "a").do("skip", "b").state("x") == "SKIPPED"


def test_data_is_skipped_by_its_first_skipped_producer() -> None:
    script = Script(app("x", "", "c"), app("y", "", "c"), data("c"))
    script.trigger("x y").ready()
    script.do("skip", "x")
    assert script.state("c") == "SKIPPED"
    assert script.finish("y").state("c") == "SKIPPED"


@pytest.mark.parametrize(
    ("second", "state"), [("finish", "COMPLETED"), ("skip", "SKIPPED"), ("fail", "ERROR")]
)
def test_block_skip_of_data_waits_for_all_producers(second: str, state: str) -> None:
    script = Script(app("x", "", "c"), app("y", "", "c"), data("c", block_skip=True))
    script.trigger("x y").ready()
    script.do("skip", "x")
    assert script.state("c") == "INITIALIZED"
    if second == "skip":
        script.do("skip", "y")
    else:
        getattr(script, second)("y")
    assert script.state("c") == state


def test_a_branch_skips_one_output_and_finishes() -> None:
    script = Script(app("x", "", "a b"), data("a"), data("b"), app("y", "a", ""), app("z", "b", "")).trigger(
        "x"
    )
    script.flow.begin(script._ids("x"))
    script.ready()
    script.do("skip", "a")
    script.flow.apps_finished(script._ids("x"))
    assert script.ready() == ["z"]
    assert (script.state("a"), script.state("y"), script.state("b")) == ("SKIPPED", "SKIPPED", "COMPLETED")


def test_data_that_settles_is_made_ready_and_completes_when_told() -> None:
    script = Script(app("x", "", "a"), data("a"), app("y", "a", ""), settling="a").trigger("x")
    assert script.ready() == ["x"]
    assert script.finish("x").ready() == ["a"]
    assert script.state("a") == "INITIALIZED"
    assert script.do("data_completed", "a").ready() == ["y"]


def test_data_that_cannot_settle_fails_its_consumers() -> None:
    script = Script(data("a"), app("y", "a", ""), settling="a").trigger("a")
    assert script.do("data_failed", "a").state("y") == "ERROR"


def test_an_end_drop_ends_the_session_and_keeps_what_ended_with_it() -> None:
    script = Script(
        app("x", "", "a e b"), data("a"), data("e"), data("b"), app("y", "b", "c"), data("c"), ends="e"
    )
    script.trigger("x").finish("x")
    assert [script.state(uid) for uid in "aeb"] == ["COMPLETED"] * 3
    assert [script.state(uid) for uid in "yc"] == ["SKIPPED"] * 2
    assert script.flow.over


def test_an_end_drop_waits_for_data_that_is_settling() -> None:
    script = (
        Script(app("x", "", "a e"), data("a"), data("e"), settling="a", ends="e").trigger("x").finish("x")
    )
    assert not script.flow.over
    script.do("data_completed", "a")
    assert script.flow.over
    assert script.state("a") == "COMPLETED"


def test_data_of_external_mode_starts_nobody() -> None:
    script = Script(data("a", executionMode=1), app("x", "a", "b"), data("b")).trigger("a")
    assert script.ready() == []
    assert not script.flow.leaves_have_ended()
    assert script.trigger("x").ready() == ["x"]


def test_triggering_twice_runs_once() -> None:
    script = Script(data("a"), app("x", "a", "")).trigger("x").trigger("x").trigger("a")
    assert script.ready() == ["x"]


def test_data_may_complete_before_its_producer_ends() -> None:
    script = Script(app("x", "", "a"), data("a"), app("y", "a", "")).trigger("x")
    script.flow.begin(script._ids("x"))
    script.ready()
    assert script.do("data_writing", "a").do("data_completed", "a").ready() == ["y"]
    script.flow.app_failed(script.index["x"])
    assert (script.state("a"), script.state("x")) == ("COMPLETED", "ERROR")


def test_a_stream_starts_its_consumer_and_ends_it() -> None:
    graph = [app("x", "", "a"), data("a", streamingConsumers=["y"]), app("y", "", "b"), data("b")]
    script = Script(*graph).trigger("x")
    assert script.ready() == ["x"]
    script.flow.begin(script._ids("x"))
    assert script.flow.stream_started(script.index["y"])
    assert script.execution("y") == "RUNNING"
    script.flow.apps_finished(script._ids("x"))
    assert script.ready() == ["y"]
    assert script.finish("y").state("b") == "COMPLETED"


def test_a_streaming_app_whose_input_fails_is_to_be_stopped() -> None:
    graph = [app("x", "", "a"), data("a", streamingConsumers=["y"]), app("y", "", "b"), data("b")]
    script = Script(*graph).trigger("x")
    script.flow.begin(script._ids("x"))
    script.flow.stream_started(script.index["y"])
    script.flow.app_failed(script.index["x"])
    assert script.flow.stopped == [script.index["y"]]
    assert script.state("y") == "ERROR"


def test_cancel_ends_all_that_is_open_and_later_events_change_nothing() -> None:
    script = Script(data("a"), app("x", "a", "b"), data("b")).trigger("a")
    script.flow.begin(script._ids("x"))
    script.flow.cancel()
    assert (script.state("a"), script.state("x"), script.execution("x")) == (
        "COMPLETED",
        "CANCELLED",
        "CANCELLED",
    )
    script.flow.apps_finished(script._ids("x"))
    script.flow.app_failed(script.index["x"])
    assert (script.state("x"), script.state("b")) == ("CANCELLED", "CANCELLED")
    assert script.ready() == []


def test_an_app_that_never_began_cannot_finish() -> None:
    script = Script(data("a"), app("x", "a", ""))
    with pytest.raises(IllegalTransition, match="NOT_RUN"):
        script.flow.apps_finished(script._ids("x"))


def test_a_recalled_app_begins_again() -> None:
    script = Script(data("a"), app("x", "a", "")).trigger("a")
    script.flow.begin(script._ids("x"))
    script.flow.recalled(script._ids("x"))
    assert script.execution("x") == "NOT_RUN"
    assert script.finish("x").execution("x") == "FINISHED"


def test_concluding_completes_what_nobody_waited_for() -> None:
    script = (
        Script(data("a"), data("b"), app("x", "a b", "c", n_effective_inputs=1), data("c"))
        .trigger("a")
        .finish("x")
    )
    assert script.flow.leaves_have_ended()
    script.flow.conclude()
    assert script.state("b") == "COMPLETED"


@pytest.mark.parametrize(
    ("effective", "errors", "skips", "threshold", "block", "verdict"),
    [
        (1, 0, 0, 0, False, Verdict.GO),
        (3, 1, 0, 33, False, Verdict.GO),
        (3, 1, 0, 32, False, Verdict.FAIL),
        (3, 1, 1, 50, False, Verdict.SKIP),
        (3, 1, 2, 50, True, Verdict.GO),
        (2, 0, 2, 0, True, Verdict.SKIP),
    ],
)
def test_verdicts_on_apps(
    effective: int, errors: int, skips: int, threshold: int, block: bool, verdict: Verdict
) -> None:
    assert judge_app(effective, errors, skips, threshold, block_skip=block) is verdict


def test_verdicts_on_data() -> None:
    assert judge_data(2, 0, 0) is Verdict.GO
    assert judge_data(2, 1, 1) is Verdict.FAIL
    assert judge_data(2, 0, 1) is Verdict.GO
    assert judge_data(2, 0, 2) is Verdict.SKIP
    assert judge_data(0, 0, 0) is Verdict.GO


def test_a_running_app_cannot_be_skipped_nor_begun_again() -> None:
    script = Script(data("a"), app("x", "a", "")).trigger("a")
    script.flow.begin(script._ids("x"))
    with pytest.raises(IllegalTransition, match="RUNNING"):
        script.do("skip", "x")
    with pytest.raises(IllegalTransition, match="RUNNING"):
        script.flow.begin(script._ids("x"))


def test_a_paused_app_begins_once_more_and_is_not_recalled() -> None:
    script = Script(data("a"), app("x", "a", "")).trigger("a")
    script.flow.begin(script._ids("x"))
    script.do("app_paused", "x")
    script.flow.recalled(script._ids("x"))
    assert script.execution("x") == "RUNNING"
    assert script.finish("x").execution("x") == "FINISHED"


def test_what_ended_in_the_meantime_does_not_begin() -> None:
    script = Script(data("a"), app("x", "a", "")).trigger("a").do("skip", "x")
    assert script.flow.begin(script._ids("x")) == []
    assert not script.flow.stream_started(script.index["x"])
    assert len(script.flow) == 2


def test_a_settling_drop_is_not_settled_twice() -> None:
    script = Script(data("a"), settling="a").trigger("a").trigger("a")
    assert script.ready() == ["a"]


def test_skipped_data_stays_skipped_when_its_producer_finishes() -> None:
    script = (
        Script(app("x", "", "a"), app("y", "", "a"), data("a")).trigger("x y").do("skip", "a").finish("x y")
    )
    assert script.state("a") == "SKIPPED"


def test_the_percentage_is_of_the_inputs_that_count() -> None:
    def script(threshold: int) -> Script:
        drops = [app("x", "", "a"), data("a"), data("b"), data("c")]
        last = app("y", "a b c", "", n_effective_inputs=2, input_error_threshold=threshold)
        return Script(*drops, last).trigger("x").fail("x")

    assert script(40).trigger("b").state("y") == "ERROR"
    assert "y" in script(50).trigger("b").ready()


def test_block_skip_of_data_with_one_producer_or_none_does_not_wait() -> None:
    assert Script(data("a", block_skip=True)).do("skip", "a").state("a") == "SKIPPED"
    script = Script(app("x", "", "a"), data("a", block_skip=True)).trigger("x")
    script.flow.begin(script._ids("x"))
    assert script.do("skip", "a").state("a") == "SKIPPED"


def test_a_skipped_app_stays_skipped_when_its_input_comes() -> None:
    script = Script(data("a"), app("x", "a", "b"), data("b")).do("skip", "x").trigger("a")
    assert (script.state("a"), script.state("x"), script.state("b")) == ("COMPLETED", "SKIPPED", "SKIPPED")
    assert script.ready() == []


def test_whether_anything_has_failed_can_be_asked() -> None:
    script = Script(app("x", "", "a"), data("a")).trigger("x")
    assert not script.flow.has_failed()
    assert script.fail("x").flow.has_failed()


def test_an_app_waits_for_the_outputs_of_all_apps_before_it() -> None:
    script = Script(
        app("x", "", "a"), data("a"), app("y", "", "b"), data("b"), app("z", "a b", "c"), data("c")
    )
    script.trigger("x y").ready()
    assert script.finish("x").ready() == []
    assert script.finish("y").ready() == ["z"]
    assert [script.flow.is_app(script.index[uid]) for uid in "xa"] == [True, False]
