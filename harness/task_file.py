"""A task written as a TOML file: prompt or conversation, form of the answer, data, columns, metrics. See
docs/write-a-task.md."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.data.conversations import asked_turns, inputs_of, messages_of, read_conversation
from harness.data.label_sets import labels_of_file, labels_of_rows
from harness.data.row import DataRow, is_missing, kind_of
from harness.data.rows import HUB, DataSource, HubDataset, open_rows, split_files
from harness.errors import DataError, SettingsError, UsageError, did_you_mean
from harness.prompting.templates import PromptTemplate, named_in_prompt
from harness.records import Completion, Request, Sample, Score
from harness.scoring.answer_reading import parsed_json
from harness.scoring.label_parsing import READING
from harness.scoring.references import NoReferenceError
from harness.scoring.tool_call_form import ToolCallForm
from harness.settings import decode_table, read_toml
from harness.task_forms import WITH_LABELS, HubKeys, TaskFile, build_form, form_kind, metrics_of
from harness.text_format import agreeing


class LabelList(tuple[str, ...]):
    """The labels in a prompt: printed with commas between them; a loop has them one by one."""

    __slots__ = ()

    def __str__(self) -> str:
        return ", ".join(self)


class FileTask:
    """A task file as a task."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = file = decode_table(read_toml(path), TaskFile, str(path))
        self.name = _name(file, path)
        self.version = f"{file.version}/{READING}"
        self.recipe = file.recipe
        kind = form_kind(file, path)
        if kind.name in WITH_LABELS and not (file.reference or file.messages):
            raise SettingsError(f"{path}: labels need `reference`, the column of the right label.")
        self._check_keys()
        closed = self._labels() if kind.name in WITH_LABELS else ()
        self.form = build_form(file, closed, path)
        self.labels = self.form.labels
        self.by_column = kind.name == "fields" and not file.reference and not file.messages
        self.constants: dict[str, Any] = {"labels": LabelList(closed)} if closed else {}
        self._prompt = self._prompt_template()
        self._system = _plain_system(file, self.constants, path) if file.messages else None
        self._target = PromptTemplate(file.target, place=f"{path}: target") if file.target else None
        with_reference = bool(file.reference or file.messages or self.by_column)
        self.metrics = metrics_of(file, self.form, with_reference=with_reference, path=path)

    def _check_keys(self) -> None:
        """Raises SettingsError for keys whose values can mean nothing."""
        file, path = self.file, self.path
        if file.delimiter is not None and (len(file.delimiter) != 1 or file.delimiter in '"\r\n'):
            raise SettingsError(f"{path}: delimiter '{file.delimiter}' is not one character (write ';' or '\\t').")
        if bool(file.prompt) == bool(file.messages):
            both = "exclude each other" if file.prompt else "are both missing: give one"
            raise SettingsError(f"{path}: `prompt` and `messages` {both}.")
        if file.hub is not None and not (file.data or "").startswith(HUB):
            raise SettingsError(f'{path}: [hub] belongs to data = "hub:owner/name".')

    def _prompt_template(self) -> PromptTemplate | None:
        """None for a task of conversations. Raises SettingsError for a prompt that names the answer, or no column."""
        file, path = self.file, self.path
        if file.messages:
            return None
        prompt = PromptTemplate(file.prompt, file.system, place=f"{path}: prompt", constants=self.constants)
        answers = set(file.fields) if self.by_column else {file.reference} - {""}
        named = sorted(answers & prompt.names)
        if named:
            raise SettingsError(f"{path}: the prompt names '{named[0]}', the column of the right answer.")
        if not prompt.names:
            raise SettingsError(f"{path}: the prompt names no column; write {{{{ text }}}} where a row's text belongs.")
        return prompt

    def _labels(self) -> tuple[str, ...]:
        """The labels as text; TOML's true and 1 as they are written."""
        given = self.file.labels
        if not isinstance(given, str):
            return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in given)
        if given != "train":
            return labels_of_file(self.path.parent / given)
        if not self.file.data or not self.file.reference:
            raise SettingsError(
                f'{self.path}: labels = "train" reads the column `reference` of `data`: give both, or a file of labels.'
            )
        rows = self._rows(DataSource(split="train"))
        values = {**{s: label for label, all_of in self.file.aliases.items() for s in all_of}, **self.file.values}
        return labels_of_rows(rows, self.file.reference, str(self.path), values, self.file.none or "none")

    def _rows(self, source: DataSource) -> Iterator[DataRow]:
        """The rows of a split, columns under our names."""
        file, hub = self.file, None
        if source.location is None and file.data and file.data.startswith(HUB):
            of = file.hub or HubKeys()
            hub = HubDataset(
                path=file.data.removeprefix(HUB), config=of.config, revision=of.revision, splits=of.splits or None
            )
        elif source.location is None and file.data:
            source = msgspec.structs.replace(source, location=str(self._own_data(file.data, source.split)))
        rows = open_rows(source, hub=hub, delimiter=file.delimiter, encoding=file.encoding)
        return (_renamed(row, file.columns) for row in rows) if file.columns else rows

    def samples(self, source: DataSource) -> Iterable[Sample]:
        """The rows of the file's own data, or of `--data`."""
        for row in self._rows(source):
            yield self._sample(row, source.split, labelled=True)

    def unlabelled_samples(self, source: DataSource) -> Iterable[Sample]:
        """The rows whose right answer need not be there: for a teacher to give it. The reference is empty then."""
        for row in self._rows(source):
            yield self._sample(row, source.split, labelled=self._is_labelled(row))

    def labelled_rows(self, source: DataSource) -> Iterator[tuple[DataRow, Sample]]:
        """Every row as the data holds it, columns under our names, with what is made of it."""
        for row in self._rows(source):
            yield row, self._sample(row, source.split, labelled=True)

    def row_problems(self, source: DataSource) -> list[str]:
        """Why rows of a split cannot be read, a sentence each; raises UsageError where the file itself cannot."""
        found = []
        for row in self._rows(source):
            try:
                self._sample(row, source.split, labelled=True)
            except UsageError as error:
                found.append(str(error))
        return found

    def _is_labelled(self, row: DataRow) -> bool:
        if self.file.messages and not self.file.reference:
            return bool(read_conversation(row, self.file.messages)[-1]["role"] == "assistant")
        names = (self.file.reference,) if self.file.reference else tuple(self.file.fields)
        return any(not is_missing(value := row.fields.get(name)) and value != "" for name in names)

    def taught_row(self, sample: Sample, answer: str) -> dict[str, Any]:
        """A row of the task's data, the answer of a teacher being its right answer."""
        own = {self.file.group: sample.group} if self.file.group else {}
        if self.file.messages:
            turns = [{"role": m.role, "content": m.content} for m in messages_of(sample.inputs, None)[0]]
            row: dict[str, Any] = {self.file.messages: turns, **sample.columns, **own}
            if not self.file.reference:
                turns.append({"role": "assistant", **self._answer_turn(answer)})
                return row
            return {**row, self.file.reference: self.reference_value(answer)}
        return self.with_reference({**sample.inputs, **sample.columns, **own}, answer)

    def with_reference(self, fields: dict[str, Any], answer: str) -> dict[str, Any]:
        """Data fields with this answer as their right one. Raises SettingsError for a task without a reference."""
        value = self.reference_value(answer)
        if self.by_column:
            return {**fields, **value}
        if not self.file.reference:
            raise SettingsError(f"{self.path}: a right answer needs `reference`, the column that holds it.")
        return {**fields, self.file.reference: value}

    def corrected(self, fields: dict[str, Any], answer: str) -> dict[str, Any]:
        """Data fields with another right answer, names of columns as the data have them. Raises NoReferenceError."""
        if self.file.messages and not self.file.reference:
            turns = [*fields[self.file.messages]] if isinstance(fields[self.file.messages], list) else None
            if turns is None:
                raise NoReferenceError("cannot be written back: the conversation is JSON text")
            return {**fields, self.file.messages: [*turns[:-1], {"role": "assistant", **self._answer_turn(answer)}]}
        changed = self.with_reference(fields, answer)
        return {self.file.columns.get(name, name): value for name, value in changed.items()}

    def reference_value(self, answer: str) -> Any:
        """An answer, or a reference in words, as data hold it: JSON of forms that are JSON as such."""
        read = self.form.score(Completion(id="", text=answer, finish="stop"), "").answer
        text = self.form.reference(answer if read is None else read)
        value = parsed_json(text) if self.form.json_schema() is not None else None
        return text if value is None else value[0]

    def _answer_turn(self, answer: str) -> dict[str, Any]:
        if not isinstance(self.form, ToolCallForm):
            value = self.reference_value(answer)
            return {"content": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}
        call = self.reference_value(answer)
        if not isinstance(call, dict):
            return {"content": answer}
        function = {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)}
        return {"content": None, "tool_calls": [{"type": "function", "function": function}]}

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

    def _sample(self, row: DataRow, split: str, *, labelled: bool) -> Sample:
        inputs, last = self._inputs(row, answered=labelled)
        if not any(text.strip() for text in inputs.values()):
            raise SettingsError(f"{row.place}: {' and '.join(inputs)} {agreeing(len(inputs), 'is')} empty.")
        reference = self._reference(row, last) if labelled else ""
        taught = self._target.names - {*inputs, self.file.reference} if self._target and labelled else frozenset()
        if split != "train":  # rows that nobody trains on need no target
            taught = frozenset(name for name in taught if row.fields.get(name) is not None)
        columns = {name: row.text(name) for name in sorted({*self.file.slices, *taught})}
        group = row.text(self.file.group) if self.file.group else None
        return Sample.of(inputs, reference, split, group=group, columns=columns)

    def _inputs(self, row: DataRow, *, answered: bool) -> tuple[dict[str, str], dict[str, Any] | None]:
        """What a model may see of a row, and the last turn of a conversation where it is the answer."""
        if self._prompt is not None:
            return {name: self._input(row, name) for name in sorted(self._prompt.names)}, None
        assert self.file.messages is not None
        turns = read_conversation(row, self.file.messages)
        ends = turns[-1]["role"] == "assistant"
        last = turns[-1] if (answered or ends) and not self.file.reference else None
        return inputs_of(asked_turns(turns, row, answered=last is not None)), last

    def _input(self, row: DataRow, name: str) -> str:
        """A column that the prompt names, as text."""
        if name not in row.fields:
            raise SettingsError(f"{row.place}: no column '{name}'{did_you_mean(name, row.fields)}{_how(name, row)}.")
        value = row.fields[name]
        if isinstance(value, list | dict):
            raise SettingsError(
                f"{row.place}: column '{name}' holds {kind_of(value)}, and a prompt prints texts: write it as text in "
                "the file (a conversation is read with `messages`), or the task as a class (bench new-task)."
            )
        return row.text(name)

    def _reference(self, row: DataRow, last: dict[str, Any] | None) -> str:
        """The right answer, as the form of the answer reads it. Raises UsageError where no answer could be right."""
        column = self.file.reference or self.file.messages or ", ".join(self.file.fields)
        if not (self.file.reference or last or self.by_column):
            return ""
        try:
            if self.by_column:
                return self.form.reference({name: _field(row, name) for name in self.file.fields})
            if last is not None:
                return self.form.reference(_last_turn(last, calls=isinstance(self.form, ToolCallForm)))
            return self.form.reference(row.value(column), row.classes.get(column, ()))
        except NoReferenceError as error:
            raise SettingsError(f"{row.place}: {column} {error}.") from None

    def request(self, sample: Sample) -> Request:
        """The prompt, filled; its columns are passages."""
        request = Request(
            id=sample.id,
            messages=(),
            labels=self.labels,
            schema=self.form.json_schema(),
            stop=self.file.stop,
            max_tokens=self.file.max_tokens or self.form.max_tokens,
            tools=_declared(self.form),
            tool_choice=self.form.choice if isinstance(self.form, ToolCallForm) else "auto",
        )
        if self._prompt is not None:
            return self._prompt.apply(request, sample.inputs)
        messages, passages = messages_of(sample.inputs, self._system)
        return msgspec.structs.replace(request, messages=messages, passages=passages)

    def score(self, sample: Sample, completion: Completion) -> Score:
        """The verdict that the form of the answer gives."""
        return self.form.score(completion, sample.reference)

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


