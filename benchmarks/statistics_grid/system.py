"""Latency against a ratio, and cost against a limit."""

from collections.abc import Iterator

import numpy as np

from harness.gating.cost_and_latency import cost_checks, latency_checks
from harness.gating.gate_settings import GateSettings, Terms
from harness.results import Latency

from .measure import Cell, Label, Quantity, share_of
from .product import costly, decide

RATIO = 1.2


def latency_and_cost(runs: int, draws: int) -> Iterator[Cell]:
    """Quotients of alternating runs at the limit, and equal ones; costs at their limit, and a fifth below it."""
    del draws
    for count in (5, 8, 15):
        for tails in ("log-normal", "heavy-tailed"):
            for true in (RATIO, 1.0):
                yield _latency(count, tails, true, runs)
    for n in (30, 200, 1000):
        for kind in ("absolute", "ratio"):
            for share in (1.0, 0.8):
                yield _cost(n, kind, share, runs)
    for n in (200, 1000):
        yield _rare_cost(n, runs)


def _latency(count: int, tails: str, true: float, runs: int) -> Cell:
    settings = GateSettings(terms={"latency_p50": Terms(ratio=RATIO)})

    def once(rng: np.random.Generator) -> bool:
        noise = rng.normal(0, 0.05, count) if tails == "log-normal" else 0.03 * rng.standard_t(3, count)
        machine = np.exp(rng.normal(0, 0.2, count))
        probes: list[tuple[Latency | None, Latency | None]] = [
            (_probe(float(m * true * np.exp(e))), _probe(float(m))) for m, e in zip(machine, noise, strict=True)
        ]
        return decide(latency_checks("a", settings, probes, True)) == "pass"

    quantity: Quantity = "false pass" if true == RATIO else "power"
    label = Label("latency_and_cost", "latency_p50", f"{tails} differences, ratio {RATIO:g}", f"{count} runs")
    return share_of(label, quantity, runs, once)


def _rare_cost(n: int, runs: int) -> Cell:
    """One row in fifty costs twenty times as much as the others."""
    limit, dear, often = 0.002, 20.0, 0.02

    def once(rng: np.random.Generator) -> bool:
        mine, theirs = (np.exp(rng.normal(0, 0.4, n) - 0.08) for _ in range(2))
        mine *= np.where(rng.random(n) < often, dear, 1.0) * limit / (1 + often * (dear - 1))
        return decide(cost_checks(costly(mine, theirs * limit), Terms(at_most=1000 * limit))) == "pass"

    label = Label("latency_and_cost", "cost_per_1000", "one row in 50 costs 20 times as much", f"n {n}")
    return share_of(label, "false pass", runs, once)


def _probe(seconds: float) -> Latency:
    return Latency(rows=20, p50_s=seconds, p95_s=2 * seconds, mean_s=seconds)


def _cost(n: int, kind: str, share: float, runs: int) -> Cell:
    """Costs of rows are log-normal; those of the two sides go together. share: true cost over the limit."""
    limit, spread = 0.002, 0.6
    terms = Terms(at_most=1000 * limit) if kind == "absolute" else Terms(ratio=RATIO)

    def once(rng: np.random.Generator) -> bool:
        length = rng.normal(0, spread, n)
        mine, theirs = (np.exp(length + rng.normal(0, 0.3, n) - (spread**2 + 0.3**2) / 2) for _ in range(2))
        mine *= share * limit
        theirs *= limit / RATIO
        return decide(cost_checks(costly(mine, theirs), terms)) == "pass"

    quantity: Quantity = "false pass" if share == 1 else "power"
    label = Label("latency_and_cost", "cost_per_1000", f"{kind} limit", f"n {n}")
    return share_of(label, quantity, runs, once)
