"""QQP: do two Quora questions ask the same? Prompts, answer parser and the data's file formats."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data.csv_rows import read_literal_tsv
from harness.data.leakage_groups import shared_groups
from harness.data.rows import READERS, DataRow, DataSource, HubDataset, Reader, open_rows
from harness.errors import DataError
from harness.hashing import digest
from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, LENIENT_ACCURACY, LENIENT_FORMAT_ERROR_RATE, Metric
from harness.records import Completion, Lenient, Record, Request, Sample, Score, user_message
from harness.scoring.label_parsing import NOT_AN_ANSWER, answer_text
from harness.scoring.references import read_label
from harness.text_normalization import canonical_text, comparable_text

LABELS = ("0", "1")

_NUMBER = re.compile(r"(?<![\w.,])[-+]?[0-9]+(?:[.,][0-9]+)?(?!\w)")
_LINE = re.compile(r"^[ \t]*label[ \t]*:[ \t]*(\S*)[ \t]*", re.IGNORECASE | re.MULTILINE)
_SAYS_NO = re.compile(
    r"(?:\b(?:not|no|cannot)|n['\u2019]t)\b.{0,20}\b(?:duplicates?|similar|same)\b|\bdissimilar\b", re.I
)
_SAYS_YES = re.compile(r"\b(?:duplicates?|similar|same)\b", re.I)


class QqpReading(Record, frozen=True, kw_only=True):
    """`strict`: the label of a well formed answer (else `kind` says what is wrong); `lenient`: as guessed."""

    strict: str | None = None
    kind: str | None = None
    lenient: str | None = None


def read_alone(text: str, *, cut: bool = False) -> QqpReading:
    """An answer that must be the label and nothing else; never raises.

    Kinds: "no label", "label outside 0/1", "several labels", "text before the label", "text after the label",
    "cut off" (the length limit ended it before a label stood).
    """
    text = canonical_text(text).strip()
    label = comparable_text(text)
    if label in LABELS:
        return QqpReading(strict=label, lenient=label)
    numbers = _NUMBER.findall(text)
    labels = set(numbers) & set(LABELS)
    lenient = labels.pop() if len(labels) == 1 else None if labels else _in_words(text)
    if len(set(numbers) & set(LABELS)) > 1:
        kind = "several labels"
    elif lenient in numbers:
        kind = "text after the label" if text.startswith(str(lenient)) else "text before the label"
    elif cut:
        kind = "cut off"
    else:
        kind = "label outside 0/1" if numbers else "no label"
    return QqpReading(kind=kind, lenient=lenient)


def read_explained(text: str, *, cut: bool = False) -> QqpReading:
    """An explanation and, as its last line, `Label: 0` or `Label: 1`; never raises. Kinds as in `read_alone`."""
    text = canonical_text(text).strip()
    lines = list(_LINE.finditer(text))
    values = [m.group(1) for m in lines]
    if len(values) == 1 and values[0] in LABELS and lines[0].end() == len(text):
        return QqpReading(strict=values[0], lenient=values[0])
    last = text.splitlines()[-1] if text else ""
    labels = set(values) & set(LABELS)
    lenient = labels.pop() if len(labels) == 1 else None if labels else read_alone(last).lenient
    if len(values) > 1:
        kind = "several labels"
    elif not values or not values[0]:
        kind = "cut off" if cut else "no label"
    elif values[0] in LABELS:
        kind = "text after the label"
    else:
        kind = "label outside 0/1"
    return QqpReading(kind=kind, lenient=lenient)


def _in_words(text: str) -> str | None:
    if _SAYS_NO.search(text):
        return "0"
    return "1" if _SAYS_YES.search(text) else None


def score_verdict(completion: Completion, reference: str, *, explained: bool) -> Score:
    """The verdict on an answer; refusals, filters and too long contexts are wrong, under their own names."""
    kind = NOT_AN_ANSWER.get(completion.finish or "")
    if kind is not None:
        return Score(correct=False, format=kind, lenient=Lenient(correct=False))
    read = read_explained if explained else read_alone
    reading = read(answer_text(completion), cut=completion.finish == "length")
    return Score(
        answer=reading.strict,
        correct=reading.strict == reference,
        format=reading.kind,
        lenient=Lenient(answer=reading.lenient, correct=reading.lenient == reference),
    )


HUB = HubDataset(path="nyu-mll/glue", config="qqp", splits={"train": "train", "test": "validation"})
"""GLUE keeps the labels of its test split to itself: the validation split stands for it."""

SPLITS = {"test": ("validation", "dev", "test")}
"""For the same reason, a folder's validation or dev file is taken before its test file."""

GLUE_FILES = ("train", "dev", "test")
"""GLUE publishes TSV files of these names, in which quotes mean nothing. Any other TSV is Quora's own: quoted."""

TEST_SHARE = 0.1
"""Of the groups of Quora's one file, so many go to the test split."""


class QuestionPair(Record, frozen=True, kw_only=True):
    """One row: two questions, the label "0" or "1", an explanation where the data has one, and its place."""

    question1: str
    question2: str
    label: str
    explanation: str = ""
    place: str = ""


def read_pairs(source: DataSource, embedded: Path) -> Iterator[QuestionPair]:
    """The pairs of a source, in file order. Raises UsageError for an empty question or a label that is none."""
    for row in open_rows(source, hub=HUB, embedded=embedded, readers=_TSV, names=SPLITS.get(source.split)):
        yield _pair(row)


def is_quoras_file(source: DataSource) -> bool:
    """Whether the source is Quora's one TSV file, which has no splits: they are then drawn by group."""
    path = Path(source.location or "")
    return path.suffix.lower() == ".tsv" and path.stem not in GLUE_FILES


def split_of_group(group: str) -> str:
    """The split of a group of Quora's one file: all pairs that share questions go the same way."""
    return "test" if int(digest(group)[:8], 16) < TEST_SHARE * 2**32 else "train"


def _read_tsv(path: Path, headerless: tuple[str, ...]) -> Iterator[DataRow]:
    return read_literal_tsv(path) if path.stem in GLUE_FILES else READERS[".tsv"](path, headerless)


_TSV: Mapping[str, Reader] = {".tsv": _read_tsv}


def _pair(row: DataRow) -> QuestionPair:
    column = "is_duplicate" if "is_duplicate" in row.fields else "label"
    label = read_label(row, column, ("0", "1"))
    first, second = row.text("question1").strip(), row.text("question2").strip()
    if not first or not second:
        raise DataError(f"{row.place}: {'question1' if not first else 'question2'} is empty.")
    explanation = row.text("explanation").strip() if "explanation" in row.fields else ""
    return QuestionPair(question1=first, question2=second, label=label, explanation=explanation, place=row.place)


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
        """As `Qqp.request`, but free text: the label is at its end, so no label set is offered."""
        return _request(sample, ASK + EXPLAINED, "\n\nExplanation:", labels=(), max_tokens=160)

    def score(self, sample: Sample, completion: Completion) -> Score:
        """Right when the last line is `Label: ` and the digit."""
        return score_verdict(completion, sample.reference, explained=True)

    def target(self, sample: Sample) -> str:
        """Explanation and label: the only place where an explanation is ever used."""
        explanation = sample.columns.get("explanation")
        if not explanation:
            raise DataError(
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
