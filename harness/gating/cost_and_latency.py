"""Cost per 1,000 answers by its bound, and latency as a ratio over alternating runs."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from harness.gating.formatting import plural
from harness.gating.gate_result import CheckResult, Kind
from harness.gating.gate_settings import COST, GateSettings, Terms
from harness.gating.limits import against_limit
from harness.gating.pairing import Pairing
from harness.results import CostResult, Latency
from harness.statistics.clustered import clustered_mean
from harness.statistics.mean_intervals import FEWEST, skewed_mean_interval
from harness.statistics.noninferiority import LEVEL
from harness.summary.outcomes import Array, cluster_codes

ENOUGH_RUNS = 5
FIELDS = {"latency_p50": "p50_s", "latency_p95": "p95_s"}


def latency_checks(
    backend: str, settings: GateSettings, probes: list[tuple[Latency | None, Latency | None]], same_runs: bool
) -> list[CheckResult]:
    """probes: (candidate, reference) of each run; same_runs: both sides were probed within one run each time."""
    found = []
    for name, field in FIELDS.items():
        terms = settings.terms.get(name)
        if terms is None or terms.ratio is None:
            continue
        both = [(getattr(c, field), getattr(r, field)) for c, r in probes if c is not None and r is not None]
        found.append(
            _latency_check(backend, name, terms.ratio, [(c, r) for c, r in both if c > 0 and r > 0], same_runs)
        )
    return found


def _latency_check(
    backend: str, metric: str, ratio: float, both: list[tuple[float, float]], same_runs: bool
) -> CheckResult:
    result = CheckResult(
        name=f"{backend}: {metric} at most {ratio:g} x the reference",
        backend=backend,
        metric=metric,
        kind="ratio",
        verdict="advisory",
        limit=ratio,
        level=LEVEL,
        rows=len(both),
    )
    if not both:
        sentence = "no latency probe on both sides (bench run --latency-probe N): not gated."
        return msgspec.structs.replace(result, sentence=sentence)
    logs = np.log([c / r for c, r in both])
    result = msgspec.structs.replace(
        result,
        candidate=float(np.median([c for c, _ in both])),
        reference=float(np.median([r for _, r in both])),
        difference=math.exp(float(logs.mean())),
    )
    if not same_runs or len(both) < ENOUGH_RUNS:
        where = "" if same_runs else " on different occasions"
        sentence = (
            f"advice only: {plural(len(both), 'run')} with both sides probed{where}; "
            f"a verdict needs {ENOUGH_RUNS} runs that each probe both (--latency-run)."
        )
        return msgspec.structs.replace(result, sentence=sentence)
    mean = clustered_mean(logs)
    if mean.constant:
        sentence = f"{len(both)} equal quotients are no measurement (recorded times?): no bound."
        return msgspec.structs.replace(result, verdict="inconclusive", sentence=sentence)
    low, high = (math.exp(bound) for bound in mean.interval(LEVEL))
    verdict = "pass" if high <= ratio else "fail" if low > ratio else "inconclusive"
    method = f"Student's t over the logarithms of {len(both)} runs"
    return msgspec.structs.replace(result, verdict=verdict, low=low, high=high, method=method)


RunCosts = Sequence[tuple[CostResult, CostResult]]
"""Costs of (candidate, reference) in each of several runs."""


def cost_checks(pairing: Pairing, terms: Terms, runs: RunCosts = ()) -> list[CheckResult]:
    """A limit in USD, a ratio to the reference, or both. runs: several runs of both sides, for prices by the hour."""
    found = []
    if terms.at_most is not None:
        found.append(_cost_check(pairing, "absolute", terms.at_most, runs))
    if terms.ratio is not None:
        found.append(_cost_check(pairing, "ratio", terms.ratio, runs))
    return found


def _cost_check(pairing: Pairing, kind: Kind, limit: float, runs: RunCosts) -> CheckResult:
    candidate, reference = (side.cost_per_1000 for side in pairing.sides)
    quotient = candidate / reference if candidate is not None and reference else None
    figure = candidate if kind == "absolute" else quotient
    unit = "USD" if kind == "absolute" else "x the reference"
    result = CheckResult(
        name=f"{pairing.backend}: {COST} at most {limit:g} {unit}",
        backend=pairing.backend,
        metric=COST,
        kind=kind,
        verdict="incomparable",
        candidate=candidate,
        reference=reference,
        difference=quotient if kind == "ratio" else None,
        level=LEVEL,
        limit=limit,
        rows=len(pairing.rows),
    )
    if figure is None:
        who = pairing.sides[0 if candidate is None else 1]
        return _say(result, f"the cost of {who.info.backend} is unknown or 0 ({who.cost_basis}).")
    found = f"${figure:.4g}" if kind == "absolute" else f"{figure:.3g} x the reference"
    if pairing.sides[0].costs is None:
        low, high, method = _by_the_hour(kind, runs)
    elif kind == "absolute":
        low, high, method = _absolute(pairing)
    else:
        low, high, method = _ratio(pairing, figure)
    result = msgspec.structs.replace(
        result,
        verdict=against_limit(low, high, Terms(at_most=limit)),
        low=low if math.isfinite(low) else None,
        high=high if math.isfinite(high) else None,
        method=method,
    )
    span = f" [{_money(kind, low)}, {_money(kind, high)}]" if math.isfinite(high) else f" ({method})"
    return _say(result, f"{found}{span} for 1,000 answers at list price{_tokens(pairing)}.")


def _absolute(pairing: Pairing) -> tuple[float, float, str]:
    costs = pairing.sides[0].costs
    assert costs is not None
    known = ~np.isnan(costs)
    low, high = skewed_mean_interval(1000 * costs[known], cluster_codes(pairing.rows, known), LEVEL)
    return low, high, _method(high)


def _ratio(pairing: Pairing, quotient: float) -> tuple[float, float, str]:
    """The quotient of two means on the same rows, linearised: mean((c - q r) / mean(r)) around q."""
    here, there = pairing.sides
    assert here.costs is not None
    if there.costs is None:
        return _against_a_known_price(pairing, here.costs, quotient)
    theirs = there.costs if here.ids == there.ids else there.costs[there.positions(here.ids)]
    known = ~(np.isnan(here.costs) | np.isnan(theirs))
    if not known.any() or not theirs[known].mean() > 0:
        return -math.inf, math.inf, "no row has a price on both sides"
    parts = quotient + (here.costs[known] - quotient * theirs[known]) / theirs[known].mean()
    low, high = skewed_mean_interval(parts, cluster_codes(pairing.rows, known), LEVEL)
    return low, high, _method(high)


def _against_a_known_price(pairing: Pairing, costs: Array, quotient: float) -> tuple[float, float, str]:
    """A baseline keeps the mean cost alone. Taken as if it varied as much, on other rows: wider than the truth, because
    the rows are the same and long ones cost more on both sides."""
    known = ~np.isnan(costs)
    relative = costs[known] / costs[known].mean() if costs[known].any() else costs[known]
    low, high = skewed_mean_interval(relative, cluster_codes(pairing.rows, known), LEVEL)
    low, high = 1 - math.sqrt(2) * (1 - low), 1 + math.sqrt(2) * (high - 1)
    return quotient * low, quotient * high, _method(high)


def _method(high: float) -> str:
    if math.isfinite(high):
        return "mean cost, bound corrected for skewness (Hall); assumes no row far more expensive than those seen"
    return f"no bound: it takes {FEWEST} rows or groups with a price"


def _by_the_hour(kind: Kind, runs: RunCosts) -> tuple[float, float, str]:
    """Student's t over the logarithms of several runs; one run measures one time."""
    pairs = [(c.per_1000, r.per_1000) for c, r in runs]
    known = [(c, r) for c, r in pairs if c is not None and c > 0 and (kind == "absolute" or (r is not None and r > 0))]
    if len(known) < ENOUGH_RUNS:
        return -math.inf, math.inf, f"no bound: hours of {ENOUGH_RUNS} runs are needed (--latency-run)"
    logs = np.log([c if kind == "absolute" else c / (r or math.nan) for c, r in known])
    mean = clustered_mean(logs)
    if mean.constant:
        return -math.inf, math.inf, "no bound: all runs took the very same time"
    low, high = (math.exp(end) for end in mean.interval(LEVEL))
    return low, high, f"Student's t over the logarithms of {len(known)} runs"


def _money(kind: Kind, value: float) -> str:
    return f"${value:.4g}" if kind == "absolute" else f"{value:.3g}"


def _say(result: CheckResult, sentence: str) -> CheckResult:
    return msgspec.structs.replace(result, sentence=sentence)


def _tokens(pairing: Pairing) -> str:
    here, there = (side.tokens_per_answer for side in pairing.sides)
    if here is None or there is None:
        return ""
    return f"; {here:.1f} tokens an answer, {there:.1f} in the reference"
