"""Which rows train and which choose the checkpoint: both from the training split, never from the evaluation split."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from harness.adapters.recipe import RowChoice
from harness.data.contamination import Signatures, find_overlap
from harness.data.rows import EMBEDDED, DataSource
from harness.data.sampling import fingerprint, seeded_order
from harness.errors import DataError, UsageError
from harness.records import Sample
from harness.task import NO_TARGET, Task, invalid_targets
from harness.task_loading import build_request, load_rows
from harness.text_format import count_noun

SHOWN = 5
"""How many offending rows a remark names."""


_SAME = (
    "{where}: the training rows are the evaluated rows ({rows}), and none is left to train on. A file without splits "
    "is read for both: split it (bench data split FILE --out DIR) and name the folder with --data or in the task, or "
    "name other training rows with --data."
)


class Rows(NamedTuple):
    """Rows of one training. `remarks` say in sentences what was left out and why."""

    train: list[Sample]
    validation: list[Sample]
    remarks: list[str]

    def fingerprint(self) -> str:
        """SHA-256 over the training rows."""
        return fingerprint(self.train)


def _is_one_file(location: str | None) -> bool:
    return location is not None and location != EMBEDDED and not Path(location).is_dir()


def row_id(sample: Sample) -> str:
    """The hash of a row's inputs, whichever repeat it is."""
    return sample.id.partition("-")[0]


def choose_rows(task: Task, location: str | None, recipe: RowChoice, limit: int | None) -> Rows:
    """Read the training split, leave out what must not be learned, carve validation rows, draw the rest.

    limit: at most so many training rows, beside the recipe's own `rows`. Raises UsageError: no rows, or
    labels that no training row has.
    """
    everything = load_rows(task, DataSource(location=location, split="train"))
    remarks: list[str] = []
    kept = _without_bad_targets(task, location or "the data set", everything, remarks)
    kept = _without_evaluation_rows(task, location, kept, remarks)
    train, validation = carve(kept, recipe.validation_rows, recipe.drawn_by)
    train = _drawn(train, recipe, limit)
    if not train:
        raise DataError(
            f"{location or 'the data set'}: no training row is left of {len(everything)}. {' '.join(remarks)}"
        )
    _check_labels(task, train)
    return Rows(train, validation, remarks)


def carve(samples: list[Sample], count: int, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Training and validation rows; rows of one group, or with equal inputs, stay on one side.

    Not more than a fifth of all rows goes to validation. The seeded order keeps the class shares.
    """
    wanted = min(count, len(samples) // 5)
    held: set[str] = set()
    taken = 0
    sizes: dict[str, int] = {}
    for sample in samples:
        sizes[_side(sample)] = sizes.get(_side(sample), 0) + 1
    for sample in seeded_order(samples, seed):
        side = _side(sample)
        if side not in held and taken + sizes[side] <= wanted:
            held.add(side)
            taken += sizes[side]
        if taken == wanted:
            break
    train = [s for s in samples if _side(s) not in held]
    return train, [s for s in samples if _side(s) in held]


def _side(sample: Sample) -> str:
    return f"group {sample.group}" if sample.group is not None else row_id(sample)


def _drawn(train: list[Sample], recipe: RowChoice, limit: int | None) -> list[Sample]:
    """The rows the recipe wants, in an order that the seed alone decides."""
    most = min(n for n in (recipe.rows, limit, len(train)) if n is not None)
    if recipe.best_by is None:
        return seeded_order(train, recipe.drawn_by)[:most]
    column = recipe.best_by
    try:
        best = sorted(train, key=lambda s: (-float(s.columns[column]), hashlib.sha256(s.id.encode()).digest()))
    except (KeyError, ValueError):
        raise DataError(f"recipe: best_by = '{column}' is not a column of numbers in the training rows.") from None
    return seeded_order(best[:most], recipe.drawn_by)


def _without_bad_targets(task: Task, where: str, samples: list[Sample], remarks: list[str]) -> list[Sample]:
    """Rows whose own target the task would call a format error teach that error: they are left out, and named."""
    bad = invalid_targets(task, samples)
    if len(bad) == len(samples) and set(bad.values()) == {NO_TARGET}:
        try:
            task.target(samples[0])
        except UsageError as error:  # the task knows what its rows lack, and where to get it
            raise DataError(f"{where}: none of the {len(samples)} training rows can be trained on: {error}") from None
    if bad:
        named = ", ".join(f"{i} ({kind})" for i, kind in list(bad.items())[:SHOWN])
        remarks.append(f"{len(bad)} of {len(samples)} targets are invalid and are left out: {named}.")
    return [s for s in samples if s.id not in bad]


def _without_evaluation_rows(
    task: Task, location: str | None, samples: list[Sample], remarks: list[str]
) -> list[Sample]:
    """Rows that are also in the evaluation split beside this one must not be learned."""
    if _is_one_file(location):  # no evaluation split is known here; `run` checks its rows against ours
        remarks.append(
            f"{location} is one file without splits: all its rows are training rows. Evaluate on others "
            f"(bench run --data OTHER), or split it first: bench data split {location} --out DIR."
        )
        return samples
    try:
        evaluation = list(task.samples(DataSource(location=location, split="test")))
    except UsageError:
        remarks.append("no evaluation split beside the training split: not checked for shared rows.")
        return samples
    evaluated = {row_id(s) for s in evaluation}
    if all(row_id(s) in evaluated for s in samples):
        raise DataError(_SAME.format(where=location or "the task's data", rows=count_noun(len(samples), "row")))
    shared = [s.id for s in samples if row_id(s) in evaluated]
    if shared:
        named = ", ".join(shared[:SHOWN])
        remarks.append(f"{len(shared)} training rows are also in the evaluation split and are left out: {named}.")
    kept = [s for s in samples if row_id(s) not in evaluated]
    training, tested = (
        Signatures.of(build_request(task, s).passage_texts() for s in rows) for rows in (kept, evaluation)
    )
    near = find_overlap(tested, training, "the training rows").rows
    if near:
        remarks.append(
            f"{len(near)} of {len(evaluation)} evaluation rows are near duplicates of training rows; they stay in, and "
            "a run shows its figures without them too."
        )
    return kept


def _check_labels(task: Task, train: list[Sample]) -> None:
    missing = sorted(set(task.labels) - {s.reference for s in train})
    if missing:
        raise DataError(
            f"no training row has the label {', '.join(missing)}: the adapter could never learn it; "
            "take more rows (--limit), or other data."
        )
