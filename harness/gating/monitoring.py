"""Runs over time: has the candidate become worse than was promised? Looked at after every run, with one error budget.

Every row counts once, in the first run that asked it. The alarm's probability is at most `alpha` over the whole life
of the monitor as long as the promise holds (`harness.statistics.confidence_sequence`), however often it is looked at.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from harness.errors import NotComparableError, UsageError, did_you_mean
from harness.gating.comparability import metric_refusals
from harness.gating.evaluate import GateSource
from harness.gating.sequential_checks import ArmValues, RowLayout, SequentialCheck, evaluate_sequentially
from harness.metrics import Metric
from harness.records import Record
from harness.statistics.confidence_sequence import SequentialUnits, change_log_wealth
from harness.summary.optional_stopping import bounds_of
from harness.summary.outcomes import RowTable
from harness.text_format import count_noun

ALPHA = 0.05


class MonitoredRun(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One run of the series.

    rows: that no earlier run had asked and that count; repeated: rows that an earlier run had asked. candidate,
    reference: figures on these rows (None without any); p: of "the promise holds", after this run, valid at every look.
    """

    run: str
    created: str
    rows: int
    repeated: int
    candidate: float | None
    reference: float | None
    p: float


class MonitorResult(Record, frozen=True, kw_only=True, omit_defaults=False):
    """The series. alarm: id of the run after which the error budget allowed the alarm; None: no alarm.

    promise: what is monitored, in words. alpha: probability of any false alarm. margin, at_least: the promise, one of
    both. in_points: whether figures are shares of 1, shown in per cent.
    """

    task: str
    candidate: str
    metric: str
    promise: str
    alpha: float
    runs: tuple[MonitoredRun, ...]
    alarm: str | None
    reference: str | None = None
    margin: float | None = None
    at_least: float | None = None
    in_points: bool = True


def monitor_runs(
    sources: Sequence[GateSource],
    candidate: str,
    *,
    reference: str | None = None,
    metric: str | None = None,
    margin: float | None = None,
    at_least: float | None = None,
    alpha: float = ALPHA,
) -> MonitorResult:
    """Monitor a candidate over runs in the order of their time.

    margin: the largest acceptable loss against `reference`, a backend of every run; at_least: or the least value of the
    candidate's own figure (at most, for metrics of which less is better). metric: None: the headline metric.

    Raises UsageError for unknown names, metrics that are no bounded mean, and a promise that is missing or double;
    NotComparableError for another task, parser or metric version, and where the candidate itself has changed.
    """
    ordered = sorted(sources, key=lambda source: source.side(candidate).info.created)
    measured = _metric(ordered[0], metric)
    check = _check(measured, reference, margin, at_least)
    for later in ordered[1:]:
        _refuse_other(ordered[0], later, candidate)
    batches, found = _batches(ordered, candidate, reference, check)
    threshold = -check.bound if check.kind == "margin" else check.bound * (1.0 if check.kind == "at_least" else -1.0)
    wealth = np.maximum.accumulate(change_log_wealth(batches, -threshold))
    runs = tuple(
        msgspec.structs.replace(run, p=float(min(1.0, math.exp(-log_wealth))))
        for run, log_wealth in zip(found, wealth.tolist(), strict=True)
    )
    return MonitorResult(
        task=ordered[0].evaluation.task,
        candidate=candidate,
        reference=reference,
        metric=measured.name,
        in_points=measured.in_points,
        margin=margin,
        at_least=at_least,
        promise=_promise(candidate, reference, measured, margin, at_least),
        alpha=alpha,
        runs=runs,
        alarm=next((run.run for run in runs if run.p <= alpha), None),
    )


