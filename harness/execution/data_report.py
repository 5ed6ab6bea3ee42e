"""What is to be known of a data set before anything is trained or asked: sizes, repeats, shared rows, bad targets."""

from collections import Counter

from harness.data.contamination import Signatures, find_overlap
from harness.data.rows import DataSource
from harness.data.sampling import fingerprint
from harness.errors import DataError, UsageError
from harness.records import Record, Sample
from harness.task import Task, invalid_targets
from harness.task_loading import build_request, read_rows
from harness.text_format import agreeing, count_noun
from harness.text_normalization import comparable_text

TRAIN, TEST = "train", "test"

LISTED = 5
"""How many invalid targets are listed in words; the record holds them all."""


class SplitReport(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One split: rows, rows with different inputs, groups (rows without one count each), references of a closed set,
    what its reader left out; or, in `missing`, why it cannot be read."""

    rows: int = 0
    distinct: int = 0
    groups: int = 0
    classes: dict[str, int] = {}
    fingerprint: str = ""
    remarks: tuple[str, ...] = ()
    missing: str = ""


class DataReport(Record, frozen=True, kw_only=True, omit_defaults=False):
    """A task's data.

    invalid_targets: training row -> kind of format error that its target would teach. shared: evaluated rows
    that are also in the training rows exactly, near: nearly; shared_distinct: of the rows with different inputs;
    touching: evaluated rows one of whose texts (a question of a pair) is in a training row.
    """

    task: str
    splits: dict[str, SplitReport]
    invalid_targets: dict[str, str] = {}
    shared: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    shared_distinct: int = 0
    touching: int = 0

    def sentences(self) -> list[str]:
        """The report in words."""
        said = []
        for name, split in self.splits.items():
            if split.missing:
                said.append(f"{name}: {split.missing}")
                continue
            repeats = split.rows - split.distinct
            also = f", {repeats:,} {agreeing(repeats, 'repeats', 'repeat')} the inputs of another" if repeats else ""
            classes = "; ".join(f"{label} {count:,}" for label, count in split.classes.items())
            sizes = f"{count_noun(split.rows, 'row')}{also}, {count_noun(split.groups, 'group')}"
            said.append(f"{name}: {sizes}" + (f" ({classes})" if classes else ""))
            said += split.remarks
        if self.invalid_targets:
            said.append(f"{len(self.invalid_targets)} of {self.splits[TRAIN].rows} training targets are invalid:")
            said += [f"  {row}: {kind}" for row, kind in list(self.invalid_targets.items())[:LISTED]]
            if len(self.invalid_targets) > LISTED:
                said.append(f"  and {len(self.invalid_targets) - LISTED} more (--json lists them all)")
        test = self.splits[TEST]
        if test.rows and test.fingerprint == self.splits[TRAIN].fingerprint:
            said.append(
                "train and test are the same rows: a file without splits is read for both. Split it (bench data split "
                "FILE --out DIR) and name the folder."
            )
        elif test.rows and self.splits[TRAIN].rows:
            seen = len(self.shared) + len(self.near)
            said.append(
                f"{seen} of {test.rows} evaluated rows are also in the training rows: {len(self.shared)} exactly "
                f"({self.shared_distinct} of {test.distinct} distinct ones), {len(self.near)} nearly."
            )
        if self.touching > len(self.shared):
            said.append(f"{self.touching} of {test.rows} evaluated rows share a text with a training row.")
        return said


def report_data(task: Task, location: str | None) -> DataReport:
    """Look at both splits. Raises UsageError where neither can be read."""
    rows: dict[str, list[Sample]] = {}
    splits: dict[str, SplitReport] = {}
    for name in (TRAIN, TEST):
        try:
            found, remarks = read_rows(task, DataSource(location=location, split=name))
        except UsageError as error:
            splits[name] = SplitReport(missing=str(error))
            continue
        rows[name] = found
        splits[name] = _split(task, found, remarks)
    if not rows:
        raise DataError(splits[TEST].missing)
    report = DataReport(task=task.name, splits=splits, invalid_targets=invalid_targets(task, rows.get(TRAIN, [])))
    if len(rows) < len(splits):
        return report
    texts = {name: [build_request(task, s).passage_texts() for s in rows[name]] for name in (TEST, TRAIN)}
    asked, learned = (Signatures.of(texts[name]) for name in (TEST, TRAIN))
    overlap = find_overlap(asked, learned, TRAIN)
    known = {comparable_text(text) for own in texts[TRAIN] for text in own} - {""}
    ids = [sample.id for sample in rows[TEST]]
    return DataReport(
        task=report.task,
        splits=splits,
        invalid_targets=report.invalid_targets,
        shared=tuple(ids[n] for n in overlap.exact),
        near=tuple(ids[n] for n in overlap.near),
        shared_distinct=len({int(asked.exact[n]) for n in overlap.exact}),
        touching=sum(any(comparable_text(text) in known for text in own) for own in texts[TEST]),
    )


def _split(task: Task, rows: list[Sample], remarks: list[str]) -> SplitReport:
    groups = {row.group if row.group is not None else row.id for row in rows}
    return SplitReport(
        rows=len(rows),
        distinct=len({row.id.partition("-")[0] for row in rows}),
        groups=len(groups),
        classes=dict(Counter(row.reference for row in rows).most_common()) if task.labels else {},
        fingerprint=fingerprint(rows),
        remarks=tuple(remarks),
    )