def _plain_system(file: TaskFile, constants: dict[str, Any], path: Path) -> str | None:
    """The system message of conversations that have none. Raises SettingsError for one that names columns."""
    if not file.system:
        return None
    template = PromptTemplate(file.system, place=f"{path}: system", constants=constants)
    if template.names:
        raise SettingsError(f"{path}: `system` names '{min(template.names)}': beside `messages` it names no column.")
    return template.render({})[0][0].content


def _declared(form: Any) -> tuple[dict[str, Any], ...]:
    """The tools of a request, in OpenAI's shape."""
    return tuple(tool.declared for tool in form.tools.values()) if isinstance(form, ToolCallForm) else ()


def _last_turn(turn: dict[str, Any], *, calls: bool) -> Any:
    """The value of a last turn: its text, or the call that it makes."""
    if calls:
        return turn if turn.get("tool_calls") or turn.get("function_call") else None
    if not isinstance(turn["content"], str):
        raise NoReferenceError("ends with a turn without text")
    return turn["content"]


def _field(row: DataRow, name: str) -> Any:
    if name not in row.fields:
        raise DataError(f"{row.place}: no column '{name}'{did_you_mean(name, row.fields)}.")
    value = row.fields[name]
    return None if is_missing(value) else value


def _renamed(row: DataRow, columns: dict[str, str]) -> DataRow:
    """The row with columns under our names. Raises DataError for one that is not there."""
    missing = next((theirs for theirs in columns.values() if theirs not in row.fields), None)
    if missing is not None:
        raise DataError(f"{row.place}: no column '{missing}'{did_you_mean(missing, row.fields)}.")
    ours = {theirs: name for name, theirs in columns.items()}
    fields = {ours.get(name, name): value for name, value in row.fields.items()}
    classes = {ours.get(name, name): names for name, names in row.classes.items()}
    return DataRow(fields=fields, place=row.place, classes=classes)
