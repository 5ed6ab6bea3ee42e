"""May the candidate replace the incumbent? Everything that the first sentence of any output says, computed once.

The bound of the loss is the gate's: one end of the same interval on the same rows, so that sentence and gate agree.
"""

import math
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from harness.gating.gate_settings import Terms
from harness.gating.pairing import fill_missing
from harness.gating.sequential_checks import ArmValues, RowLayout, asked_end, checks_of_terms, evaluate_sequentially
from harness.metrics import Estimate, Metric
from harness.results import BackendResult, LossPosterior, ReplacementVerdict, VerdictOutcome, VerdictTerms
from harness.runs.run_log import EARLY_STOP
from harness.statistics.confidence_sequence import LEVEL as WATCHED_LEVEL
from harness.statistics.confidence_sequence import confidence_sequence
from harness.statistics.multiple_testing import selection_level
from harness.statistics.noninferiority import ALPHA, LEVEL, noninferiority_verdict
from harness.statistics.posterior import PRIOR, probability_of_loss_below
from harness.statistics.proportions import fewest_discordant, harm_p
from harness.summary.comparison import Comparison, compare_all
from harness.summary.detectable_difference import deciding_rows, detectable
from harness.summary.optional_stopping import method_of
from harness.summary.outcomes import Codes, Outcomes, RowTable
from harness.summary.verdict_settings import Contenders, default_margin

MOST_MISSING = 0.01
"""Above this share of answers that a side is missing there is no verdict, as in a gate."""

OUTCOMES: dict[str, VerdictOutcome] = {"pass": "within margin", "inconclusive": "not shown", "fail": "beyond margin"}


@dataclass(frozen=True)
class GainBounds:
    """How much better the candidate is on some rows (positive is better), by the method that fits these rows.

    low, high: each alone a one-sided bound at `level`; infinite where the rows cannot bound the gain. values: the
    candidate's figure and the incumbent's. basis: which rows, "" for all. comparison: the comparison of a fixed number
    of rows behind it; None where the bounds hold wherever asking stopped.
    """

    gain: float
    low: float
    high: float
    level: float
    method: str
    rows: int
    values: tuple[float, float]
    basis: str = ""
    comparison: Comparison | None = None


def bounds_of_comparison(c: Comparison, level: float = 1 - ALPHA, basis: str = "") -> GainBounds:
    """Bounds from a comparison of candidate (a) and incumbent (b) at the two-sided level 2 `level` - 1.

    The exact test has a say in who is better: five rows that all speak for one side move Tango's interval off 0, and a
    two-sided exact test of five rows reaches 5 % never. Worse is what the gate's one-sided exact test calls worse.
    """
    if c.no_verdict and c.differing:  # an interval may be shown, and nothing may be concluded from it
        c = replace(c, low=-math.inf, high=math.inf)
    alpha = 1 - level + 1e-12
    better = c.p / 2 <= alpha and c.gain > 0
    if c.only_a is not None and c.only_b is not None:
        better = harm_p(c.only_a, c.only_b) <= alpha and c.differing >= fewest_discordant(ALPHA)
    return GainBounds(
        gain=c.gain,
        low=c.low if better else min(c.low, 0.0),
        high=c.high if c.harm_p <= alpha else max(c.high, 0.0),
        level=level,
        method=c.method,
        rows=c.rows,
        values=(c.value_a, c.value_b),
        basis=basis,
        comparison=c,
    )


def fixed_bounds(
    metric: Metric,
    rows: RowTable,
    sides: tuple[Outcomes, Outcomes],
    names: tuple[str, str],
    candidates: int = 1,
    *,
    missing_is_wrong: bool = True,
) -> GainBounds | None:
    """Bounds from a fixed number of rows at 95 % one-sided, corrected by Bonferroni where the best of several
    candidates was taken. None where no row has the metric on both sides.

    sides, names: candidate and incumbent; the names seed the resampling as they do in a gate. missing_is_wrong: an
    answer that the candidate is missing counts as wrong, else its row is left out.
    """
    seeds = f"candidate {names[0]}", f"reference {names[1]}"
    watched = any(side.watched for side in sides)
    level = selection_level(WATCHED_LEVEL if watched else LEVEL, candidates)
    if any(side.sequential for side in sides):
        return _bounds_at_the_stop(metric, rows, sides, level, within=missing_is_wrong)
    filled = fill_missing(*sides, (metric,), len(rows.labels)) if missing_is_wrong else sides[0]
    c = compare_all((metric,), rows, filled, sides[1], seeds, level).get(metric.name)
    return None if c is None else bounds_of_comparison(c, (1 + level) / 2)


