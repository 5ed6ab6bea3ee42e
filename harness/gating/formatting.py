"""The gate's findings as sentences, and how figures are written."""

import msgspec

from harness.gating.gate_result import WORDS, CheckResult, GateResult
from harness.gating.gate_settings import COST, ERRORS
from harness.statistics.rows_needed import two_digits
from harness.text_format import money, seconds

SCOPES = {"all": "", "clean": " (rows not trained on)", "first": " (first baseline)"}
"""What follows a figure's name where the check does not look at all rows and the last baseline."""


def headline(result: GateResult) -> str:
    """The verdict line."""
    word = WORDS[result.verdict]
    if result.reasons:
        return f"{word}: {result.reasons[0]}"
    counted = [check for check in result.checks if check.verdict != "advisory"]
    if result.verdict == "pass":
        checks = "the 1 check" if len(counted) == 1 else f"all {len(counted)} checks"
        worse = [check for check in counted if check.shown_worse]
        though = "".join(f", though {check.backend} is {worse_by(check)} of {check.metric}" for check in worse[:1])
        return f"{word}{though}: {checks}, {plural(result.rows, 'row')}."
    if result.verdict == "unchanged":
        limits = [check for check in counted if check.verdict == "pass"]
        kept = f" {'The 1 other check passes' if len(limits) == 1 else f'The {len(limits)} other checks pass'}."
        answers = f"all {result.rows:,} answers are" if result.rows != 1 else "the 1 answer is"
        return f"{word}: {answers} the same text as in the reference.{kept if limits else ''}"
    worst = [check for check in counted if check.verdict == result.verdict]
    if not worst:
        return f"{word}: no check could be made."
    more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
    return f"{word}: {worst[0].name}: {worst[0].sentence}{more}"


def figure(check: CheckResult, value: float | None) -> str:
    """A figure in its unit, as in tables and pages: shares as percent, money in USD, seconds, else three digits."""
    if value is None:
        return "-"
    if check.metric == COST:
        return money(value)
    if check.metric.startswith("latency"):
        return seconds(value)
    return f"{_number(check, value)}{_percent(check)}"


def _percent(check: CheckResult) -> str:
    return " %" if check.metric == ERRORS or _is_share(check) else ""


def _number(check: CheckResult, value: float, sign: str = "") -> str:
    """One decimal of a percentage, else three significant digits; one more where a bound would read like its limit."""
    value += 0.0  # never -0.0
    limits = [abs(limit) for limit in (check.margin, check.limit) if limit is not None]
    figures = [abs(v) for v in (check.candidate, check.difference, check.low, check.high) if v is not None]
    percent = bool(_percent(check))

    def shown(number: float, more: int) -> str:
        text = f"{100 * number:{sign}.{1 + more}f}" if percent else f"{number:{sign}.{3 + more}g}"
        return text.removeprefix("-") if text.strip("-0.") == "" else text

    alike = any(v != limit and shown(v, 0) == shown(limit, 0) for v in figures for limit in limits)
    return shown(value, int(alike))


def _is_share(check: CheckResult) -> bool:
    return check.unit == "points"


def change(check: CheckResult, value: float | None) -> str:
    """A difference: points for shares, a factor for ratios."""
    if value is None:
        return "-"
    if check.kind == "ratio":
        return f"x {value:.3g}"
    if check.kind == "absolute":
        return figure(check, value)
    return _number(check, value, "+")


def interval(check: CheckResult) -> str:
    """[low, high] without units, or nothing where it is unbounded."""
    if check.low is None or check.high is None:
        return ""
    ends = (check.low, check.high)
    if check.kind == "ratio" or check.metric == COST or check.metric.startswith("latency"):
        return f"[{', '.join(change(check, end) for end in ends)}]"
    return f"[{', '.join(_number(check, end) for end in ends)}]"


def bound(check: CheckResult) -> str:
    """The margin or limit as it was asked for."""
    if check.margin is not None:
        return points(check.margin) if _is_share(check) else f"{check.margin:g} {check.unit}".rstrip()
    if check.limit is None:
        return "-"
    if check.kind == "ratio":
        return f"x {check.limit:g}"
    return figure(check, check.limit)


