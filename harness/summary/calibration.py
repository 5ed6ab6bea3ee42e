"""What a backend's confidence is worth on the rows of a run: calibration and accuracy against the share kept."""

import msgspec
import numpy as np

from harness.confidence import ConfidenceSource
from harness.confidence_results import CalibrationResult, CoveragePoint, ReliabilityBin
from harness.metrics import Estimate, Metric
from harness.statistics.calibration_error import (
    BINS,
    CalibrationError,
    Coverage,
    aurc,
    brier_scores,
    calibration_error,
    coverage_curve,
    log_losses,
)
from harness.statistics.clustered import clustered_mean
from harness.summary.answer_columns import BackendAnswers
from harness.summary.estimates import percent
from harness.summary.outcomes import Array, Codes, RowTable

FEW_ROWS = 200
"""Below it every figure has a caution."""


def calibration_result(
    answers: BackendAnswers,
    metric: Metric,
    rows: RowTable,
    temperature: float | None,
    source: ConfidenceSource | None = None,
    level: float = 0.95,
) -> CalibrationResult | None:
    """One backend's figures; None where it gives no confidence or its metric is not right or wrong.

    answers: with `metric` as their values. temperature: of label scores. source: None: the preferred one.
    """
    source = source or answers.source
    if source is None or not metric.proportion or metric.direction != "higher":
        return None
    confidences = answers.confidence[source]
    judged = ~np.isnan(answers.values)
    known = judged & ~np.isnan(confidences)
    if not known.any():
        return None
    confidence, right = confidences[known], answers.values[known]
    units = np.broadcast_to(_units(rows)[:, None], known.shape)[known]
    groups = units if rows.groups is not None or answers.values.shape[1] > 1 else None
    inflation = _inflation(1 - right, groups)
    ranked = np.where(np.isnan(confidences[judged]), -np.inf, confidences[judged])
    curve = coverage_curve(ranked, answers.values[judged], level, inflation)
    result = CalibrationResult(
        source=source,
        temperature=temperature if source == "label scores" else None,
        rows=int(known.sum()),
        without=int((judged & np.isnan(confidences)).sum()),
        caution=_caution(int(known.sum()), right),
        aurc=aurc(ranked, 1 - answers.values[judged]),
        error_rate=float(1 - answers.values[judged].mean()),
        coverage=_points(curve),
    )
    return _with_probabilities(result, confidence, right, groups, inflation, level)


def _units(rows: RowTable) -> Codes:
    return np.arange(len(rows)) if rows.groups is None else rows.groups


def _caution(rows: int, right: Array) -> str:
    wrong = float((1 - right).sum())
    if rows < FEW_ROWS:
        return f"{rows:,} rows say little about calibration: {FEW_ROWS} or more are needed."
    if wrong < BINS:
        return f"only {wrong:g} answers are wrong: they say little about calibration."
    return ""


def _inflation(values: Array, groups: Codes | None) -> float:
    """How many times fewer independent rows say as much (the design effect of the error rate), at least 1."""
    if groups is None:
        return 1.0
    mean = clustered_mean(values, groups)
    trials = mean.trials()
    return max(1.0, len(values) / trials) if np.isfinite(trials) and trials > 0 else 1.0


def _with_probabilities(
    result: CalibrationResult, confidence: Array, right: Array, groups: Codes | None, inflation: float, level: float
) -> CalibrationResult:
    """The result with calibration error, Brier score, log-likelihood and reliability data; with none of them for a
    confidence outside of [0, 1]."""
    if confidence.min() < 0 or confidence.max() > 1:
        reason = Estimate(value=None, method="n/a: the confidence is no probability")
        return msgspec.structs.replace(result, error=reason, brier=reason, log_loss=reason)
    found = calibration_error(confidence, right, level, inflation)
    return msgspec.structs.replace(
        result,
        error=_error_estimate(found, len(confidence), level),
        brier=_mean(brier_scores(confidence, right), groups, level),
        log_loss=_mean(log_losses(confidence, right), groups, level),
        bins=() if found is None else _bins(found),
    )


def _error_estimate(found: CalibrationError | None, rows: int, level: float) -> Estimate:
    if found is None:
        return Estimate(value=None, method="n/a: too few rows", n=rows)
    method = f"debiased, {len(found.bins.rows)} bins of equally many rows, normal {percent(level)}"
    return Estimate(value=found.value, low=found.low, high=found.high, method=method, n=rows)


def _bins(found: CalibrationError) -> tuple[ReliabilityBin, ...]:
    columns = (found.bins.rows, found.bins.confidence, found.bins.accuracy)
    return tuple(
        ReliabilityBin(rows=int(n), confidence=float(c), accuracy=float(a)) for n, c, a in zip(*columns, strict=True)
    )


def _mean(values: Array, groups: Codes | None, level: float) -> Estimate:
    mean = clustered_mean(values, groups)
    if mean.clusters < 2:
        return Estimate(value=mean.mean, method="no interval: one row", n=mean.n)
    low, high = mean.interval(level)
    return Estimate(value=mean.mean, low=max(0.0, low), high=high, method=f"Student {percent(level)}", n=mean.n)


def _points(curve: Coverage) -> tuple[CoveragePoint, ...]:
    columns = (curve.threshold, curve.share, curve.accuracy, curve.low, curve.high)
    return tuple(
        CoveragePoint(threshold=float(t), share=float(s), accuracy=float(a), low=float(low), high=float(high))
        for t, s, a, low, high in zip(*columns, strict=True)
        if np.isfinite(t)
    )
