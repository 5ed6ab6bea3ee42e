"""Cascades of a run: of backends that are named, and the best of two that keeps the margin of the run's verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from harness.confidence import ConfidenceSource
from harness.confidence_results import SCHEMA, CascadeAim, CascadeResult
from harness.data.contamination import Findings, read_findings
from harness.errors import NotFoundError, UsageError, did_you_mean
from harness.files import write_json
from harness.metrics import Metric
from harness.records import BackendIdentity, Record
from harness.results import BackendResult, ReplacementVerdict, Summary
from harness.runs.run_log import Manifest, RunLog, decode_schema
from harness.summary.answer_columns import AnswersBuilder, BackendAnswers, row_metric
from harness.summary.calibration import calibration_result
from harness.summary.cascade_analysis import PERSON, Question, Stage, cascade_result, person_stage
from harness.summary.outcomes import Codes, RowTable
from harness.summary.verdict_settings import default_margin

FILE = "cascade.json"
"""In a run directory: the cascades that were asked for, the newest of each list of stages."""


class StoredCascades(Record, frozen=True, kw_only=True, omit_defaults=False):
    """`cascade.json`."""

    schema: int = SCHEMA
    cascades: tuple[CascadeResult, ...] = ()


def store_cascade(path: Path, result: CascadeResult) -> None:
    """Keep a cascade in the run directory, in the place of an earlier one of the same stages."""
    names = _names(result)
    others = [one for one in read_cascades(path) if _names(one) != names]
    write_json(path / FILE, StoredCascades(cascades=(*others, result)))


def read_cascades(path: Path) -> tuple[CascadeResult, ...]:
    """The cascades kept in a run directory. Raises UsageError for a file of another kind or a newer schema."""
    file = path / FILE
    if not file.is_file():
        return ()
    return decode_schema(file.read_bytes(), StoredCascades, SCHEMA, str(file)).cascades


def stored_cascade(log: RunLog, stages: Sequence[str]) -> CascadeResult:
    """The cascade of these stages that a run has certified. Raises UsageError where there is none."""
    summary = log.summary()
    found = [*read_cascades(log.path), *([summary.cascade] if summary is not None and summary.cascade else [])]
    mine = [one for one in found if _names(one) == tuple(stages)]
    command = f"bench cascade {log.path} --stages {','.join(stages)} --max-loss POINTS"
    if not mine:
        raise UsageError(f"{log.path} holds no cascade of {', '.join(stages)}: run `{command}` first.")
    if mine[0].chosen is None:
        raise UsageError(f"{log.path}: the cascade of {', '.join(stages)} is not certified: {mine[0].cautions[-1]}")
    return mine[0]


def _names(result: CascadeResult) -> tuple[str, ...]:
    return tuple(stage.name for stage in result.stages)


@dataclass(frozen=True)
class CascadeTerms:
    """What `bench cascade` asks.

    stages: names of backends of the run, in the order in which they are asked. reference: what the loss is against
    (None: the last of them). source: of the confidence; None: the preferred one. prices: USD of 1,000 answers by name,
    instead of the run's own. person: accuracy and USD of an answer of people who are asked last. volume: requests a
    month.
    """

    stages: tuple[str, ...]
    aim: CascadeAim = "loss"
    limit: float = 0.02
    reference: str | None = None
    source: ConfidenceSource | None = None
    prices: Mapping[str, float] | None = None
    person: tuple[float, float | None] | None = None
    volume: int | None = None


def cascade_terms(
    summary: Summary,
    stages: Sequence[str],
    *,
    max_loss: float | None = None,
    max_cost_per_1000: float | None = None,
    volume: int | None = None,
    confidence: ConfidenceSource | None = None,
    prices: Mapping[str, float] | None = None,
    person_accuracy: float | None = None,
    person_price: float | None = None,
) -> CascadeTerms:
    """What is asked, from options as they are typed (`harness.cascade` explains them). Raises UsageError for two aims,
    a loss that is none, or a person's price alone."""
    if max_loss is not None and max_cost_per_1000 is not None:
        raise UsageError("a cascade has one aim: give --max-loss or --max-cost-per-1000, not both.")
    if person_price is not None and person_accuracy is None:
        raise UsageError("--person-price needs --person-accuracy: how often people are right.")
    return CascadeTerms(
        stages=tuple(stages),
        aim="loss" if max_cost_per_1000 is None else "cost",
        limit=cascade_limit(summary, max_loss) if max_cost_per_1000 is None else max_cost_per_1000,
        source=confidence,
        prices=prices,
        person=None if person_accuracy is None else (person_accuracy, person_price),
        volume=volume,
    )


