"""Break-even, utilisation and the Pareto frontier are plain arithmetic, and unknown stays unknown."""

import pytest

from harness.money.break_even import CostQualityPoint, at_utilisation, break_even, pareto, total_cost


def test_training_pays_back_where_both_ways_cost_the_same() -> None:
    volume = break_even(12.0, 0.01, 0.40)
    assert volume is not None
    assert volume == pytest.approx(30_769.23, abs=0.01)
    assert total_cost(12.0, 0.01, volume) == pytest.approx(total_cost(None, 0.40, volume))


@pytest.mark.parametrize("prices", [(None, 0.1, 0.2), (1.0, None, 0.2), (1.0, 0.1, None)])
def test_an_unknown_price_gives_no_break_even(prices: tuple[float | None, float | None, float | None]) -> None:
    assert break_even(*prices) is None


def test_a_dearer_answer_never_pays_training_back() -> None:
    assert break_even(1.0, 0.4, 0.4) is None
    assert break_even(1.0, 0.5, 0.4) is None


def test_a_device_that_idles_half_its_hours_doubles_the_price_of_an_answer() -> None:
    assert at_utilisation(0.01, 0.5) == pytest.approx(0.02)
    assert at_utilisation(None, 0.5) is None
    with pytest.raises(ValueError, match="share"):
        at_utilisation(0.01, 0.0)


def test_the_frontier_holds_exactly_those_that_nobody_dominates() -> None:
    places = {
        "cheap": CostQualityPoint(0.01, 0.80),
        "good": CostQualityPoint(0.40, 0.95),
        "dearer-and-worse": CostQualityPoint(0.50, 0.90),
        "as-dear-but-worse": CostQualityPoint(0.40, 0.94),
        "twin-of-good": CostQualityPoint(0.40, 0.95),
    }
    assert pareto(places) == ["cheap", "good", "twin-of-good"]
    assert pareto({}) == []
