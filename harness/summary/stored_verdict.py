"""A stored verdict: what a summary says of two backends, and its sentence."""

import math

from harness.metrics import Estimate, Metric, title
from harness.results import PairResult, ReplacementVerdict, Summary, VerdictOutcome
from harness.statistics.multiple_testing import compact_letters
from harness.statistics.noninferiority import noninferiority_verdict
from harness.summary.verdict_settings import DEFAULT_SOURCE, default_margin

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


SMALL = 1e-9


def verdict_sentence(verdict: ReplacementVerdict, metric: Metric, label: str = "") -> str:
    """One sentence. label: what the rows must be read with ("embedded sample")."""
    v = verdict
    if v.loss.high is None:
        why = _one_sentence(v.remarks) or f"{_rows(v, label)} cannot bound the difference in {title(v.metric)}."
        return f"No bound on the loss from {v.incumbent} to {v.candidate}: {why}"
    on = f"({_level(v)}, {_rows(v, label)})"
    if v.outcome == "incomplete":
        return f"{_at_most(v, metric)} {on}; no verdict: {_one_sentence(v.remarks)}"
    if v.outcome == "beyond margin":
        return f"{_at_least(v, metric)} {on}: beyond the margin of {_margin(v, metric)}."
    if v.outcome == "worse":
        beyond = "" if v.margin is None else f"; a loss within the margin of {_margin(v, metric)} is not shown"
        return f"{_at_most(v, metric)} and shown to be worse {on}{beyond}."
    bound = f"{_at_most(v, metric)} {on}"
    if v.outcome == "unchanged":
        return f"{bound}; not one row differs: is it the same model?"
    if v.outcome == "no margin":
        return f"{bound}; no margin is named for it."
    if v.outcome == "not shown":
        return f"{bound}; at a margin of {_margin(v, metric)} this is not shown yet{_more_rows(v)}."
    least = v.loss.low
    though = f", though shown to be worse (by at least {lower_bound(least, metric)})" if least and least > SMALL else ""
    return f"{bound}: within the margin of {_margin(v, metric)}{though}."


def _one_sentence(remarks: tuple[str, ...]) -> str:
    """Remarks in one sentence; they begin with names, which have no capitals."""
    return "; ".join(remark.removesuffix(".") for remark in remarks) + ("." if remarks else "")


def verdict_details(verdict: ReplacementVerdict, metric: Metric) -> list[str]:
    """The lines below the sentence: what the rows detect, the Bayesian reading, whose the margin is."""
    v = verdict
    found = [line for line in (detects(v.rows, v.detectable, metric), _never_significant(v)) if line]
    if v.posterior is not None and v.margin is not None:
        found.append(
            f"Bayesian reading: P(loss < {_points(v.margin, metric)}) {_probability(v.posterior.probability)} "
            f"({v.posterior.prior}; it decides nothing)."
        )
    if v.margin is not None and v.margin_source == DEFAULT_SOURCE:
        found.append(
            f"The margin of {_points(v.margin, metric)} is {DEFAULT_SOURCE}: name yours in [verdict] of bench.toml."
        )
    return found


def detects(rows: int, difference: float | None, metric: Metric) -> str:
    """ "500 rows can detect a difference of 10.6 points or more (80 % power).", or nothing where it is not known."""
    if difference is None or not rows:
        return ""
    size = _points(difference, metric, exact=False)
    return f"{_plural(rows, 'row')} can detect a difference of {size} or more (80 % power)."


def _never_significant(v: ReplacementVerdict) -> str:
    """That so few differing rows can never be significant, whatever they say."""
    if not v.discordant or v.fewest_discordant is None or v.discordant >= v.fewest_discordant:
        return ""
    if v.rows < v.fewest_discordant:
        rows = _plural(v.rows, "row")
        return f"{rows} can never reach 5 % by a two-sided exact test: it takes {v.fewest_discordant} that differ."
    return (
        f"The two differ on {v.discordant} of {_plural(v.rows, 'row')}: no two-sided exact test reaches 5 % with "
        f"fewer than {v.fewest_discordant}."
    )