def sentence(check: CheckResult) -> CheckResult:
    """The check with its finding in words, where it has none yet."""
    if check.sentence or check.candidate is None:
        return check
    if check.kind in ("paired", "sequential"):
        text = f"{change(check, check.difference)}{_span(check)} against a margin of {bound(check)}"
    else:
        unit = _percent(check)
        text = (
            f"{figure(check, check.candidate).removesuffix(unit)}{_span(check)}{unit} against a limit of {bound(check)}"
        )
    return msgspec.structs.replace(check, sentence=f"{text}{_harm(check)}{_shown_worse(check)}{_needed(check)}.")


def _span(check: CheckResult) -> str:
    found = interval(check)
    return f" {found}" if found else ""


def _harm(check: CheckResult) -> str:
    """Why a check failed whose interval still reaches into the margin."""
    if check.verdict != "fail" or check.low is None or check.high is None or check.margin is None:
        return ""
    if not check.low <= -check.margin <= check.high and not check.low <= check.margin <= check.high:
        return ""
    if check.harm_p_holm is None:  # of a run that stopped early: the bet that it is worse has been won
        return "; shown to be worse"
    return f"; shown to be worse (one-sided p {check.harm_p_holm:.2g} after Holm)"


def _shown_worse(check: CheckResult) -> str:
    return f"; {worse_by(check)}" if check.shown_worse else ""


def worse_by(check: CheckResult) -> str:
    """ "shown to be worse by 0.5 to 2.2 points": the interval of a loss within the margin."""
    ends = sorted(abs(end) for end in (check.low, check.high) if end is not None)
    if len(ends) < 2 or (check.low or 0.0) * (check.high or 0.0) <= 0:
        return f"shown to be worse (one-sided p {check.harm_p_holm:.2g} after Holm)"
    if _is_share(check):
        return f"shown to be worse by {100 * ends[0]:.2g} to {points(ends[1], 2)}"
    return f"shown to be worse by {ends[0]:.3g} to {ends[1]:.3g}"


def points(share: float, digits: int = 3) -> str:
    """A share as points, the unit in its number: "1 point", "2.2 points"."""
    text = f"{100 * share:.{digits}g}"
    return f"{text} point" if text == "1" else f"{text} points"


def plural(count: int, noun: str) -> str:
    """ "1 row", "1,500 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _needed(check: CheckResult) -> str:
    if check.no_verdict:
        return f"; {check.no_verdict}"
    if check.verdict != "inconclusive":
        return ""
    exact = check.differing == 0 or (check.kind == "absolute" and check.candidate == 0)
    same = "; no row differs" if check.differing == 0 else ""
    if check.needed_rows is None:
        zero = check.kind == "absolute" and check.limit == 0
        return same or ("; no number of rows can show that a rate is exactly 0" if zero else "")
    if check.needed_rows <= check.rows:
        return f"{same}; a few more rows should decide"
    way = "pass" if check.needed_verdict == "pass" else "show that it is too bad"
    more, in_all = check.needed_rows - check.rows, check.needed_rows
    if not exact:
        more, in_all = two_digits(more), two_digits(in_all)
    return f"{same}; about {plural(more, 'more row')} ({in_all:,} in all) would {way}, if the figures stay as they are"


def resolution(checks: list[CheckResult]) -> str:
    """What the present rows can resolve, for the head of the page."""
    first = next((c for c in checks if c.kind == "paired" and c.rows), None)
    if first is None:
        return ""
    differing = 0 if first.differing is None else first.differing
    text = f"{plural(first.rows, 'row')} in common, {differing:,} of them with another {first.metric}"
    if first.resolves is None:
        return f"{text}."
    size = points(first.resolves) if _is_share(first) else f"{first.resolves:.3g}"
    return f"{text}: a margin of {size} could be passed with 80 % power if nothing has changed."
