"""What a gate tells beside its checks: slices and flips, warnings, and the result without contaminated rows."""

from collections.abc import Sequence

import msgspec
import numpy as np

from harness.gating.checks import metric_checks
from harness.gating.early_stopped_gate import stopped_early
from harness.gating.formatting import plural, points
from harness.gating.gate_result import CheckResult, Contamination, Diagnostic, Flip
from harness.gating.gate_settings import DEFAULT_FORMAT_MARGIN, DEFAULT_MARGIN, GateSettings
from harness.gating.pairing import Arm, Pairing
from harness.metrics import OF_LABELS, Metric
from harness.records import Row
from harness.statistics.multiple_testing import benjamini_hochberg
from harness.statistics.noninferiority import LEVEL
from harness.statistics.rows_needed import least_rows_to_pass
from harness.summary.comparison import compare_means
from harness.summary.outcomes import HAS_NO_FORMAT, Codes


def contamination_of(side: Arm) -> Contamination:
    """How many of a side's rows its model may have learned from."""
    count = None if side.contaminated is None else len(side.contaminated)
    rows = len(side.ids)
    return Contamination(
        source=side.info.source,
        backend=side.info.backend,
        rows=rows,
        contaminated=count,
        share=None if count is None or not rows else count / rows,
        trained=side.trained,
    )


def too_contaminated(side: Arm, most: float) -> str | None:
    """Why a candidate that may have learned from more than `most` of the rows gets no verdict; None for others."""
    seen = contamination_of(side)
    if seen.share is None or seen.share <= most:
        return None
    return (
        f"{_part(side)} are also in its training rows, more than {100 * most:g} %: these rows cannot tell how "
        "good it is on new ones. Evaluate on other rows (max_contaminated in [gate] sets the share)."
    )


def clean_checks(pairing: Pairing, settings: GateSettings, tests: int) -> list[CheckResult]:
    """The checks of metrics again, without the rows that the candidate may have learned from; none where it saw none.

    Rows that only the reference has seen stay: they flatter the reference, and make passing harder.
    """
    seen = pairing.sides[0].contaminated
    if not seen:
        return []
    rows = np.setdiff1d(np.arange(len(pairing.rows)), seen)
    if not len(rows):
        return [_no_row_left(pairing)]
    found = metric_checks(pairing.only(rows), settings, tests)
    return [msgspec.structs.replace(c, name=f"{c.name}, rows not trained on", scope="clean") for c in found]


def contamination_warnings(pairing: Pairing) -> list[str]:
    """What a reader must know of both sides' training rows."""
    candidate, reference = pairing.sides
    found = []
    if candidate.contaminated:
        left = len(candidate.ids) - len(candidate.contaminated)
        found.append(
            f"{_part(candidate)} are also in its training rows: the {left:,} others are judged beside all rows, and "
            "the worse verdict counts."
        )
    if reference.contaminated and candidate.contaminated != reference.contaminated:
        found.append(
            f"the reference {_part(reference)} are also in its training rows: its figures on them are too optimistic."
        )
    return found


def contamination_notes(pairing: Pairing) -> list[str]:
    """That a candidate's training rows are not known, where it has some."""
    candidate = pairing.sides[0]
    if candidate.contaminated is not None or not candidate.trained:
        return []
    name = candidate.info.backend
    return [f"{name}: contamination unknown: whether it was trained on these rows could not be checked."]


def _part(side: Arm) -> str:
    count, rows = len(side.contaminated or ()), len(side.ids)
    return f"{side.info.backend}: {count:,} of {rows:,} evaluated rows ({100 * count / rows:.2g} %)"


def _no_row_left(pairing: Pairing) -> CheckResult:
    return CheckResult(
        name=f"{pairing.backend}: rows not trained on",
        backend=pairing.backend,
        metric=pairing.metrics[0].name,
        kind="paired",
        verdict="inconclusive",
        scope="clean",
        sentence="every evaluated row is also in its training rows.",
    )


MOST_VALUES = 20
MOST_FLIPS = 10
TEXT = 200


def diagnostics(pairing: Pairing, columns: tuple[str, ...]) -> list[Diagnostic]:
    """Each class of the label set and each value of the named columns, p-values corrected over all of them."""
    metric = _right_or_wrong(pairing)
    if metric is None:
        return []
    found: list[tuple[str, str, int, float, float, float]] = []
    for column, value, chosen in _parts(pairing, columns):
        rows, a, b = pairing.rows.only(chosen), pairing.candidate.only(chosen), pairing.reference.only(chosen)
        c = compare_means(metric, rows, a, b, pairing.names, LEVEL)
        if c is not None:
            found.append((column, value, c.rows, c.value_a, c.value_b, c.p))
    corrected = benjamini_hochberg([p for *_, p in found])
    return [
        Diagnostic(
            backend=pairing.backend,
            column=column,
            value=value,
            rows=rows,
            candidate=a,
            reference=b,
            p=p,
            p_corrected=q,
        )
        for (column, value, rows, a, b, p), q in zip(found, corrected, strict=True)
    ]


def _right_or_wrong(pairing: Pairing) -> Metric | None:
    return next((m for m in pairing.metrics if m.row_value == "correct"), None)


Part = tuple[str, str, Codes]
"""A column, one of its values, and the rows that have it."""


