"""Cost limits are kept by a bound of the mean, never by the figure of these rows."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from harness.records import BackendIdentity, Completion, Cost
from harness.statistics.mean_intervals import FEWEST, skewed_mean_interval
from tests.gate.building import finished, judged, make_run, only, right_but


def priced(scale: float, seed: int, spread: float = 0.5) -> Any:
    """Costs that differ from row to row, `scale` USD for 1,000 answers on average."""
    costs = np.random.default_rng(seed).lognormal(0, spread, 5_000)

    def price(name: str, k: int, done: Completion) -> Completion:
        each = float(costs[k] / costs[:400].mean()) * scale / 1000 * (1 if name == "a" else 2)
        return msgspec.structs.replace(done, cost=Cost(list=each, incurred=0.0))

    return price


def gated(folder: Path, terms: dict[str, float], rows: int = 400, scale: float = 1.0) -> Any:
    answers = {"a": right_but(3), "b": right_but(5)}
    run = finished(make_run(folder, answers, rows, completion=priced(scale, 1)))
    return only(judged(folder, run, candidate="a", reference="b", table={"cost_per_1000": terms}), "cost_per_1000")


@pytest.mark.parametrize(
    ("limit", "verdict"), [(1.2, "pass"), (1.01, "inconclusive"), (0.99, "inconclusive"), (0.8, "fail")]
)
def test_a_limit_is_kept_by_the_upper_bound(tmp_path: Path, limit: float, verdict: str) -> None:
    check = gated(tmp_path / "r", {"at_most": limit})
    assert check.candidate == pytest.approx(1.0)
    assert check.low < 1 < check.high and check.verdict == verdict


def test_a_ratio_on_the_same_rows_is_sharper_than_either_cost(tmp_path: Path) -> None:
    check = gated(tmp_path / "r", {"ratio": 0.501})
    assert check.difference == pytest.approx(0.5)
    assert check.verdict == "pass" and check.high == pytest.approx(0.5, abs=1e-6)


def test_few_rows_have_no_bound_and_a_flat_price_needs_none(tmp_path: Path) -> None:
    few = gated(tmp_path / "few", {"at_most": 50.0}, rows=FEWEST - 1)
    assert few.verdict == "inconclusive" and f"it takes {FEWEST} rows" in few.sentence
    run = finished(make_run(tmp_path / "flat", {"a": right_but(3), "b": right_but(5)}, 120))
    flat = only(
        judged(tmp_path, run, candidate="a", reference="b", table={"cost_per_1000": {"at_most": 1.0}}), "cost_per_1000"
    )
    assert (flat.verdict, flat.low, flat.high) == ("pass", pytest.approx(1.0), pytest.approx(1.0))


def test_hours_of_one_run_have_no_bound(tmp_path: Path) -> None:
    rented = {"a": BackendIdentity(kind="local", model="m", decode="generate", device_hour_usd=0.6)}
    run = finished(make_run(tmp_path / "r", {"a": right_but(3), "b": right_but(5)}, 60, identities=rented))
    check = only(
        judged(tmp_path, run, candidate="a", reference="b", table={"cost_per_1000": {"at_most": 9.0}}), "cost_per_1000"
    )
    assert check.verdict == "inconclusive" and "hours of 5 runs are needed (--latency-run)" in check.sentence


@pytest.mark.parametrize("n", [100, 300])
@pytest.mark.parametrize(
    ("name", "mean"), [("normal", 1.0), ("gamma", 2.0), ("lognormal", float(np.exp(0.125))), ("exponential", 1.0)]
)
def test_a_mean_at_the_limit_passes_in_one_of_twenty(name: str, mean: float, n: int) -> None:
    """Student's t lets 9 % of exponential costs pass at n = 50, 7 % at n = 200."""
    rng = np.random.default_rng(11)
    draw = {
        "normal": lambda: rng.normal(1, 0.3, n),
        "gamma": lambda: rng.gamma(2, size=n),
        "lognormal": lambda: rng.lognormal(0, 0.5, n),
        "exponential": lambda: rng.exponential(size=n),
    }[name]
    passes = sum(skewed_mean_interval(draw())[1] <= mean for _ in range(2_000))
    assert passes / 2_000 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2_000)


def test_groups_stand_or_fall_together() -> None:
    values = np.repeat(np.random.default_rng(2).gamma(2, size=120), 10)
    low, high = skewed_mean_interval(values, np.repeat(np.arange(120), 10))
    assert (low, high) == pytest.approx(skewed_mean_interval(values[::10]), rel=1e-9)
    alone = skewed_mean_interval(values)
    assert high - low > 2.5 * (alone[1] - alone[0])
