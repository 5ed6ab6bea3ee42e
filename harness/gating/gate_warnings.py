"""What a reader of a verdict must know: margins nobody chose, checks that are off, answers that are missing."""

from harness.gating.early_stopped_gate import stopped_early
from harness.gating.formatting import plural, points
from harness.gating.gate_result import CheckResult
from harness.gating.gate_settings import DEFAULT_FORMAT_MARGIN, DEFAULT_MARGIN, GateSettings
from harness.metrics import OF_LABELS, Metric
from harness.statistics.rows_needed import least_rows_to_pass
from harness.summary.outcomes import HAS_NO_FORMAT

from .pairing import Pairing

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
