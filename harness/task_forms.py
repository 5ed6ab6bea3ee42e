"""The keys of a task file, and the registry of answer forms: which keys choose a form, and the form that they make.

A new form is a class that keeps `harness.scoring.answer_forms.AnswerForm` and a line in FORMS.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from harness.errors import SettingsError, did_you_mean
from harness.files import read_text
from harness.metrics import CLASSIFICATION, FORMAT_ERROR_RATE, LENIENT_FORMAT_ERROR_RATE, Metric
from harness.scoring.answer_forms import AnswerForm, LabelForm, PatternForm, SchemaForm, TextForm
from harness.scoring.field_rules import FieldRule
from harness.scoring.fields_form import FieldsForm
from harness.scoring.label_set_form import LabelSetForm, OrdinalForm
from harness.scoring.number_form import NumberForm, NumberOptions
from harness.scoring.references import check_values
from harness.scoring.spans_form import SpansForm
from harness.scoring.tool_call_form import ToolCallForm, ToolChoice, read_tools
from harness.text_normalization import comparable_text

FormName = Literal[
    "text", "label", "multi-label", "ordinal", "number", "pattern", "json", "fields", "tool-call", "spans"
]
"""Forms of answer, as the key `form` names them."""


class HubKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table [hub], for data = "hub:owner/name".

    config: one of the data set's configurations. revision: a commit, branch or tag. splits: our names of splits -> the
    data set's, as in test = "validation" (default: the names that it has itself).
    """

    config: str | None = None
    revision: str | None = None
    splits: dict[str, str] = {}


class TaskFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a task file.

    prompt: Jinja template over the columns of a row; `{{ labels }}` prints the labels. messages: instead of a prompt,
    the column that holds a conversation, a list of {role, content}; its last turn is the right answer unless
    `reference` names another column. name: the task's name (default: the file's). version: raise it when parsing or
    scoring changes; runs of different versions are never compared. system: template of a system message.
    data: a file or folder, relative to the task file, or "hub:owner/name". hub: which part of a data set of the Hub.
    columns: our names of columns -> those of the data, as in text = "Review Text". delimiter, encoding: of its CSV
    files (default: found by their content). reference: the column of the right answer; with `fields` it may be left
    out, each field is then a column of its own.
    form: of the answer; the other keys usually say it ("label" with labels, "fields" with fields, ..), "multi-label",
    "ordinal" and "spans" must be named. labels: the closed set; "train" for all that the training rows have; or a file
    with one a line, or a JSON list, beside the task file; of ordinal ones the lowest first. aliases: other spellings of
    a label that answers and data may use. values: label for each value that the data holds in its place, as in
    0 = "no". none: the answer that stands for no label at all (multi-label). pattern: regular expression of a whole
    answer; its first group, if any, is the answer. schema: JSON schema of the answer; a reference is then JSON, as text
    or as an object. number: tolerance, range and unit of a number. fields: name and rule of each field of a JSON
    object; of a tool call, the rule of arguments that are not compared exactly. tools: a list of {name, description,
    parameters}, or a JSON file of one. tool_choice: "auto", or "required" where every answer must be a call.
    target: template of the answer to train on, which may name any column (default: the reference). group: column that
    joins rows which are not independent. slices: columns by which results are split. metrics: what is reported, the
    first is the headline. positive: the label that f1, precision and recall are about. max_tokens: most tokens of an
    answer (0: enough for the longest label; else by the form of the answer). stop: texts that end an answer. recipe:
    what `bench train` uses when it names none.
    """

    prompt: str = ""
    messages: str | None = None
    name: str = ""
    version: str = "1"
    system: str | None = None
    data: str | None = None
    hub: HubKeys | None = None
    columns: dict[str, str] = {}
    reference: str = ""
    delimiter: str | None = None
    encoding: str | None = None
    form: FormName | None = None
    labels: tuple[str | bool | int | float, ...] | str = ()
    aliases: dict[str, tuple[str, ...]] = {}
    values: dict[str, str] = {}
    none: str | None = None
    pattern: str | None = None
    schema: dict[str, Any] | None = None
    number: NumberOptions | None = None
    fields: dict[str, Any] = {}
    tools: tuple[dict[str, Any], ...] | str = ()
    tool_choice: ToolChoice | None = None
    target: str | None = None
    group: str | None = None
    slices: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    positive: str | None = None
    max_tokens: int = 0
    stop: tuple[str, ...] = ()
    recipe: str = "agnews-generate"


OF_ONE_CLASS = ("f1", "precision", "recall")
OF_LABELS = ("labels", "aliases", "values")


class FormKeys(NamedTuple):
    """A task file's keys with its labels read, and the file itself for messages."""

    file: TaskFile
    labels: tuple[str, ...]
    path: Path

    @property
    def aliases(self) -> dict[str, str]:
        """Other spelling -> label. Raises SettingsError for a label that is none, and a spelling that is taken."""
        found: dict[str, str] = {}
        taken = {comparable_text(label): label for label in self.labels}
        for label, spellings in self.file.aliases.items():
            if label not in self.labels:
                known = did_you_mean(label, self.labels)
                raise SettingsError(f"{self.path}: [aliases] '{label}' is none of the labels{known}.")
            for spelling in spellings:
                other = taken.setdefault(comparable_text(spelling), label)
                if other != label or not comparable_text(spelling):
                    raise SettingsError(f"{self.path}: [aliases] '{spelling}' of '{label}' also reads as '{other}'.")
                found[spelling] = label
        return found

    @property
    def rules(self) -> dict[str, FieldRule]:
        """The rules of [fields]."""
        return {name: FieldRule.of(rule, f"{self.path}: [fields] {name}") for name, rule in self.file.fields.items()}


