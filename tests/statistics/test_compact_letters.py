"""Two names share a letter exactly where their difference is not significant."""

from itertools import combinations

import numpy as np
import pytest

from harness.statistics.multiple_testing import compact_letters
from harness.statistics.proportions import exact_p, fewest_discordant


def pairs(*names: str) -> list[frozenset[str]]:
    return [frozenset(pair) for pair in names]


def test_an_intransitive_order_takes_overlapping_letters() -> None:
    assert compact_letters("ABC", pairs("AC")) == {"A": "a", "B": "ab", "C": "b"}
    assert compact_letters("ABC", pairs("AB", "AC", "BC")) == {"A": "a", "B": "b", "C": "c"}
    assert compact_letters("ABC", []) == {"A": "a", "B": "a", "C": "a"}
    assert compact_letters("", []) == {}


def test_more_groups_than_letters_get_numbered_ones() -> None:
    names = [f"m{i}" for i in range(30)]
    found = compact_letters(names, [frozenset(pair) for pair in combinations(names, 2)])
    assert (found["m0"], found["m25"], found["m26"]) == ("a", "z", "a1")


@pytest.mark.parametrize("seed", range(20))
def test_letters_say_exactly_which_pairs_differ(seed: int) -> None:
    chance = np.random.default_rng(seed)
    names = [chr(65 + i) for i in range(int(chance.integers(2, 9)))]
    different = [frozenset(pair) for pair in combinations(names, 2) if chance.random() < 0.5]
    found = compact_letters(names, different)
    for pair in combinations(names, 2):
        share = bool(set(found[pair[0]]) & set(found[pair[1]]))
        assert share is (frozenset(pair) not in different)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6, 0.2])
def test_fewer_discordant_rows_never_reach_the_level(alpha: float) -> None:
    fewest = fewest_discordant(alpha)
    assert exact_p(0, fewest) <= alpha < exact_p(0, fewest - 1)
    assert fewest_discordant(0.05) == 6
