"""The seeded order: class shares everywhere, prefixes, and independence of the file's order."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.data.sampling import fingerprint, seeded_order
from harness.records import Sample, number_repeats


def rows(counts: dict[str, int]) -> list[Sample]:
    return [Sample.of({"text": f"{label} {k}"}, label, "test") for label, n in counts.items() for k in range(n)]


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 40), min_size=1), st.integers(0, 5))
def test_every_beginning_keeps_the_class_shares(counts: dict[str, int], seed: int) -> None:
    ordered = seeded_order(rows(counts), seed)
    total = sum(counts.values())
    for n in range(1, total + 1):
        seen = Counter(s.reference for s in ordered[:n])
        for label, count in counts.items():
            assert abs(seen[label] - n * count / total) <= 1.5


def test_a_smaller_limit_is_a_prefix_and_the_file_order_plays_no_part() -> None:
    samples = rows({"a": 30, "b": 10})
    shuffled = random.Random(1).sample(samples, len(samples))
    assert seeded_order(samples, 7) == seeded_order(shuffled, 7)
    assert seeded_order(samples, 7) != seeded_order(samples, 8)


def test_repeats_of_the_same_inputs_are_numbered_in_file_order() -> None:
    same = [Sample.of({"text": "x"}, label, "test") for label in ("a", "b", "a")]
    numbered = list(number_repeats(same))
    assert [s.id.partition("-")[2] for s in numbered] == ["", "2", "3"]
    assert [s.reference for s in numbered] == ["a", "b", "a"]


def test_an_id_is_the_hash_of_the_inputs_without_the_reference() -> None:
    assert Sample.of({"text": "x"}, "a", "test").id == Sample.of({"text": "x"}, "b", "train").id
    assert Sample.of({"text": "x"}, "a", "test").id != Sample.of({"text": "y"}, "a", "test").id


def test_the_fingerprint_sees_references_but_not_order() -> None:
    samples = rows({"a": 3, "b": 2})
    assert fingerprint(samples) == fingerprint(reversed(samples))
    assert fingerprint(samples) != fingerprint(samples[1:])
