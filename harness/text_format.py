"""Figures as text: plurals, percentages, intervals, money, seconds. Unknown stays unknown, never 0."""

import datetime
import math

from harness.errors import UsageError
from harness.metrics import Estimate, Metric, title
from harness.results import PairResult

IRREGULAR = {"is": "are", "has": "have", "was": "were", "this": "these", "it": "they"}


def count_noun(count: int | float, noun: str, plural: str | None = None) -> str:
    """`1 row`, `2 rows`, `1,500 rows`, `0.5 points`; plural: where it is not the noun and an s."""
    return f"{count:,} {agreeing(count, noun, plural)}"


def agreeing(count: int | float, word: str, plural: str | None = None) -> str:
    """A word in agreement with a count: `row` for 1, else its plural (verbs and pronouns too: `is`, `are`)."""
    if count == 1:
        return word
    return plural or IRREGULAR.get(word) or (word[:-1] + "ies" if word.endswith("ry") else f"{word}s")


def two_digits(count: float) -> str:
    """A figure that is an estimate, to two significant digits: 146073 is `150,000`."""
    if not math.isfinite(count) or count == 0:
        return f"{count:,.0f}"
    step = 10 ** max(0, math.floor(math.log10(abs(count))) - 1)
    return f"{math.ceil(round(count / step, 9)) * step:,.0f}"


UNKNOWN = "unknown"
NOT_APPLICABLE = "n/a"


def is_share(metric: Metric) -> bool:
    """Whether values lie in 0..1 and read best as percentages."""
    return metric.in_points


def unit(metric: Metric) -> str:
    """ "%" for shares, else nothing."""
    return "%" if is_share(metric) else ""


def number(value: float, metric: Metric) -> str:
    """A metric's value without its unit: one decimal of a percentage, else three significant digits."""
    return f"{100 * value:.1f}" if is_share(metric) else f"{value:.3g}"


def interval(estimate: Estimate, metric: Metric) -> str:
    """`[93.5, 96.2]`, or nothing where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{number(estimate.low, metric)}, {number(estimate.high, metric)}]"


def estimate(value: Estimate | None, metric: Metric) -> str:
    """`95.0 [93.5, 96.2]`; "n/a" where the metric is undefined."""
    if value is None or value.value is None:
        return NOT_APPLICABLE
    return f"{number(value.value, metric)} {interval(value, metric)}".rstrip()


def figure_of(value: Estimate | None, metric: Metric, *, named: bool = True) -> str:
    """`accuracy 95.0 [93.5, 96.2] %`, or without the metric's name."""
    text = estimate(value, metric)
    percent = " %" if is_share(metric) and text != NOT_APPLICABLE else ""
    return f"{title(metric.name)} {text}{percent}" if named else f"{text}{percent}"


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


def money(usd: float | None) -> str:
    """USD with at least two significant digits: `$12.40`, `$0.0034`; "unknown" for None."""
    if usd is None:
        return UNKNOWN
    if usd == 0 or abs(usd) >= 0.095:
        return f"${usd:,.2f}"
    if abs(usd) >= 0.0001:
        return f"${usd:.2g}"
    return f"${usd:.{min(12, 1 - math.floor(math.log10(abs(usd))))}f}"


def seconds(value: float | None) -> str:
    """`340 ms`, `1.24 s`, `3 min 20 s`, `2 h 05 min`; "n/a" for None."""
    if value is None:
        return NOT_APPLICABLE
    if value < 0.01:
        return f"{1000 * value:.1f} ms"
    if value < 1:
        return f"{1000 * value:.0f} ms"
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def p_value(p: float | None) -> str:
    """`0.012`, `< 0.001`, `1`: two significant digits; "-" where no test was made."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def moment(created: str) -> str:
    """An ISO time as `2026-01-02 03:04`: two runs of one day are two."""
    return created[:16].replace("T", " ")


def to_the_second(created: str) -> str:
    """An ISO time as `2026-01-02 03:04:05`, as runs of one minute need it."""
    return created[:19].replace("T", " ")


def rate(value: float | None) -> str:
    """Per second, three significant digits: `34.1`, `1,250`; "n/a" for None."""
    if value is None:
        return NOT_APPLICABLE
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def count(value: float) -> str:
    """A count with thousands separated; a fraction (rows of repeated answers) keeps one decimal."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def rounded(value: float) -> str:
    """A large count to two significant digits: 31,417 reads "31,000"."""
    if value < 100:
        return f"{value:,.0f}"
    scale = 10 ** (len(str(int(value))) - 2)
    return f"{round(value / scale) * scale:,.0f}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listing(words: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`; last: the word before the last one."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def split_names(value: str, what: str) -> list[str]:
    """`a,b` as a list. Raises UsageError for an empty list or a name given twice."""
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise UsageError(f"{what} is empty: name at least one.")
    if len(set(names)) < len(names):
        raise UsageError(f"{what} names '{next(n for n in names if names.count(n) > 1)}' twice.")
    return names


def utc_now() -> datetime.datetime:
    """The current time, aware, in UTC."""
    return datetime.datetime.now(datetime.UTC)


def utc_text() -> str:
    """The current time in UTC as ISO 8601 to the second, for example 2026-01-31T09:30:00+00:00."""
    return utc_now().isoformat(timespec="seconds")
