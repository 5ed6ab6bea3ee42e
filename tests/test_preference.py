"""Which of two answers is preferred: groups, few rows and many pairs."""

from itertools import combinations

import numpy as np
import pytest

from harness.judging.answer_pairs import AnswerPair, Judgement, judgement
from harness.judging.pairwise_preference import pair_verdicts
from harness.judging.pairwise_preference import test_of_preference as preference_of
from harness.judging.votes import preferences


def _verdict(pair: AnswerPair, value: int) -> Judgement:
    return judgement(pair, {1: ("A", "B"), -1: ("B", "A"), 0: ("tie", "tie")}[value], "judge")


def test_a_few_rows_in_fewer_groups_conclude_nothing() -> None:
    """All three rows for one side, in two groups: no p of 0, no interval of width 0, and a sentence."""
    found = preference_of([1, 1, 1], ["x", "x", "y"])
    assert found.p == 0.5
    assert found.difference.low is not None and found.difference.low < 0.2
    assert found.no_verdict == "no verdict: 2 groups say as much as 1.8 of one size, and at least 5 are needed"


def test_one_dominating_group_decides_nothing() -> None:
    worths, groups = [1] * 60 + [-1, 1, 0, -1, 1, 0, 1, -1, 1, 0], ["one"] * 60 + [f"g{k}" for k in range(10)]
    found = preference_of(worths, groups)
    assert found.difference.method.startswith("Student 95 % over 11 groups, 1.4 effective")
    assert found.p is not None and found.p > 0.05 and "no verdict" in found.no_verdict
    alone = preference_of(worths, [str(k) for k in range(70)])
    assert alone.p is not None and alone.p < 0.001 and not alone.no_verdict


def test_six_equal_candidates_have_no_preferred_pair_in_nineteen_of_twenty_runs() -> None:
    """Fifteen pairs a run, each at 5 % on its own, would show one in a quarter of the runs."""
    rng, runs, shown, alone = np.random.default_rng(0), 150, 0, 0
    names = "abcdef"
    for _ in range(runs):
        quality = rng.normal(size=(6, 60))
        pairs, said = [], []
        for i, j in combinations(range(6), 2):
            for n in range(60):
                pair = AnswerPair(n=n, id=str(n), a=names[i], b=names[j], text_a="p", text_b="qq")
                pairs.append(pair)
                said.append(_verdict(pair, int(np.sign(quality[i, n] - quality[j, n]))))
        found = pair_verdicts(pairs, said)
        shown += any("preferred" in pair.verdict for pair in found)
        alone += any(pair.p is not None and pair.p <= 0.05 for pair in found)
    assert shown / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert alone > 3 * shown


def test_votes_on_rows_of_a_group_count_once() -> None:
    votes = [Judgement(n=n, id=str(n), a="p", b="q", winner="a", by="ann", kind="person") for n in range(12)]
    [single] = preferences(votes)
    assert (single.verdict, single.p_method) == ("p preferred", "exact sign test")
    assert single.p == pytest.approx(2 / 2**12)
    [grouped] = preferences(votes, {n: f"page {n // 4}" for n in range(12)})
    assert (grouped.verdict, grouped.wins_a) == ("not distinguishable", 12)
    assert grouped.no_verdict.startswith("no verdict: 3 groups say as much as 3.0")
    assert grouped.share.low is not None and single.share.low is not None and grouped.share.low < single.share.low


def test_votes_are_corrected_over_the_pairs_of_the_same_judges() -> None:
    def votes(a: str, b: str, wins: int) -> list[Judgement]:
        return [
            Judgement(n=n, id=str(n), a=a, b=b, winner="a" if n < wins else "b", by="ann", kind="person")
            for n in range(10)
        ]

    found = preferences([*votes("p", "q", 9), *votes("p", "r", 5), *votes("q", "r", 5)])
    assert found[0].p == pytest.approx(22 / 1024) and found[0].p_holm == pytest.approx(66 / 1024)
    assert all(one.verdict == "not distinguishable" for one in found)
    [alone] = preferences(votes("p", "q", 9))
    assert alone.verdict == "p preferred"
