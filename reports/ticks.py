"""Where an axis is labelled: round numbers within its ends, linear or logarithmic, and their texts."""

import math
from collections.abc import Iterable

from harness.reports.plot import Axis, Band, Bars, Columns, Curve, Mark, Rule, Shades

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
FEW_DECADES = 300
"""Up to this ratio of its ends a logarithmic axis is labelled at 1, 2 and 5 times the powers of ten."""
MOST_DECADES = 9


def ends(axis: Axis, marks: Iterable[Mark], upright: bool) -> tuple[float, float]:
    """The lower (left) and the upper end of an axis; both positive where it is logarithmic.

    upright: whether it is the y axis.
    """
    values: list[float] = []
    fixed: list[float] = []
    for mark in marks:
        found, base = _extent(mark, upright)
        values += found
        fixed += base
    values = [v for v in values if math.isfinite(v) and (v > 0 or not axis.log)]
    low, high = (min(values), max(values)) if values else (1.0, 10.0) if axis.log else (0.0, 1.0)
    if low == high:
        low, high = (
            (low / 1.5, high * 1.5) if axis.log else (low - 0.05 * (abs(low) or 1), high + 0.05 * (abs(low) or 1))
        )
    if axis.log:
        by = (high / low) ** axis.margin
        low, high = low / by, high * by
    else:
        by = axis.margin * (high - low)
        low, high = (end if end in fixed else end + side for end, side in ((low, -by), (high, by)))
    return (low if axis.low is None else axis.low, high if axis.high is None else axis.high)


def _extent(mark: Mark, upright: bool) -> tuple[list[float], list[float]]:
    """Values of a mark along an axis, and those that end the axis without a margin: where bars stand."""
    match mark:
        case Curve():
            return list(mark.ys if upright else mark.xs), []
        case Band():
            return [*mark.lows, *mark.highs] if upright else list(mark.xs), []
        case Bars():
            rights = [a + b for a, b in zip(mark.lefts, mark.widths, strict=True)]
            return ([y + d for y in mark.ys for d in (-0.3, 0.3)], []) if upright else ([*mark.lefts, *rights], [0.0])
        case Columns():
            return ([0.0, *mark.heights], [0.0]) if upright else (list(mark.edges), [])
        case Rule():
            return ([] if upright else [mark.x]), []
        case Shades():
            high = len(mark.shares) if upright else len(mark.shares[0])
            return [-0.5, high - 0.5], [-0.5, high - 0.5]
        case _:
            return [], []


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of a round step within the ends, at most about so many."""
    low, high = sorted((low, high))
    raw = (high - low) / max(most, 1)
    if raw <= 0 or not math.isfinite(raw):
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in STEPS if s * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12 - math.floor(math.log10(step))) for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within the ends, with their doubles and quintuples where the ends are few decades apart."""
    low, high = sorted((low, high))
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    times = (1, 2, 5) if high / low < FEW_DECADES else (1,)
    stride = max(1, math.ceil((last - first) / MOST_DECADES))
    found = [m * 10.0**d for d in range(first, last + 1, stride) for m in times]
    found = [t for t in found if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]
    return found if len(found) > 1 else linear_ticks(low, high, 4)


def plain(values: list[float]) -> list[str]:
    """Numbers with as many decimals as tell them apart."""
    largest = max(map(abs, values), default=0.0)
    texts: list[str] = []
    for decimals in range(13):
        texts = [f"{v:.{decimals}f}" for v in values]
        if all(math.isclose(float(t), v, abs_tol=1e-9 * largest) for t, v in zip(texts, values, strict=True)):
            break
    return [t.replace("-", "\N{MINUS SIGN}") if float(t) else t.lstrip("-") for t in texts]
