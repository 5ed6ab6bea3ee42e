"""Cross Validated: open questions about statistics; the reference is the highest-voted answer; chrF and ROUGE-L."""

import importlib
import math
import warnings
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.data.rows import DataRow, DataSource, DataWarning, open_rows
from harness.errors import DataError
from harness.metrics import FORMAT_ERROR_RATE, Metric
from harness.records import Completion, Request, Sample, Score, user_message
from harness.scoring.label_parsing import NOT_AN_ANSWER, answer_text

CHRF = Metric(name="chrf", row_value="chrf", proportion=False, low=0.0, high=1.0)
ROUGE_L = Metric(name="rouge_l", row_value="rouge_l", proportion=False, low=0.0, high=1.0)

LONGEST_WORDS = 2000
"""ROUGE-L's time grows with the product of both lengths: only the first words of either text are compared."""


def similarity_metrics() -> tuple[Metric, ...]:
    """The metrics that can be computed with what is installed."""
    found = (("sacrebleu", CHRF), ("rouge_score", ROUGE_L))
    return tuple(metric for package, metric in found if find_spec(package) is not None)


def similarities(text: str, reference: str) -> dict[str, float]:
    """chrF (M. Popovic 2015, of one sentence) and the F of ROUGE-L (C.-Y. Lin 2004, stemmed), both from 0 to 1."""
    values = {}
    for metric in similarity_metrics():
        values[metric.row_value] = _chrf(text, reference) if metric is CHRF else _rouge_l(text, reference)
    return values


@lru_cache(maxsize=1)
def _chrf_scorer() -> Any:
    return importlib.import_module("sacrebleu.metrics").CHRF()


@lru_cache(maxsize=1)
def _rouge_scorer() -> Any:
    return importlib.import_module("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=True)


def _chrf(text: str, reference: str) -> float:
    return float(_chrf_scorer().sentence_score(text, [reference]).score) / 100


def _rouge_l(text: str, reference: str) -> float:
    first, second = (" ".join(t.split()[:LONGEST_WORDS]) for t in (reference, text))
    return float(_rouge_scorer().score(first, second)["rougeL"].fmeasure)


INSTRUCTION = "Answer this question about statistics, in plain text.\n\n"


class CrossValidated:
    """Questions and answers of stats.stackexchange.com: likeness to the reference, or a judge's verdict."""

    name = "crossvalidated"
    version = "2"
    labels = ()
    recipe = "llama-3.2-3b-crossvalidated-all"

    embedded = Path(__file__).parent / "data" / "crossvalidated"

    def __init__(self) -> None:
        self.metrics = (
            *similarity_metrics(),
            FORMAT_ERROR_RATE,
            Metric(name="words", row_value="words", proportion=False, low=0.0, unit="words"),
        )

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """Rows with `question` and `answer`; optional `title`, `question_id`, `link` (kept for attribution) and
        `answer_score` (votes). Of several answers to a question the one with most votes is taken, in the place of
        the first; a DataWarning counts the others. Training rows keep their votes as the column `score`, by which
        a recipe may take the best.
        """
        best: dict[str, tuple[float, Sample]] = {}
        others = 0
        for row in open_rows(source, embedded=self.embedded):
            sample, votes = self._sample(row, source.split), _votes(row)
            others += sample.id in best
            if sample.id not in best or votes > best[sample.id][0]:
                best[sample.id] = (votes, sample)
        if others:
            message = (
                f"{source.location}: {others} answers with fewer votes than another to the same question left out."
            )
            warnings.warn(DataWarning(message), stacklevel=2)
        yield from (sample for _, sample in best.values())

    def _sample(self, row: DataRow, split: str) -> Sample:
        question, answer = _text(row, "question"), _text(row, "answer")
        title = row.text("title").strip() if row.fields.get("title") else ""
        inputs = {"title": title, "question": question} if title else {"question": question}
        group = row.text("question_id") if "question_id" in row.fields else None
        columns = {"link": row.text("link")} if row.fields.get("link") else {}
        if split == "train" and "answer_score" in row.fields:
            columns["score"] = row.text("answer_score")
        return Sample.of(inputs, answer, split, group=group, columns=columns)

    def request(self, sample: Sample) -> Request:
        """Instruction, then title and question as one passage."""
        text = "\n\n".join(sample.inputs[k] for k in ("title", "question") if k in sample.inputs)
        messages, passages = user_message(INSTRUCTION, (text, ""))
        return Request(id=sample.id, messages=messages, passages=passages, max_tokens=512)

    def score(self, sample: Sample, completion: Completion) -> Score:
        """Likeness to the reference where the libraries are installed, and the length; "empty" and "cut off" are
        format errors."""
        kind = NOT_AN_ANSWER.get(completion.finish or "")
        text = "" if kind else answer_text(completion).strip()
        if kind is None and not text:
            kind = "empty"
        elif completion.finish == "length":
            kind = "cut off"
        values = {"words": float(len(text.split())), **similarities(text, sample.reference)}
        return Score(answer=text or None, format=kind, values=values)

    def target(self, sample: Sample) -> str:
        """The reference answer."""
        return sample.reference


def _votes(row: DataRow) -> float:
    if "answer_score" not in row.fields:
        return 0.0
    text = row.text("answer_score")
    try:
        votes = float(text)
    except ValueError:
        votes = math.nan
    if not math.isfinite(votes):  # nothing is more or less than NaN: the best answer would depend on the order
        raise DataError(f"{row.place}: answer_score '{text}' is not a number.")
    return votes


def _text(row: DataRow, column: str) -> str:
    text = row.text(column).strip()
    if not text:
        raise DataError(f"{row.place}: the {column} is empty.")
    return text
