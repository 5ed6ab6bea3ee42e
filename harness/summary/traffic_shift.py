"""Traffic against the rows that figures rest on: is it of the same kind, and what are the figures worth for it?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import MissingExtraError, UsageError
from harness.extras import install_command
from harness.metrics import Estimate
from harness.records import Record
from harness.statistics.classifier_two_sample import TwoSampleScores, classifier_two_sample
from harness.statistics.proportions import wilson

LEAST_ROWS = 40
"""Rows of each set: half of them fit the classifier, half judge it."""

MOST_ODDS = 20.0
"""No row counts for more than so many: rows that hardly occur would decide everything."""


class RowsOfSet(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One set of rows. name: "evaluated", "traffic" or "training". labels: share of each reference, empty where rows
    have none of the task's labels. words: quartiles of the rows' length in words."""

    name: str
    rows: int
    labels: dict[str, float] = {}
    words: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Shift(Record, frozen=True, kw_only=True, omit_defaults=False):
    """How well a classifier tells rows of `second` from rows of `first`: 0.5 is not at all. shifted: the lower bound of
    the 95 % interval lies above 0.5."""

    first: str
    second: str
    auc: Estimate
    shifted: bool


class ReweightedFigure(Record, frozen=True, kw_only=True, omit_defaults=False):
    """A rate of a backend on the evaluated rows as they are, and weighted so that they stand for the traffic."""

    backend: str
    metric: str
    evaluated: Estimate
    traffic: Estimate


class ShiftReport(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What `bench data shift` finds. effective_rows: unweighted rows that would say as much as the weighted ones."""

    task: str
    sets: tuple[RowsOfSet, ...]
    shifts: tuple[Shift, ...]
    figures: tuple[ReweightedFigure, ...] = ()
    effective_rows: float | None = None

    def sentences(self) -> list[str]:
        """The report in sentences."""
        sentences = [_described(one) for one in self.sets]
        sentences += [_told(shift) for shift in self.shifts]
        for figure in self.figures:
            name = figure.metric.replace("_", " ")
            sentences.append(
                f"{figure.backend}: {name} {_percent(figure.evaluated)} on the evaluated rows, "
                f"{_percent(figure.traffic)} reweighted to the traffic."
            )
        if self.effective_rows is not None:
            sentences.append(f"The weighted rows say as much as {self.effective_rows:,.0f} unweighted ones.")
        return sentences


def _percent(value: Estimate) -> str:
    if value.value is None or value.low is None or value.high is None:
        return "n/a"
    return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}] %"


def _described(one: RowsOfSet) -> str:
    labels = ", ".join(f"{label} {100 * share:.1f} %" for label, share in one.labels.items())
    low, middle, high = one.words
    return f"{one.name}: {one.rows:,} rows of {middle:g} words ({low:g} to {high:g}){f'; {labels}' if labels else ''}."


def _told(shift: Shift) -> str:
    auc = shift.auc
    assert auc.value is not None and auc.low is not None and auc.high is not None
    verdict = "differ" if shift.shifted else "are not shown to differ"
    return (
        f"{shift.first} and {shift.second} rows {verdict}: a classifier tells them apart with AUC {auc.value:.2f} "
        f"[{auc.low:.2f}, {auc.high:.2f}] (0.5: not at all)."
    )


def describe_rows(name: str, texts: Sequence[str], references: Sequence[str], labels: tuple[str, ...]) -> RowsOfSet:
    """Length and label shares of a set of rows."""
    counts = np.array([len(text.split()) for text in texts] or [0])
    known = [reference for reference in references if reference in labels]
    shares = {label: known.count(label) / len(known) for label in labels} if known else {}
    low, middle, high = (float(q) for q in np.quantile(counts, [0.25, 0.5, 0.75]))
    return RowsOfSet(name=name, rows=len(texts), labels=shares, words=(low, middle, high))


def compare_texts(
    names: tuple[str, str], texts: tuple[Sequence[str], Sequence[str]], seed: int
) -> tuple[Shift, NDArray[np.float64]]:
    """The shift between two sets of texts, and the weights that make the first stand for the second.

    Words and pairs of words, weighted by TF-IDF, in a logistic regression. Raises UsageError for too few rows,
    MissingExtraError without scikit-learn.
    """
    for name, rows in zip(names, texts, strict=True):
        if len(rows) < LEAST_ROWS:
            raise UsageError(f"{name}: {len(rows)} rows are too few to tell a shift: {LEAST_ROWS} at least.")
    found: TwoSampleScores = classifier_two_sample(list(texts[0]), list(texts[1]), text_classifier, seed)
    auc = Estimate(
        value=found.auc.value,
        low=found.auc.low,
        high=found.auc.high,
        method="classifier two-sample test, DeLong 95 %",
        n=len(texts[0]) + len(texts[1]),
    )
    shift = Shift(first=names[0], second=names[1], auc=auc, shifted=found.auc.low > 0.5)
    return shift, np.minimum(found.odds, MOST_ODDS)


def text_classifier() -> Any:
    """A classifier of texts, not yet fitted. Raises MissingExtraError without scikit-learn."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError:
        raise MissingExtraError(f"telling rows apart needs scikit-learn: {install_command('local')}.") from None
    return make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000))


def reweighted(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[Estimate, float]:
    """A weighted rate with Wilson's interval over the effective number of rows, and that number.

    Importance weighting (H. Shimodaira, J. Stat. Plann. Inference 2000, 90:227), normalised; effective rows are
    (sum w)^2 / sum w^2 (L. Kish, Survey Sampling, 1965). The weights' own uncertainty is not in the interval.
    values: (n,), nan where a row has none.
    """
    known = ~np.isnan(values)
    x, w = values[known], weights[known]
    if not len(x) or w.sum() <= 0:
        return Estimate(value=None, method="no row has a value"), 0.0
    effective = float(w.sum() ** 2 / (w**2).sum())
    value = float((w * x).sum() / w.sum())
    low, high = wilson(value * effective, effective)
    return Estimate(value=value, low=low, high=high, method="importance weights, Wilson 95 %", n=len(x)), effective
