"""Every form of answer of a task file: its reading, its format errors, its counts, its references."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.records import Completion, Sample, Score
from harness.task_file import FileTask
from harness.task_forms import FORMS
from harness.task_loading import build_request, load_rows, task_problems

TOOLS = """
[[tools]]
name = "book"
description = "Book a table."
[tools.parameters]
type = "object"
required = ["place"]
additionalProperties = false
[tools.parameters.properties.place]
type = "string"
[tools.parameters.properties.seats]
type = "integer"
default = 2
"""

FIELDS = """
reference = "record"
[fields]
seller = "casefold"
sum = { match = "number", tolerance = 0.01 }
day = "date"
paid = "boolean"
tags = "set"
[fields.lines]
match = "records"
key = "code"
fields = { code = "exact", count = "number" }
"""

RECORD = {
    "seller": "Blue Mill",
    "sum": 20.5,
    "day": "2024-02-29",
    "paid": True,
    "tags": ["tea", "oil"],
    "lines": [{"code": "A1", "count": 2}, {"code": "B2", "count": 1}],
}
CALL = {"name": "book", "arguments": {"place": "Nord"}}

SOURCES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "text": ('reference = "a"', [{"q": "one", "a": "two"}]),
    "label": ('reference = "a"\nlabels = ["up", "down"]', [{"q": "one", "a": "up"}]),
    "multi-label": (
        'reference = "a"\nform = "multi-label"\nlabels = ["up", "down", "left, then right"]',
        [{"q": "one", "a": ["down", "up"]}, {"q": "two", "a": []}, {"q": "three", "a": "left, then right"}],
    ),
    "ordinal": ('reference = "a"\nform = "ordinal"\nlabels = ["low", "mid", "high"]', [{"q": "one", "a": "mid"}]),
    "number": (
        'reference = "a"\n[number]\ntolerance = 0.5\nlow = -10\nhigh = 10\nunit = "kg"',
        [{"q": "one", "a": 3}, {"q": "two", "a": "-2.5 kg"}],
    ),
    "pattern": ("reference = \"a\"\npattern = '([a-z]+)!'", [{"q": "one", "a": "two"}]),
    "json": ('reference = "a"\n[schema]\ntype = "object"', [{"q": "one", "a": {"x": 1}}]),
    "fields": (FIELDS, [{"q": "one", "record": RECORD}, {"q": "two", "record": '{"seller": "Y"}'}]),
    "tool-call": (f'reference = "a"\n{TOOLS}', [{"q": "one", "a": CALL}, {"q": "two", "a": None}]),
    "spans": (
        'reference = "a"\nform = "spans"\nlabels = ["person", "place"]',
        [{"q": "Ida saw Oslo", "a": [{"text": "Ida", "label": "person"}, {"text": "Oslo", "label": "place"}]}],
    ),
}


def task_of(folder: Path, form: str, more: str = "") -> FileTask:
    """A task of this form with its rows, training and test rows the same."""
    keys, rows = SOURCES[form]
    (folder / "rows").mkdir(exist_ok=True)
    for split in ("train", "test"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "rows" / f"{split}.jsonl").write_text(text)
    top, bracket, tables = keys.partition("\n[")
    file = folder / f"{form}.toml"
    target = "" if form != "pattern" else 'target = "{{ a }}!"\n'
    file.write_text(f'prompt = "Read: {{{{ q }}}}"\ndata = "rows"\n{target}{more}\n{top}{bracket}{tables}\n')
    return FileTask(file)


def scored(task: FileTask, text: str, row: int = 0, finish: str = "stop") -> Score:
    sample: Sample = load_rows(task, DataSource())[row]
    return task.score(sample, Completion(id=sample.id, text=text, finish=finish))  # type: ignore[arg-type]


def test_every_form_of_the_registry_is_tried_here() -> None:
    assert set(SOURCES) == set(FORMS)


@pytest.mark.parametrize("form", SOURCES)
def test_a_task_of_every_form_keeps_its_promises(form: str, tmp_path: Path) -> None:
    task = task_of(tmp_path, form)
    assert task_problems(task) == []
    for metric in task.metrics:
        assert metric.name in {m.name for m in (*task.form.metrics(), *task.form.further_metrics())}


@pytest.mark.parametrize("form", SOURCES)
@pytest.mark.parametrize("finish", ["length", "refusal", "content_filter", "context_too_long", "stop"])
def test_an_answer_that_says_nothing_is_a_format_error_and_never_right(form: str, finish: str, tmp_path: Path) -> None:
    score = scored(task_of(tmp_path, form), "", finish=finish)
    assert score.correct is False and score.lenient.correct is False
    assert score.format in ("empty", "cut off", "refusal", "content filter", "context too long")


@pytest.mark.parametrize("form", ["fields", "number", "multi-label", "spans", "json"])
def test_the_schema_of_a_form_accepts_its_own_references(form: str, tmp_path: Path) -> None:
    import jsonschema

    task = task_of(tmp_path, form)
    for row in load_rows(task, DataSource()):
        schema = build_request(task, row).schema
        assert schema is not None
        value = row.reference.split(", ") if form == "multi-label" else json.loads(row.reference)
        if form == "multi-label":
            value = [] if row.reference == "none" else [row.reference] if "then" in row.reference else value
        jsonschema.Draft202012Validator(schema).validate(value)
        assert task.score(row, Completion(id=row.id, text=json.dumps(value), finish="stop")).correct is True


@pytest.mark.parametrize(
    ("text", "kind", "right", "lenient", "jaccard"),
    [
        ("up, down", None, True, True, 1.0),
        ("Down,UP", None, True, True, 1.0),
        ('["up", "down"]', None, True, True, 1.0),
        ("up", None, False, False, 0.5),
        ("none", None, False, False, 0.0),
        ("up, up", "repeated label", False, False, 0.0),
        ("up and down", "extra text", False, True, 0.0),
        ("up, sideways", "unknown label", False, False, 0.0),
        ("sideways", "no label", False, False, 0.0),
    ],
)
def test_label_sets(text: str, kind: str | None, right: bool, lenient: bool, jaccard: float, tmp_path: Path) -> None:
    score = scored(task_of(tmp_path, "multi-label"), text)
    assert (score.format, score.correct, score.lenient.correct) == (kind, right, lenient)
    assert score.values["jaccard"] == pytest.approx(jaccard)
    assert score.values["references:up"] == score.values["references:down"] == 1.0


def test_an_empty_label_set_is_right_as_none_and_a_label_may_hold_a_comma(tmp_path: Path) -> None:
    task = task_of(tmp_path, "multi-label")
    assert scored(task, "None", row=1).correct is True and scored(task, "[]", row=1).correct is True
    assert scored(task, "up", row=1).values == {"jaccard": 0.0, "answers:up": 1.0}
    assert scored(task, "left, then right", row=2).correct is True


@pytest.mark.parametrize(
    ("text", "kind", "right", "lenient", "error"),
    [
        ("3", None, True, True, 0.0),
        ("3.5 kg", None, True, True, 0.5),
        ("+3.00", None, True, True, 0.0),
        ("3.51", None, False, False, 0.51),
        ("It weighs 3 kg.", "extra text", False, True, 20.0),
        ("3 or 4", "several numbers", False, False, 20.0),
        ("three", "no number", False, False, 20.0),
        ("11", "out of range", False, False, 20.0),
        ("nan", "no number", False, False, 20.0),
        ("1e999", "no number", False, False, 20.0),
    ],
)
def test_numbers(text: str, kind: str | None, right: bool, lenient: bool, error: float, tmp_path: Path) -> None:
    score = scored(task_of(tmp_path, "number"), text)
    assert (score.format, score.correct, score.lenient.correct) == (kind, right, lenient)
    assert score.values["absolute_error"] == pytest.approx(error)
    assert score.values["reference_number"] == 3.0


def test_levels_off_count_for_ordinal_labels(tmp_path: Path) -> None:
    task = task_of(tmp_path, "ordinal")
    assert scored(task, "high").values == {
        "reference_number": 1.0, "level_error": 1.0, "within_one": 1.0, "number": 2.0
    }  # fmt: skip
    assert scored(task, "whatever").values == {"reference_number": 1.0, "level_error": 1.0, "within_one": 0.0}


def test_fields_are_compared_by_their_rules(tmp_path: Path) -> None:
    task = task_of(tmp_path, "fields")
    alike = {
        "seller": "BLUE  MILL",
        "sum": "20.51",
        "day": "29 February 2024",
        "paid": True,
        "tags": ["oil", "Tea"],
        "lines": [{"code": "B2", "count": 1}, {"code": "A1", "count": 2}],
    }
    score = scored(task, json.dumps(alike))
    assert score.correct is True and score.values["field_accuracy"] == 1.0
    off = {**alike, "sum": 21, "day": "03/04/2024", "lines": [{"code": "A1", "count": 3}, {"code": "C", "count": 1}]}
    score = scored(task, json.dumps(off))
    assert score.correct is False and score.format is None
    assert score.values["field_accuracy"] == pytest.approx(3 / 6)
    found = {k.split(":")[1]: v for k, v in score.values.items() if k.startswith("hits:") and v}
    assert found == {"seller": 1, "paid": 1, "tags": 2, "lines": 1}
    assert (score.values["references:lines"], score.values["answers:lines"]) == (4, 4)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"seller": ["x"]}, "wrong type"),
        ({"sum": "much"}, "wrong type"),
        ({"more": 1}, "unknown field"),
        ({"paid": "yes"}, "wrong type"),
        ({"lines": [{"code": "A1", "price": 3}]}, "wrong type"),
    ],
)
def test_format_errors_of_fields(change: dict[str, Any], kind: str, tmp_path: Path) -> None:
    task = task_of(tmp_path, "fields")
    assert scored(task, json.dumps({**RECORD, **change})).format == kind
    score = scored(task, f"Here it is:\n```json\n{json.dumps(RECORD)}\n```")
    assert (score.format, score.correct, score.lenient.correct) == ("extra text", False, True)
    assert score.values["field_accuracy"] == 0.0
    assert scored(task, json.dumps({"seller": "Blue Mill"})).format == "missing field"


def test_absent_fields_agree_with_absent_fields(tmp_path: Path) -> None:
    task = task_of(tmp_path, "fields")
    empty = dict.fromkeys(RECORD)
    score = scored(task, json.dumps({**empty, "seller": "y"}), row=1)
    assert score.correct is True and score.values["hits:seller"] == 1 and "hits:sum" not in score.values


def test_fields_may_be_columns_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("q,sum,paid\nfirst,12,true\nsecond,,no\n")
    file = tmp_path / "t.toml"
    file.write_text('prompt = "{{ q }}"\ndata = "rows.csv"\n[fields]\nsum = "number"\npaid = "boolean"\n')
    rows = load_rows(FileTask(file), DataSource())
    assert [json.loads(row.reference) for row in rows] == [{"sum": 12, "paid": True}, {"sum": None, "paid": False}]


@pytest.mark.parametrize(
    ("text", "kind", "right"),
    [
        (json.dumps(CALL), None, True),
        ('{"name": "book", "arguments": {"place": "Nord", "seats": 2}}', None, True),
        ('<tool_call>\n{"name": "book", "arguments": {"place": "Nord"}}\n</tool_call>', None, True),
        ('[TOOL_CALLS] [{"name": "book", "arguments": {"place": "Nord"}}]', None, True),
        ('{"name": "book", "parameters": {"place": "Nord"}}', None, True),
        ('<function=book>{"place": "Nord"}</function>', None, True),
        ('{"function": {"name": "book", "arguments": "{\\"place\\": \\"Nord\\"}"}}', None, True),
        ('{"name": "book", "arguments": {"place": "Nord", "seats": 3}}', None, False),
        ('{"name": "book", "arguments": {"place": "Syd"}}', None, False),
        ('{"name": "book", "arguments": {}}', "arguments against the schema", False),
        ('{"name": "book", "arguments": {"place": "Nord", "vip": true}}', "arguments against the schema", False),
        ('{"name": "rent", "arguments": {"place": "Nord"}}', "unknown tool", False),
        ('{"name": "book", "arguments": "place"}', "not JSON", False),
        (f"Certainly. {json.dumps(CALL)}", "extra text", False),
        (f"[{json.dumps(CALL)}, {json.dumps(CALL)}]", "several calls", False),
        ("Which day?", None, False),
    ],
)
def test_tool_calls(text: str, kind: str | None, right: bool, tmp_path: Path) -> None:
    score = scored(task_of(tmp_path, "tool-call"), text)
    assert (score.format, score.correct) == (kind, right)


def test_a_tool_calls_name_keys_and_values_are_counted_apart(tmp_path: Path) -> None:
    task = task_of(tmp_path, "tool-call")
    values = scored(task, '{"name": "book", "arguments": {"place": "Nord", "seats": 5}}').values
    assert (values["tool_name"], values["argument_keys"], values["argument_values"]) == (1.0, 1.0, 0.5)
    assert scored(task, "no", row=1).correct is True
    wrong = scored(task, json.dumps(CALL), row=1)
    assert wrong.correct is False and wrong.values == {"tool_name": 0.0}
    strict = task_of(tmp_path, "tool-call", more='tool_choice = "required"')
    with pytest.raises(UsageError, match="holds no call"):
        load_rows(strict, DataSource())


def test_a_request_carries_the_tools_and_one_without_keeps_its_hash(tmp_path: Path) -> None:
    task = task_of(tmp_path, "tool-call")
    request = build_request(task, load_rows(task, DataSource())[0])
    assert request.tools[0]["function"]["name"] == "book" and request.tool_choice == "auto"
    plain = build_request(task_of(tmp_path, "text"), load_rows(task_of(tmp_path, "text"), DataSource())[0])
    import msgspec

    assert msgspec.structs.replace(plain, tool_choice="required").hash() == plain.hash()
    assert msgspec.structs.replace(plain, tools=request.tools).hash() != plain.hash()


@pytest.mark.parametrize(
    ("spans", "hits", "overlaps"),
    [
        ([("Ida", "person"), ("oslo", "Place")], 2, 2),
        ([("Ida saw", "person"), ("Oslo", "place")], 1, 2),
        ([("Ida", "place"), ("Oslo", "place")], 1, 1),
        ([], 0, 0),
        ([("Oslo", "place"), ("Oslo", "place")], 1, 1),
    ],
)
def test_spans(spans: list[tuple[str, str]], hits: int, overlaps: int, tmp_path: Path) -> None:
    answer = json.dumps([{"text": text, "label": label} for text, label in spans])
    score = scored(task_of(tmp_path, "spans"), answer)
    assert score.format is None and score.correct is (hits == len(spans) == 2)
    totals = [sum(v for k, v in score.values.items() if k.startswith(part)) for part in ("hits:", "overlaps:")]
    assert totals == [hits, overlaps]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"text": "Ida", "label": "person"}', "not a list"),
        ('[{"text": "Ida"}]', "wrong item"),
        ('[{"text": "Ida", "label": "ship"}]', "unknown label"),
        ("Ida is a person", "not JSON"),
        ('Found: [{"text": "Ida", "label": "person"}]', "extra text"),
    ],
)
def test_format_errors_of_spans(text: str, kind: str, tmp_path: Path) -> None:
    assert scored(task_of(tmp_path, "spans"), text).format == kind


def conversation(folder: Path, turns: Any, more: str = "") -> FileTask:
    (folder / "chats.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    (folder / "chat.toml").write_text(f'messages = "messages"\ndata = "chats.jsonl"\n{more}\n')
    return FileTask(folder / "chat.toml")


def test_the_last_turn_of_a_conversation_is_the_answer(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Is it open?"},
        {"role": "assistant", "content": "Which day?"},
        {"role": "user", "content": "Sunday"},
        {"role": "assistant", "content": "no"},
    ]
    task = conversation(tmp_path, turns, 'system = "Answer {{ labels }}."\nlabels = ["yes", "no"]')
    row = load_rows(task, DataSource())[0]
    request = build_request(task, row)
    assert [(m.role, m.content) for m in request.messages] == [
        ("system", "Answer yes, no."),
        ("user", "Is it open?"),
        ("assistant", "Which day?"),
        ("user", "Sunday"),
    ]
    assert row.reference == "no" and request.passage_texts() == ["Is it open?", "Which day?", "Sunday"]


def test_a_conversation_may_end_in_a_call(tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "book", "arguments": '{"place": "Nord"}'}}
    turns = [{"role": "user", "content": "A table"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    task = conversation(tmp_path, turns, TOOLS)
    row = load_rows(task, DataSource())[0]
    assert json.loads(row.reference) == CALL


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([{"role": "user", "content": "x"}], "ends with a user message"),
        ([{"role": "assistant", "content": "x"}], "a user's message must come before the answer"),
        ([{"role": "tool", "content": "x"}], "message 1 has the role 'tool'"),
        ("hello", "is no JSON list of messages"),
    ],
)
def test_conversations_that_cannot_be_read(turns: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        load_rows(conversation(tmp_path, turns), DataSource())


@pytest.mark.parametrize(
    ("form", "more", "said"),
    [
        ("label", '[aliases]\nup = ["DOWN"]', r"\[aliases\] 'DOWN' of 'up' also reads as 'down'"),
        ("label", '[aliases]\nupp = ["high"]', "'upp' is none of the labels; did you mean 'up'"),
        ("multi-label", '[aliases]\nup = ["none"]\n', None),
        ("text", 'none = "x"', '`none` does not belong to form = "text"'),
        ("label", 'form = "ordinal"', "ordinal labels are three levels or more"),
        ("text", 'form = "spans"', 'form = "spans" needs `labels`'),
        ("text", 'messages = "q"', "`prompt` and `messages` exclude each other"),
        ("text", "[number]\nlow = 3", "low and high are the two ends of a range"),
    ],
)
def test_what_is_wrong_in_the_keys_of_a_form(form: str, more: str, said: str | None, tmp_path: Path) -> None:
    task_of(tmp_path, form)
    file = tmp_path / f"{form}.toml"
    text = file.read_text()
    top = more if not more.startswith("[") else ""
    file.write_text(f"{top}\n{text}\n{'' if top else more}\n")
    if said is None:
        FileTask(file)
        return
    with pytest.raises(UsageError, match=said):
        FileTask(file)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('"casefolded"', "'casefolded' is no way of comparing; did you mean 'casefold'"),
        ('{ match = "set", tolerance = 1 }', 'a tolerance belongs to match = "number"'),
        ('{ match = "records" }', "records need them"),
        ('{ match = "records", key = "y", fields = { x = "exact" } }', "key 'y' is none of the fields"),
        ('{ matches = "set" }', "unknown key 'matches'; did you mean 'match'"),
    ],
)
def test_wrong_rules_of_fields(rule: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text(f'prompt = "{{{{ q }}}}"\nreference = "r"\n[fields]\nx = {rule}\n')
    with pytest.raises(UsageError, match=said):
        FileTask(file)


def test_labels_come_from_the_training_rows_or_a_file(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    rows.mkdir()
    (rows / "train.csv").write_text("q,a\n" + "".join(f"text {n},{label}\n" for n in range(9) for label in "cab"))
    (rows / "test.csv").write_text("q,a\nnew,a\n")
    file = tmp_path / "t.toml"
    base = 'prompt = "{{ labels }} / {% for one in labels %}{{ one }}{% endfor %}: {{ q }}"\nreference = "a"\n'
    file.write_text(f'{base}data = "rows"\nlabels = "train"\n')
    task = FileTask(file)
    assert task.labels == ("a", "b", "c")
    assert build_request(task, load_rows(task, DataSource())[0]).messages[0].content == "a, b, c / abc: new"
    (tmp_path / "labels.txt").write_text("c\na\n\nb\n")
    file.write_text(f'{base}data = "rows"\nlabels = "labels.txt"\n')
    assert FileTask(file).labels == ("c", "a", "b")
    file.write_text('prompt = "{{ a }}"\nreference = "q"\ndata = "rows"\nlabels = "train"\n')
    (rows / "train.csv").write_text("q,a\n" + "".join(f"text {n},x\n" for n in range(60)))
    with pytest.raises(UsageError, match="column 'q' holds 60 different values in 60 rows, which are no labels"):
        FileTask(file)


def test_columns_may_have_other_names_in_the_data(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("Review Text,Stars\nfine,up\n")
    file = tmp_path / "t.toml"
    file.write_text(
        'prompt = "{{ q }}"\ndata = "rows.csv"\nreference = "a"\nlabels = ["up", "down"]\n'
        '[columns]\nq = "Review Text"\na = "Stars"\n'
    )
    row = load_rows(FileTask(file), DataSource())[0]
    assert (row.inputs, row.reference) == ({"q": "fine"}, "up")


DEEP = [
    f"{opening * n}{middle}{closing * n}"
    for n in (200, 490, 900, 3000)
    for opening, middle, closing in (("[", "", "]"), ('{"name":', "1", "}"), ('{"tool_calls":[', "", "]}"))
]
HOSTILE = [
    *DEEP,
    *(f'{{"name": "book", "arguments": {text}}}' for text in DEEP),
    *(f'[{{"text": {text}, "label": "person"}}]' for text in DEEP),
    *(f'{{"seller": {text}, "sum": 1e400, "day": "0000-00-00", "tags": [[]]}}' for text in DEEP),
    *("e5", ".", "-.e1", "1e999", "1,2,3", "\u0663", "\u00bd", "\ud800", '"\\ud800"', "1" * 5000, "0x10", "+-3"),
    *("<tool_call>" * 300, "```json\n" * 300, "[TOOL_CALLS]" * 300, "<function=x>" * 300),
    *('{"tool_calls": [{"function": null}]}', '{"tool_calls": {}}', '{"function": {"name": "book"}}'),
]


@pytest.mark.parametrize("form", SOURCES)
def test_no_answer_makes_a_form_raise(form: str, tmp_path: Path) -> None:
    task = task_of(tmp_path, form)
    rows = load_rows(task, DataSource())
    for text in HOSTILE:
        for row in rows:
            for finish in ("stop", "length"):
                score = task.score(row, Completion(id=row.id, text=text, finish=finish))
                json.dumps(score.values, allow_nan=False)
