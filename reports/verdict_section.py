"""The verdict at the top of a report: the card with its figures, and the section below it."""

from collections.abc import Sequence

from harness.metrics import Metric
from harness.money.break_even import break_even
from harness.records import Record
from harness.reports.cascade_sentence import cascade_sentence
from harness.results import BackendResult, CostResult, PairResult, ReplacementVerdict, Summary, VerdictOutcome
from harness.summary.stored_verdict import (
    NO_DIFFERENCE,
    detects,
    find_pair,
    headline_metric,
    lower_bound,
    stored_verdict,
    upper_bound,
    verdict_details,
    verdict_sentence,
)
from harness.text_format import difference, figure_of, money, p_value, plural, rounded, seconds
from harness.text_sanitize import visible_line


class VerdictSection(Record, frozen=True, kw_only=True):
    """The sentence on top of every report, the lines below it, and what to bear in mind when reading them."""

    sentence: str
    details: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()


def verdict_section(summary: Summary) -> VerdictSection:
    """The sentence for a whole run, written from the summary alone."""
    metric, verdict = headline_metric(summary), stored_verdict(summary)
    label = str(summary.data.get("label") or "")
    if verdict is None:
        sentence, details = _alone(summary, metric, label), [detects(summary.rows, summary.resolution, metric)]
    else:
        sentence = verdict_sentence(verdict, metric, label)
        details = [_observed(summary, verdict, metric), _money(summary, verdict), *verdict_details(verdict, metric)]
    details.append(cascade_line(summary))
    return VerdictSection(
        sentence=visible_line(sentence, 1000),
        details=tuple(visible_line(line, 1000) for line in details if line),
        cautions=_cautions(summary),
    )


def cascade_line(summary: Summary) -> str:
    """The best certified cascade in one line, its table and chart have their own section; empty where there is none."""
    if summary.cascade is None:
        return ""
    metric = next(m for m in summary.metrics if m.name == summary.cascade.metric)
    return visible_line(f"Cascade: {cascade_sentence(summary.cascade, metric)}", 1000)


def _alone(summary: Summary, metric: Metric, label: str) -> str:
    if not summary.backends:
        return "No backend has answered yet."
    name, result = next(iter(summary.backends.items()))
    of = f" of the {label}" if label else ""
    return (
        f"{name}: {figure_of(result.metrics.get(metric.name), metric)} on {plural(summary.rows, 'row')}{of}. "
        "There is no other backend to compare it with."
    )


def _observed(summary: Summary, verdict: ReplacementVerdict, metric: Metric) -> str:
    """Both figures and their paired difference, with the two-sided 95 % interval."""
    names = verdict.candidate, verdict.incumbent
    figures = [figure_of(summary.backends[n].metrics.get(metric.name), metric, named=False) for n in names]
    found = find_pair(summary, *names, metric.name)
    if found is None or found[0].difference.value is None:
        return ""
    pair, sign = found
    value, span = difference(pair, sign, metric)
    # Where the exact test is not significant and the interval excludes 0, the test decides.
    shown = value if pair.verdict == NO_DIFFERENCE and _excludes_zero(pair) else f"{value} {span}".rstrip()
    verdict_word = "no significant difference" if pair.verdict == NO_DIFFERENCE else "significant"
    return f"Observed: {names[0]} {figures[0]}, {names[1]} {figures[1]}; difference {shown}, {verdict_word}{_p(pair)}."


def _p(pair: PairResult) -> str:
    """ " (p 0.031 after Holm)", where a test was made."""
    p = pair.p if pair.p_holm is None else pair.p_holm
    if p is None:
        return ""
    corrected = " after Holm" if pair.p_holm is not None and pair.p_holm != pair.p else ""
    return f" (p {p_value(p)}{corrected})"


def _excludes_zero(pair: PairResult) -> bool:
    low, high = pair.difference.low, pair.difference.high
    return low is not None and high is not None and low * high > 0


