"""The answer first: one cautious sentence that says who wins, by how much, at what price."""

from harness.metrics import Metric
from harness.money.economics import break_even
from harness.records import Record
from harness.results import PairResult, Summary

from .visible import one_line
from .words import estimate, is_share, number, plural, rounded, title


class Answer(Record, frozen=True, kw_only=True):
    """The sentence on top of every report, and what to bear in mind when reading it."""

    sentence: str
    cautions: tuple[str, ...] = ()


def headline(summary: Summary) -> Metric:
    """The metric that decides; where the summary lists none, accuracy."""
    found = next((m for m in summary.metrics if m.name == summary.headline), None)
    return found or Metric(name=summary.headline)


def by_rank(summary: Summary) -> list[str]:
    """Backends, best first; equal ranks by the headline figure, then by name."""
    metric = headline(summary)
    sign = -1 if metric.direction == "higher" else 1

    def key(name: str) -> tuple[float, float, str]:
        found = summary.backends[name].metrics.get(metric.name)
        value = None if found is None else found.value
        rank = summary.ranks.get(name, len(summary.backends) + 1)
        return rank, float("inf") if value is None else sign * value, name

    return sorted(summary.backends, key=key)


def contenders(summary: Summary) -> tuple[str, str] | None:
    """The two backends the question is about: the candidate and what it would replace.

    The candidate is the best one with an adapter, else the best of all; the other one is the best among those
    of a different model (the API, rather than the candidate's own untuned base), else the best of the rest.
    """
    order = by_rank(summary)
    if len(order) < 2:
        return None
    candidate = next((n for n in order if summary.backends[n].adapter is not None), order[0])
    rest = [n for n in order if n != candidate]
    model = summary.backends[candidate].model
    other = next((n for n in rest if summary.backends[n].model != model), rest[0])
    return candidate, other


def find_pair(summary: Summary, a: str, b: str, metric: str) -> tuple[PairResult, int] | None:
    """The paired test of two backends whichever way round it was written, and +1 or -1 to turn it to a - b."""
    for pair in summary.pairs:
        if pair.metric == metric and (pair.a, pair.b) in ((a, b), (b, a)):
            return pair, 1 if pair.a == a else -1
    return None


def difference(pair: PairResult, sign: int, metric: Metric) -> tuple[str, str]:
    """Value and interval of a difference seen from one side: ("+7.8", "[5.1, 10.6]"); empty where undefined."""
    d = pair.difference
    if d.value is None:
        return "", ""
    value = f"{'+' if sign * d.value >= 0 else '-'}{number(abs(d.value), metric)}"
    if d.low is None or d.high is None:
        return value, ""
    low, high = sorted((sign * d.low, sign * d.high))
    return value, f"[{number(low, metric)}, {number(high, metric)}]"


def answer(summary: Summary) -> Answer:
    """The sentence for a whole run, written from the summary alone."""
    pair = contenders(summary)
    sentence = _alone(summary) if pair is None else _versus(summary, *pair)
    return Answer(sentence=sentence, cautions=_cautions(summary))


def _rows(summary: Summary, rows: int | None = None) -> str:
    label = summary.data.get("label")
    of = f" of the {one_line(str(label))}" if label else ""
    return f"on these {plural(summary.rows if rows is None else rows, 'row')}{of}"


def _alone(summary: Summary) -> str:
    if not summary.backends:
        return "Nobody has answered yet."
    metric = headline(summary)
    name, result = next(iter(summary.backends.items()))
    figure = estimate(result.metrics.get(metric.name), metric)
    percent = " %" if is_share(metric) and figure != "n/a" else ""
    return f"{one_line(name)}: {title(metric.name)} {figure}{percent} {_rows(summary)}. Nothing to compare it with."


def _versus(summary: Summary, a: str, b: str) -> str:
    metric = headline(summary)
    found = find_pair(summary, a, b, metric.name)
    if found is None or found[0].difference.value is None:
        return f"{one_line(a)} and {one_line(b)} have not been compared: no row was answered by both."
    pair, sign = found
    value, span = difference(pair, sign, metric)
    points = " points" if is_share(metric) else ""
    names = one_line(a), one_line(b)
    money = _money(summary, a, b)
    if pair.verdict == "not distinguishable":
        resolves = "" if summary.resolution is None else f"; these rows resolve {100 * summary.resolution:.1f} points"
        return (
            f"{names[0]} and {names[1]} cannot be told apart by {title(metric.name)} {_rows(summary, pair.rows)} "
            f"(difference {value}{points} {span}{resolves}){money}."
        )
    better = (pair.verdict == "a better") == (sign == 1)
    amount = f"{value[1:]}{points} {_magnitude(pair, metric)}".rstrip()
    rows = _rows(summary, pair.rows)
    if metric.name == "accuracy":
        return f"{names[0]} is {amount} {'more' if better else 'less'} accurate than {names[1]} {rows}{money}."
    moved = "higher" if better == (metric.direction == "higher") else "lower"
    which = "better" if better else "worse"
    return f"{names[0]} is {which} than {names[1]} {rows}: {title(metric.name)} {amount} {moved}{money}."


def _magnitude(pair: PairResult, metric: Metric) -> str:
    """The interval of the difference, turned so that the difference is positive."""
    value = pair.difference.value or 0.0
    return difference(pair, 1 if value >= 0 else -1, metric)[1]


def _money(summary: Summary, a: str, b: str) -> str:
    """ ", at 1/40 of the cost; break-even after 31,000 requests", as far as prices are known."""
    own, other = summary.backends[a].cost, summary.backends[b].cost
    unknown = [one_line(n) for n, c in ((a, own), (b, other)) if c.per_1000 is None]
    if unknown:
        return f"; the cost of {' and '.join(unknown)} is unknown"
    assert own.per_1000 is not None and other.per_1000 is not None
    text = f", {ratio(own.per_1000, other.per_1000)}"
    volume = break_even(own.training, own.per_1000, other.per_1000)
    if volume is not None and own.training:
        text += f"; break-even after {rounded(volume)} requests"
    elif own.training:
        text += "; its training never pays at these prices"
    return text


def ratio(own: float, other: float) -> str:
    """How one price stands to another: "at 1/40 of the cost", "at 3.2 times the cost"."""
    if own == other:
        return "at the same cost"
    if own == 0 or other == 0:
        return "free of charge" if own == 0 else "where the other is free of charge"
    times = other / own
    if times >= 1.95:
        return f"at 1/{rounded(times)} of the cost"
    return f"at {own / other:.0%} of the cost" if own / other < 1.95 else f"at {own / other:.1f} times the cost"


def _cautions(summary: Summary) -> tuple[str, ...]:
    said = tuple(one_line(w, 500) for w in summary.warnings)
    return said or (() if summary.complete else ("This run is incomplete: rows are missing or ended in errors.",))
