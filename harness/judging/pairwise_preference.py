"""Pairwise preference: wins, losses and ties with intervals and tests; agreement of the judge."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.judging.answer_pairs import AnswerPair, Judgement
from harness.metrics import Estimate
from harness.records import Record
from harness.results import CostResult
from harness.statistics.clustered import clustered_mean
from harness.statistics.multiple_testing import holm
from harness.statistics.noninferiority import ALPHA
from harness.statistics.proportions import exact_p
from harness.statistics.randomisation import SignFlip, cluster_sums
from harness.statistics.tango import tango_interval
from harness.summary.estimates import rate_estimate
from harness.summary.small_count_bounds import RARE, group_words, groups_shortfall

WORTH = {"a": 1, "b": -1, "tie": 0}
"""Of a verdict, for the first of the two."""


@dataclass(frozen=True)
class PreferenceTest:
    """difference: (wins of a - wins of b) / rows; p: of "neither is preferred", None without a row; share: of the
    decided rows, those that went to a; no_verdict: why nothing may be concluded ("" where it may)."""

    difference: Estimate
    p: float | None
    p_method: str
    share: Estimate
    no_verdict: str = ""


def test_of_preference(worths: Sequence[int], groups: Sequence[str]) -> PreferenceTest:
    """worths: 1 where a is preferred, -1 where b is, 0 for a tie, a row each; groups: of each row, equal names
    or fall together.

    Rows on their own: Tango's interval and the exact sign test. Rows in groups: Student's t with the bias-reduced
    standard error, and where fewer than ten groups lean to a side the sign flips of these and Tango's interval over the
    groups, whichever reaches further; below five effective groups no verdict.
    """
    values, n = np.array(worths, dtype=np.float64), len(worths)
    wins_a, wins_b = int((values > 0).sum()), int((values < 0).sum())
    if not n:
        return PreferenceTest(Estimate(value=None, method="no verdict"), None, "", rate([], []))
    share = rate([w > 0 for w in worths if w], [g for w, g in zip(worths, groups, strict=True) if w])
    if len(set(groups)) == n:
        low, high = tango_interval(wins_b, wins_a, n, 0.95)
        difference = Estimate(value=(wins_a - wins_b) / n, low=low, high=high, method="Tango 95 %", n=n)
        return PreferenceTest(difference, exact_p(wins_b, wins_a), "exact sign test", share)
    codes = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    mean = clustered_mean(values, codes)
    low, high = mean.interval()
    p, p_method = mean.p_two_sided(), "Student's t over groups"
    method = f"Student 95 % {group_words(mean, 'groups')}"
    sums, sizes = cluster_sums(values, codes)
    leaning = np.abs(sums) > 0
    if leaning.sum() < RARE or mean.constant:
        p, p_method = SignFlip(sums[leaning], sizes[leaning]).p_two_sided(), "sign flips of the groups that lean"
        least, most = tango_interval(int((sums < 0).sum()), int((sums > 0).sum()), len(sums), 0.95)
        low, high = max(-1.0, min(low, least)), min(1.0, max(high, most))
        method += ", widened: few groups lean"
    return PreferenceTest(
        difference=Estimate(value=mean.mean, low=low, high=high, method=method, n=n),
        p=p,
        p_method=p_method,
        share=share,
        no_verdict=groups_shortfall(mean.effective, mean.clusters),
    )


def corrected_verdicts(
    found: Sequence[tuple[str, str, PreferenceTest]],
) -> list[tuple[float | None, str]]:
    """p after Holm over all pairs (a, b, test), and the verdict on each: "a preferred" by name, or "not
    distinguishable"."""
    corrected = iter(holm([test.p for _, _, test in found if test.p is not None]))
    result = []
    for a, b, test in found:
        p = None if test.p is None else next(corrected)
        verdict = "not distinguishable"
        if p is not None and p <= ALPHA and not test.no_verdict:
            verdict = f"{a if (test.difference.value or 0) > 0 else b} preferred"
        result.append((p, verdict))
    return result


def rate(hits: Sequence[bool] | NDArray[np.bool_], groups: Sequence[str]) -> Estimate:
    """The share of hits (n,) with Wilson's interval, over groups where rows share one; undefined for no rows."""
    if not len(hits):
        return Estimate(value=None, method="no rows")
    codes = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    together = codes if len(set(groups)) < len(groups) else None
    return rate_estimate(np.asarray(hits, dtype=np.float64), together, 0.95)


SCHEMA = 1


class PairVerdict(Record, frozen=True, kw_only=True, omit_defaults=False):
    """a against b.

    difference: (wins of a - wins of b) / judged; p: exact sign test over the decided rows (Student's t or sign flips
    over groups where rows share one); p_holm: corrected over all pairs; unjudged: rows without a readable verdict;
    longer: of the decided rows, the share won by the longer answer (near 1: the judge may be counting words); verdict:
    at 5 % after Holm; no_verdict: why nothing may be concluded, in words ("" where it may).
    """

    a: str
    b: str
    judged: int
    wins_a: int
    wins_b: int
    ties: int
    unjudged: int
    difference: Estimate
    p: float | None
    p_method: str
    longer: Estimate
    verdict: str
    p_holm: float | None = None
    no_verdict: str = ""


