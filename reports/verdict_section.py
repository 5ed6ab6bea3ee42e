"""The answer first: the bound of the loss, and below it what else one decides by."""

from harness.metrics import Metric
from harness.money.break_even import break_even
from harness.records import Record
from harness.reports.cascade_sentence import cascade_sentence
from harness.results import CostResult, PairResult, ReplacementVerdict, Summary
from harness.summary.stored_verdict import NO_DIFFERENCE, find_pair, headline_metric, stored_verdict
from harness.summary.verdict_sentence import detects, verdict_details, verdict_sentence
from harness.text_format import difference, figure_of, plural, rounded
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
    return f" (p {'< 0.001' if p < 0.001 else f'{p:.2g}'}{corrected})"


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