class FormKind(NamedTuple):
    """A form of answer: `sign` is the key that chooses it where `form` does not, `keys` are all that it takes."""

    name: str
    sign: str
    keys: tuple[str, ...]
    build: Callable[[FormKeys], AnswerForm]


def _label(keys: FormKeys) -> AnswerForm:
    return LabelForm(keys.labels, keys.file.values, keys.aliases)


def _ordinal(keys: FormKeys) -> AnswerForm:
    if len(keys.labels) < 3:
        raise SettingsError(f"{keys.path}: ordinal labels are three levels or more, the lowest first.")
    return OrdinalForm(keys.labels, keys.file.values, keys.aliases)


def _label_set(keys: FormKeys) -> AnswerForm:
    none = keys.file.none or "none"
    if comparable_text(none) in {comparable_text(label) for label in keys.labels}:
        raise SettingsError(f"{keys.path}: '{none}' stands for no label and is one too: set another with `none`.")
    return LabelSetForm(keys.labels, keys.file.values, keys.aliases, none)


def _fields(keys: FormKeys) -> AnswerForm:
    if not keys.file.fields:
        raise SettingsError(f'{keys.path}: form = "fields" needs the table [fields].')
    return FieldsForm(keys.rules)


def _tool_call(keys: FormKeys) -> AnswerForm:
    given: Any = [*keys.file.tools] if isinstance(keys.file.tools, tuple) else _of_json(keys, keys.file.tools)
    return ToolCallForm(read_tools(given, str(keys.path)), keys.file.tool_choice or "auto", keys.rules)


def _of_json(keys: FormKeys, name: str) -> Any:
    place = keys.path.parent / name
    try:
        return msgspec.json.decode(read_text(place))
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise SettingsError(f"{keys.path}: tools '{name}' cannot be read as JSON ({error}).") from None


FORMS: dict[str, FormKind] = {
    kind.name: kind
    for kind in (
        FormKind("label", "labels", (*OF_LABELS, "positive"), _label),
        FormKind("multi-label", "", (*OF_LABELS, "none"), _label_set),
        FormKind("ordinal", "", (*OF_LABELS, "positive"), _ordinal),
        FormKind("spans", "", OF_LABELS, lambda k: SpansForm(k.labels, k.file.values, k.aliases)),
        FormKind("tool-call", "tools", ("tools", "tool_choice", "fields"), _tool_call),
        FormKind("fields", "fields", ("fields",), _fields),
        FormKind(
            "number", "number", ("number",), lambda k: NumberForm.checked(k.file.number or NumberOptions(), str(k.path))
        ),
        FormKind(
            "pattern", "pattern", ("pattern",), lambda k: PatternForm.compiled(k.file.pattern or ".*", str(k.path))
        ),
        FormKind("json", "schema", ("schema",), lambda k: SchemaForm.checked(k.file.schema or {}, str(k.path))),
        FormKind("text", "", (), lambda k: TextForm()),
    )
}
"""Forms by name; of those with a sign the first whose key is given is chosen."""

WITH_LABELS = tuple(name for name, kind in FORMS.items() if "labels" in kind.keys)
_ALL_KEYS = tuple(dict.fromkeys(key for kind in FORMS.values() for key in kind.keys))


def form_kind(file: TaskFile, path: Path) -> FormKind:
    """The form that a task file's keys choose. Raises SettingsError where they contradict each other."""
    given = [key for key in _ALL_KEYS if getattr(file, key)]
    signs = [kind.sign for kind in FORMS.values() if kind.sign in given]
    kind = FORMS[file.form] if file.form else next((k for k in FORMS.values() if k.sign in signs), FORMS["text"])
    foreign = [sign for sign in signs if sign not in kind.keys]
    if foreign and not file.form:
        both = " and ".join(s for s in ("labels", "pattern", "schema", "fields", "tools", "number") if s in signs)
        raise SettingsError(f"{path}: {both} exclude each other; give one form of the answer.")
    if "values" in given and "labels" not in given:
        raise SettingsError(f"{path}: [values] maps what the data holds to labels: give `labels` too.")
    wrong = next((key for key in given if key not in kind.keys), None)
    if wrong is not None:
        forms = ", ".join(k.name for k in FORMS.values() if wrong in k.keys)
        raise SettingsError(f'{path}: `{wrong}` does not belong to form = "{kind.name}" (it belongs to {forms}).')
    if "labels" in kind.keys and "labels" not in given:
        raise SettingsError(f'{path}: form = "{kind.name}" needs `labels`.')
    return kind


def build_form(file: TaskFile, labels: tuple[str, ...], path: Path) -> AnswerForm:
    """The form of a task file's answers, `labels` being read. Raises SettingsError for what is not right."""
    kind = form_kind(file, path)
    if labels:
        check_labels(labels, path)
        check_values(file.values, labels, str(path))
    return kind.build(FormKeys(file, labels, path))


def check_labels(labels: tuple[str, ...], path: Path) -> None:
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


def metrics_of(file: TaskFile, form: AnswerForm, *, with_reference: bool, path: Path) -> tuple[Metric, ...]:
    """What a task reports: what its file names, else the form's own. Raises SettingsError for an unknown name."""
    if not file.metrics:
        return form.metrics() if with_reference else (FORMAT_ERROR_RATE,)
    known: Mapping[str, Metric] = {m.name: m for m in (*form.metrics(), *form.further_metrics())}
    if form.labels:
        known = {**known, **{m.name: m for m in CLASSIFICATION}}
    if not with_reference:
        known = {m.name: m for m in (FORMAT_ERROR_RATE, LENIENT_FORMAT_ERROR_RATE)}
    found = []
    for name in file.metrics:
        if name in OF_ONE_CLASS and form.labels:
            if file.positive not in form.labels:
                raise SettingsError(f"{path}: {name} needs `positive`, one of the labels {', '.join(form.labels)}.")
            found.append(Metric(name=name, kind="confusion", proportion=False, positive=file.positive))
        elif name in known:
            found.append(known[name])
        else:
            names = (*known, *(OF_ONE_CLASS if form.labels else ()))
            raise SettingsError(f"{path}: no metric '{name}' for this form of answer{did_you_mean(name, names)}.")
    return tuple(found)
