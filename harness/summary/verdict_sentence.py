"""The verdict in words: the bound first, then what it rests on. Every output takes its sentence from here.

Bounds are rounded away from what they claim, so that no sentence says more than its figures.
"""

import math

from harness.metrics import Metric, title
from harness.results import ReplacementVerdict
from harness.summary.verdict_settings import DEFAULT_SOURCE

SMALL = 1e-9


def verdict_sentence(verdict: ReplacementVerdict, metric: Metric, label: str = "") -> str:
    """One sentence. label: what the rows must be read with ("embedded sample")."""
    v = verdict
    if v.loss.high is None:
        why = " ".join(v.remarks) or f"{_rows(v, label)} cannot bound the difference in {title(v.metric)}."
        return f"No bound on the loss from {v.incumbent} to {v.candidate}: {why}"
    on = f"({_level(v)}, {_rows(v, label)})"
    if v.outcome == "incomplete":
        return f"{_at_most(v, metric)} {on}; no verdict: {' '.join(v.remarks)}"
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