def _bounds_at_the_stop(
    metric: Metric, rows: RowTable, sides: tuple[Outcomes, Outcomes], level: float, *, within: bool
) -> GainBounds | None:
    """Bounds that hold wherever asking stopped, by the function that stopped it; None where the metric has none."""
    layout = RowLayout.of(rows)
    checks = checks_of_terms({metric.name: Terms(margin=1.0)}, (metric,))
    if not checks:
        return None
    mine, theirs = (ArmValues.of(side) for side in sides)
    found = evaluate_sequentially(checks, layout, mine, theirs, asked_end(layout, sides), within=within, tests=1)[0]
    if not found.rows or found.reference is None:
        return None
    low, high = confidence_sequence(found.units, level)
    return GainBounds(
        gain=found.units.mean,
        low=low,
        high=high,
        level=(1 + level) / 2,
        method=method_of(level, found.units, rows.groups is not None),
        rows=found.rows,
        values=(found.candidate, found.reference),
    )


def worse_of_all_and_clean(
    metric: Metric,
    rows: RowTable,
    sides: tuple[Outcomes, Outcomes],
    names: tuple[str, str],
    trained_on: Codes,
    candidates: int = 1,
    *,
    missing_is_wrong: bool = True,
) -> GainBounds | None:
    """Bounds on all rows or on those that the candidate was not trained on, whichever allow the larger loss.

    trained_on: positions of rows that are also in the candidate's training rows.
    """
    everything = fixed_bounds(metric, rows, sides, names, candidates, missing_is_wrong=missing_is_wrong)
    if everything is None or not len(trained_on):
        return everything
    clean = np.setdiff1d(np.arange(len(rows)), trained_on)
    basis = f"that {names[0]} was not trained on"
    parts = sides[0].only(clean), sides[1].only(clean)
    found = None
    if len(clean):
        found = fixed_bounds(metric, rows.only(clean), parts, names, candidates, missing_is_wrong=missing_is_wrong)
    if found is None:
        return replace(everything, low=-math.inf, high=math.inf, rows=0, basis=basis, method="no row is left")
    return replace(found, basis=basis) if found.low <= everything.low else everything


def verdict_of_bounds(
    bounds: GainBounds, metric: Metric, names: tuple[str, str], terms: VerdictTerms, candidates: int = 1
) -> ReplacementVerdict:
    """The verdict on candidate and incumbent (`names`) that these bounds allow."""
    margin, source = (terms.margin, terms.margin_source) if terms.margin is not None else default_margin(metric)
    c = bounds.comparison
    verdict = ReplacementVerdict(
        incumbent=names[1],
        candidate=names[0],
        candidates=candidates,
        metric=metric.name,
        outcome=_outcome(bounds, margin),
        value_incumbent=bounds.values[1],
        value_candidate=bounds.values[0],
        loss=Estimate(
            value=-bounds.gain + 0.0,  # never -0.0
            low=-bounds.high + 0.0 if math.isfinite(bounds.high) else None,
            high=-bounds.low + 0.0 if math.isfinite(bounds.low) else None,
            method=bounds.method,
            n=bounds.rows,
        ),
        level=bounds.level,
        rows=bounds.rows,
        basis=bounds.basis,
        sequential=c is None,
        margin=margin,
        margin_source=source,
    )
    return verdict if c is None else _with_fixed_rows(verdict, c, terms.checks)


def not_better(bounds: GainBounds) -> GainBounds:
    """The bounds where the two-sided test, corrected over all pairs, does not call the candidate better: the sentence
    must not say more than the table below it."""
    return replace(bounds, low=min(bounds.low, 0.0))


