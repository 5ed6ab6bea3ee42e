"""Labels in answers: strict and lenient verdicts, and the kinds of format error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import Completion
from harness.scoring.label_parsing import find_labels, score_label
from harness.tasks.agnews import AgNews

LABELS = AgNews.labels


def score(text: str, finish: str = "stop", reference: str = "Sports"):  # type: ignore[no-untyped-def]
    return score_label(Completion(id="x", text=text, finish=finish), reference, LABELS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "finish", "answer", "kind", "lenient"),
    [
        ("Sports", "stop", "Sports", None, "Sports"),
        ("  sports\n", "stop", "Sports", None, "Sports"),
        ("Sports", "length", "Sports", None, "Sports"),
        ("The topic is Sports.", "stop", None, "extra text", "Sports"),
        ("Sports or Business", "stop", None, "several labels", None),
        ("Sportsmanship", "stop", None, "no label", None),
        ("", "stop", None, "empty", None),
        ("The topic is Sports and", "length", None, "cut off", "Sports"),
        ("I cannot say Sports", "refusal", None, "refusal", None),
        ("", "content_filter", None, "content filter", None),
        ("", "context_too_long", None, "context too long", None),
    ],
)
def test_kinds_of_answer(text: str, finish: str, answer: str | None, kind: str | None, lenient: str | None) -> None:
    verdict = score(text, finish)
    assert (verdict.answer, verdict.format, verdict.lenient.answer) == (answer, kind, lenient)
    assert verdict.correct == (answer == "Sports")
    assert verdict.lenient.correct == (lenient == "Sports")


@given(st.text())
def test_no_answer_makes_it_raise_and_lenient_accepts_all_that_strict_accepts(text: str) -> None:
    verdict = score(text)
    if verdict.answer is not None:
        assert verdict.format is None
        assert verdict.lenient.answer == verdict.answer


@given(st.sampled_from(LABELS), st.sampled_from(["", " ", "\n"]))
def test_a_label_always_reads_as_itself(label: str, space: str) -> None:
    assert score(space + label.upper() + space, reference=label).correct


def test_a_label_with_punctuation_is_found_as_a_word() -> None:
    assert find_labels("It is sci/tech, surely", LABELS) == ["Sci/Tech"]
    assert find_labels("worldwide", LABELS) == []


def found(text: str, *labels: str) -> list[str]:
    return find_labels(text, labels)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("结论：正面。", "正面"),
        ("我认为是正面的", "正面"),
        ("分类结果为Positive。", "Positive"),
        ("判定は肯定的です", "肯定的"),
        ("これはニュースです", "ニュース"),
        ("정답은 경제입니다.", "경제"),
        ("경제로 분류됩니다", "경제"),
        ("Economy입니다", "Economy"),
        ("คำตอบคือการเมืองครับ", "การเมือง"),
        ("ຄຳຕອບແມ່ນການເມືອງ", "ການເມືອງ"),
        ("ចម្លើយគឺនយោបាយ។", "នយោបាយ"),
        ("အဖြေမှာနိုင်ငံရေးဖြစ်သည်", "နိုင်ငံရေး"),
        ("उत्तर: राजनीति है", "राजनीति"),
    ],
)
def test_a_label_is_found_in_scripts_with_and_without_blanks(text: str, label: str) -> None:
    assert found(text, label, "Other") == [label]
    assert score_label(Completion(id="x", text=text, finish="stop"), label, (label, "Other")).format == "extra text"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("ニュースキャスター", "ニュース"),  # a longer word in katakana
        ("경제학자", "경제"),  # an economist
        ("비경제", "경제"),
        ("ดี", "ด"),  # a consonant with its vowel mark
        ("เกม", "กม"),  # the vowel before the consonant belongs to it
        ("राजनीतिक", "राजनीति"),
        ("Positively", "Positive"),
        ("re\u0301sume\u0301", "resume"),
    ],
)
def test_a_label_is_not_found_inside_another_word(text: str, label: str) -> None:
    assert found(text, label, "Other") == []


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3.5", []),
        ("-2", []),
        ("12", []),
        ("2.0", ["2"]),
        ("Rating: 2.", ["2"]),
        ("评分是2", ["2"]),
        ("2, because", ["2"]),
        ("level-2", ["2"]),
        ("2 / 3", ["2", "3"]),
    ],
)
def test_a_number_is_not_found_inside_another_number(text: str, answer: list[str]) -> None:
    assert found(text, "1", "2", "3") == answer


def test_the_longest_of_overlapping_labels_counts() -> None:
    assert found("不相关。", "相关", "不相关") == ["不相关"]
    assert found("it is non\u2011toxic", "toxic", "non-toxic") == ["non-toxic"]
    assert found("-1", "-1", "0", "1") == ["-1"]


def test_a_label_in_other_forms_of_unicode_is_the_label() -> None:
    for text in ("sci\u200b/tech", "ＳＣＩ／ＴＥＣＨ", "\ufeffSci/Tech\u00a0"):
        assert score(text, reference="Sci/Tech").correct
    decomposed = score_label(Completion(id="x", text="Ne\u0301gatif", finish="stop"), "Négatif", ("Négatif", "Positif"))
    assert (decomposed.correct, decomposed.answer) == (True, "Négatif")


def test_an_answer_of_invisible_characters_is_empty() -> None:
    assert score("\u200b\ufeff").format == "empty"


def test_thoughts_that_a_backend_left_in_the_text_are_no_answer() -> None:
    thought = "<think>\nSports? Or Business?\n</think>\n\n"
    assert score(f"{thought}Sports").correct
    told = score(f"{thought}I would say Sports.")
    assert (told.format, told.lenient.answer) == ("extra text", "Sports")
    assert score("<think>Sports or Business, let me", "length").format == "cut off"
