"""The first screen of a report: yes, no or not shown yet, three figures, one chart, and the warnings that matter."""

from collections.abc import Sequence

from harness.metrics import Metric
from harness.money.break_even import break_even
from harness.records import Record
from harness.results import BackendResult, ReplacementVerdict, Summary, VerdictOutcome
from harness.summary.verdict_sentence import lower_bound, upper_bound
from harness.text_format import money, rounded, seconds
from harness.text_sanitize import visible_line

VOLUME = 100_000
"""Requests a month for which savings are shown until the reader names another number."""

MOST_WARNINGS = 4
"""Warnings about the decision that are shown before the fold."""

ANSWERS: dict[VerdictOutcome, tuple[str, str]] = {
    "within margin": ("Yes", "good"),
    "unchanged": ("Yes", "good"),
    "not shown": ("Not shown yet", "even"),
    "worse": ("Not shown yet", "even"),
    "beyond margin": ("No", "bad"),
    "no margin": ("No margin named", "even"),
    "incomplete": ("No verdict", "even"),
    "no bound": ("No verdict", "even"),
}


class CardFigure(Record, frozen=True, kw_only=True):
    """One large figure: what it is, its value, and what it rests on."""

    title: str
    value: str
    note: str = ""


class Savings(Record, frozen=True, kw_only=True):
    """What the candidate saves.

    each: USD saved a request (negative: it costs more). volume: requests a month of the first display. text: the
    savings at that volume.
    """

    each: float
    volume: int
    text: str


class MarginChart(Record, frozen=True, kw_only=True):
    """The paired difference (candidate minus incumbent, positive is better) against the margin.

    Positions are per cent of the width: zero, margin (None: not named), low, high, value; labels are their figures.
    """

    zero: float
    margin: float | None
    low: float
    high: float
    value: float
    label: str
    margin_label: str = ""


class VerdictCard(Record, frozen=True, kw_only=True):
    """Everything above the fold of a report of two backends or more."""

    question: str
    answer: str
    tone: str
    loss: CardFigure
    savings: Savings | None
    cost: CardFigure
    latency: CardFigure
    chart: MarginChart | None


class RankedWarnings(Record, frozen=True, kw_only=True):
    """Warnings by what they do to the decision: `first` concern the two compared or the whole run."""

    first: tuple[str, ...]
    rest: tuple[str, ...]


def verdict_card(summary: Summary, verdict: ReplacementVerdict, metric: Metric) -> VerdictCard:
    """The card of a stored verdict."""
    answer, tone = ANSWERS[verdict.outcome]
    sides = summary.backends[verdict.candidate], summary.backends[verdict.incumbent]
    return VerdictCard(
        question=visible_line(f"Can {verdict.candidate} replace {verdict.incumbent}?", 300),
        answer=answer,
        tone=tone,
        loss=_loss(verdict, metric),
        savings=_savings(*sides),
        cost=_cost(verdict, *sides),
        latency=_latency(*sides),
        chart=_chart(verdict, metric),
    )


def rank_warnings(warnings: Sequence[str], verdict: ReplacementVerdict | None) -> RankedWarnings:
    """Warnings about the candidate first, then about the incumbent or the run; those about other backends last.

    At most MOST_WARNINGS come first, so that a long list never hides the verdict.
    """
    if verdict is None:
        return RankedWarnings(first=tuple(warnings[:MOST_WARNINGS]), rest=tuple(warnings[MOST_WARNINGS:]))
    names = verdict.candidate, verdict.incumbent

    def about(text: str, name: str) -> bool:
        return text.startswith((f"{name}:", f"{name} "))

    def rank(text: str) -> int:
        if about(text, names[0]):
            return 0
        return 1 if about(text, names[1]) or f" {names[0]} " in text or f" {names[1]} " in text else 2

    def of_run(text: str) -> bool:
        return ":" not in text.split(" ", 1)[0]

    ordered = sorted(warnings, key=rank)
    first = [text for text in ordered if rank(text) < 2 or of_run(text)][:MOST_WARNINGS]
    return RankedWarnings(first=tuple(first), rest=tuple(text for text in ordered if text not in first))


