"""Cross Validated: open questions about statistics; the reference is the highest-voted answer."""

from collections.abc import Iterable
from pathlib import Path

from harness.errors import UsageError
from harness.labels import NOT_AN_ANSWER
from harness.metrics import FORMAT_ERROR_RATE, Metric
from harness.records import Completion, Message, Passage, Request, Sample, Score
from harness.rows import DataRow, DataSource, open_rows

from .similarity import similarities, similarity_metrics

INSTRUCTION = "Answer this question about statistics, in plain text.\n\n"


class CrossValidated:
    """Questions and answers of stats.stackexchange.com: likeness to the reference, or a judge's verdict."""

    name = "crossvalidated"
    version = "1"
    labels = ()
    recipe = "llama-3.2-3b-crossvalidated-all"

    embedded = Path(__file__).parent / "data" / "crossvalidated"

    def __init__(self) -> None:
        self.metrics = (
            *similarity_metrics(),
            FORMAT_ERROR_RATE,
            Metric(name="words", row_value="words", proportion=False),
        )

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """Rows with `question` and `answer`; optional `title`, `question_id`, `link` (kept for attribution) and, in
        training rows, the answer's `score` (votes, by which a recipe may take the best).
        """
        for row in open_rows(source, embedded=self.embedded):
            question, answer = _text(row, "question"), _text(row, "answer")
            title = row.text("title").strip() if row.fields.get("title") else ""
            inputs = {"title": title, "question": question} if title else {"question": question}
            group = row.text("question_id") if "question_id" in row.fields else None
            kept = ("link", "score") if source.split == "train" else ("link",)
            columns = {name: row.text(name) for name in kept if row.fields.get(name) is not None}
            yield Sample.of(inputs, answer, source.split, group=group, columns=columns)

    def request(self, sample: Sample) -> Request:
        """Instruction, then title and question as one passage."""
        text = "\n\n".join(sample.inputs[k] for k in ("title", "question") if k in sample.inputs)
        start = len(INSTRUCTION)
        return Request(
            id=sample.id,
            messages=(Message(role="user", content=INSTRUCTION + text),),
            passages=(Passage(message=0, start=start, end=start + len(text)),),
            max_tokens=512,
        )

    def score(self, sample: Sample, completion: Completion) -> Score:
        """Likeness to the reference where the libraries are installed, and the length; "empty" and "cut off" are
        format errors."""
        kind = NOT_AN_ANSWER.get(completion.finish or "")
        text = "" if kind else completion.text.strip()
        if kind is None and not text:
            kind = "empty"
        elif completion.finish == "length":
            kind = "cut off"
        values = {"words": float(len(text.split())), **similarities(text, sample.reference)}
        return Score(answer=text or None, format=kind, values=values)

    def target(self, sample: Sample) -> str:
        """The reference answer."""
        return sample.reference


def _text(row: DataRow, column: str) -> str:
    text = row.text(column).strip()
    if not text:
        raise UsageError(f"{row.place}: the {column} is empty.")
    return text
