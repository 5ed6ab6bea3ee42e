"""Cascades over the answers of a run, from the log to a result: curve, certified operating point, savings."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from harness.confidence import ConfidenceSource
from harness.confidence_results import CascadeAim, CascadePoint, CascadeResult, CascadeStage
from harness.errors import UsageError
from harness.metrics import Estimate, Metric
from harness.statistics.rows_needed import least_rows_to_pass
from harness.summary.answer_columns import BackendAnswers
from harness.summary.cascade_curve import (
    LEARNING_SHARE,
    CascadeRows,
    Certificate,
    StageAnswers,
    certify_cost,
    certify_loss,
    evaluate_grid,
    frontier,
    grid_levels,
    route,
    routed_prices,
    routed_values,
)
from harness.summary.estimates import rate_estimate
from harness.summary.outcomes import Array, Codes, RowTable

PERSON = "person"
POINTS = 41
"""Points of a stored curve."""


@dataclass(frozen=True)
class Stage:
    """A stage as it is known before rows are left out.

    answers: (rows, repeats). price: USD of one answer where it is not known row by row (by the hour, or as named);
    latency_s: mean seconds of one request. source: of its confidence; None: the preferred one.
    """

    name: str
    answers: BackendAnswers
    price: float | None = None
    latency_s: float | None = None
    source: ConfidenceSource | None = None


@dataclass(frozen=True)
class Question:
    """What is asked of a cascade.

    stages: in the order in which they are asked, two or more. reference: name of the stage that the loss is against.
    aim, limit: as in CascadeResult. volume: requests a month. left_out: positions of rows that a stage was trained on.
    candidates: cascades among which the best will be taken.
    """

    run: str
    metric: Metric
    rows: RowTable
    stages: Sequence[Stage]
    reference: str
    aim: CascadeAim = "loss"
    limit: float = 0.02
    volume: int | None = None
    left_out: Codes = field(default_factory=lambda: np.array([], dtype=np.int64))
    candidates: int = 1


def person_stage(rows: int, repeats: int, value: float, price: float | None) -> Stage:
    """A stage that is not asked here: people who are right with probability `value`, at `price` USD an answer."""
    shape = (rows, repeats)
    nothing = np.full(shape, np.nan)
    return Stage(PERSON, BackendAnswers(np.full(shape, value), {}, nothing), price)


def cascade_result(question: Question) -> CascadeResult:
    """The cascade of a run. Raises UsageError where a stage has no confidence, or no row was answered by all."""
    kept, data, sources = cascade_rows(question)
    cautions = _cautions(question, data, len(kept))
    if question.aim == "cost" and data.stages[-1].prices is None:
        raise UsageError(_price_sentence(question))
    certify = certify_loss if question.aim == "loss" else certify_cost
    limit = question.limit if question.aim == "loss" else question.limit / 1000
    found = certify(data, limit)
    result = CascadeResult(
        run=question.run,
        metric=question.metric.name,
        direction=question.metric.direction,
        stages=tuple(_stage(stage, data, s) for stage, s in zip(data.stages, sources, strict=True)),
        reference=question.reference,
        aim=question.aim,
        limit=question.limit,
        certified=found.thresholds is not None,
        level=0.5 + data.level / 2,
        learning=len(found.learning),
        certifying=len(found.certifying),
        left_out=len(question.rows) - len(kept),
        points=_curve(data),
        volume=question.volume,
        cautions=(*cautions, *_why_not(question, found)),
    )
    return result if found.thresholds is None else _with_choice(result, question, data, found)


def cascade_rows(question: Question) -> tuple[Codes, CascadeRows, list[str]]:
    """Positions of the rows that count, their answers, and the source of each stage's confidence. Raises UsageError
    where a stage has no confidence, or no row was answered by all."""
    stages, sign = question.stages, 1.0 if question.metric.direction == "higher" else -1.0
    whole = np.all([~np.isnan(stage.answers.values).any(axis=1) for stage in stages], axis=0)
    whole[question.left_out] = False
    kept = np.flatnonzero(whole)
    if not len(kept):
        names = ", ".join(stage.name for stage in stages)
        raise UsageError(f"no row has a {question.metric.name} of every stage ({names}): there is nothing to combine.")
    sources = [_source(stage, last=k == len(stages) - 1) for k, stage in enumerate(stages)]
    found = tuple(_answers(stage, source, kept, sign) for stage, source in zip(stages, sources, strict=True))
    repeats = stages[0].answers.values.shape[1]
    reference = next(answers.values for answers in found if answers.name == question.reference)
    data = CascadeRows(question.metric, question.rows.only(kept), repeats, found, reference, question.candidates)
    return kept, data, [source or "" for source in sources]


def _source(stage: Stage, *, last: bool) -> ConfidenceSource | None:
    if last:
        return None
    source = stage.source or stage.answers.source
    if source is None or source not in stage.answers.confidence:
        wanted = f"no confidence from {stage.source}" if stage.source else "no confidence"
        has = ", ".join(stage.answers.confidence)
        raise UsageError(
            f"'{stage.name}' gives {wanted}"
            + (f" (it has {has})" if has else "")
            + ': classifiers and decode = "choose" give label scores, servers log-probabilities with logprobs = true, '
            "a run with --repeats 3 the agreement of repeats."
        )
    return source


def _answers(stage: Stage, source: ConfidenceSource | None, kept: Codes, sign: float) -> StageAnswers:
    values = sign * stage.answers.values[kept].ravel()
    confidence = np.full(len(values), -np.inf)
    if source is not None:
        confidences = stage.answers.confidence[source][kept].ravel()
        confidence = np.where(np.isnan(confidences), -np.inf, confidences)
    prices: Array | None = stage.answers.prices[kept].ravel()
    if stage.price is not None:
        prices = np.full(len(values), stage.price)
    elif prices is not None and np.isnan(prices).any():
        prices = None
    return StageAnswers(stage.name, confidence, values, prices, stage.latency_s)


def _stage(stage: StageAnswers, data: CascadeRows, source: str) -> CascadeStage:
    sign = 1.0 if data.metric.direction == "higher" else -1.0
    values = sign * data.of_rows(stage.values)
    value = Estimate(value=float(values.mean()), method="as stated" if stage.name == PERSON else "", n=len(values))
    if data.metric.proportion and stage.name != PERSON:
        value = rate_estimate(values, data.rows.groups, 0.95)
    return CascadeStage(
        name=stage.name,
        source=source,
        value=value,
        cost_per_1000=None if stage.prices is None else 1000 * float(stage.prices.mean()),
        latency_s=stage.latency_s,
    )


def point_at(data: CascadeRows, thresholds: Sequence[float]) -> CascadePoint:
    """What a cascade of these thresholds is on these rows."""
    sign = 1.0 if data.metric.direction == "higher" else -1.0
    answering = route(data.stages, thresholds)
    prices = routed_prices(data.stages, answering)
    counts = np.bincount(answering, minlength=len(data.stages))
    reached = [float((answering >= k).mean()) for k in range(len(data.stages))]
    return CascadePoint(
        thresholds=tuple(float(t) if np.isfinite(t) else None for t in thresholds),
        shares=tuple((counts / len(answering)).tolist()),
        value=sign * float(routed_values(data.stages, answering).mean()),
        cost_per_1000=None if prices is None else 1000 * float(prices.mean()),
        latency_s=_latency(data.stages, reached),
    )


def _latency(stages: Sequence[StageAnswers], reached: Sequence[float]) -> float | None:
    """Mean seconds: of every stage as often as it is asked."""
    total = 0.0
    for stage, share in zip(stages, reached, strict=True):
        if stage.latency_s is None:
            return None
        total += share * stage.latency_s
    return total


def _curve(data: CascadeRows) -> tuple[CascadePoint, ...]:
    """From all answers by the last stage to as many as possible by the first; of several thresholds the frontier."""
    grid = evaluate_grid(data.stages, grid_levels(data.stages))
    places = list(range(grid.value.size)) if grid.value.ndim == 1 else [0, *reversed(frontier(grid))]
    chosen = np.unique(np.linspace(0, len(places) - 1, POINTS).round().astype(np.int64))
    return tuple(point_at(data, grid.thresholds(places[k])) for k in chosen)


def _with_choice(result: CascadeResult, question: Question, data: CascadeRows, found: Certificate) -> CascadeResult:
    assert found.thresholds is not None
    certifying = data.only(found.certifying)
    point = point_at(certifying, found.thresholds)
    compared = certifying.compare(found.thresholds)
    loss = Estimate(value=None)
    if compared is not None:
        loss = Estimate(
            value=-compared.gain + 0.0,
            low=-compared.high + 0.0 if np.isfinite(compared.high) else None,
            high=-compared.low + 0.0 if np.isfinite(compared.low) else None,
            method=compared.method,
            n=compared.rows,
        )
    alone = next(stage.cost_per_1000 for stage in result.stages if stage.name == question.reference)
    saved = None
    if question.volume is not None and alone is not None and point.cost_per_1000 is not None:
        saved = question.volume / 1000 * (alone - point.cost_per_1000)
    return msgspec.structs.replace(
        result, chosen=point, loss=loss, saved_usd_month=saved, up_by_label=_up_by_label(data, found.thresholds)
    )


def _up_by_label(data: CascadeRows, thresholds: Sequence[float]) -> dict[str, float]:
    """Reference label -> share of its answers that go beyond the first stage; empty for open answers."""
    up = data.of_rows((route(data.stages, thresholds) > 0).astype(np.float64))
    codes, labels = data.rows.references, data.rows.labels
    return {label: float(up[codes == k].mean()) for k, label in enumerate(labels) if (codes == k).any()}


def rows_beyond_first(question: Question, thresholds: Sequence[float | None]) -> list[int]:
    """Positions of the rows of which some answer goes beyond the first stage."""
    kept, data, _ = cascade_rows(question)
    up = route(data.stages, [np.inf if t is None else t for t in thresholds]) > 0
    return [int(n) for n in kept[up.reshape(-1, data.repeats).any(axis=1)]]


def _cautions(question: Question, data: CascadeRows, kept: int) -> list[str]:
    found = []
    trained, lacking = len(question.left_out), len(question.rows) - kept
    if lacking:
        sentence = f"{lacking:,} of {len(question.rows):,} rows are left out: not every stage has answered them"
        found.append(f"{sentence}, or one was trained on them." if trained else f"{sentence}.")
    if any(stage.prices is None for stage in data.stages):
        found.append(_price_sentence(question))
    if any(s.source == "agreement" or (s.source is None and s.answers.source == "agreement") for s in question.stages):
        found.append("agreement of repeats is known after several answers: their cost is not counted here.")
    return found


def _price_sentence(question: Question) -> str:
    lacking = [s.name for s in question.stages if s.price is None and bool(np.isnan(s.answers.prices).all())]
    names = ", ".join(lacking or [s.name for s in question.stages if s.price is None])
    return f"the price of {names} is unknown, and with it the cost: use --price NAME=USD, per 1,000 answers."


def _why_not(question: Question, found: Certificate) -> list[str]:
    if found.thresholds is not None:
        return []
    rows = len(found.certifying)
    if question.aim == "cost":
        return [f"not certified: the upper bound of the cost on {rows:,} rows is above the limit at every threshold."]
    least = least_rows_to_pass(question.limit) if question.metric.in_points and question.limit < 1 else 0
    if rows < least:
        whole = int(np.ceil(least / (1 - LEARNING_SHARE)))
        return [
            f"not certified: {rows:,} rows cannot show a loss below {100 * question.limit:g} points even where no row "
            f"differs: {whole:,} rows in all are needed."
        ]
    return ["not certified: already the highest threshold loses more than the limit allows, or too few rows show it."]
