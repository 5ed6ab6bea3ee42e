"""What the verdicts on pairs of answers add up to: wins with intervals and a test, and how far to trust the judge."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from harness.judging.pairs import Judgement, Pair
from harness.judging.preference import WORTH, PreferenceTest, corrected_verdicts, rate, test_of_preference
from harness.records import Record
from harness.results import CostResult, Estimate

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


def pair_verdicts(pairs: Sequence[Pair], judgements: Sequence[Judgement]) -> tuple[PairVerdict, ...]:
    """The tally of every two candidates. `judgements` are those on `pairs`, in the same order."""
    by_names: dict[tuple[str, str], list[tuple[Pair, Judgement]]] = {}
    for pair, one in zip(pairs, judgements, strict=True):
        by_names.setdefault((pair.a, pair.b), []).append((pair, one))
    tallies = [_tally(a, b, of_pair) for (a, b), of_pair in by_names.items()]
    verdicts = corrected_verdicts([(tally.a, tally.b, test) for tally, test in tallies])
    return tuple(
        msgspec.structs.replace(tally, p_holm=p_holm, verdict=verdict)
        for (tally, _), (p_holm, verdict) in zip(tallies, verdicts, strict=True)
    )


def _tally(a: str, b: str, found: list[tuple[Pair, Judgement]]) -> tuple[PairVerdict, PreferenceTest]:
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


def _group(pair: Pair) -> str:
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
