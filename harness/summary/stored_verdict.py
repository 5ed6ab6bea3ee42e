"""The verdict of a summary as it is stored; of a summary that carries none, from its stored pairs."""

from harness.metrics import Metric
from harness.results import Estimate, PairResult, ReplacementVerdict, Summary, VerdictOutcome
from harness.statistics.compact_letters import compact_letters
from harness.statistics.noninferiority import noninferiority_verdict
from harness.summary.verdict_settings import default_margin

NO_DIFFERENCE = "not distinguishable"
"""The stored word of a pair without a significant difference."""

LEVEL = 0.975
"""Of one end of a stored two-sided 95 % interval."""


def headline_metric(summary: Summary) -> Metric:
    """The metric that decides; where the summary lists none, accuracy."""
    found = next((m for m in summary.metrics if m.name == summary.headline), None)
    return found or Metric(name=summary.headline)


def by_rank(summary: Summary) -> list[str]:
    """Backends, best first; equal ranks by the headline figure, then by name."""
    metric = headline_metric(summary)
    sign = -1 if metric.direction == "higher" else 1

    def key(name: str) -> tuple[float, float, str]:
        found = summary.backends[name].metrics.get(metric.name)
        value = None if found is None else found.value
        rank = summary.ranks.get(name, len(summary.backends) + 1)
        return rank, float("inf") if value is None else sign * value, name

    return sorted(summary.backends, key=key)


def ranking(summary: Summary) -> dict[str, str]:
    """Each measured backend's rank as it is shown: its position, with letters where some difference is not significant
    ("1 a", "2 ab", "3 b": two share a letter exactly where their difference is not significant)."""
    metric = headline_metric(summary)
    order = [name for name in by_rank(summary) if name in summary.ranks]
    letters = summary.letters or compact_letters(
        order,
        [frozenset((p.a, p.b)) for p in summary.pairs if p.metric == metric.name and p.verdict != NO_DIFFERENCE],
    )
    shared = len(set("".join(letters.values()))) < sum(map(len, letters.values()))
    found: dict[str, str] = {}
    position, before = 0, None
    for number, name in enumerate(order, 1):
        estimate = summary.backends[name].metrics.get(metric.name)
        this = (None if estimate is None else estimate.value, letters.get(name))
        position = position if this == before else number
        before = this
        found[name] = f"{position} {letters.get(name, '')}".rstrip() if shared else str(position)
    return found


def find_pair(summary: Summary, a: str, b: str, metric: str) -> tuple[PairResult, int] | None:
    """The paired test of two backends whichever way round it was written, and +1 or -1 to turn it to a - b."""
    for pair in summary.pairs:
        if pair.metric == metric and (pair.a, pair.b) in ((a, b), (b, a)):
            return pair, 1 if pair.a == a else -1
    return None


def stored_verdict(summary: Summary) -> ReplacementVerdict | None:
    """The verdict; None with fewer than two backends.

    Without a stored one the candidate is the best backend with an adapter, else the best of all, and the incumbent the
    best of another model; the bound is one end of the pair's 95 % interval, so it holds at 97.5 %.
    """
    if summary.verdict is not None:
        return summary.verdict
    order = by_rank(summary)
    if len(order) < 2:
        return None
    candidate = next((n for n in order if summary.backends[n].adapter is not None), order[0])
    rest = [n for n in order if n != candidate]
    model = summary.backends[candidate].model
    incumbent = next((n for n in rest if summary.backends[n].model != model), rest[0])
    return _of_pair(summary, candidate, incumbent)


def _of_pair(summary: Summary, candidate: str, incumbent: str) -> ReplacementVerdict:
    metric = headline_metric(summary)
    margin, source = default_margin(metric)
    found = find_pair(summary, candidate, incumbent, metric.name)
    verdict = ReplacementVerdict(
        incumbent=incumbent,
        candidate=candidate,
        metric=metric.name,
        outcome="no bound",
        margin=margin,
        margin_source=source,
        remarks=("no row was answered by both.",) if found is None else (),
    )
    if found is None or found[0].difference.value is None:
        return verdict
    from harness.summary.detectable_difference import (
        detectable_of_pair,  # loads scipy, and few summaries lack a verdict
    )

    pair, sign = found
    loss = _loss(pair.difference, -sign if metric.direction == "higher" else sign)
    return ReplacementVerdict(
        incumbent=incumbent,
        candidate=candidate,
        metric=metric.name,
        outcome=_outcome(loss, margin),
        loss=loss,
        level=LEVEL,
        rows=pair.rows,
        margin=margin,
        margin_source=source,
        detectable=detectable_of_pair(pair),
        discordant=None if pair.only_a is None or pair.only_b is None else pair.only_a + pair.only_b,
    )


def _loss(difference: Estimate, sign: int) -> Estimate:
    low, high = difference.low, difference.high
    if low is not None and high is not None:
        low, high = sorted((sign * low + 0.0, sign * high + 0.0))
    value = None if difference.value is None else sign * difference.value + 0.0
    return Estimate(value=value, low=low, high=high, method=difference.method, n=difference.n)


def _outcome(loss: Estimate, margin: float | None) -> VerdictOutcome:
    if loss.low is None or loss.high is None:
        return "no bound"
    if margin is None:
        return "worse" if loss.low > 0 else "no margin"
    found = noninferiority_verdict(-loss.high, -loss.low, margin, 1.0)
    if found == "inconclusive":
        return "worse" if loss.low > 0 else "not shown"
    return "within margin" if found == "pass" else "beyond margin"
