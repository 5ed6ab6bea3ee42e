"""A judge's verdicts on pairs of answers: equal candidates that are called better, and coverage of the difference."""

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from harness.judging.answer_pairs import AnswerPair, Judgement, Winner
from harness.judging.pairwise_preference import PairVerdict, pair_verdicts

from .measure import ENDINGS, LEAST_RUNS, Cell, Label, coverage_of, share_of
from .product import Codes, Interval

CANDIDATES = 6
TIES = 0.3
WINNERS: tuple[Winner, ...] = ("a", "b", "tie")


def judging(runs: int, draws: int) -> Iterator[Cell]:
    """Six equal candidates over independent rows and over groups of rows with one winner."""
    del draws
    runs = max(runs // 8, LEAST_RUNS)
    for size, groups in (("n 30", None), ("n 200", None), ("G 2", 2), ("G 5", 5), ("G 12", 12), ("G 40", 40)):
        n = int(size.split()[1]) if groups is None else 5 * groups
        shape = "independent rows" if groups is None else "groups of five rows with one winner"
        yield _preferred(
            Label("judging", f"some of {CANDIDATES} equal candidates preferred", shape, size), n, groups, runs
        )
        yield _covered(Label("judging", "difference of wins" + ENDINGS[1], shape, size), n, groups, 2 * runs)


def _verdicts(rng: np.random.Generator, names: list[str], n: int, groups: int | None) -> tuple[PairVerdict, ...]:
    """Verdicts without a preference; every group of rows has one winner for each pair."""
    of_row: Codes = np.arange(n, dtype=np.int64) if groups is None else np.arange(n) % groups
    pairs, judgements = [], []
    for a, b in combinations(names, 2):
        drawn = rng.choice(3, size=n, p=[(1 - TIES) / 2, (1 - TIES) / 2, TIES])[of_row]
        for k, winner in enumerate(drawn.tolist()):
            group = None if groups is None else f"group {of_row[k]}"
            pairs.append(AnswerPair(n=k, id=str(k), a=a, b=b, text_a=f"one {k}", text_b=f"another {k}", group=group))
            judgements.append(Judgement(n=k, id=str(k), a=a, b=b, winner=WINNERS[winner], by="judge"))
    return pair_verdicts(pairs, judgements)


def _preferred(label: Label, n: int, groups: int | None, runs: int) -> Cell:
    names = [f"candidate {k}" for k in range(CANDIDATES)]

    def once(rng: np.random.Generator) -> bool:
        return any(found.verdict.endswith("preferred") for found in _verdicts(rng, names, n, groups))

    return share_of(label, "false pass", runs, once)


def _covered(label: Label, n: int, groups: int | None, runs: int) -> Cell:
    def once(rng: np.random.Generator) -> tuple[Interval | None, float]:
        difference = _verdicts(rng, ["one", "other"], n, groups)[0].difference
        if difference.low is None and difference.high is None:
            return None, 0.0
        low = -math.inf if difference.low is None else difference.low
        return (low, math.inf if difference.high is None else difference.high), 0.0

    return coverage_of(label, runs, once)