def _batches(
    ordered: Sequence[GateSource], candidate: str, reference: str | None, check: SequentialCheck
) -> tuple[list[SequentialUnits], list[MonitoredRun]]:
    """The losses of each run's new rows, and its figures on them (p: 1, before anything is tested)."""
    seen: set[str] = set()
    batches: list[SequentialUnits] = []
    found: list[MonitoredRun] = []
    for source in ordered:
        info = source.side(candidate).info
        new = np.array([n for n, name in enumerate(source.ids) if name not in seen], dtype=np.int64)
        run = MonitoredRun(
            run=info.run,
            created=info.created,
            rows=0,
            repeated=len(source.ids) - len(new),
            candidate=None,
            reference=None,
            p=1.0,
        )
        seen.update(source.ids)
        if not len(new):
            found.append(run)
            batches.append(SequentialUnits(np.zeros(0), np.zeros(0), -1.0, 1.0))
            continue
        rows = RowTable.of((source.rows[n] for n in new.tolist()), source.evaluation.labels)
        mine = ArmValues.of(source.side(candidate).outcomes.only(new))
        theirs = mine if reference is None else ArmValues.of(source.side(reference).outcomes.only(new))
        [result] = evaluate_sequentially([check], RowLayout.of(rows), mine, theirs, len(rows), within=True, tests=1)
        batches.append(result.units.mirrored)
        figures = {"candidate": _known(result.candidate), "reference": _known(result.reference)}
        found.append(msgspec.structs.replace(run, rows=result.rows, **figures))
    return batches, found


def monitor_sentence(result: MonitorResult) -> str:
    """What the series says, in one sentence."""
    rows = sum(run.rows for run in result.runs)
    on = f"{count_noun(rows, 'row')} of {count_noun(len(result.runs), 'run')}"
    if result.alarm is None:
        return f"No alarm: {on} do not refute that {result.promise} (p {result.runs[-1].p:.2g}, valid at every look)."
    return (
        f"Alarm since run {result.alarm}: {on} refute that {result.promise}; if it held, an alarm would ever be raised "
        f"with probability {result.alpha:g} at most."
    )


def _metric(source: GateSource, name: str | None) -> Metric:
    metrics = {m.name: m for m in source.evaluation.metrics}
    if name is None:
        return source.evaluation.metrics[0]
    if name not in metrics:
        raise UsageError(f"{source.evaluation.source} has no metric '{name}'{did_you_mean(name, metrics)}.")
    return metrics[name]


def _check(metric: Metric, reference: str | None, margin: float | None, at_least: float | None) -> SequentialCheck:
    bounds = bounds_of(metric)
    if bounds is None:
        raise UsageError(f"{metric.name} is no mean of bounded row values: monitor accuracy or another such metric.")
    if (margin is None) == (at_least is None):
        raise UsageError("say what is promised: --margin X with --reference NAME, or --at-least X.")
    if margin is not None and reference is None:
        raise UsageError("--margin compares with a --reference, a backend of every run; or promise --at-least X.")
    if margin is not None:
        return SequentialCheck(metric, "margin", margin)
    assert at_least is not None
    if not bounds[0] < at_least < bounds[1]:
        raise UsageError(f"--at-least must lie between {bounds[0]:g} and {bounds[1]:g}, the range of {metric.name}.")
    return SequentialCheck(metric, "at_least" if metric.direction == "higher" else "at_most", at_least)


def _refuse_other(first: GateSource, later: GateSource, candidate: str) -> None:
    """Raises NotComparableError where two runs of a series do not measure the same thing."""
    for what, here, there in (
        ("tasks", first.evaluation.task, later.evaluation.task),
        ("versions of the task's parser", first.evaluation.parser, later.evaluation.parser),
    ):
        if here != there:
            raise NotComparableError(
                f"the {what} of {first.evaluation.source} and {later.evaluation.source} differ ({here} and {there})."
            )
    if other := metric_refusals(first.evaluation, later.evaluation):
        raise NotComparableError(" ".join(other))
    a, b = first.side(candidate).info, later.side(candidate).info
    if (a.model, a.adapter_sha256) != (b.model, b.adapter_sha256):
        raise NotComparableError(
            f"'{candidate}' is {a.adapter or a.model} in {first.evaluation.source} and {b.adapter or b.model} in "
            f"{later.evaluation.source}: start a new series, or compare both with `bench compare`."
        )


def _promise(
    candidate: str, reference: str | None, metric: Metric, margin: float | None, at_least: float | None
) -> str:
    if margin is not None:
        size = f"{100 * margin:g} points" if metric.in_points else f"{margin:g}"
        return f"{candidate} loses at most {size} of {metric.name} against {reference}"
    assert at_least is not None
    size = f"{100 * at_least:g} %" if metric.in_points else f"{at_least:g}"
    return f"{metric.name} of {candidate} is at {'least' if metric.direction == 'higher' else 'most'} {size}"


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