def _at_most(v: ReplacementVerdict, metric: Metric) -> str:
    """ "llama-ft is at most 3.1 points less accurate than gpt4"; from the other side where even that is a gain."""
    most = v.loss.high
    assert most is not None
    if most < -SMALL:
        return _compared(v, f"at least {lower_bound(-most, metric)}", better=True)
    return _compared(v, f"at most {upper_bound(most, metric)}", better=False)


def _at_least(v: ReplacementVerdict, metric: Metric) -> str:
    return _compared(v, f"at least {lower_bound(v.loss.low or 0.0, metric)}", better=False)


def _compared(v: ReplacementVerdict, amount: str, *, better: bool) -> str:
    if v.metric == "accuracy":
        return f"{v.candidate} is {amount} {'more' if better else 'less'} accurate than {v.incumbent}"
    return f"{v.candidate} is {amount} {'better' if better else 'worse'} than {v.incumbent} in {title(v.metric)}"


def _level(v: ReplacementVerdict) -> str:
    level = 1 - (1 - v.level) * v.candidates
    best = f" for the best of {v.candidates}" if v.candidates > 1 else ""
    return f"{100 * level:.3g} %{best}{' wherever asking stops' if v.sequential else ''}"


def _rows(v: ReplacementVerdict, label: str) -> str:
    of = f" of the {label}" if label else ""
    return f"{_plural(v.rows, 'row')}{of}{f' {v.basis}' if v.basis else ''}"


def _more_rows(v: ReplacementVerdict) -> str:
    if v.needed_rows is None:
        return ""
    shows = " would probably show that it is worse" if v.needed_for == "worse" else ""
    more = v.needed_rows - v.rows
    if more <= 0:
        return f": a few more rows{shows or ' would probably show it'}"
    return f": about {_two_digits(more):,} more {'row' if more == 1 else 'rows'}{shows}"


def _two_digits(count: int) -> int:
    """Rounded up: a forecast is no more precise than two significant digits."""
    step: int = 10 ** max(0, len(str(count)) - 2)
    return -(-count // step) * step


def _margin(v: ReplacementVerdict, metric: Metric) -> str:
    assert v.margin is not None
    return f"{100 * v.margin:.4g}" if metric.in_points else f"{v.margin:.4g}"


def _points(value: float, metric: Metric, *, exact: bool = True) -> str:
    """A margin as it was named ("2 points"), or a difference to one decimal."""
    if not metric.in_points:
        return f"{value:.3g} {metric.unit}".rstrip()
    text = f"{100 * value:.4g}" if exact else f"{100 * value:.1f}"
    return f"{text} point{'' if text == '1' else 's'}"


def upper_bound(value: float, metric: Metric) -> str:
    """An upper bound, rounded up."""
    scaled, decimals, unit = _scaled(value, metric)
    step = 10.0**decimals
    return f"{math.ceil(scaled * step - SMALL) / step:.{max(decimals, 0)}f}{unit}"


def lower_bound(value: float, metric: Metric) -> str:
    """A lower bound, rounded down."""
    scaled, decimals, unit = _scaled(value, metric)
    step = 10.0**decimals
    return f"{math.floor(scaled * step + SMALL) / step:.{max(decimals, 0)}f}{unit}"


def _scaled(value: float, metric: Metric) -> tuple[float, int, str]:
    """The number to print, its decimals, its unit: one decimal of points (two below 0.1), else three digits."""
    if metric.in_points:
        return 100 * value, 1 if value >= 0.001 or value < SMALL else 2, " points"
    unit = f" {metric.unit}" if metric.unit else ""
    return value, 2 - math.floor(math.log10(value)) if value > SMALL else 0, unit


def _probability(value: float) -> str:
    """Two decimals; never 0 or 1, which no number of rows makes true."""
    return "> 0.99" if value > 0.99 else "< 0.01" if value < 0.01 else f"= {value:.2f}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
