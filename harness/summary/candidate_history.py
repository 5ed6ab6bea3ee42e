"""Every candidate over the runs of a task: its best run, its newest run, and what changed from run to run.

A candidate is a backend of one name and one model. Figures are compared between runs of the same rows only.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from harness.gating.gate_result import GateResult, OverallVerdict, overall
from harness.metrics import Estimate, Metric
from harness.records import BackendIdentity
from harness.results import BackendResult, Summary
from harness.runs.run_log import Manifest
from harness.statistics.proportions import difference_interval
from harness.summary.stored_verdict import headline_metric
from harness.text_sanitize import is_path


@dataclass(frozen=True)
class RunFacts:
    """What a leaderboard needs of a run: neither rows nor answers. page: its report beside the leaderboard, if any."""

    manifest: Manifest
    summary: Summary
    gate: GateResult | None = None
    page: str = ""

    @property
    def row_set(self) -> str:
        """What two runs of the same rows have in common."""
        return str(self.manifest.data.get("fingerprint") or self.manifest.request_hash)


@dataclass(frozen=True)
class CandidateRun:
    """One candidate in one run.

    change: of the headline figure from the run before it on the same rows, with an interval where both figures have
    one; None for the first run. before: that run's id. differs: what else is not as it was then, in words.
    """

    run: RunFacts
    name: str
    change: Estimate | None = None
    before: str = ""
    differs: tuple[str, ...] = ()

    @property
    def result(self) -> BackendResult:
        """Its results in the run."""
        return self.run.summary.backends[self.name]

    def figure(self, metric: Metric) -> Estimate | None:
        """Its figure of one metric; None where it was not measured."""
        found = self.result.metrics.get(metric.name)
        return None if found is None or found.value is None else found

    @property
    def gate(self) -> OverallVerdict | None:
        """The gate's verdict on this candidate; None where it was not gated."""
        found = self.run.gate
        if found is None or all(candidate.backend != self.name for candidate, _ in found.sides):
            return None
        checks = [check for check in found.checks if check.backend == self.name]
        return overall(checks) if checks and not found.reasons else found.verdict


@dataclass(frozen=True)
class BoardCandidate:
    """A candidate and its runs on one set of rows, the newest first; best: by the headline metric, of equal ones the
    newest."""

    name: str
    model: str
    runs: tuple[CandidateRun, ...]
    best: CandidateRun

    @property
    def newest(self) -> CandidateRun:
        """Its last run."""
        return self.runs[0]


@dataclass(frozen=True)
class RowSet:
    """The runs of a task that asked the same rows, the newest first, and their candidates, the best first."""

    key: str
    runs: tuple[RunFacts, ...]
    metric: Metric
    candidates: tuple[BoardCandidate, ...] = ()

    def without_pages(self, missing: Container[str]) -> "RowSet":
        """The same; runs whose page is missing name none."""
        return _row_set(self.key, [replace(r, page="") if r.page in missing else r for r in self.runs])


def row_sets(runs: Iterable[RunFacts]) -> list[RowSet]:
    """The runs of one task by the rows that they asked, the set of the newest run first."""
    groups: dict[str, list[RunFacts]] = {}
    for run in sorted(runs, key=_age, reverse=True):
        groups.setdefault(run.row_set, []).append(run)
    return [_row_set(key, group) for key, group in groups.items()]


def _age(run: RunFacts) -> tuple[str, str]:
    return run.manifest.created, run.manifest.id


def _row_set(key: str, runs: Sequence[RunFacts]) -> RowSet:
    metric = headline_metric(runs[0].summary)
    by_candidate: dict[tuple[str, str], list[RunFacts]] = {}
    for run in runs:
        for name, result in run.summary.backends.items():
            by_candidate.setdefault((name, model_name(result.model)), []).append(run)
    found = [_candidate(*who, mine, metric) for who, mine in by_candidate.items()]
    found.sort(key=lambda c: (-goodness(c.best, metric), c.name))
    return RowSet(key, tuple(runs), metric, tuple(found))


def _candidate(name: str, model: str, runs: Sequence[RunFacts], metric: Metric) -> BoardCandidate:
    history = []
    for run, before in zip(runs, [*runs[1:], None], strict=True):
        one = CandidateRun(run, name)
        if before is not None:
            earlier = CandidateRun(before, name)
            one = CandidateRun(run, name, _change(one, earlier, metric), before.manifest.id, _differs(one, earlier))
        history.append(one)
    best = max(history, key=lambda one: goodness(one, metric))  # of equal ones the first, which is the newest
    return BoardCandidate(name, model, tuple(history), best)


def model_name(model: str) -> str:
    """A model as all machines call it: a folder by its last part."""
    return PurePath(model).name if is_path(model) else model


def goodness(run: CandidateRun, metric: Metric) -> float:
    """The figure, so that larger is better; minus infinity where there is none."""
    found = run.figure(metric)
    if found is None or found.value is None:
        return float("-inf")
    return found.value if metric.direction == "higher" else -found.value


def _change(run: CandidateRun, before: CandidateRun, metric: Metric) -> Estimate | None:
    new, old = run.figure(metric), before.figure(metric)
    if new is None or old is None or new.value is None or old.value is None:
        return None
    if None in (new.low, new.high, old.low, old.high):
        return Estimate(value=new.value - old.value, n=new.n)
    assert new.low is not None and new.high is not None and old.low is not None and old.high is not None
    value, low, high = difference_interval((new.value, new.low, new.high), (old.value, old.low, old.high))
    return Estimate(value=value, low=low, high=high, method="MOVER, from both intervals", n=new.n)


def _differs(run: CandidateRun, before: CandidateRun) -> tuple[str, ...]:
    """What a reader must know before taking the change for the candidate's own."""
    new, old = run.run.manifest, before.run.manifest
    a, b = new.backends.get(run.name), old.backends.get(before.name)
    facts = (
        ("prompt", new.request_hash, old.request_hash),
        ("parser", new.parser, old.parser),
        ("metrics", new.metric_versions, old.metric_versions),
        ("decode", run.result.decode, before.result.decode),
        ("adapter", run.result.adapter, before.result.adapter),
    )
    found = [word for word, mine, theirs in facts if mine != theirs]
    return (*found, "weights") if "adapter" not in found and _other_weights(a, b) else tuple(found)


def _other_weights(a: BackendIdentity | None, b: BackendIdentity | None) -> bool:
    """Whether the weights are known of both, and not the same."""
    if a is None or b is None:
        return False
    pairs = (a.base_sha256, b.base_sha256), (a.adapter_sha256, b.adapter_sha256)
    return any(None not in pair and pair[0] != pair[1] for pair in pairs)
