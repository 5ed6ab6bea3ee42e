"""QQP: do two questions of Quora ask the same? In two prompt forms: the label alone, or an explanation before it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.data.components import shared_groups
from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, LENIENT_ACCURACY, LENIENT_FORMAT_ERROR_RATE, Metric
from harness.prompting.user_message import user_message
from harness.records import Completion, Request, Sample, Score

from .qqp_answer import LABELS, score_verdict
from .qqp_files import HUB, is_quoras_file, read_pairs, split_of_group

METRICS = (
    ACCURACY,
    Metric(name="f1", kind="confusion", proportion=False, positive="1"),
    Metric(name="precision", kind="confusion", proportion=False, positive="1"),
    Metric(name="recall", kind="confusion", proportion=False, positive="1"),
    FORMAT_ERROR_RATE,
    LENIENT_ACCURACY,
    LENIENT_FORMAT_ERROR_RATE,
)

ASK = "Do these two questions ask the same thing? 1 means similar (duplicates), 0 means dissimilar."
ALONE = " Answer with the digit and nothing else."
EXPLAINED = (
    " First explain in one or two sentences, then end with a line of its own that says 'Label: 1' or 'Label: 0'."
)


class Qqp:
    """Quora Question Pairs; the answer is the label alone. Pairs that share questions are one group."""

    name = "qqp"
    version = "3"
    labels = LABELS
    metrics = METRICS
    recipe = "llama-3-8b-qqp-explained"

    hub = HUB
    embedded = Path(__file__).parent / "data" / "qqp"

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """Rows of GLUE's QQP (Hub or TSV), of Quora's own TSV (split by group), of CSV or JSONL."""
        pairs = list(read_pairs(source, self.embedded))
        groups = shared_groups([(p.question1, p.question2) for p in pairs])
        draw = is_quoras_file(source)
        for pair, group in zip(pairs, groups, strict=True):
            if draw and split_of_group(group) != source.split:
                continue
            keep = pair.explanation and source.split == "train"  # a target's part; evaluation has no use for it
            columns = {"explanation": pair.explanation} if keep else None
            inputs = {"question1": pair.question1, "question2": pair.question2}
            yield Sample.of(inputs, pair.label, source.split, group=group, columns=columns)

    def request(self, sample: Sample) -> Request:
        """Instruction, then the two questions as passages."""
        return _request(sample, ASK + ALONE, "\n\nLabel:", labels=self.labels, max_tokens=8)

    def score(self, sample: Sample, completion: Completion) -> Score:
        """Right when the answer is exactly the digit."""
        return score_verdict(completion, sample.reference, explained=False)

    def target(self, sample: Sample) -> str:
        """The digit."""
        return sample.reference


class QqpExplained(Qqp):
    """The same pairs; the answer is an explanation and then the label, as in the reference case."""

    name = "qqp-explained"
    recipe = "llama-3-8b-qqp-explained"

    def request(self, sample: Sample) -> Request:
        """As `Qqp.request`, but free text: the label stands at its end, so no label set is offered."""
        return _request(sample, ASK + EXPLAINED, "\n\nExplanation:", labels=(), max_tokens=160)

    def score(self, sample: Sample, completion: Completion) -> Score:
        """Right when the last line is `Label: ` and the digit."""
        return score_verdict(completion, sample.reference, explained=True)

    def target(self, sample: Sample) -> str:
        """Explanation and label: the only place where an explanation is ever used."""
        explanation = sample.columns.get("explanation")
        if not explanation:
            raise UsageError(
                f"row {sample.id} ('{sample.inputs['question1'][:60]}') has no explanation to train on: "
                "add a column 'explanation', let a teacher write them (bench data generate --task qqp-explained "
                "--teacher BACKEND --rows N --data DATA --out DIR), or train on the label alone (--task qqp)."
            )
        return f"{explanation}\nLabel: {sample.reference}"

    def taught_row(self, sample: Sample, answer: str) -> dict[str, Any]:
        """A data row from a teacher's whole answer, which ends in the label."""
        explanation = answer.strip().rpartition("\n")[0].strip()
        return {**sample.inputs, "label": int(sample.reference), "explanation": " ".join(explanation.split())}


def _request(sample: Sample, instruction: str, end: str, labels: tuple[str, ...], max_tokens: int) -> Request:
    first, second = sample.inputs["question1"], sample.inputs["question2"]
    messages, passages = user_message(f"{instruction}\n\nQuestion 1: ", (first, "\nQuestion 2: "), (second, end))
    return Request(id=sample.id, messages=messages, passages=passages, labels=labels, max_tokens=max_tokens)