def _parts(pairing: Pairing, columns: tuple[str, ...]) -> list[Part]:
    parts: list[Part] = []
    if len(pairing.rows.labels) <= MOST_VALUES:
        references = pairing.rows.references
        parts += [("class", label, np.flatnonzero(references == i)) for i, label in enumerate(pairing.rows.labels)]
    for column in columns:
        if (values := pairing.rows.columns.get(column)) is not None:
            parts += [(column, value, values.rows_of(value)) for value in sorted(values.counts())[:MOST_VALUES]]
    return [part for part in parts if len(part[2])]


def flips(pairing: Pairing, rows: Sequence[Row]) -> list[Flip]:
    """The first rows, by id, that the reference had right and the candidate has wrong."""
    metric = _right_or_wrong(pairing)
    answered = pairing.sides[0].outcomes  # a row that was not answered is no flip, though it counts as wrong
    if metric is None or metric.name not in answered.values or metric.name not in pairing.reference.values:
        return []
    here, there = answered.values[metric.name], pairing.reference.values[metric.name]
    ids = pairing.sides[0].ids
    worse = sorted(np.flatnonzero(there > here).tolist(), key=lambda n: ids[n])[:MOST_FLIPS]
    labels = (*pairing.rows.labels, "(no label)")
    lost = ((n, rows[n].sample) for n in worse)
    return [
        Flip(
            backend=pairing.backend,
            id=ids[n],
            expected=sample.reference[:TEXT],
            answered=labels[int(answered.answers[n, 0])] if pairing.rows.labels else "",
            text=" / ".join(sample.inputs.values())[:TEXT],
        )
        for n, sample in lost
    ]


WIDE_MARGIN = 0.1
"""A margin of a share above it lets nearly everything pass."""


def warnings_of(pairings: list[Pairing], settings: GateSettings) -> list[str]:
    """All warnings that do not need a check's figures."""
    found = []
    if settings.defaulted:
        names = ", ".join(settings.defaulted)
        found.append(f"no margin in [gate] and no --margin: these margins are Bench's defaults ({names}).")
    found += filter(None, [pairings[0].rows.copies_remark()])
    found += _wide_margins(pairings, settings)
    for pairing in pairings:
        candidate, reference = pairing.sides
        if pairing.candidates:
            found.append(_of_selection(pairing))
        if stopped_early(pairing):
            found.append(f"{pairing.backend}: the run stopped early, once the answer was known.")
        if candidate.unanswered:
            found.append(
                f"{candidate.info.backend}: {candidate.unanswered} of {candidate.asked} answers "
                f"{'is missing; it counts' if candidate.unanswered == 1 else 'are missing; they count'} as wrong."
            )
        if reference.unanswered:
            lacking = plural(reference.unanswered, "answer")
            found.append(f"the reference {reference.info.backend} lacks {lacking}: not compared.")
    return found


def _of_selection(pairing: Pairing) -> str:
    name, count = pairing.sides[0].info.backend, len(pairing.candidates)
    return (
        f"{name} is the best of {count} candidates of this run ({', '.join(pairing.candidates)}): its intervals are "
        f"widened to hold for the best of {count}. A candidate that is named beforehand (`bench run --candidate "
        f"{name}`) needs no correction."
    )


def checks_off(pairings: list[Pairing], settings: GateSettings) -> tuple[str, ...]:
    """Figures that the default gate would hold against the reference and this one does not."""
    known = {m.name: m for pairing in pairings for m in pairing.metrics}
    written = any(pairing.candidate.decode not in HAS_NO_FORMAT for pairing in pairings)
    return tuple(name for name in settings.off if name in known and (written or not known[name].about_format))


def notes_of(pairings: list[Pairing], settings: GateSettings) -> list[str]:
    """Which default checks are off, and how to have them."""
    metrics = {m.name: m for pairing in pairings for m in pairing.metrics}
    off = checks_off(pairings, settings)
    if not off:
        return []
    listed = ", ".join(f"{name} (by default within {points(_default_margin(metrics[name]))})" for name in off)
    flags = " ".join(f"--margin {name} {_default_margin(metrics[name]):g}" for name in off)
    return [f"not held against the reference, because other terms were named: {listed}. Add {flags} to check it too."]


def _default_margin(metric: Metric) -> float:
    return DEFAULT_FORMAT_MARGIN if metric.about_format else DEFAULT_MARGIN


def _wide_margins(pairings: list[Pairing], settings: GateSettings) -> list[str]:
    shares = {m.name for p in pairings for m in p.metrics if m.proportion or m.kind in OF_LABELS}
    return [
        f"{name}: a margin of {points(terms.margin)} passes a candidate that is worse by nearly as much; "
        f"margins above {points(WIDE_MARGIN)} are rarely meant (0.02 is 2 points)."
        for name, terms in settings.terms.items()
        if name in shares and terms.margin is not None and terms.margin > WIDE_MARGIN
    ]


def cannot_pass(checks: list[CheckResult], metrics: tuple[Metric, ...]) -> list[str]:
    """Margins of rates that these rows could not pass even if no row differed, and how many rows could."""
    rates = {m.name for m in metrics if m.kind == "mean" and m.proportion}
    found = {}
    for check in checks:
        if check.kind != "paired" or check.margin is None or check.metric not in rates or not check.rows:
            continue
        least = least_rows_to_pass(check.margin)
        if check.rows < least and check.verdict == "inconclusive":
            found[check.metric] = (
                f"{check.metric}: a margin of {points(check.margin)} cannot be passed with fewer than {least:,} rows, "
                f"even if no row differs; here are {check.rows:,}."
            )
    return list(found.values())
