"""Two texts that a reader calls the same compare as the same; two that differ do not."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.text_normalization import canonical_text, comparable_text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Crème", unicodedata.normalize("NFD", "Crème")),
        ("서울", unicodedata.normalize("NFD", "서울")),
        ("state-of-the-art", "state\u2011of\u2011the\u2011art"),
        ("10 €", "10\u202f€"),
        ("joy\u200b", "\ufeffjoy"),
        ("so\u00adft", "soft"),
        ("❤\ufe0f", "❤"),
        ("a\r\nb", "a\nb"),
    ],
)
def test_what_no_reader_can_see_makes_no_difference(one: str, other: str) -> None:
    assert canonical_text(one) == canonical_text(other)
    assert comparable_text(one) == comparable_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("İleri", "ileri"),
        ("KIRMIZI", "kırmızı"),
        ("ΛΟΓΟΣ", "λόγος".replace("ό", "ο")),
        ("ＯＫ！", "ok!"),
        ("ﬁnal", "final"),
        ("follow–up", "follow-up"),
        ("−3", "-3"),
        ("don’t know", "don't  know"),
        ("l´amour", "l'amour"),
        ("「ｽﾎﾟｰﾂ」", "「スポーツ」"),
        ("全角　空白", "全角 空白"),
    ],
)
def test_what_a_reader_would_not_call_a_difference_makes_none(one: str, other: str) -> None:
    assert comparable_text(one) == comparable_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("cafe", "café"), ("mas", "más"), ("1", "١"), ("a b", "ab"), ("か", "が"), ("и", "й"), ("-", "~")],
)
def test_letters_that_differ_stay_different(one: str, other: str) -> None:
    assert canonical_text(one) != canonical_text(other)
    assert comparable_text(one) != comparable_text(other)


@given(st.text() | st.text(alphabet="İıi\u0307\u0301\u00b4\u2011 \u3000ｱﾞ\u200dß", max_size=8))
def test_normal_forms_are_normal(text: str) -> None:
    for normal in (canonical_text, comparable_text):
        assert normal(normal(text)) == normal(text)
    assert comparable_text(canonical_text(text)) == comparable_text(text)
