"""Cells of the grid: a scenario whose truth is known, measured so many times."""

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np

from harness.gating.gate_settings import Terms
from harness.metrics import Metric

from .product import Drawn, Interval, difference, estimate, remembered, use_draws, verdict

Quantity = Literal["false pass", "coverage", "power"]

ALPHA = 0.05
"""The share of false passes that the gate promises not to exceed."""

COVERAGE = 0.94
"""The least coverage of an interval that is displayed as one of 95 %."""


ENDINGS = (", figure of equals", ", difference of equals", ", figure at the margin", ", difference at the margin")
"""What follows the name of a figure where coverage is that of its own value or of its difference."""

LEAST_RUNS = 60
"""Of a cell, however costly."""


@dataclass(frozen=True)
class Label:
    """Where a cell stands. what: the figure that is meant; shape: of the data; size: how much of it ("n 200")."""

    part: str
    what: str
    shape: str
    size: str


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A measured share. runs: simulations that count (for coverage: those in which an interval was displayed);
    displayed: their share in all simulations. For the other fields see `Label`."""

    part: str
    what: str
    shape: str
    size: str
    quantity: Quantity
    runs: int
    share: float
    displayed: float = 1.0

    @classmethod
    def of(cls, label: Label, quantity: Quantity, runs: int, share: float, displayed: float = 1.0) -> "Cell":
        """The measurement that belongs to a label."""
        return cls(
            part=label.part,
            what=label.what,
            shape=label.shape,
            size=label.size,
            quantity=quantity,
            runs=runs,
            share=share,
            displayed=displayed,
        )

    @property
    def error(self) -> float:
        """The Monte-Carlo standard error at the share that is promised."""
        promised = {"false pass": ALPHA, "coverage": COVERAGE, "power": 0.5}[self.quantity]
        return math.sqrt(promised * (1 - promised) / self.runs) if self.runs else math.inf

    @property
    def kept(self) -> bool:
        """Whether the promise is kept to within three Monte-Carlo errors; power promises nothing."""
        if self.quantity == "false pass":
            return self.share <= ALPHA + 3 * self.error
        return self.quantity == "power" or self.runs == 0 or self.share >= COVERAGE - 3 * self.error


@dataclass(frozen=True)
class Scenario:
    """Data whose truth is known.

    draw: (generator, true loss) -> one evaluation. margin: of the gate. figure: true value of the candidate's own
    figure at a true loss, None where its coverage is not measured here. cost: relative time of one run, by which
    the number of runs is divided. most_draws: of a bootstrap, where a draw is costly.
    """

    label: Label
    metric: Metric
    margin: float
    draw: Callable[[np.random.Generator, float], Drawn]
    figure: Callable[[float], float] | None = None
    cost: float = 1.0
    most_draws: int = 1000
    quantities: tuple[Quantity, ...] = ("false pass", "power", "coverage")


def seed_of(label: Label, quantity: Quantity) -> list[int]:
    """A seed that depends on names only."""
    return [zlib.crc32(word.encode()) for word in (label.part, label.what, label.shape, label.size, quantity)]


def share_of(label: Label, quantity: Quantity, runs: int, once: Callable[[np.random.Generator], bool]) -> Cell:
    """The share of runs in which `once` is true."""
    rng = np.random.default_rng(seed_of(label, quantity))
    return Cell.of(label, quantity, runs, sum(once(rng) for _ in range(runs)) / runs)


def coverage_of(label: Label, runs: int, once: Callable[[np.random.Generator], tuple[Interval | None, float]]) -> Cell:
    """How often the displayed interval contains the truth; `once` gives both."""
    rng = np.random.default_rng(seed_of(label, "coverage"))
    shown = covered = 0
    for _ in range(runs):
        interval, truth = once(rng)
        if interval is not None:
            shown += 1
            covered += covers(interval, truth)
    return Cell.of(label, "coverage", shown, covered / shown if shown else 0.0, shown / runs)


def covers(interval: Interval, truth: float) -> bool:
    """Whether the truth lies in an interval, its ends included."""
    return interval[0] - 1e-9 <= truth <= interval[1] + 1e-9


def measure(scenario: Scenario, runs: int, draws: int) -> Iterator[Cell]:
    """All cells of a scenario: false passes at the margin, passes of an equal candidate, coverage of the difference at
    both and of the candidate's own figure."""
    s = scenario
    runs, draws = max(LEAST_RUNS, round(runs / s.cost)), min(draws, s.most_draws)
    use_draws(draws)
    terms = Terms(margin=s.margin)
    passes = remembered(lambda drawn: verdict(s.metric, terms, drawn) == "pass")
    gain = remembered(lambda drawn: difference(s.metric, drawn, draws))
    own = remembered(lambda drawn: estimate(s.metric, drawn, draws))
    if "false pass" in s.quantities:
        yield share_of(s.label, "false pass", runs, lambda rng: passes(s.draw(rng, s.margin)))
    if "power" in s.quantities:
        yield share_of(s.label, "power", runs, lambda rng: passes(s.draw(rng, 0.0)))
    if "coverage" not in s.quantities:
        return
    for loss, ending in ((0.0, ENDINGS[1]), (s.margin, ENDINGS[3])):
        if loss or "power" in s.quantities:
            label = replace(s.label, what=s.label.what + ending)
            yield coverage_of(label, runs, lambda rng, loss=loss: (gain(s.draw(rng, loss)), -loss))  # type: ignore[misc]
    if s.figure is not None:
        truth = s.figure(s.margin)
        label = replace(s.label, what=s.label.what + ENDINGS[2])
        yield coverage_of(label, runs, lambda rng: (own(s.draw(rng, s.margin)), truth))
