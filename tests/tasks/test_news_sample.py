"""The embedded news sample: written by this project, rebuilt byte for byte, and honest about what it tests."""

import re
from collections import Counter

import pytest

from harness.data.rows import DataSource
from harness.tasks.agnews import AgNews
from tests.support.shared import SHARED, needs_shared
from tools.samples import news, news_grammar


def texts(split: str) -> list[str]:
    return [s.inputs["text"] for s in AgNews().samples(DataSource(location="embedded", split=split))]


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_command_rebuilds_the_files_byte_for_byte(split: news_grammar.Pool) -> None:
    assert (news.OUT / f"{split}.jsonl").read_bytes() == news.file_content(split)


def test_classes_are_balanced_and_no_row_repeats() -> None:
    for split, per_class in (("train", 625), ("test", 125)):
        samples = list(AgNews().samples(DataSource(location="embedded", split=split)))
        assert Counter(s.reference for s in samples) == dict.fromkeys(AgNews.labels, per_class)
        assert len({s.id for s in samples}) == len(samples)


def test_items_read_like_news_a_title_line_and_a_body_of_full_sentences() -> None:
    for text in texts("train") + texts("test"):
        title, body = text.split("\n")
        assert 15 <= len(text.split()) <= 45
        assert title[0].isupper() or title[0].isdigit()
        assert body.endswith(".")
        assert not re.search(r"[{}|]|\s\s", text), f"an unfilled slot: {text}"


def test_evaluation_shares_words_with_training_but_hardly_a_phrase_and_no_name() -> None:
    train, test = texts("train"), texts("test")
    assert news.overlap(train, test, 2) < 0.15
    assert news.overlap(train, test, 4) < 0.01
    for kind in ("town", "land", "family", "brand", "mascot"):
        pools = [set(news_grammar.names(kind, pool)) for pool in ("train", "base", "test")]
        assert not (pools[0] & pools[1] or pools[0] & pools[2] or pools[1] & pools[2])


def test_a_quarter_of_the_rows_wears_the_words_of_another_topic() -> None:
    for label in news_grammar.FILES:
        for pool in ("train", "test"):
            said = news_grammar.topic(label, pool)
            assert len(said.hard) == 3 and len(said.plain) == 8
            assert all(s.titles and s.leads and s.tails for s in said.hard + said.plain)
    assert news.HARD_SHARE == 0.25


def test_a_classical_baseline_finds_it_neither_trivial_nor_hopeless() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train, test = (list(AgNews().samples(DataSource(location="embedded", split=s))) for s in ("train", "test"))
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10, max_iter=1000))
    model.fit([s.inputs["text"] for s in train], [s.reference for s in train])
    accuracy = model.score([s.inputs["text"] for s in test], [s.reference for s in test])
    assert 0.82 < accuracy < 0.95


def test_pretraining_texts_hold_no_evaluation_row() -> None:
    pretraining = set(news.pretraining_texts(2000, seed=1))
    assert len(pretraining) == 2000
    assert not pretraining & set(texts("test"))


@needs_shared("agnews")
def test_no_row_and_no_long_phrase_stems_from_ag_news() -> None:
    own = news.word_ngrams(texts("train") + texts("test"), 9)
    real = [s.inputs["text"] for s in AgNews().samples(DataSource(location=str(SHARED / "agnews"), split="train"))]
    assert not own & news.word_ngrams(real, 9)
