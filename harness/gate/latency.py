"""Latency against the reference: a quotient of medians over repeated alternating runs, else advice only.

Two runs of the same model differ by several percent, and a test over rows takes that for a change (74 % false
alarms at 5 % between runs). So the run is the unit: each run probes both sides, one request at a time, and
gives one quotient; Student's t over the runs' logarithms. Queue and retry time stay out.
"""

import math

import msgspec
import numpy as np

from harness.results import Latency
from harness.statistics.clustered import clustered_mean
from harness.statistics.noninferiority import LEVEL

from .records import CheckResult
from .settings import GateSettings
from .words import plural

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
        found.append(_check(backend, name, terms.ratio, [(c, r) for c, r in both if c > 0 and r > 0], same_runs))
    return found


def _check(backend: str, metric: str, ratio: float, both: list[tuple[float, float]], same_runs: bool) -> CheckResult:
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
    method = f"Student over the logarithms of {len(both)} runs"
    return msgspec.structs.replace(result, verdict=verdict, low=low, high=high, method=method)
