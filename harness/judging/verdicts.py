"""What the verdicts on pairs of answers add up to: wins with intervals and a test, and how far to trust the judge."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from harness.judging.pairs import Judgement, Pair
from harness.records import Record
from harness.results import CostResult, Estimate
from harness.statistics.clustered import clustered_mean
from harness.statistics.mcnemar import exact_p
from harness.statistics.proportions import wilson
from harness.statistics.tango import tango_interval

SCHEMA = 1


class PairVerdict(Record, frozen=True, kw_only=True, omit_defaults=False):
    """a against b. difference: (wins of a - wins of b) / judged; p: exact sign test over the decided rows (Student's
    t over groups where rows share one); unjudged: rows without a readable verdict; longer: of the decided rows,
    the share won by the longer answer (near 1: the judge may be counting words)."""

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


def pair_verdicts(pairs: Sequence[Pair], judgements: Sequence[Judgement]) -> tuple[PairVerdict, ...]:
    """The tally of every two candidates. `judgements` are those on `pairs`, in the same order."""
    by_names: dict[tuple[str, str], list[tuple[Pair, Judgement]]] = {}
    for pair, one in zip(pairs, judgements, strict=True):
        by_names.setdefault((pair.a, pair.b), []).append((pair, one))
    return tuple(_tally(a, b, found) for (a, b), found in by_names.items())


def _tally(a: str, b: str, found: list[tuple[Pair, Judgement]]) -> PairVerdict:
    judged = [(pair, one) for pair, one in found if one.winner is not None]
    count = Counter(one.winner for _, one in judged)
    wins_a, wins_b, n = count["a"], count["b"], len(judged)
    difference, p, p_method = _difference(judged, wins_a, wins_b)
    decided = [(pair, one) for pair, one in judged if one.winner != "tie" and len(pair.text_a) != len(pair.text_b)]
    longer = sum((one.winner == "a") == (len(pair.text_a) > len(pair.text_b)) for pair, one in decided)
    verdict = "not distinguishable"
    if p is not None and p < 0.05:
        verdict = f"{a if (difference.value or 0) > 0 else b} preferred"
    return PairVerdict(
        a=a,
        b=b,
        judged=n,
        wins_a=wins_a,
        wins_b=wins_b,
        ties=count["tie"],
        unjudged=len(found) - n,
        difference=difference,
        p=p,
        p_method=p_method,
        longer=rate(longer, len(decided)),
        verdict=verdict,
    )


def _difference(judged: list[tuple[Pair, Judgement]], wins_a: int, wins_b: int) -> tuple[Estimate, float | None, str]:
    n = len(judged)
    if not n:
        return Estimate(value=None, method="no verdict"), None, ""
    groups = [pair.group if pair.group is not None else f"row {pair.n}" for pair, _ in judged]
    if len(set(groups)) == n:
        low, high = tango_interval(wins_b, wins_a, n, 0.95)
        method, p, p_method = "Tango 95 %", exact_p(wins_b, wins_a), "exact sign test"
    else:
        values = np.array([{"a": 1.0, "b": -1.0}.get(str(one.winner), 0.0) for _, one in judged])
        mean = clustered_mean(values, np.unique(groups, return_inverse=True)[1])
        low, high = mean.interval()
        p, p_method = mean.p_two_sided(), "Student's t over groups"
        method = f"Student 95 % over {mean.clusters} groups"
    return Estimate(value=(wins_a - wins_b) / n, low=low, high=high, method=method, n=n), p, p_method


def consistency(judgements: Iterable[Judgement]) -> Estimate:
    """Share of the asked pairs on which both orders gave the same verdict."""
    both = [one for one in judgements if one.first is not None and one.second is not None]
    return rate(sum(one.first == one.second for one in both), len(both))


def first_wins(judgements: Iterable[Judgement]) -> Estimate:
    """Of verdicts that name a winner, the share that name the answer shown first."""
    named = [(one.first, "a") for one in judgements] + [(one.second, "b") for one in judgements]
    decided = [(given, shown) for given, shown in named if given in ("a", "b")]
    return rate(sum(given == shown for given, shown in decided), len(decided))


def agreement(judgements: Iterable[Judgement], votes: Iterable[Judgement]) -> Estimate:
    """Share of people's votes that a judge agrees with, on the pairs both have judged."""
    by_pair = {(one.n, one.a, one.b): one.winner for one in judgements if one.winner is not None}
    swap = {"a": "b", "b": "a", "tie": "tie"}
    same = []
    for vote in votes:
        if vote.winner is None:
            continue
        if (vote.n, vote.a, vote.b) in by_pair:
            same.append(by_pair[(vote.n, vote.a, vote.b)] == vote.winner)
        elif (vote.n, vote.b, vote.a) in by_pair:
            same.append(by_pair[(vote.n, vote.b, vote.a)] == swap[vote.winner])
    return rate(sum(same), len(same))


def rate(count: int, n: int) -> Estimate:
    """A proportion with Wilson's interval; undefined for no rows."""
    if not n:
        return Estimate(value=None, method="no rows")
    low, high = wilson(count, n)
    return Estimate(value=count / n, low=low, high=high, method="Wilson 95 %", n=n)
