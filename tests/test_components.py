"""Rows that share a text are one group, however long the chain."""

from hypothesis import given
from hypothesis import strategies as st

from harness.data.leakage_groups import shared_groups


def test_a_chain_of_shared_texts_is_one_group() -> None:
    a, b, c, alone = shared_groups([("x", "y"), ("y", "z"), ("Z ", "w"), ("p", "q")])
    assert a == b == c != alone


def test_the_name_of_a_group_does_not_depend_on_the_order_of_rows() -> None:
    rows = [("x", "y"), ("y", "z"), ("p", "q")]
    assert shared_groups(rows[::-1]) == shared_groups(rows)[::-1]


def test_no_rows_have_no_groups() -> None:
    assert shared_groups([]) == []
    assert len(set(shared_groups([(), ()]))) == 2


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=12))
def test_rows_that_share_a_text_always_share_a_group(rows: list[tuple[str, str]]) -> None:
    groups = shared_groups(rows)
    for first, mine in zip(rows, groups, strict=True):
        for second, other in zip(rows, groups, strict=True):
            if set(first) & set(second):
                assert mine == other
    merged = {frozenset().union(*(set(r) for r, g in zip(rows, groups, strict=True) if g == name)) for name in groups}
    assert sum(map(len, merged)) == len(frozenset().union(*map(set, rows)))  # groups share no text
