"""Right or wrong, row by row: accuracy, format errors, limits and repeats."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.special import gammaln, xlogy
from scipy.stats import binom

from harness.gating.gate_settings import Terms
from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, Metric

from .measure import ENDINGS, Cell, Label, Quantity, Scenario, covers, measure, share_of
from .product import Drawn, by_rows, difference, estimate, remembered, verdict

SIZES = (30, 50, 100, 200, 500, 1000)
SUMMED = 200
"""Up to so many rows, coverage of a difference is summed over all outcomes: no simulation error."""

SHARES = (0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98)


def _table(metric: Metric, counts: list[int]) -> Drawn:
    """Rows that both have right, only the reference, only the candidate, none of them."""
    good = 1.0 if metric.direction == "higher" else 0.0
    reference = np.repeat([good, good, 1 - good, 1 - good], counts)
    candidate = np.repeat([good, 1 - good, good, 1 - good], counts)
    drawn = by_rows(metric, candidate, reference)
    return Drawn(drawn.rows, drawn.candidate, drawn.reference, key=tuple(counts))


def pair(part: str, metric: Metric, n: int, right: float, discordance: float, margin: float) -> Scenario:
    def draw(rng: np.random.Generator, loss: float) -> Drawn:
        return _table(metric, rng.multinomial(n, _chances(right, discordance, loss)).tolist())

    shape = f"one right on {100 * discordance:g} % of rows, margin {100 * margin:g}"
    kept: tuple[Quantity, ...] = ("false pass", "power") if n <= SUMMED else ("false pass", "power", "coverage")
    return Scenario(Label(part, metric.name, shape, f"n {n}"), metric, margin, draw, quantities=kept)


def _chances(right: float, discordance: float, loss: float) -> list[float]:
    """Of rows that both have right, only the reference, only the candidate, none of them."""
    lost, won = (discordance + loss) / 2, (discordance - loss) / 2
    return [right - lost, lost, won, 1 - right - won]


def measured(scenario: Scenario, n: int, right: float, discordance: float, runs: int, draws: int) -> Iterator[Cell]:
    """A scenario whose coverage is summed over all outcomes of up to SUMMED rows."""
    yield from measure(scenario, runs, draws)
    if n > SUMMED:
        return
    for loss, ending in ((0.0, ENDINGS[1]), (scenario.margin, ENDINGS[3])):
        _, lost, won, _ = _chances(right, discordance, loss)
        covered = shown = 0.0
        for only_reference, only_candidate, chance in _likely(n, lost, won):
            counts = [n - only_reference - only_candidate, only_reference, only_candidate, 0]
            interval = difference(scenario.metric, _table(scenario.metric, counts), draws)
            if interval is not None:
                shown += chance
                covered += chance * covers(interval, -loss)
        label = replace(scenario.label, what=scenario.label.what + ending)
        yield Cell.of(label, "coverage", runs, covered / shown, shown)


def _likely(n: int, lost: float, won: float) -> Iterator[tuple[int, int, float]]:
    """Numbers of rows that only the reference, only the candidate has right, with their probability (above 1e-7)."""
    b, c = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    rest = n - b - c
    logs = gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(np.maximum(rest, 0) + 1)
    logs += xlogy(b, lost) + xlogy(c, won) + xlogy(rest, 1 - lost - won)
    chances = np.where(rest >= 0, np.exp(logs), 0.0)
    for only_reference, only_candidate in np.argwhere(chances > 1e-7).tolist():
        yield only_reference, only_candidate, float(chances[only_reference, only_candidate])


def accuracy(runs: int, draws: int) -> Iterator[Cell]:
    """Paired accuracy, and single rates over the whole range."""
    for n in SIZES:
        for discordance in (0.03, 0.06, 0.1, 0.2):
            scenario = pair("accuracy", ACCURACY, n, 0.85, discordance, 0.02)
            yield from measured(scenario, n, 0.85, discordance, runs, draws)
        for share in SHARES:
            yield _single(ACCURACY, n, share, runs, draws)


def format_errors(runs: int, draws: int) -> Iterator[Cell]:
    """Format errors against a reference that hardly makes any, and against limits."""
    for n in (*SIZES, 2000):
        scenario = pair("format_errors", FORMAT_ERROR_RATE, n, 0.98, 0.02, 0.01)
        yield from measured(scenario, n, 0.98, 0.02, runs, draws)
        for limit in (0.02, 0.1):
            yield _limit(FORMAT_ERROR_RATE, Terms(at_most=limit), n, limit, runs)
        yield _limit(ACCURACY, Terms(at_least=0.9), n, 0.9, runs)


def _single(metric: Metric, n: int, share: float, runs: int, draws: int) -> Cell:
    """Coverage summed over all outcomes of a binomial draw instead of simulated; `runs` only sets the bound."""
    covered = 0.0
    for right, chance in enumerate(binom.pmf(np.arange(n + 1), n, share)):
        if chance > 1e-9:
            interval = estimate(metric, _table(metric, [right, 0, 0, n - right]), draws)
            covered += chance * (interval is None or covers(interval, share))
    label = Label("accuracy", metric.name, f"true share {100 * share:g} %, summed exactly", f"n {n}")
    return Cell.of(label, "coverage", runs, float(covered))


def _limit(metric: Metric, terms: Terms, n: int, limit: float, runs: int) -> Cell:
    """A candidate exactly at its limit."""
    passes = remembered(lambda drawn: verdict(metric, terms, drawn) == "pass")
    good = limit if metric.direction == "higher" else 1 - limit

    def once(rng: np.random.Generator) -> bool:
        right = int(rng.binomial(n, good))
        return bool(passes(_table(metric, [right, 0, 0, n - right])))

    label = Label("format_errors", metric.name, f"limit {100 * limit:g} %", f"n {n}")
    return share_of(label, "false pass", runs, once)


def repeats(runs: int, draws: int) -> Iterator[Cell]:
    """Five answers a row, each row with its own difficulty: nearly always alike, or far from it."""
    for n in (30, 100, 300, 1000):
        for spread, words in ((0.15, "answers of a row nearly alike"), (2.0, "answers of a row vary")):
            yield from measure(repeated(n, 5, spread, words), max(runs // 2, 60), draws)


def repeated(n: int, times: int, spread: float, words: str) -> Scenario:
    right, margin = 0.8, 0.05

    def draw(rng: np.random.Generator, loss: float) -> Drawn:
        p = rng.beta(right * spread, (1 - right) * spread, n)
        values = []
        for share in (p * (1 - loss / right), p):
            again = rng.random(n) < 0.5  # half of the rows are answered by chance of their own
            own = np.where(again, rng.beta(right * spread, (1 - right) * spread, n) * (share / p), share)
            values.append(rng.binomial(times, own) / times)
        return by_rows(ACCURACY, values[0], values[1], repeats=times)

    label = Label("repeats", ACCURACY.name, f"{times} repeats, {words}, margin {100 * margin:g}", f"n {n}")
    return Scenario(label, ACCURACY, margin, draw, lambda loss: right - loss)