def _outcome(bounds: GainBounds, margin: float | None) -> VerdictOutcome:
    if not math.isfinite(bounds.low):
        return "no bound"
    if bounds.comparison is not None and bounds.comparison.differing == 0:
        return "unchanged"
    if margin is None:
        return "worse" if bounds.high < 0 else "no margin"
    found = OUTCOMES[noninferiority_verdict(bounds.low, bounds.high, margin, 1.0)]
    return "worse" if found == "not shown" and bounds.high < 0 else found


def _with_fixed_rows(verdict: ReplacementVerdict, c: Comparison, checks: int) -> ReplacementVerdict:
    """What only a fixed number of rows can say: rows needed, the smallest difference detected, the posterior.

    checks: margins of the gate over which harm is corrected.
    """
    discordant = fewest = posterior = None
    if c.only_a is not None and c.only_b is not None:
        discordant, fewest = c.only_a + c.only_b, fewest_discordant(ALPHA)
        if verdict.margin is not None:
            probability = probability_of_loss_below(verdict.margin, c.only_b, c.only_a, c.rows)
            posterior = LossPosterior(probability=probability, prior=PRIOR)
    needed = None
    if verdict.outcome == "not shown" and verdict.margin is not None:
        needed = deciding_rows(c, verdict.margin, checks)
    return msgspec.structs.replace(
        verdict,
        needed_rows=None if needed is None else needed.rows,
        needed_for="" if needed is None else "within margin" if needed.verdict == "pass" else "worse",
        detectable=detectable(c),
        discordant=discordant,
        fewest_discordant=fewest,
        posterior=posterior,
    )


@dataclass(frozen=True)
class VerdictPair:
    """Candidate and incumbent of a run, in this order, with all that the verdict on them rests on.

    better: whether the test of this pair, corrected over all pairs, calls the candidate better.
    """

    contenders: Contenders
    better: bool
    sides: tuple[Outcomes, Outcomes]
    results: tuple[BackendResult, BackendResult]
    trained_on: Codes

    @property
    def names(self) -> tuple[str, str]:
        """The candidate's name, then the incumbent's."""
        return self.contenders.candidate, self.contenders.incumbent


def replacement_verdict(metric: Metric, rows: RowTable, duel: VerdictPair, terms: VerdictTerms) -> ReplacementVerdict:
    """The verdict of a run on its candidate, by the headline metric."""
    names, candidates = duel.names, len(duel.contenders.candidates)
    lacking = tuple(text for n, r in zip(names, duel.results, strict=True) if (text := _lacking(n, r)))
    bounds = worse_of_all_and_clean(
        metric, rows, duel.sides, names, duel.trained_on, candidates, missing_is_wrong=not lacking
    )
    if bounds is None:
        return _without_bound(metric, names, terms, "no bound", (*lacking, "no row was answered by both."))
    bounds = bounds if duel.better else not_better(bounds)
    verdict = verdict_of_bounds(bounds, metric, names, terms, candidates)
    if bounds.comparison is not None and bounds.comparison.no_verdict:
        lacking_evidence = bounds.comparison.no_verdict
        verdict = msgspec.structs.replace(verdict, remarks=(*verdict.remarks, f"{lacking_evidence}."))
    return msgspec.structs.replace(verdict, outcome="incomplete", remarks=lacking) if lacking else verdict


def _lacking(name: str, result: BackendResult) -> str:
    absent = sum(result.errors.values()) + (0 if _stopped_early(result) else result.missing)
    if absent <= MOST_MISSING * result.asked:
        return ""
    return f"{name} lacks {absent:,} of {result.asked:,} answers, more than {100 * MOST_MISSING:g} %."


def _stopped_early(result: BackendResult) -> bool:
    return (result.stopped or {}).get("kind") == EARLY_STOP


def _without_bound(
    metric: Metric,
    names: tuple[str, str],
    terms: VerdictTerms,
    outcome: VerdictOutcome,
    remarks: tuple[str, ...],
) -> ReplacementVerdict:
    return ReplacementVerdict(
        incumbent=names[1],
        candidate=names[0],
        metric=metric.name,
        outcome=outcome,
        margin=terms.margin,
        margin_source=terms.margin_source,
        remarks=remarks,
    )