class Verdicts(Record, frozen=True, kw_only=True, omit_defaults=False):
    """`verdicts.json` of a judge.

    consistent: share of the asked pairs on which both orders gave the same verdict; first_wins: of verdicts that
    name a winner, the share that name the answer shown first (0.5: no leaning); with_people: share of people's
    votes on the same pairs that agree.
    """

    schema: int = SCHEMA
    run: str
    judge: str
    model: str
    pairs: tuple[PairVerdict, ...] = ()
    asked: int = 0
    answered: int = 0
    errors: int = 0
    format_errors: dict[str, int] = {}
    consistent: Estimate = Estimate(value=None)
    first_wins: Estimate = Estimate(value=None)
    with_people: Estimate = Estimate(value=None)
    cost: CostResult = CostResult()


def pair_verdicts(pairs: Sequence[AnswerPair], judgements: Sequence[Judgement]) -> tuple[PairVerdict, ...]:
    """The tally of every two candidates. `judgements` are those on `pairs`, in the same order."""
    by_names: dict[tuple[str, str], list[tuple[AnswerPair, Judgement]]] = {}
    for pair, one in zip(pairs, judgements, strict=True):
        by_names.setdefault((pair.a, pair.b), []).append((pair, one))
    tallies = [_tally(a, b, of_pair) for (a, b), of_pair in by_names.items()]
    verdicts = corrected_verdicts([(tally.a, tally.b, test) for tally, test in tallies])
    return tuple(
        msgspec.structs.replace(tally, p_holm=p_holm, verdict=verdict)
        for (tally, _), (p_holm, verdict) in zip(tallies, verdicts, strict=True)
    )


def _tally(a: str, b: str, found: list[tuple[AnswerPair, Judgement]]) -> tuple[PairVerdict, PreferenceTest]:
    judged = [(pair, one) for pair, one in found if one.winner is not None]
    count = Counter(one.winner for _, one in judged)
    test = test_of_preference([WORTH[one.winner or "tie"] for _, one in judged], [_group(pair) for pair, _ in judged])
    decided = [(pair, one) for pair, one in judged if one.winner != "tie" and len(pair.text_a) != len(pair.text_b)]
    longer = np.array([(one.winner == "a") == (len(pair.text_a) > len(pair.text_b)) for pair, one in decided])
    return (
        PairVerdict(
            a=a,
            b=b,
            judged=len(judged),
            wins_a=count["a"],
            wins_b=count["b"],
            ties=count["tie"],
            unjudged=len(found) - len(judged),
            difference=test.difference,
            p=test.p,
            p_method=test.p_method,
            longer=rate(longer, [_group(pair) for pair, _ in decided]),
            verdict="",
            no_verdict=test.no_verdict,
        ),
        test,
    )


def _group(pair: AnswerPair) -> str:
    return f"row {pair.n}" if pair.group is None else f"group {pair.group}"


def consistency(judgements: Iterable[Judgement]) -> Estimate:
    """Share of the asked pairs on which both orders gave the same verdict."""
    both = [one for one in judgements if one.first is not None and one.second is not None]
    return rate([one.first == one.second for one in both], [str(one.n) for one in both])


def first_wins(judgements: Iterable[Judgement]) -> Estimate:
    """Of verdicts that name a winner, the share that name the answer shown first."""
    known = list(judgements)
    named = [(one.n, one.first, "a") for one in known] + [(one.n, one.second, "b") for one in known]
    decided = [(n, given, shown) for n, given, shown in named if given in ("a", "b")]
    return rate([given == shown for _, given, shown in decided], [str(n) for n, _, _ in decided])


def agreement(judgements: Iterable[Judgement], votes: Iterable[Judgement]) -> Estimate:
    """Share of people's votes that a judge agrees with, on the pairs both have judged; votes on one row count as one
    group."""
    by_pair = {(one.n, one.a, one.b): one.winner for one in judgements if one.winner is not None}
    swap = {"a": "b", "b": "a", "tie": "tie"}
    same: list[bool] = []
    rows: list[str] = []
    for vote in votes:
        if vote.winner is None:
            continue
        if (vote.n, vote.a, vote.b) in by_pair:
            same.append(by_pair[(vote.n, vote.a, vote.b)] == vote.winner)
            rows.append(str(vote.n))
        elif (vote.n, vote.b, vote.a) in by_pair:
            same.append(by_pair[(vote.n, vote.b, vote.a)] == swap[vote.winner])
            rows.append(str(vote.n))
    return rate(same, rows)
