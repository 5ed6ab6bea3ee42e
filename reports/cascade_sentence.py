"""A cascade in words: what it keeps, costs and is certified to lose."""

from harness.confidence_results import CascadePoint, CascadeResult
from harness.metrics import Metric, title
from harness.text_format import agreeing, is_share, listing, money, number, plural
from harness.text_sanitize import visible_line


def confidence_text(threshold: float | None) -> str:
    """A threshold of confidence with three decimals; one that keeps nothing is a dash."""
    return "-" if threshold is None else f"{threshold:.3f}"


def share_text(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def cascade_sentence(result: CascadeResult, metric: Metric) -> str:
    """What the certified cascade does, keeps and costs; or that none is certified."""
    names = [visible_line(stage.name) for stage in result.stages]
    if result.chosen is None:
        return f"No cascade of {listing(names)} is certified {_aim(result, metric)}."
    point = result.chosen
    sure = " and ".join(
        f"{name} where its confidence is at least {confidence_text(t)}"
        for name, t in zip(names, point.thresholds, strict=False)
    )
    said = f"{sure}, {names[-1]} elsewhere: certified {_aim(result, metric)} ({100 * result.level:.3g} %)."
    said += f" {names[0]} keeps {share_text(point.shares[0])} of the answers"
    value = f"{number(point.value, metric)}{' %' if is_share(metric) else ''}"
    said += f"; {title(metric.name)} {value}"
    return f"{said}{_cost(result, point)}."


def _aim(result: CascadeResult, metric: Metric) -> str:
    if result.aim == "cost":
        return f"to cost {money(result.limit)} per 1,000 answers at most"
    points = round(100 * result.limit, 6)
    loss = f"{points:g} {agreeing(points, 'point')}" if is_share(metric) else f"{result.limit:g} {metric.unit}".rstrip()
    return f"to lose {loss} at most to {visible_line(result.reference)}"


def _cost(result: CascadeResult, point: CascadePoint) -> str:
    if point.cost_per_1000 is None:
        return "; its cost is unknown"
    alone = next((s.cost_per_1000 for s in result.stages if s.name == result.reference), None)
    against = "" if alone is None else f" against {money(alone)}"
    return f"; {money(point.cost_per_1000)} per 1,000 answers{against}"


def cascade_details(result: CascadeResult, metric: Metric) -> list[str]:
    """The measured loss, what is saved in a month, and which rows go beyond the first stage."""
    found = []
    loss = result.loss
    if loss.value is not None and loss.low is not None and loss.high is not None:
        low, value, high = (number(v, metric) for v in (loss.low, loss.value, loss.high))
        what = "points" if is_share(metric) else metric.unit
        found.append(
            f"Measured loss to {visible_line(result.reference)}: {value} [{low}, {high}] {what}".rstrip()
            + f" on the {plural(loss.n, 'row')} that did not choose the threshold ({loss.method})."
        )
    if result.saved_usd_month is not None and result.volume is not None:
        verb = "saves" if result.saved_usd_month >= 0 else "costs more by"
        found.append(f"At {result.volume:,} requests a month it {verb} {money(abs(result.saved_usd_month))} a month.")
    if any(result.up_by_label.values()):
        most = sorted(result.up_by_label.items(), key=lambda item: -item[1])[:4]
        said = ", ".join(f"{visible_line(name, 40)} {share_text(share)}" for name, share in most)
        found.append(f"Rows that go up, by reference label: {said}.")
    return found
