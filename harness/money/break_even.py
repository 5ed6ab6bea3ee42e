"""What the figures of a summary cost and buy: plain arithmetic on costs and qualities, no statistics.

All money is USD; None stands for an unknown price and stays unknown through every formula.
"""

from collections.abc import Mapping
from typing import NamedTuple


class CostQualityPoint(NamedTuple):
    """A candidate on the plane of price (smaller is better) and worth (larger is better)."""

    price: float
    worth: float


def break_even(training: float | None, own_per_1000: float | None, other_per_1000: float | None) -> float | None:
    """Requests after which a trained model has paid for its training against a dearer one.

    Cost-volume-profit analysis: fixed cost / (price - variable cost per unit). None where a price is unknown,
    or where an answer of one's own costs as much as the other's or more (then training never pays).
    """
    if training is None or own_per_1000 is None or other_per_1000 is None or own_per_1000 >= other_per_1000:
        return None
    return 1000 * training / (other_per_1000 - own_per_1000)


def total_cost(training: float | None, per_1000: float | None, requests: float) -> float | None:
    """What `requests` answers cost, training included; a model that needed none has training None or 0."""
    return None if per_1000 is None else (training or 0.0) + per_1000 * requests / 1000


def at_utilisation(per_1000: float | None, share: float) -> float | None:
    """The price of 1,000 answers of a rented device that works only `share` (0..1] of its paid hours.

    A rented hour is paid whether or not it is used, so an answer costs 1/share of what it costs at full load.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share of the paid hours lies in (0, 1], not {share}")
    return None if per_1000 is None else per_1000 / share


def pareto(places: Mapping[str, CostQualityPoint]) -> list[str]:
    """The candidates that none other dominates, cheapest first.

    One dominates another when it is no dearer and no worse, and better in at least one of the two.
    """

    def dominated(place: CostQualityPoint) -> bool:
        return any(p.price <= place.price and p.worth >= place.worth and p != place for p in places.values())

    return sorted((n for n, p in places.items() if not dominated(p)), key=lambda n: (places[n], n))
