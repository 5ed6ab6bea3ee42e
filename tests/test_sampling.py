"""The seeded order: class shares everywhere, prefixes, and independence of the file's order."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.data.sampling import ORDER, ORDER_VERSION, fingerprint, order_version, seeded_order
from harness.records import Sample, number_repeats


def rows(counts: dict[str, int]) -> list[Sample]:
    return [Sample.of({"text": f"{label} {k}"}, label, "test") for label, n in counts.items() for k in range(n)]


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 40), min_size=1), st.integers(0, 5))
def test_every_beginning_keeps_the_class_shares(counts: dict[str, int], seed: int) -> None:
    """To within one row of its own, and its share of what the other classes are off by."""
    ordered = seeded_order(rows(counts), seed)
    total = sum(counts.values())
    for n in range(1, total + 1):
        seen = Counter(s.reference for s in ordered[:n])
        for label, count in counts.items():
            assert abs(seen[label] - n * count / total) < 1 + len(counts) * count / total


def test_references_that_occur_once_are_in_every_beginning_in_their_share() -> None:
    samples = rows({"yes": 450, "no": 450} | {f"only {k}": 1 for k in range(100)})
    for seed in range(5):
        ordered = seeded_order(samples, seed)
        for limit in (50, 100, 400, 900):
            found = sum(s.reference.startswith("only") for s in ordered[:limit])
            assert abs(found - limit / 10) <= 1


def test_a_hundred_classes_of_few_rows_are_in_their_share_together() -> None:
    """Sizes that fall as 1/k: the classes of one to three rows, all together."""
    counts = {f"c{k}": max(1, 200 // (k + 1)) for k in range(150)}
    samples = rows(counts)
    few = {label for label, count in counts.items() if count <= 3}
    share = sum(counts[label] for label in few) / len(samples)
    for seed in range(5):
        for limit in (100, 350, 700):
            found = sum(s.reference in few for s in seeded_order(samples, seed)[:limit])
            assert abs(found - limit * share) <= 5


def test_every_row_is_as_likely_as_any_other_to_be_drawn() -> None:
    samples = rows({"a": 40, "b": 7, "c": 2, "d": 1})
    seeds = 1500
    drawn = Counter(s.id for seed in range(seeds) for s in seeded_order(samples, seed)[:20])
    error = (0.4 * 0.6 / seeds) ** 0.5
    assert all(abs(drawn[s.id] / seeds - 0.4) <= 4.5 * error for s in samples)


def test_other_seeds_draw_other_references_that_occur_once() -> None:
    samples = rows({"a": 50} | {f"only {k}": 1 for k in range(50)})
    first, second = ({s.id for s in seeded_order(samples, seed)[:30] if s.reference != "a"} for seed in (1, 2))
    assert first != second


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


def test_no_rows_have_an_order_too() -> None:
    assert seeded_order([], 0) == []


def test_facts_without_a_version_are_of_the_first() -> None:
    assert order_version({"limit": 5}) == 1
    assert order_version({"limit": 5, ORDER: ORDER_VERSION}) == 2
