"""Rows whose label a teacher disputes: listed for people to decide, and their decisions taken back into the data.

Teachers get the very requests that a run sends, at temperature 0. The list is a CSV file with a column `decision`; what
stays empty there stays as it is.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.data.csv_rows import read_delimited
from harness.data.row import DataRow
from harness.data.rows import DataSource
from harness.data.splitting import json_line
from harness.errors import DataError, UsageError
from harness.execution.executor import Observer
from harness.files import write_whole
from harness.records import Key, Record, Sample, number_repeats
from harness.settings import Settings
from harness.synthetic_data import TeacherRuns, read_answer, rejection
from harness.task import Task
from harness.task_file import FileTask
from harness.text_format import split_names
from harness.workspace import Workspace

SPLITS = ("train", "test")
TEACHER, LABEL, DROP = "teacher", "label", "drop"
"""Decisions: the teacher is right, the label is right, the row is worth nothing; any other text is the right answer."""

SHOWN = 2_000
"""Most characters of an input in the list."""


class AuditReport(Record, frozen=True, kw_only=True, omit_defaults=False):
    """rows: that were asked, by split. disputed: whose label no teacher gave while one gave another, by split.
    unanswered: rows to which no teacher gave a well-formed answer. cost in USD; list None: unknown."""

    task: str
    rows: dict[str, int]
    disputed: dict[str, int]
    unanswered: int
    path: str
    cost_list: float | None = None


class Correction(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What the decisions of a list changed. kept: rows with an empty decision, or "label"."""

    changed: int
    dropped: int
    kept: int
    rows: dict[str, int]


def audit_labels(
    task: Task,
    teachers: str,
    out: Path,
    settings: Settings,
    *,
    data: str | None = None,
    splits: Iterable[str] = SPLITS,
    limit: int | None = None,
    workspace: Workspace | None = None,
    max_cost: float | None = None,
    observer: Observer | None = None,
) -> AuditReport:
    """Ask teachers about labelled rows and write the disputed ones to `out`; the runs are beside it.

    A row is disputed where the most frequent answer of the teachers is not the label, by the task's own verdict.
    Raises UsageError: a task that is no file, a list that is there already.
    """
    whole = _of_file(task)
    if out.exists():
        raise UsageError(f"{out} already exists: take its decisions back with --apply, or name another --out.")
    asking = TeacherRuns(out.with_suffix(".runs"), settings, workspace, max_cost, observer)
    rows: dict[str, int] = {}
    disputed: dict[str, int] = {}
    unanswered, lines = 0, []
    for split in splits:
        samples = list(number_repeats(whole.samples(DataSource(location=data, split=split))))[:limit]
        rows[split] = len(samples)
        given = {
            name: asking.ask(f"{split}-{name}", whole, samples, name, temperature=0.0, seed=0)
            for name in split_names(teachers, "--teacher")
        }
        found = [_dispute(n, sample, [answers.get(Key(n, 0)) for answers in given.values()]) for n, sample in
                 enumerate(samples)]  # fmt: skip
        unanswered += sum(answer is None for answer in found)
        told = [(sample, answer) for sample, answer in zip(samples, found, strict=True) if answer]
        disputed[split] = len(told)
        lines += [_line(split, sample, *answer) for sample, answer in told]
    write_whole(out, _csv(lines).encode())
    return AuditReport(
        task=whole.name,
        rows=rows,
        disputed=disputed,
        unanswered=unanswered,
        path=str(out),
        cost_list=asking.cost_list(),
    )


def _of_file(task: Task) -> FileTask:
    if not isinstance(task, FileTask):
        raise UsageError(f"task '{task.name}' is no task file: an audit needs one, which says where its labels are.")
    return task


def _dispute(n: int, sample: Sample, lines: list[Any]) -> tuple[str, str] | tuple[()] | None:
    """The teachers' most frequent answer and how many gave it; () for the label itself; None without an answer."""
    bare = msgspec.structs.replace(sample, reference="")
    good = [line for line in lines if rejection(line, bare) is None]
    if not good:
        return None
    counts = Counter(read_answer(line) for line in good)
    answer, count = counts.most_common(1)[0]
    line = next(line for line in good if read_answer(line) == answer)
    return () if line.score.correct else (answer, f"{count} of {len(lines)}")


def _line(split: str, sample: Sample, answer: str, agreement: str) -> dict[str, str]:
    inputs = {f"input {name}": text[:SHOWN] for name, text in sample.inputs.items()}
    return {
        "split": split,
        "id": sample.id,
        **inputs,
        LABEL: sample.reference,
        TEACHER: answer,
        "agreement": agreement,
        "decision": "",
    }


def _csv(lines: list[dict[str, str]]) -> str:
    text = io.StringIO()
    names = list(dict.fromkeys(name for line in lines for name in line)) or ["split", "id", LABEL, TEACHER, "decision"]
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def apply_decisions(task: Task, decided: Path, out: Path, data: str | None = None) -> Correction:
    """Write the task's rows to the folder `out`, with the decisions of a list that `audit_labels` wrote.

    Raises DataError: a decision that cannot be the right answer of a row, a row that the data no longer hold, a folder
    that holds rows already.
    """
    whole = _of_file(task)
    taken = next((out / f"{split}.jsonl" for split in SPLITS if (out / f"{split}.jsonl").exists()), None)
    if taken is not None:
        raise DataError(f"{taken} already exists: name another --out.")
    decisions = {(row.text("split"), row.text("id")): row for row in read_delimited(decided)}
    counts: Counter[str] = Counter()
    rows: dict[str, int] = {}
    for split in SPLITS:
        mine = {row_id: row for (of, row_id), row in decisions.items() if of == split}
        kept = list(_decided(whole, DataSource(location=data, split=split), mine, counts))
        rows[split] = len(kept)
        write_whole(out / f"{split}.jsonl", b"".join(json_line(row) + b"\n" for row in kept))
        if mine:
            unknown = next(iter(mine.values()))
            raise DataError(
                f"{unknown.place}: the data hold no row {unknown.text('id')} in the split '{split}' (any more)."
            )
    return Correction(changed=counts["changed"], dropped=counts["dropped"], kept=counts["kept"], rows=rows)


def _decided(
    task: FileTask, source: DataSource, decisions: dict[str, DataRow], counts: "Counter[str]"
) -> Iterator[DataRow]:
    """The rows of a split with their decisions, which are taken out of `decisions`."""
    pairs = list(task.labelled_rows(source))
    for (row, _), sample in zip(pairs, number_repeats(sample for _, sample in pairs), strict=True):
        decision = decisions.pop(sample.id, None)
        choice = "" if decision is None else decision.text("decision").strip()
        if decision is None or choice in ("", LABEL):
            counts["kept"] += decision is not None
            yield row
        elif choice == DROP:
            counts["dropped"] += 1
        else:
            counts["changed"] += 1
            answer = decision.text(TEACHER) if choice == TEACHER else choice
            try:
                fields = task.corrected(row.fields, answer)
            except ValueError as error:  # NoReferenceError: the rest of a sentence that begins with the value
                raise DataError(f"{decision.place}: the decision {error}.") from None
            yield msgspec.structs.replace(row, fields=fields)
