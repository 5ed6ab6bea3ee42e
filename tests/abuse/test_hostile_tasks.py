"""A task file from elsewhere: its template is sandboxed, it reads its own folder alone; what fails is a sentence."""

from pathlib import Path

import pytest

from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.records import Completion, Message
from harness.task_file import FileTask

LABELS = 'data = "rows.jsonl"\nreference = "label"\nlabels = ["a", "b"]\n'


def first_prompt(folder: Path, task: str) -> Message:
    """The message that the task file makes of its first row."""
    (folder / "task.toml").write_text(task)
    (folder / "rows.jsonl").write_text('{"text": "some words", "label": "a"}\n')
    made = FileTask(folder / "task.toml")
    return made.request(next(iter(made.samples(DataSource(split="test"))))).messages[-1]


@pytest.mark.parametrize(
    "template",
    [
        "{{ text }} {% include '/etc/hostname' %}",
        "{{ text }} {% import '/etc/hostname' as x %}",
        "{% extends '/etc/hostname' %}{{ text }}",
        "{{ text.__class__.__mro__ }}",
        "{{ text }}{{ text | attr('__class__') }}",
        "{{ text }}{{ '{0.__class__}'.format(text) }}",
        "{{ text }}{{ cycler.__init__.__globals__ }}",
        "{{ text }}{{ 'a' * 100000000000000 }}",
        "{{ text }}{{ 1 / 0 }}",
        "{{ text }}{% for i in range(1000000000) %}x{% endfor %}",
        "{{ text }}{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ text }}{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{{ text | no_such_filter }}",
    ],
)
def test_a_template_reaches_nothing_but_its_row(tmp_path: Path, template: str) -> None:
    with pytest.raises(UsageError, match=r"task\.toml: prompt: the template") as told:
        first_prompt(tmp_path, f'{LABELS}prompt = "{template}"\n')
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("place", ["../secret.jsonl", "below/../../secret.jsonl", "{absolute}", "link.jsonl"])
def test_data_outside_the_folder_of_the_task_is_not_read(tmp_path: Path, place: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    secret = tmp_path / "secret.jsonl"
    secret.write_text('{"text": "a key", "label": "a"}\n')
    (home / "link.jsonl").symlink_to(secret)
    task = LABELS.replace("rows.jsonl", place.format(absolute=secret)) + 'prompt = "{{ text }}"\n'
    with pytest.raises(UsageError, match=r"lies outside the task file's folder; .* --data"):
        first_prompt(home, task)


@pytest.mark.parametrize("name", ["x" * 300, "rows\\u0000.jsonl"])
def test_a_name_that_no_file_can_have_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"task\.toml: data '.*' cannot be read"):
        first_prompt(tmp_path, LABELS.replace("rows.jsonl", name) + 'prompt = "{{ text }}"\n')


def test_a_link_among_the_rows_is_not_followed_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "home" / "rows").mkdir(parents=True)
    (tmp_path / "secret.jsonl").write_text('{"text": "a key", "label": "a"}\n')
    (tmp_path / "home" / "rows" / "test.jsonl").symlink_to(tmp_path / "secret.jsonl")
    task = LABELS.replace("rows.jsonl", "rows") + 'prompt = "{{ text }}"\n'
    with pytest.raises(UsageError, match=r"lies outside the task file's folder"):
        first_prompt(tmp_path / "home", task)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "http://127.0.0.1:9/schema", "#/$defs/missing"])
def test_a_schema_refers_to_nothing_but_itself(tmp_path: Path, target: str) -> None:
    task = f'data = "rows.jsonl"\nprompt = "{{{{ text }}}}"\n[schema]\nitems = {{ "$ref" = "{target}" }}\n'
    with pytest.raises(UsageError, match="which is not defined in it"):
        first_prompt(tmp_path, task)


def test_a_schema_may_refer_to_its_own_parts(tmp_path: Path) -> None:
    task = 'data = "rows.jsonl"\nprompt = "{{ text }}"\n[schema]\nitems = { "$ref" = "#/$defs/word" }\n'
    first_prompt(tmp_path, task + '[schema."$defs".word]\ntype = "string"\n')
    form = FileTask(tmp_path / "task.toml")
    sample = next(iter(form.samples(DataSource(split="test"))))
    assert form.score(sample, Completion(id=sample.id, text='["a"]', finish="stop")).format is None
    assert form.score(sample, Completion(id=sample.id, text="[1]", finish="stop")).format == "against the schema"


def test_a_pattern_that_takes_for_ever_on_an_answer_gives_up(tmp_path: Path) -> None:
    first_prompt(tmp_path, 'data = "rows.jsonl"\nprompt = "{{ text }}"\npattern = "(x+x+)+y"\n')
    task = FileTask(tmp_path / "task.toml")
    sample = next(iter(task.samples(DataSource(split="test"))))
    score = task.score(sample, Completion(id=sample.id, text="x" * 20_000, finish="stop"))
    assert score.format == "no match in time"
    assert score.answer is None
