"""Nouns agree with their counts, and estimates are no more exact than they are."""

import pytest

from harness.text_format import agreeing, count_noun, two_digits


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [
        (1, "row", "1 row"),
        (0, "row", "0 rows"),
        (1500, "row", "1,500 rows"),
        (0.5, "point", "0.5 points"),
        (2, "query", "2 queries"),
    ],
)
def test_a_noun_agrees_with_its_count(count: float, noun: str, said: str) -> None:
    assert count_noun(count, noun) == said


def test_verbs_and_other_plurals_agree_too() -> None:
    assert [agreeing(n, "is") for n in (1, 2)] == ["is", "are"]
    assert count_noun(2, "adapter of Bench", "adapters of Bench") == "2 adapters of Bench"


@pytest.mark.parametrize(
    ("count", "said"), [(146_073, "150,000"), (1_234, "1,300"), (99, "99"), (7.2, "8"), (0, "0"), (120_000, "120,000")]
)
def test_an_estimate_has_two_digits_and_is_not_too_small(count: float, said: str) -> None:
    assert two_digits(count) == said
