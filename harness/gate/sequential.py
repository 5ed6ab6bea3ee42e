"""The gate of a run that stopped early: the sequential decision, taken again from the log.

Tests of a fixed number of rows do not hold where the number was chosen by looking at the answers; their checks
are left out and said to be.
"""

import msgspec
import numpy as np

from harness.gate.early_stop import EarlyStopTerms
from harness.statistics.sequential import SequentialRule
from harness.summary.outcomes import NOT_ANSWERED

from .money import cost_checks
from .pairing import Pairing
from .records import CheckResult
from .settings import COST, GateSettings


def stopped_early(pairing: Pairing) -> bool:
    """Whether asking ended on purpose, on either side."""
    return any(side.early is not None for side in pairing.sides)


def sequential_checks(pairing: Pairing, settings: GateSettings) -> list[CheckResult]:
    """The check that the run was stopped for, and a word on each that it cannot answer."""
    terms = next(side.early for side in pairing.sides if side.early is not None)
    found = [_decide(pairing, terms, settings)]
    for name, asked in settings.terms.items():
        if name == COST:
            found += cost_checks(pairing, asked)
        elif name != terms.metric or asked.at_most is not None or asked.at_least is not None:
            found.append(
                CheckResult(
                    name=f"{pairing.backend}: {name}",
                    backend=pairing.backend,
                    metric=name,
                    kind="absolute",
                    verdict="advisory",
                    sentence="the run stopped early: tests of a fixed number of rows do not apply.",
                )
            )
    return found


def _decide(pairing: Pairing, terms: EarlyStopTerms, settings: GateSettings) -> CheckResult:
    result = CheckResult(
        name=f"{pairing.backend}: {terms.metric} against the reference, in sequence",
        backend=pairing.backend,
        metric=terms.metric,
        kind="sequential",
        verdict="incomparable",
        margin=terms.margin,
        method="betting e-process, 5 % at every moment",
    )
    asked = settings.terms.get(terms.metric)
    if asked is not None and asked.margin is not None and asked.margin != terms.margin:
        sentence = f"the run was stopped for a margin of {terms.margin:g}, the gate asks for {asked.margin:g}."
        return msgspec.structs.replace(result, sentence=sentence)
    metric = next((m for m in pairing.metrics if m.name == terms.metric), None)
    if metric is None or any(metric.name not in o.values for o in (pairing.candidate, pairing.reference)):
        return msgspec.structs.replace(result, sentence=f"one side has no {terms.metric}.")
    end = _contiguous(pairing)
    mine, theirs = (o.values[metric.name][:end] for o in (pairing.candidate, pairing.reference))
    sign = 1 if metric.direction == "higher" else -1
    if pairing.sides[0].info.source == pairing.sides[1].info.source:
        # Within one run a reference's error counts for it, as it did while the run was watched.
        theirs = np.where(np.isnan(theirs), 1.0 if sign > 0 else 0.0, theirs)
    compared = ~np.isnan(theirs)
    mine, theirs = mine[compared], theirs[compared]
    rule = SequentialRule(terms.margin)
    for difference in sign * (mine - theirs):
        rule.observe(float(difference))
    mine, theirs = mine[: rule.rows], theirs[: rule.rows]
    if not rule.rows:
        return msgspec.structs.replace(result, sentence="no row was answered on both sides.")
    return msgspec.structs.replace(
        result,
        verdict=rule.decision or "inconclusive",
        candidate=float(mine.mean()),
        reference=float(theirs.mean()),
        difference=float((mine - theirs).mean()),
        rows=rule.rows,
        differing=int((mine != theirs).sum()),
    )


def _contiguous(pairing: Pairing) -> int:
    """How many rows from the beginning were asked of every side that stopped early."""
    ends = []
    for side in pairing.sides:
        if side.early is None:
            continue
        complete = (side.outcomes.answers != NOT_ANSWERED).all(axis=1)[side.positions(pairing.sides[0].ids)]
        known = np.flatnonzero(complete)
        ends.append(int(known[-1]) + 1 if len(known) else 0)
    return min(ends)
