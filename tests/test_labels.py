"""Labels in answers: strict and lenient verdicts, and the kinds of format error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.answers.labels import find_labels, score_label
from harness.records import Completion
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