def _loss(verdict: ReplacementVerdict, metric: Metric) -> CardFigure:
    title = "Largest plausible loss"
    high = verdict.loss.high
    if high is None:
        return CardFigure(title=title, value="no bound", note="these rows cannot bound it")
    margin = "" if verdict.margin is None else f"; margin {_size(verdict.margin, metric)}"
    certainty = f"{100 * (1 - (1 - verdict.level) * verdict.candidates):.3g} % sure{margin}"
    if high <= 0:
        return CardFigure(title=title, value="none", note=f"at least {lower_bound(-high, metric)} better; {certainty}")
    return CardFigure(title=title, value=upper_bound(high, metric), note=certainty)


def _size(value: float, metric: Metric) -> str:
    if not metric.in_points:
        return f"{value:.3g} {metric.unit}".rstrip()
    size = f"{100 * value:.1f}".removesuffix(".0")
    return f"{size} point{'' if size == '1' else 's'}"


def _savings(own: BackendResult, other: BackendResult) -> Savings | None:
    if own.cost.per_1000 is None or other.cost.per_1000 is None:
        return None
    each = (other.cost.per_1000 - own.cost.per_1000) / 1000
    return Savings(each=each, volume=VOLUME, text=_signed_money(each * VOLUME))


def _signed_money(usd: float) -> str:
    return money(usd) if usd >= 0 else f"-{money(-usd)}"


def _cost(verdict: ReplacementVerdict, own: BackendResult, other: BackendResult) -> CardFigure:
    title = "Saved a month"
    unpriced = [n for n, r in ((verdict.candidate, own), (verdict.incumbent, other)) if r.cost.per_1000 is None]
    if unpriced:
        name = visible_line(unpriced[0])
        key = "device_hour_usd" if unpriced[0] == verdict.candidate and own.adapter is not None else "price"
        return CardFigure(title=title, value="unknown", note=f"set {key} in [backends.{name}] of bench.toml")
    volume = break_even(own.cost.training, own.cost.per_1000, other.cost.per_1000)
    note = f"training {money(own.cost.training)} once" if own.cost.training else "training not counted"
    if volume is not None and own.cost.training:
        note += f", paid back after {rounded(volume)} requests"
    return CardFigure(title=title, value="", note=note)


def _latency(own: BackendResult, other: BackendResult) -> CardFigure:
    title = "p95, one at a time"
    if own.probe is None and other.probe is None:
        return CardFigure(title=title, value="not measured", note="run with --latency-probe 50")
    theirs = "incumbent not measured" if other.probe is None else f"incumbent {seconds(other.probe.p95_s)}"
    value = "not measured" if own.probe is None else seconds(own.probe.p95_s)
    return CardFigure(title=title, value=value, note=theirs)


def _chart(verdict: ReplacementVerdict, metric: Metric) -> MarginChart | None:
    low, high, value = verdict.loss.high, verdict.loss.low, verdict.loss.value
    if low is None or high is None or value is None:
        return None
    low, high, value = -low, -high, -value
    margin = None if verdict.margin is None else -verdict.margin
    marks = [0.0, low, high, *([margin] if margin is not None else [])]
    span = max(marks) - min(marks) or 1.0
    start, width = min(marks) - 0.12 * span, 1.24 * span

    def place(at: float) -> float:
        return round(100 * (at - start) / width, 2)

    bounds = f"{_signed(value, metric)} [{_signed(low, metric)}, {_signed(high, metric)}]"
    return MarginChart(
        zero=place(0.0),
        margin=None if margin is None else place(margin),
        low=place(low),
        high=place(high),
        value=place(value),
        label=f"{bounds} {'points' if metric.in_points else metric.unit}".rstrip(),
        margin_label="" if margin is None else f"margin {_signed(margin, metric)}",
    )


def _signed(value: float, metric: Metric) -> str:
    shown = f"{100 * value:+.1f}" if metric.in_points else f"{value:+.3g}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown
