"""A task written as a TOML file: prompt, form of the answer, data, columns, metrics. See docs/write-a-task.md."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from harness.data.row import kind_of
from harness.data.rows import DataRow, DataSource, open_rows
from harness.data.split_files import split_files
from harness.errors import SettingsError, did_you_mean
from harness.metrics import ACCURACY, CLASSIFICATION, FORMAT_ERROR_RATE, LENIENT_ACCURACY, Metric
from harness.prompting.templates import PromptTemplate, named_in_prompt
from harness.records import Completion, Request, Sample, Score
from harness.scoring.answer_forms import AnswerForm, LabelForm, PatternForm, SchemaForm, TextForm
from harness.scoring.label_parsing import READING
from harness.scoring.references import NoReferenceError, check_values
from harness.settings import decode_table, read_toml
from harness.text_format import agreeing
from harness.text_normalization import comparable_text

OF_ONE_CLASS = ("f1", "precision", "recall")
KNOWN = {m.name: m for m in CLASSIFICATION}


class TaskFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a task file.

    Of labels, pattern and schema at most one; with none of them an answer is any text, right when equal to the
    reference.

    prompt: Jinja template over the columns of a row. name: the task's name (default: the file's). version: raise it
    when parsing or scoring changes; runs of different versions are never compared. system: template of a system
    message.
    data: a file or folder, relative to the task file. reference: the column of the right answer. delimiter: what
    separates the values of its CSV files (default: found by their first lines).
    labels: the closed set of answers. values: label for each value that the data holds in its place, as in 0 = "no".
    pattern: regular expression of a whole answer; its first group, if any, is the answer. schema: JSON schema of the
    answer; a reference is then JSON, as text or as an object. target: template of the answer to train on, which may
    name any column (default: the reference). group: column that joins rows which are not independent. slices: columns
    by which results are split. metrics: what is reported, the first is the headline. positive: the label that f1,
    precision and recall are about. max_tokens: most tokens of an answer (0: enough for the longest label; else by the
    form of the answer). stop: texts that end an answer. recipe: what `bench train` uses when it names none.
    """

    prompt: str
    name: str = ""
    version: str = "1"
    system: str | None = None
    data: str | None = None
    reference: str = ""
    delimiter: str | None = None
    labels: tuple[str | bool | int | float, ...] = ()
    values: dict[str, str] = {}
    pattern: str | None = None
    schema: dict[str, Any] | None = None
    target: str | None = None
    group: str | None = None
    slices: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    positive: str | None = None
    max_tokens: int = 0
    stop: tuple[str, ...] = ()
    recipe: str = "agnews-generate"


class FileTask:
    """A task file as a task."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = file = decode_table(read_toml(path), TaskFile, str(path))
        self.name = _name(file, path)
        self.version = f"{file.version}/{READING}"
        self.labels = _labels(file)
        self.recipe = file.recipe
        self._form = _form(file, self.labels, path)
        if file.delimiter is not None and (len(file.delimiter) != 1 or file.delimiter in '"\r\n'):
            raise SettingsError(f"{path}: delimiter '{file.delimiter}' is not one character (write ';' or '\\t').")
        self._prompt = PromptTemplate(file.prompt, file.system, place=f"{path}: prompt")
        self._target = PromptTemplate(file.target, place=f"{path}: target") if file.target else None
        if file.reference and file.reference in self._prompt.names:
            raise SettingsError(f"{path}: the prompt names '{file.reference}', the column of the right answer.")
        if not self._prompt.names:
            raise SettingsError(f"{path}: the prompt names no column; write {{{{ text }}}} where a row's text belongs.")
        self.metrics = _metrics(file, self.labels, path)

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """The rows of the file's own data, or of `--data`."""
        if source.location is None and self.file.data:
            source = DataSource(location=str(self._own_data(self.file.data, source.split)), split=source.split)
        for row in open_rows(source, delimiter=self.file.delimiter):
            yield self._sample(row, source.split)

    def _own_data(self, name: str, split: str) -> Path:
        """The task file's own data, which lies beside or below it: a downloaded task reads nothing else."""
        home, place = self.path.parent.resolve(), self.path.parent / name
        try:
            inside = place.resolve().is_relative_to(home)
            if inside and place.is_dir():  # its files may be links themselves
                inside = all(file.resolve().is_relative_to(home) for file in split_files(place, split))
        except (OSError, ValueError) as error:  # too long, or with a NUL: no file can have such a name
            raise SettingsError(
                f"{self.path}: data '{name[:60]}' cannot be read ({getattr(error, 'strerror', error)})."
            ) from None
        if not inside:
            raise SettingsError(
                f"{self.path}: data '{name}' lies outside the task file's folder; "
                "move it there, or name it with --data."
            )
        return place

    def _sample(self, row: DataRow, split: str) -> Sample:
        inputs = {name: self._input(row, name) for name in sorted(self._prompt.names)}
        if not any(text.strip() for text in inputs.values()):
            raise SettingsError(f"{row.place}: {' and '.join(inputs)} {agreeing(len(inputs), 'is')} empty.")
        reference = self._reference(row) if self.file.reference else ""
        taught = self._target.names - {*inputs, self.file.reference} if self._target else frozenset()
        if split != "train":  # rows that nobody trains on need no target
            taught = frozenset(name for name in taught if row.fields.get(name) is not None)
        columns = {name: row.text(name) for name in sorted({*self.file.slices, *taught})}
        group = row.text(self.file.group) if self.file.group else None
        return Sample.of(inputs, reference, split, group=group, columns=columns)

    def _input(self, row: DataRow, name: str) -> str:
        """A column that the prompt names, as text."""
        if name not in row.fields:
            raise SettingsError(f"{row.place}: no column '{name}'{did_you_mean(name, row.fields)}{_how(name, row)}.")
        value = row.fields[name]
        if isinstance(value, list | dict):
            raise SettingsError(
                f"{row.place}: column '{name}' holds {kind_of(value)}, and a prompt prints texts: write it as text in "
                "the file, or the task as a class (bench new-task), which makes a text of it."
            )
        return row.text(name)

    def _reference(self, row: DataRow) -> str:
        """The right answer, as the form of the answer reads it. Raises UsageError where no answer could be right."""
        column = self.file.reference
        try:
            return self._form.reference(row.value(column), row.classes.get(column, ()))
        except NoReferenceError as error:
            raise SettingsError(f"{row.place}: {column} {error}.") from None

    def request(self, sample: Sample) -> Request:
        """The prompt, filled; its columns are passages."""
        request = Request(
            id=sample.id,
            messages=(),
            labels=self.labels,
            schema=self.file.schema,
            stop=self.file.stop,
            max_tokens=self.file.max_tokens or self._form.max_tokens,
        )
        return self._prompt.apply(request, sample.inputs)

    def score(self, sample: Sample, completion: Completion) -> Score:
        """The verdict that the form of the answer gives."""
        return self._form.score(completion, sample.reference)

    def target(self, sample: Sample) -> str:
        """The reference, or the `target` template filled."""
        if self._target is None:
            return sample.reference
        own = {self.file.reference: sample.reference} if self.file.reference else {}
        messages, _ = self._target.render({**sample.columns, **sample.inputs, **own})
        return messages[0].content