def cascade_of_run(log: RunLog, summary: Summary, terms: CascadeTerms) -> tuple[Question, CascadeResult]:
    """The cascade, kept in the run directory, and the question with the answers behind it. Raises UsageError."""
    question = question_of_run(log, summary, terms)
    result = cascade_result(question)
    store_cascade(log.path, result)
    return question, result


def cascade_limit(summary: Summary, points: float | None) -> float:
    """The largest loss in the metric's own units: `points` as typed, else the margin of the run's verdict. Raises
    UsageError where there is neither."""
    metric = _metric(summary.metrics)
    if points is not None:
        limit = points / 100 if metric.in_points else points
        if metric.in_points and limit >= 1:
            raise UsageError(f"--max-loss {points:g}: a loss of {metric.name} is given in points, below 100.")
        return limit
    verdict = summary.verdict
    if verdict is not None and verdict.margin is not None and verdict.metric == metric.name:
        return verdict.margin
    found = default_margin(metric)[0]
    if found is None:
        raise UsageError(f"say how much may be lost: --max-loss, in units of {metric.name}.")
    return found


def question_of_run(log: RunLog, summary: Summary, terms: CascadeTerms) -> Question:
    """Read the answers of a run. Raises UsageError for unknown names, fewer than two stages, or a run that could stop
    early."""
    manifest = log.manifest
    _check(manifest, terms)
    metric = _metric(summary.metrics)
    rows = RowTable.of(log.rows(), manifest.labels)
    stages = []
    for name in terms.stages:
        identity = manifest.backends[name]
        builder = AnswersBuilder(metric, len(rows), manifest.repeats, len(manifest.labels), identity.temperature)
        for line in log.backend_log(name).each_last():
            builder.add(line)
        stages.append(_stage(name, builder.build(), summary.backends[name], identity, terms.source))
    if terms.person is not None:
        stages.append(person_stage(len(rows), manifest.repeats, *terms.person))
    prices = terms.prices or {}
    stages = [_priced(stage, prices.get(stage.name)) for stage in stages]
    return Question(
        run=manifest.id,
        metric=metric,
        rows=rows,
        stages=stages,
        reference=terms.reference or stages[-1 if len(terms.stages) == 1 else len(terms.stages) - 1].name,
        aim=terms.aim,
        limit=terms.limit,
        volume=terms.volume,
        left_out=_trained_on(read_findings(log.path), terms.stages),
    )


def _check(manifest: Manifest, terms: CascadeTerms) -> None:
    known = manifest.backends
    named = {"--price": terms.prices or {}, "--large": [terms.reference] if terms.reference else []}
    for name in terms.stages:
        if name not in known:
            raise NotFoundError(f"run {manifest.id} has no backend '{name}'{did_you_mean(name, known)}.")
    for flag, names in named.items():
        for name in names:
            if name not in (*terms.stages, PERSON):
                raise UsageError(f"{flag}: '{name}' is none of the stages{did_you_mean(name, terms.stages)}.")
    if len(set(terms.stages)) < len(terms.stages):
        raise UsageError("a cascade asks every stage once: name different backends.")
    if len(terms.stages) + (terms.person is not None) < 2:
        raise UsageError("a cascade has two stages or more: name another backend, or give --person-accuracy.")
    if manifest.early_stop is not None:
        raise UsageError(
            f"run {manifest.id} could stop early, so that the answers decided which rows there are: a cascade needs a "
            "run without --early-stop."
        )


def _metric(metrics: tuple[Metric, ...]) -> Metric:
    found = row_metric(metrics)
    if found is None:
        raise UsageError("a cascade needs a metric of which every row has a value: this task has none.")
    return found


def _stage(
    name: str,
    answers: BackendAnswers,
    result: BackendResult,
    identity: BackendIdentity,
    source: ConfidenceSource | None = None,
) -> Stage:
    """A backend as a stage; by the hour an answer costs what the run measured, since rows carry no price."""
    per_1000 = result.cost.per_1000
    by_hour = identity.device_hour_usd is not None or bool(np.isnan(answers.prices).any())
    return Stage(
        name=name,
        answers=answers,
        price=per_1000 / 1000 if by_hour and per_1000 is not None else None,
        latency_s=None if result.probe is None else result.probe.mean_s,
        source=source,
    )


def _priced(stage: Stage, per_1000: float | None) -> Stage:
    if per_1000 is None:
        return stage
    return Stage(stage.name, stage.answers, per_1000 / 1000, stage.latency_s, stage.source)


def _trained_on(findings: Findings, names: Sequence[str]) -> Codes:
    """Positions of rows that any of these backends was trained on."""
    found = {n for name in names if name in findings.overlaps for n in findings.overlaps[name].rows}
    return np.array(sorted(found), dtype=np.int64)


def with_calibration(
    results: Mapping[str, BackendResult],
    answers: Mapping[str, BackendAnswers],
    metrics: tuple[Metric, ...],
    rows: RowTable,
    identities: Mapping[str, BackendIdentity],
) -> dict[str, BackendResult]:
    """The results with what each backend's confidence is worth, where it gives one."""
    metric = row_metric(metrics)
    if metric is None:
        return dict(results)
    found = {}
    for name, result in results.items():
        calibration = calibration_result(answers[name], metric, rows, identities[name].temperature)
        found[name] = msgspec.structs.replace(result, calibration=calibration)
    return found


def best_cascade(
    manifest: Manifest,
    verdict: ReplacementVerdict | None,
    metrics: tuple[Metric, ...],
    rows: RowTable,
    answers: Mapping[str, BackendAnswers],
    results: Mapping[str, BackendResult],
    findings: Findings,
) -> CascadeResult | None:
    """The cascade in front of the verdict's incumbent that is certified within the margin and asks it least (with known
    prices: costs least); None where none is certified. The level is corrected over all that were tried."""
    metric = row_metric(metrics)
    if verdict is None or verdict.margin is None or metric is None or manifest.early_stop is not None:
        return None
    if metric.name != verdict.metric:
        return None
    large = verdict.incumbent
    smalls = [name for name in results if _may_come_first(name, large, answers, results, manifest.backends)]
    found = []
    for name in smalls:
        pair = (name, large)
        question = Question(
            run=manifest.id,
            metric=metric,
            rows=rows,
            stages=[_stage(n, answers[n], results[n], manifest.backends[n]) for n in pair],
            reference=large,
            limit=verdict.margin,
            left_out=_trained_on(findings, pair),
            candidates=len(smalls),
        )
        try:
            found.append(cascade_result(question))
        except UsageError:  # no row that both answered
            continue
    certified = [one for one in found if one.chosen is not None]
    return min(certified, key=_effort) if certified else None


def _may_come_first(
    name: str,
    large: str,
    answers: Mapping[str, BackendAnswers],
    results: Mapping[str, BackendResult],
    identities: Mapping[str, BackendIdentity],
) -> bool:
    """Whether a backend gives a confidence of single answers and is not known to be as costly as the large one."""
    if name == large or answers[name].source in (None, "agreement") or identities[name].stages:
        return False
    own, other = results[name].cost.per_1000, results[large].cost.per_1000
    return own is None or other is None or own < other


def _effort(result: CascadeResult) -> tuple[bool, float]:
    assert result.chosen is not None
    cost = result.chosen.cost_per_1000
    return (cost is None, result.chosen.shares[-1] if cost is None else cost)