def _money(summary: Summary, verdict: ReplacementVerdict) -> str:
    """ "llama-ft costs 1/40 of gpt4; break-even after 31,000 requests."; empty without a bound of the loss."""
    own, other = summary.backends[verdict.candidate].cost, summary.backends[verdict.incumbent].cost
    if verdict.loss.high is None or own.per_1000 is None or other.per_1000 is None:
        return ""
    text = ratio(verdict.candidate, own.per_1000, verdict.incumbent, other.per_1000)
    volume = break_even(own.training, own.per_1000, other.per_1000)
    if volume is not None and own.training:
        text += f"; break-even after {rounded(volume)} requests{_trainings(own)}"
    elif own.training:
        text += "; its training never breaks even at these prices"
    return f"{text}."


def _trainings(cost: CostResult) -> str:
    return f", all {cost.trainings} trainings counted" if cost.trainings > 1 else ""


def ratio(name: str, own: float, other_name: str, other: float) -> str:
    """One price relative to another: "small costs 1/40 of big", "big costs 3.2 times small"."""
    if own == other:
        return f"{name} costs as much as {other_name}"
    if own == 0 or other == 0:
        free, paid = (name, other_name) if own == 0 else (other_name, name)
        return f"{free} is free of charge and {paid} is not"
    times = other / own
    if times >= 1.95:
        return f"{name} costs 1/{rounded(times)} of {other_name}"
    if own / other < 1.95:
        return f"{name} costs {100 * own / other:.0f} % of {other_name}"
    return f"{name} costs {own / other:.1f} times as much as {other_name}"


def _cautions(summary: Summary) -> tuple[str, ...]:
    said = tuple(visible_line(w, 500) for w in summary.warnings)
    return said or (() if summary.complete else ("This run is incomplete: rows are missing or ended in errors.",))


VOLUME = 100_000
"""Requests a month for which savings are shown until the reader names another number."""

MOST_WARNINGS = 4
"""Warnings about the decision that are shown before the fold."""

ANSWERS: dict[VerdictOutcome, tuple[str, str]] = {
    "within margin": ("Yes", "good"),
    "unchanged": ("Not shown yet", "even"),
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

    each: USD saved a request (negative: it costs more). volume: requests a month of the first display. text: what is
    saved, or what it costs more, at that volume.
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
    question, answer = question_and_answer(verdict)
    sides = summary.backends[verdict.candidate], summary.backends[verdict.incumbent]
    return VerdictCard(
        question=question,
        answer=answer,
        tone=_answer(verdict)[1],
        loss=_loss(verdict, metric),
        savings=_savings(*sides),
        cost=_cost(verdict, *sides),
        latency=_latency(*sides),
        chart=_chart(verdict, metric),
    )


def question_and_answer(verdict: ReplacementVerdict) -> tuple[str, str]:
    """ "Can small replace big?", and "Yes", "No", "Not shown yet" or why there is no answer."""
    question = f"Can {verdict.candidate} replace {verdict.incumbent}?"
    return visible_line(question, 300), _answer(verdict)[0]


def _answer(verdict: ReplacementVerdict) -> tuple[str, str]:
    """The answer and its tone. Rows that never differ say yes only where there are enough of them for the margin."""
    high, margin = verdict.loss.high, verdict.margin
    if verdict.outcome == "unchanged" and high is not None and margin is not None and high <= margin:
        return ANSWERS["within margin"]
    return ANSWERS[verdict.outcome]


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
    return Savings(each=each, volume=VOLUME, text=money(abs(each) * VOLUME))


def _cost(verdict: ReplacementVerdict, own: BackendResult, other: BackendResult) -> CardFigure:
    prices = own.cost.per_1000, other.cost.per_1000
    dearer = prices[0] is not None and prices[1] is not None and prices[0] > prices[1]
    title = "Costs more a month" if dearer else "Saved a month"
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

    bounds = f"{_signed(value, metric)} [{_plain(low, metric)}, {_plain(high, metric)}]"
    return MarginChart(
        zero=place(0.0),
        margin=None if margin is None else place(margin),
        low=place(low),
        high=place(high),
        value=place(value),
        label=f"{bounds} {'points' if metric.in_points else metric.unit}".rstrip(),
        margin_label="" if margin is None else f"margin {_signed(margin, metric)}",
    )


def _plain(value: float, metric: Metric) -> str:
    """The end of an interval: a sign only below 0, as in every table."""
    return _signed(value, metric).removeprefix("+")


def _signed(value: float, metric: Metric) -> str:
    shown = f"{100 * value:+.1f}" if metric.in_points else f"{value:+.3g}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown
