"""The registry of answer forms: which keys of a task file choose a form, and the form that they make.

A new form is a class that keeps `harness.scoring.answer_forms.AnswerForm` and a line in FORMS.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness.errors import SettingsError, did_you_mean
from harness.files import read_text
from harness.metrics import CLASSIFICATION, FORMAT_ERROR_RATE, LENIENT_FORMAT_ERROR_RATE, Metric
from harness.scoring.answer_forms import AnswerForm, LabelForm, PatternForm, SchemaForm, TextForm
from harness.scoring.field_rules import FieldRule
from harness.scoring.fields_form import FieldsForm
from harness.scoring.label_set_form import LabelSetForm
from harness.scoring.number_form import NumberForm, NumberOptions
from harness.scoring.ordinal_form import OrdinalForm
from harness.scoring.references import check_values
from harness.scoring.spans_form import SpansForm
from harness.scoring.tool_call_form import ToolCallForm
from harness.scoring.tool_schemas import read_tools
from harness.task_keys import TaskFile
from harness.text_normalization import comparable_text

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
