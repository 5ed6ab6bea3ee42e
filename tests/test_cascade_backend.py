"""`kind = "cascade"`: the next stage is asked only where needed, costs add up, and a resumed run pays nothing twice."""

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.backend import RunContext, RunRequirements
from harness.confidence_results import CascadePoint, CascadeResult, CascadeStage
from harness.errors import BackendStopped, UsageError
from harness.records import BackendIdentity, Completion, Cost, Failure, Request, Timing, Usage
from harness.runner import resume, run
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.summary.cascade_of_run import store_cascade
from harness.workspace import Workspace
from tests.support.fakes import LABELS

TASK = "tests.support.fakes:Parity"


class SureSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unsure (0.6) of multiples of `unsure_every`, of which it is wrong; stops after `stop_after` answers."""

    kind: str
    usd: float | None = 0.001
    unsure_every: int = 0
    error_every: int = 0
    stop_after: int = 0
    hour: float | None = None
    scores: bool = True


class Sure:
    """Answers parity with label scores; `asked` is what all instances were asked."""

    Settings = SureSettings
    asked: list[tuple[str, str]] = []

    def __init__(self, name: str, settings: SureSettings, task_name: str, context: RunContext) -> None:
        self.name, self.settings, self.done = name, settings, 0

    def identity(self) -> BackendIdentity:
        return BackendIdentity(
            kind="sure", model=f"{self.name}-1", decode="head", device_hour_usd=self.settings.hour, adapter_sha256="ab"
        )

    async def check(self, needs: RunRequirements) -> None:
        pass

    async def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        async for request in requests:
            if self.settings.stop_after and self.done >= self.settings.stop_after:
                raise BackendStopped("the key was refused: set FAKE_KEY.", kind="authentication")
            self.done += 1
            Sure.asked.append((self.name, request.id))
            yield self._answer(request, int(request.passage_texts()[0]))

    def _answer(self, request: Request, number: int) -> Completion:
        s = self.settings
        cost = Cost(list=s.usd, incurred=s.usd)
        if s.error_every and number % s.error_every == 0:
            return Completion(id=request.id, error=Failure(kind="timeout", message="no answer in 1 s"), cost=cost)
        unsure = bool(s.unsure_every) and number % s.unsure_every == 0
        label, other = LABELS[(number + unsure) % 2], LABELS[(number + 1 + unsure) % 2]
        p = 0.6 if unsure else 0.99
        return Completion(
            id=request.id,
            text=label,
            finish="stop",
            usage=Usage(prompt_tokens=5, completion_tokens=1),
            timing=Timing(service_s=0.25),
            cost=cost,
            label_scores={label: math.log(p), other: math.log(1 - p)} if s.scores else None,
        )

    def counters(self) -> dict[str, float]:
        return {"busy_s": 36.0, "maybe_billed_usd": 0.0}

    async def aclose(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _forget() -> None:
    Sure.asked.clear()


def settings(cascade: dict[str, Any] | None = None, **stages: dict[str, Any]) -> Settings:
    kinds = {name: {"kind": "tests.test_cascade_backend:Sure", **table} for name, table in stages.items()}
    table = {"kind": "cascade", "stages": list(stages), "threshold": 0.9, **(cascade or {})}
    return Settings(backends={**kinds, "both": table})


SMALL: dict[str, Any] = {"unsure_every": 5}
LARGE: dict[str, Any] = {"usd": 0.1}
"""Twelve of the 60 rows are multiples of 5."""


def asked(name: str) -> int:
    return sum(1 for who, _ in Sure.asked if who == name)


def test_only_unsure_rows_reach_the_next_stage_and_costs_and_times_add_up(tmp_path: Path) -> None:
    log = run(TASK, ["both"], settings=settings(small=SMALL, large=LARGE), workspace=Workspace(tmp_path))
    assert (asked("small"), asked("large")) == (60, 12)
    lines = log.lines("both")
    kept = next(line for line in lines.values() if line.notes["stage"] == "small")
    up = next(line for line in lines.values() if line.notes["stage"] == "large")
    assert (kept.cost.list, kept.timing.service_s, kept.usage.prompt_tokens) == (0.001, 0.25, 5)
    assert up.cost.list == pytest.approx(0.101)
    assert (up.timing.service_s, up.usage.prompt_tokens, up.attempts) == (0.5, 10, 2)
    assert (kept.notes["confidence"], up.notes["confidence"]) == ("0.99", "0.6")
    assert kept.label_scores is None, "scores of two models are no scores of the cascade"
    summary = log.summary()
    assert summary is not None
    result = summary.backends["both"]
    assert result.metrics["accuracy"].value == 1.0
    assert {name: (s.asked, s.answered) for name, s in result.stages.items()} == {"small": (60, 48), "large": (12, 12)}
    assert result.cost.per_1000 == pytest.approx((60 * 0.001 + 12 * 0.1) / 60 * 1000)
    assert result.cost.incurred == pytest.approx(60 * 0.001 + 12 * 0.1)
    identity = log.manifest.backends["both"]
    assert (identity.model, identity.decode, identity.stages) == ("small-1 > large-1", "head", ("small", "large"))


def test_three_stages_are_asked_in_order(tmp_path: Path) -> None:
    found = settings({"threshold": [0.9, 0.5]}, a={"unsure_every": 2}, b={"unsure_every": 3}, c=LARGE)
    run(TASK, ["both"], settings=found, workspace=Workspace(tmp_path))
    assert (asked("a"), asked("b"), asked("c")) == (60, 30, 0)


def test_device_time_of_a_stage_is_counted_by_the_session(tmp_path: Path) -> None:
    found = settings(small={**SMALL, "hour": 2.0, "usd": None}, large=LARGE)
    log = run(TASK, ["both"], settings=found, workspace=Workspace(tmp_path))
    summary = log.summary()
    assert summary is not None
    device = 36.0 / 3600 * 2.0
    assert summary.backends["both"].cost.list == pytest.approx(12 * 0.1 + device)
    assert summary.backends["both"].cost.incurred == pytest.approx(12 * 0.1 + device)


def test_an_unknown_price_of_a_stage_makes_the_cost_unknown(tmp_path: Path) -> None:
    found = settings(small={**SMALL, "usd": None}, large=LARGE)
    summary = run(TASK, ["both"], settings=found, workspace=Workspace(tmp_path)).summary()
    assert summary is not None
    assert summary.backends["both"].cost.per_1000 is None


def test_an_error_of_the_first_stage_goes_up_and_is_no_error(tmp_path: Path) -> None:
    found = settings(small={"error_every": 6}, large=LARGE)
    log = run(TASK, ["both"], settings=found, workspace=Workspace(tmp_path))
    assert asked("large") == 10
    assert all(line.error is None for line in log.lines("both").values())


def test_a_resumed_run_asks_no_stage_again_that_has_answered(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    stopping = settings(small=SMALL, large={**LARGE, "stop_after": 4})
    log = run(TASK, ["both"], settings=stopping, workspace=place)
    summary = log.summary()
    assert summary is not None
    assert summary.backends["both"].stopped is not None
    table = log.manifest.backend_settings["both"]
    table["stage_settings"]["large"]["stop_after"] = 0
    log.update_manifest(log.manifest)
    done = resume(log.path, settings=settings(small=SMALL, large=LARGE), workspace=place)
    assert len(done.lines("both")) == 60
    small = [row for who, row in Sure.asked if who == "small"]
    large = [row for who, row in Sure.asked if who == "large"]
    assert len(small) == len(set(small)) == 60, "each row asked the first stage once, over both sessions"
    assert len(large) == len(set(large)) == 12
    assert done.incurred("both") == pytest.approx(60 * 0.001 + 12 * 0.1), "what was paid is booked once"


def test_what_a_failed_last_stage_cost_before_is_booked_once(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    failing = settings(small=SMALL, large={**LARGE, "error_every": 10})
    log = run(TASK, ["both"], settings=failing, workspace=place)
    failed = [line for line in log.lines("both").values() if line.error is not None]
    assert len(failed) == 6
    log.manifest.backend_settings["both"]["stage_settings"]["large"]["error_every"] = 0
    log.update_manifest(log.manifest)
    done = resume(log.path, settings=settings(small=SMALL, large=LARGE), workspace=place)
    assert asked("small") == 60
    assert done.incurred("both") == pytest.approx(60 * 0.001 + 18 * 0.1)


def test_a_probe_asks_every_stage_anew(tmp_path: Path) -> None:
    found = settings(small=SMALL, large=LARGE)
    log = run(TASK, ["both"], settings=found, workspace=Workspace(tmp_path), probe_rows=5)
    assert asked("small") == 60 + 6, "the first row warms up"
    assert len(log.lines("both")) == 60


def certified(tmp_path: Path, chosen: CascadePoint | None) -> Path:
    log = run(TASK, ["both"], settings=settings(small=SMALL, large=LARGE), workspace=Workspace(tmp_path))
    stages = (CascadeStage(name="small", source="label scores"), CascadeStage(name="large"))
    result = CascadeResult(
        run="r",
        metric="accuracy",
        stages=stages,
        reference="large",
        aim="loss",
        limit=0.01,
        certified=chosen is not None,
        certifying=400,
        chosen=chosen,
        cautions=("not certified: too few rows.",) if chosen is None else (),
    )
    store_cascade(log.path, result)
    return log.path


def test_a_certified_threshold_is_taken_from_a_run_and_kept_on_resume(tmp_path: Path) -> None:
    path = certified(tmp_path, CascadePoint(thresholds=(0.7,), shares=(0.8, 0.2), value=0.99))
    found = settings({"threshold": f"from {path}"}, small=SMALL, large=LARGE)
    log = run(TASK, ["both"], settings=found, workspace=Workspace(tmp_path))
    facts = log.manifest.backends["both"].settings
    assert (facts["threshold"], facts["confidence"], facts["kept_share"]) == ([0.7], ["label scores"], 0.8)
    (path / "cascade.json").unlink()
    resume(log.path, settings=found, workspace=Workspace(tmp_path))


def test_a_kept_share_that_has_drifted_is_reported(tmp_path: Path) -> None:
    for expected, warned in ((0.8, False), (0.2, True)):
        path = certified(tmp_path, CascadePoint(thresholds=(0.7,), shares=(expected, 1 - expected), value=0.99))
        found = settings({"threshold": f"from {path}"}, small=SMALL, large=LARGE)
        summary = run(TASK, ["both"], settings=found, workspace=Workspace(tmp_path)).summary()
        assert summary is not None
        said = [w for w in summary.warnings if "keeps 80.0 % of the answers" in w]
        assert bool(said) is warned


def refused(tmp_path: Path, cascade: dict[str, Any], **stages: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as caught:
        run(TASK, ["both"], settings=settings(cascade, **stages), workspace=Workspace(tmp_path))
    return str(caught.value)


def test_what_cannot_be_a_cascade_is_refused_in_a_sentence(tmp_path: Path) -> None:
    both: dict[str, dict[str, Any]] = {"small": SMALL, "large": LARGE}
    assert "two or more other backends" in refused(tmp_path, {"stages": ["small"]}, **both)
    assert "no backend 'smal'; did you mean 'small'?" in refused(tmp_path, {"stages": ["smal", "large"]}, **both)
    assert "a list of 1" in refused(tmp_path, {"threshold": [0.5, 0.6]}, **both)
    assert "a list of 1" in refused(tmp_path, {"threshold": "high"}, **both)
    assert "confidence is one of" in refused(tmp_path, {"confidence": "agreement"}, **both)
    path = certified(tmp_path, None)
    assert "is not certified" in refused(tmp_path, {"threshold": f"from {path}"}, **both)
    log = RunLog.open(path)
    (path / "cascade.json").unlink()
    assert "bench cascade" in refused(tmp_path, {"threshold": f"from {log.path}"}, **both)


def test_answers_without_confidence_all_go_up(tmp_path: Path) -> None:
    found = settings(small={**SMALL, "scores": False}, large=LARGE)
    run(TASK, ["both"], settings=found, workspace=Workspace(tmp_path))
    assert asked("large") == 60
