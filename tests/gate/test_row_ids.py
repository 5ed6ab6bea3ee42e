"""Ids in an array behave as the list of strings would."""

import random

import pytest

from harness.gating.row_ids import AT_ONCE, RowIds

IDS = ["b7", "a1-2", "a1", "é", "z", "日本", "c\udc80"]


def test_ids_come_back_in_order() -> None:
    ids = RowIds.of(IDS)
    assert list(ids) == IDS
    assert (len(ids), ids[3], list(ids[1:3])) == (len(IDS), "é", ["a1-2", "a1"])
    assert ids == RowIds.of(iter(IDS))
    assert ids != RowIds.of(reversed(IDS))


def test_they_sort_as_strings_do() -> None:
    ids = RowIds.of(IDS)
    assert list(ids.only(ids.order())) == sorted(IDS)


def test_ids_of_another_list_are_found() -> None:
    ids = RowIds.of(IDS)
    assert ids.find(RowIds.of(["z", "nowhere", "b7", "a1"])).tolist() == [4, -1, 0, 2]
    assert ids.find(RowIds.of(["a longer one than any that is here"])).tolist() == [-1]
    assert ids.common(RowIds.of(["z", "y", "é"])) == 2


def test_no_ids() -> None:
    none = RowIds.of([])
    assert (len(none), none.repeated(), none.find(RowIds.of(["a"])).tolist()) == (0, None, [-1])
    assert RowIds.of(["a"]).find(none).tolist() == []


def test_an_id_that_occurs_twice_is_named() -> None:
    assert RowIds.of(IDS).repeated() is None
    assert RowIds.of([*IDS, "é"]).repeated() == "é"


@pytest.mark.parametrize("count", [AT_ONCE - 1, AT_ONCE + 3])
def test_many_ids_of_growing_length(count: int) -> None:
    rng = random.Random(5)
    names = [f"{n}{'x' * (n // 30_000)}" for n in range(count)]
    ids = RowIds.of(names)
    some = rng.sample(range(count), 50)
    assert [ids[n] for n in some] == [names[n] for n in some]
    assert ids.find(RowIds.of(names[n] for n in some)).tolist() == some