def _how(name: str, row: DataRow) -> str:
    """How the prompt names a column that it seems to mean, where a column's name is no identifier."""
    odd = [column for column in row.fields if not column.isidentifier()]
    meant = [column for column in odd if re.sub(r"\W", "_", column) == name or name in re.split(r"\W+", column)]
    return f"; the prompt names '{meant[0]}' as {named_in_prompt(meant[0])}" if meant else ""


def _name(file: TaskFile, path: Path) -> str:
    """The task's name. Raises UsageError for one that would lead a run directory out of the workspace."""
    name = file.name or path.stem
    if "/" in name or "\\" in name or name.startswith(".") or not name.isprintable():
        raise SettingsError(
            f"{path}: '{name}' cannot name a task, because folders are named after it: set another with `name`."
        )
    return name


def _labels(file: TaskFile) -> tuple[str, ...]:
    """The labels as text; TOML's true and 1 as they are written."""
    return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in file.labels)


def _check_labels(labels: tuple[str, ...], path: Path) -> None:
    """Answers are read without regard to case, white space and forms of Unicode: so far labels must differ."""
    read_as: dict[str, str] = {}
    for label in labels:
        read = comparable_text(label)
        if read in read_as:
            raise SettingsError(
                f"{path}: the labels '{read_as[read]}' and '{label}' read alike: case, white space and forms of "
                "Unicode do not tell them apart."
            )
        if not read or label != label.strip():
            raise SettingsError(f"{path}: the label '{label}' is empty or has white space around it.")
        read_as[read] = label


def _form(file: TaskFile, labels: tuple[str, ...], path: Path) -> AnswerForm:
    given = [name for name in ("labels", "pattern", "schema") if getattr(file, name)]
    if len(given) > 1:
        raise SettingsError(f"{path}: {' and '.join(given)} exclude each other; give one form of the answer.")
    if file.values and not labels:
        raise SettingsError(f"{path}: [values] maps what the data holds to labels: give `labels` too.")
    if labels:
        if not file.reference:
            raise SettingsError(f"{path}: labels need `reference`, the column of the right label.")
        _check_labels(labels, path)
        check_values(file.values, labels, str(path))
        return LabelForm(labels, file.values)
    if file.pattern:
        return PatternForm.compiled(file.pattern, str(path))
    if file.schema:
        return SchemaForm.checked(file.schema, str(path))
    return TextForm()


def _metrics(file: TaskFile, labels: tuple[str, ...], path: Path) -> tuple[Metric, ...]:
    if not file.metrics:
        if file.labels:
            return CLASSIFICATION
        return (ACCURACY, FORMAT_ERROR_RATE, LENIENT_ACCURACY) if file.reference else (FORMAT_ERROR_RATE,)
    known = KNOWN if file.labels else {n: m for n, m in KNOWN.items() if m.kind == "mean"}
    found = []
    for name in file.metrics:
        if name in OF_ONE_CLASS and file.labels:
            if file.positive not in labels:
                raise SettingsError(f"{path}: {name} needs `positive`, one of the labels {', '.join(labels)}.")
            found.append(Metric(name=name, kind="confusion", proportion=False, positive=file.positive))
        elif name in known:
            found.append(known[name])
        else:
            names = (*known, *(OF_ONE_CLASS if file.labels else ()))
            raise SettingsError(f"{path}: no metric '{name}' for this form of answer{did_you_mean(name, names)}.")
    return tuple(found)
