"""Signs of a broken candidate: one answer everywhere, no better than a constant, another model's answers.

A collapsed training, an adapter that was never applied and a server that answers for two names all leave well-formed
answers behind, and figures that look like a weak model's.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from harness.metrics import Metric
from harness.records import BackendIdentity
from harness.results import AnswerFinding, ConstantAnswer, FindingKind
from harness.statistics.confusion import counts_of_table, label_metric
from harness.statistics.noninferiority import ALPHA
from harness.statistics.proportions import harm_p
from harness.summary.answer_columns import Hashes, commonest, equal_rows
from harness.summary.outcomes import NOT_ANSWERED, Outcomes, RowTable

LEAST_ROWS = 20
"""Fewer rows than this may all be alike by chance."""

NEARLY_ALL = 0.95
"""From this share of the answers on they count as one answer."""


def constant_answer(rows: RowTable, metrics: tuple[Metric, ...]) -> ConstantAnswer | None:
    """What always giving the most frequent label scores; None for a task without labels."""
    known = rows.references[rows.references >= 0]
    if not rows.labels or not len(known):
        return None
    counts = np.bincount(known, minlength=len(rows.labels))
    best = int(counts.argmax())
    table = np.zeros((len(rows.labels), len(rows.labels) + 1))
    table[:, best] = counts
    accuracy = float(counts[best] / len(known))
    figures = {}
    for metric in metrics:
        if metric.kind == "confusion":
            figures[metric.name] = float(label_metric(metric, rows.labels)(counts_of_table(table)))
        elif metric.row_value in ("correct", "lenient_correct"):
            figures[metric.name] = accuracy
        elif metric.about_format:
            figures[metric.name] = 0.0
    return ConstantAnswer(label=rows.labels[best], accuracy=accuracy, rows=len(known), metrics=figures)


def answer_findings(
    identities: Mapping[str, BackendIdentity],
    metrics: tuple[Metric, ...],
    rows: RowTable,
    outcomes: Mapping[str, Outcomes],
    hashes: Mapping[str, Hashes],
) -> tuple[AnswerFinding, ...]:
    """All findings of a run; none where a backend has answered fewer than LEAST_ROWS rows."""
    found = []
    for name, of_backend in outcomes.items():
        found += [
            finding
            for finding in (
                one_answer(name, rows, of_backend, hashes[name]),
                against_constant(name, metrics, rows, of_backend),
            )
            if finding is not None
        ]
    for a, b in combinations(outcomes, 2):
        if _same_model(identities[a], identities[b]):
            continue
        right = _all_right(metrics, outcomes[a])
        finding = identical_answers((a, b), (identities[a], identities[b]), (hashes[a], hashes[b]), right)
        found += [finding] if finding is not None else []
    return tuple(found)


def one_answer(name: str, rows: RowTable, outcomes: Outcomes, hashes: Hashes) -> AnswerFinding | None:
    """One label, or one text where the task has no labels, on nearly all rows, though the references are not so."""
    answered = int(outcomes.answered.sum())
    if answered < LEAST_ROWS:
        return None
    given = outcomes.answers[outcomes.answers != NOT_ANSWERED]
    counts = np.bincount(given, minlength=len(rows.labels) + 1)[: len(rows.labels)]
    if rows.labels and counts.max() >= NEARLY_ALL * len(given):
        label = int(counts.argmax())
        share, gold = counts[label] / len(given), float((rows.references == label).mean())
        if 1 - share > (1 - gold) / 2:  # the rows themselves are nearly all of this label
            return None
        answer = rows.labels[label]
        sentence = (
            f"{name} answered '{answer}' on {_share(int(counts[label]), len(given), outcomes)}; "
            f"{100 * gold:.1f} % of the references are '{answer}'."
        )
        return _finding("one answer", (name,), answered, int(counts[label]), sentence, answer)
    total, same = commonest(hashes)
    if total and same >= NEARLY_ALL * total and (not rows.labels or not counts.any()):
        sentence = f"{name} gave one and the same text on {_share(same, total, outcomes)}."
        return _finding("one answer", (name,), answered, same, sentence)
    return None


def _share(count: int, total: int, outcomes: Outcomes) -> str:
    return f"{count:,} of {total:,} {'rows' if outcomes.repeats == 1 else 'answers'}"


def against_constant(
    name: str, metrics: tuple[Metric, ...], rows: RowTable, outcomes: Outcomes
) -> AnswerFinding | None:
    """An accuracy that is not better than that of the most frequent label, or not shown to be (exact one-sided
    McNemar).
    """
    metric = next((m for m in metrics if m.row_value == "correct" and m.name in outcomes.values), None)
    constant = constant_answer(rows, ())
    if metric is None or constant is None:
        return None
    values = outcomes.values[metric.name]
    chosen = ~np.isnan(values)
    n = int(chosen.sum())
    if n < LEAST_ROWS:
        return None
    mine = values[chosen]
    theirs = (rows.references[chosen] == rows.labels.index(constant.label)).astype(np.float64)
    single = rows.groups is None and bool(np.isin(mine, (0, 1)).all())
    better, worse = int((mine > theirs).sum()), int((mine < theirs).sum())
    kind: FindingKind
    if mine.mean() <= theirs.mean():
        kind, phrase = "not better than constant", "is not better"
    elif single and harm_p(better, worse) > ALPHA:
        kind, phrase = "not shown better than constant", "is not shown to be better"
    else:
        return None
    sentence = (
        f"{name}: accuracy {100 * mine.mean():.1f} % {phrase} than always answering '{constant.label}' "
        f"({100 * theirs.mean():.1f} %)."
    )
    return _finding(kind, (name,), n, round(float(mine.sum())), sentence, constant.label)


def identical_answers(
    names: tuple[str, str],
    identities: tuple[BackendIdentity, BackendIdentity],
    hashes: tuple[Hashes, Hashes],
    all_right: bool,
) -> AnswerFinding | None:
    """Two backends of different models whose texts are equal on every row that both answered."""
    rows, equal = equal_rows(*hashes)
    if rows < LEAST_ROWS or equal < rows:
        return None
    one, other = identities
    if all_right:
        doubt = "every answer is right, so these rows show no difference between them."
    elif (one.adapter, one.adapter_sha256) != (other.adapter, other.adapter_sha256):
        doubt = "is the adapter applied?"
    else:
        doubt = "is the adapter really (not) applied, or is one model behind both names?"
    sentence = f"{names[0]} and {names[1]} gave the same text on {equal:,} of {rows:,} rows: {doubt}"
    return _finding("identical answers", names, rows, equal, sentence)


def _finding(
    kind: FindingKind, backends: tuple[str, ...], rows: int, count: int, sentence: str, answer: str = ""
) -> AnswerFinding:
    return AnswerFinding(kind=kind, backends=backends, rows=rows, count=count, answer=answer, sentence=sentence)


def _same_model(a: BackendIdentity, b: BackendIdentity) -> bool:
    return (a.model, a.adapter, a.adapter_sha256) == (b.model, b.adapter, b.adapter_sha256)


def _all_right(metrics: tuple[Metric, ...], outcomes: Outcomes) -> bool:
    metric = next((m for m in metrics if m.row_value == "correct" and m.name in outcomes.values), None)
    if metric is None:
        return False
    values = outcomes.values[metric.name]
    known = values[~np.isnan(values)]
    return bool(len(known)) and bool((known == 1).all())
