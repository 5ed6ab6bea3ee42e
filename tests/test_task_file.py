"""A task in a TOML file is found and run like any other."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import runner
from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.records import Completion
from harness.scoring.answer_forms import AnswerForm, LabelForm, PatternForm, SchemaForm, TextForm
from harness.settings import Settings
from harness.task_loading import build_request, load_rows, load_task, task_problems
from harness.workspace import Workspace

TICKETS = """
prompt = '''
Which team handles this ticket: billing or technical?

{{ subject }}
{{ body }}
Team:
'''
reference = "team"
labels = ["billing", "technical"]
data = "rows"
group = "customer"
slices = ["language"]
metrics = ["accuracy", "f1", "format_error_rate"]
positive = "billing"
"""

ROWS = [
    {"subject": "Invoice", "body": "Twice charged", "team": "billing", "customer": 1, "language": "en"},
    {"subject": "Crash", "body": "It stops", "team": "technical", "customer": 2, "language": "en"},
    {"subject": "Rechnung", "body": "Zu hoch", "team": "billing", "customer": 1, "language": "de"},
    {"subject": "Absturz", "body": "Nichts geht", "team": "technical", "customer": 3, "language": "de"},
]


def write(folder: Path, toml: str = TICKETS, rows: list[dict[str, object]] = ROWS) -> Path:
    (folder / "rows").mkdir()
    for split in ("train", "test"):
        (folder / "rows" / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (folder / "tickets.toml").write_text(toml)
    return folder / "tickets.toml"


def test_a_task_file_is_a_task_that_keeps_its_promises(tmp_path: Path) -> None:
    task = load_task(str(write(tmp_path)))
    assert (task.name, task.labels) == ("tickets", ("billing", "technical"))
    assert task_problems(task) == []
    row = load_rows(task, DataSource())[0]
    request = build_request(task, row)
    assert request.messages[0].content == (
        "Which team handles this ticket: billing or technical?\n\nInvoice\nTwice charged\nTeam:"
    )
    assert request.passage_texts() == ["Invoice", "Twice charged"]
    assert (row.group, row.columns) == ("1", {"language": "en"})
    assert [m.name for m in task.metrics] == ["accuracy", "f1", "format_error_rate"]


def test_a_task_file_runs_and_is_sliced_and_grouped(tmp_path: Path) -> None:
    path = write(tmp_path)
    task = load_task(str(path))
    recorded = tmp_path / "recorded.jsonl"
    with recorded.open("w") as file:
        for row in load_rows(task, DataSource()):
            answer = {"id": row.id, "text": "billing" if row.inputs["subject"] != "Crash" else "technical"}
            file.write(json.dumps(answer) + "\n")
    settings = Settings(backends={"taped": {"kind": "replay", "path": str(recorded)}})
    log = runner.run(str(path), ["taped"], settings=settings, workspace=Workspace(tmp_path), out=tmp_path / "run")
    summary = log.summary()
    assert summary is not None
    assert summary.backends["taped"].metrics["accuracy"].value == pytest.approx(0.75)
    assert summary.slices["language"]["en"]["taped"]["accuracy"].value == 1.0
    assert "groups" in summary.backends["taped"].metrics["accuracy"].method


def test_a_run_of_a_task_file_is_resumed_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    (tmp_path / "recorded.jsonl").write_text('{"id": "nobody", "text": "billing"}\n')
    settings = Settings(backends={"taped": {"kind": "replay", "path": str(tmp_path / "recorded.jsonl")}})
    common = {"settings": settings, "workspace": Workspace(tmp_path)}
    monkeypatch.chdir(tmp_path)
    log = runner.run("./tickets.toml", ["taped"], out=tmp_path / "run", **common)  # type: ignore[arg-type]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert runner.resume(log.path, **common).manifest.task == "tickets"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('labels = ["b', 'label = ["b', r"tickets\.toml: unknown key 'label'; did you mean 'labels'"),
        ("{{ body }}", "{{ body", r"tickets\.toml: prompt: the template is invalid"),
        ("{{ body }}", "{{ team }}", r"the prompt names 'team', the column of the right answer"),
        ("{{ subject }}\n{{ body }}", "x", r"the prompt names no column; write \{\{ text \}\}"),
        ("{{ body }}", "{{ text }}", r"test\.jsonl:1: no column 'text'"),
        ('"format_error_rate"]', '"acuracy"]', r"no metric 'acuracy' for this form of answer; did you mean 'accuracy'"),
        ('positive = "billing"', 'positive = "sales"', "f1 needs `positive`, one of the labels billing, technical"),
        ('reference = "team"', "", "labels need `reference`"),
        ('"technical"]\ndata', '"sales"]\ndata', r"test\.jsonl:2: team 'technical' is none of billing, sales"),
        ('data = "rows"', 'data = "rows"\npattern = "x"', "labels and pattern exclude each other"),
        ('["billing", "technical"]', '["billing", "Billing"]', "labels 'billing' and 'Billing' read alike"),
        ('["billing", "technical"]', '["billing", " x"]', "label ' x' is empty or has white space around it"),
        ('["billing", "technical"]', '["billing", ""]', "label '' is empty or has white space around it"),
        ('data = "rows"', 'data = "rows"\nname = "../../home"', r"'\.\./\.\./home' cannot name a task"),
        ('data = "rows"', 'data = "rows"\nname = "/tmp/x"', "cannot name a task, because folders are named after it"),
        ('data = "rows"', "", "this task has no data of its own: name a file with --data PATH"),
        ('data = "rows"', "data = 3", r"tickets\.toml: data: text in quotes is expected, not a whole number"),
        ('data = "rows"', "data =", r"tickets\.toml is not valid TOML"),
        ('data = "rows"', 'data = "rows"\ndelimiter = "::"', r"tickets\.toml: delimiter '::' is not one character"),
    ],
)
def test_what_is_wrong_in_a_task_file_is_told_in_a_sentence(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TICKETS
    path = write(tmp_path, TICKETS.replace(old, new))
    with pytest.raises(UsageError, match=said):
        load_rows(load_task(str(path)), DataSource())


def test_a_missing_task_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml cannot be read \(No such file"):
        load_task(str(tmp_path / "none.toml"))


def test_a_target_template_may_name_any_column_and_a_system_message_is_its_own(tmp_path: Path) -> None:
    toml = (
        'prompt = "{{ subject }}?"\nsystem = "Be brief."\nreference = "team"\npattern = ".*\\\\((\\\\w+)\\\\)"\n'
        'target = "{{ body }} ({{ team }})"\ndata = "rows"\n'
    )
    task = load_task(str(write(tmp_path, toml)))
    row = load_rows(task, DataSource(split="train"))[0]
    assert task.target(row) == "Twice charged (billing)"
    assert [m.role for m in build_request(task, row).messages] == ["system", "user"]
    assert task_problems(task) == []


def test_rows_that_nobody_trains_on_need_no_target(tmp_path: Path) -> None:
    toml = 'prompt = "{{ subject }}?"\nreference = "team"\ntarget = "{{ why }}: {{ team }}"\ndata = "rows"\n'
    path = write(tmp_path, toml, [{"subject": "Crash", "team": "technical", "why": None}])
    (tmp_path / "rows" / "train.jsonl").write_text('{"subject": "Bill", "team": "billing", "why": "Money"}\n')
    task = load_task(str(path))
    assert [row.columns for row in load_rows(task, DataSource())] == [{}]
    assert task.target(load_rows(task, DataSource(split="train"))[0]) == "Money: billing"
    (tmp_path / "rows" / "train.jsonl").write_text('{"subject": "Bill", "team": "billing"}\n')
    with pytest.raises(UsageError, match=r"train\.jsonl:1: no column 'why'"):
        load_rows(task, DataSource(split="train"))


def test_a_target_that_only_training_rows_have_is_no_problem_of_the_others() -> None:
    assert task_problems(load_task("qqp-explained"), "embedded") == []


NUMBERS = SchemaForm.checked({"type": "object", "properties": {"price": {"multipleOf": 0.01}}}, "t")


@pytest.mark.parametrize("number", ["1" * 400, "1e999", "-1e400"])
def test_a_number_beyond_all_numbers_is_against_the_schema(number: str) -> None:
    score = NUMBERS.score(Completion(id="x", text=f'{{"price": {number}}}', finish="stop"), '{"price": 1.5}')
    assert (score.format, score.correct) == ("against the schema", False)
    assert NUMBERS.score(Completion(id="x", text='{"price": 1.25}', finish="stop"), '{"price": 1.25}').correct


def test_a_schemas_own_pattern_gives_up_too() -> None:
    form = SchemaForm.checked({"type": "string", "pattern": "^(x+x+)+y$"}, "t")
    score = form.score(Completion(id="x", text=f'"{"x" * 5000}"', finish="stop"), "")
    assert score.format == "against the schema"
    assert form.score(Completion(id="x", text='"xxy"', finish="stop"), "").format is None


FORMS: list[AnswerForm] = [
    LabelForm(("yes", "no")),
    TextForm(),
    PatternForm.compiled(r"([A-Z]{2})-\d+", "t"),
    SchemaForm.checked({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}, "t"),
]


@pytest.mark.parametrize(
    ("form", "text", "reference", "kind", "right", "lenient"),
    [
        (1, "Paris", "Paris", None, True, True),
        (1, " paris ", "Paris", None, False, True),
        (1, "", "Paris", "empty", False, False),
        (2, "AB-12", "AB", None, True, True),
        (2, "It is AB-12.", "AB", "extra text", False, True),
        (2, "none", "AB", "no match", False, False),
        (3, '{"a": 1}', '{ "a":1 }', None, True, True),
        (3, '{"a": 2}', '{"a": 1}', None, False, False),
        (3, 'Here: {"a": 1}', '{"a": 1}', "extra text", False, True),
        (3, '{"a": "1"}', '{"a": 1}', "against the schema", False, False),
        (3, '{"a": 1', '{"a": 1}', "not JSON", False, False),
        (3, '{"a": NaN}', '{"a": 1}', "not JSON", False, False),
    ],
)
def test_the_forms_of_an_answer(
    form: int, text: str, reference: str, kind: str | None, right: bool, lenient: bool
) -> None:
    score = FORMS[form].score(Completion(id="x", text=text, finish="stop"), reference)
    assert (score.format, score.correct, score.lenient.correct) == (kind, right, lenient)
    refused = FORMS[form].score(Completion(id="x", text=text, finish="refusal"), reference)
    assert (refused.format, refused.correct, refused.lenient.correct) == ("refusal", False, False)


def test_without_a_reference_nothing_is_right_or_wrong() -> None:
    score = FORMS[2].score(Completion(id="x", text="AB-1", finish="stop"), "")
    assert (score.correct, score.lenient.correct, score.answer) == (None, None, "AB")


@given(st.sampled_from(FORMS), st.text() | st.text(alphabet='{}[]":,a1 -yesAB', max_size=40), st.text(max_size=5))
def test_no_answer_makes_a_form_raise_and_lenient_accepts_what_strict_accepts(
    form: AnswerForm, text: str, reference: str
) -> None:
    for finish in ("stop", "length"):
        score = form.score(Completion(id="x", text=text, finish=finish), reference)
        assert (score.format is None) == (score.answer is not None)
        if score.correct:
            assert score.lenient.correct


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('pattern = "("', "the pattern is not a valid regular expression"),
        ('schema = {type = "objekt"}', "the schema is invalid"),
    ],
)
def test_a_form_that_is_not_right_is_told(tmp_path: Path, toml: str, said: str) -> None:
    (tmp_path / "a.toml").write_text(f'prompt = "{{{{ x }}}}"\n{toml}\n')
    with pytest.raises(UsageError, match=said):
        load_task(str(tmp_path / "a.toml"))


@pytest.mark.parametrize("name", ["agnews", "qqp", "qqp-explained", "persona-json", "crossvalidated"])
def test_the_tasks_that_come_with_bench_keep_the_same_promises(name: str) -> None:
    assert task_problems(load_task(name), "embedded") == []
