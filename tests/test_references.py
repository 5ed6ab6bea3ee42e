"""References of a task file: read as the file's types and the form of the answer mean them, or refused by line."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.records import Completion
from harness.scoring.answer_forms import PatternForm, SchemaForm
from harness.scoring.references import NoReferenceError, label_reference
from harness.task_loading import load_rows, load_task

YES_NO = 'prompt = "{{ text }}?"\nreference = "label"\nlabels = ["yes", "no"]\n'


def references(folder: Path, toml: str, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> list[str]:
    (folder / "t.toml").write_text(toml)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    samples = load_rows(load_task(str(folder / "t.toml")), DataSource(location=str(folder / name)))
    return [sample.reference for sample in samples]


def labelled(*values: Any) -> list[dict[str, Any]]:
    return [{"text": f"row {n}", "label": value} for n, value in enumerate(values)]


def test_booleans_are_labels(tmp_path: Path) -> None:
    words = 'prompt = "{{ text }}?"\nreference = "label"\nlabels = ["True", "False"]\n'
    assert references(tmp_path, words, labelled(True, False, "true")) == ["True", "False", "True"]
    numbers = 'prompt = "{{ text }}?"\nreference = "label"\nlabels = ["0", "1"]\n'
    assert references(tmp_path, numbers, labelled(True, False)) == ["1", "0"]
    native = 'prompt = "{{ text }}?"\nreference = "label"\nlabels = [true, false]\n'
    assert references(tmp_path, native, labelled(True, "FALSE")) == ["true", "false"]


def test_a_whole_float_is_the_integer_label(tmp_path: Path) -> None:
    toml = 'prompt = "{{ text }}?"\nreference = "label"\nlabels = [1, 2, 3]\n'
    assert references(tmp_path, toml, labelled(1.0, "2.0", 3, " 3 ")) == ["1", "2", "3", "3"]
    with pytest.raises(UsageError, match=r"rows\.jsonl:1: label '2\.5' is none of 1, 2, 3"):
        references(tmp_path, toml, labelled(2.5))


def test_labels_of_the_data_are_read_in_any_case_and_form(tmp_path: Path) -> None:
    toml = 'prompt = "{{ text }}?"\nreference = "label"\nlabels = ["café", "thé"]\n'
    assert references(tmp_path, toml, labelled("CAFE\u0301", " thé")) == ["café", "thé"]


def test_a_value_map_leads_from_data_values_to_labels(tmp_path: Path) -> None:
    toml = YES_NO + '[values]\n1 = "yes"\n0 = "no"\nunsure = "no"\n'
    assert references(tmp_path, toml, labelled(1, 0, 1.0, True, "Unsure", "yes")) == [
        "yes",
        "no",
        "yes",
        "yes",
        "no",
        "yes",
    ]
    with pytest.raises(UsageError, match=r"rows\.jsonl:1: label '7' is none of 1, 0, unsure nor of yes, no"):
        references(tmp_path, toml, labelled(7))
    with pytest.raises(UsageError, match=r"\[values\] maps 2 to 'maybe', which is none of yes, no"):
        references(tmp_path, toml + '2 = "maybe"\n', labelled(1))
    with pytest.raises(UsageError, match="give `labels` too"):
        references(tmp_path, 'prompt = "{{ text }}"\nreference = "label"\n[values]\n1 = "a"\n', labelled(1))


def test_values_without_a_map_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"rows\.jsonl:2: label '1' is none of yes, no; the table \[values\] maps"):
        references(tmp_path, YES_NO, labelled("yes", 1))
    with pytest.raises(UsageError, match=r"rows\.jsonl:1: label is empty"):
        references(tmp_path, YES_NO, labelled(None))
    with pytest.raises(UsageError, match=r"rows\.jsonl:1: label holds a list"):
        references(tmp_path, YES_NO, labelled(["yes"]))
    with pytest.raises(UsageError, match=r"'-1' is none of yes, no \(-1 marks a row whose label is not given out\)"):
        references(tmp_path, YES_NO, labelled(-1))


def test_class_numbers_of_the_hub_are_read_by_the_names_that_the_file_holds(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"text": ["a", "b"], "label": [1, 0]})
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": ["no", "Yes"], "_type": "ClassLabel"}}
    noted = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(noted), tmp_path / "test.parquet")
    (tmp_path / "t.toml").write_text(YES_NO)
    rows = load_rows(load_task(str(tmp_path / "t.toml")), DataSource(location=str(tmp_path / "test.parquet")))
    assert [row.reference for row in rows] == ["yes", "no"]
    with pytest.raises(NoReferenceError, match="the data set calls this class 'maybe'"):
        label_reference(2, ("yes", "no"), {}, ("no", "yes", "maybe"))


SCHEMA = 'prompt = "{{ text }}"\nreference = "label"\n[schema]\ntype = "object"\nrequired = ["n"]\n'
SCHEMA += '[schema.properties.n]\ntype = "integer"\n'


def test_json_references_are_taken_as_text_or_as_they_stand(tmp_path: Path) -> None:
    assert references(tmp_path, SCHEMA, labelled('{"n": 1}', {"n": 2})) == ['{"n": 1}', '{"n": 2}']


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{'n': 1}", r"rows\.jsonl:1: label '\{'n': 1\}' is not JSON but a Python literal: .*json\.dumps"),
        ("n is 1", r"rows\.jsonl:1: label 'n is 1' is not JSON, and answers are compared with it as JSON"),
        ('{"n": "1"}', r"rows\.jsonl:1: label is against the schema: '1' is not of type 'integer'"),
        ({"m": 1}, r"rows\.jsonl:1: label is against the schema: 'n' is a required property"),
        (None, r"rows\.jsonl:1: label is empty"),
        ("", r"rows\.jsonl:1: label is empty"),
    ],
)
def test_a_reference_that_the_schema_cannot_accept_is_refused(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        references(tmp_path, SCHEMA, labelled(value))


def test_a_text_is_a_json_string_where_the_schema_wants_one() -> None:
    form = SchemaForm.checked({"enum": ["red", "7"]}, "t")
    assert [form.reference(value) for value in ("red", '"red"', "7")] == ['"red"', '"red"', '"7"']


def test_keys_that_parquet_adds_to_every_object_are_no_part_of_the_reference() -> None:
    form = SchemaForm.checked({"type": "object", "additionalProperties": {"type": "string"}}, "t")
    assert form.reference({"name": "Ada", "born": None}) == '{"name": "Ada"}'


def test_json_is_compared_as_a_reader_sees_it() -> None:
    form = SchemaForm.checked({"type": "object"}, "t")
    answer = Completion(id="x", text='{"name": "Zoe\u0308"}', finish="stop")
    assert form.score(answer, '{"name": "Zoë"}').correct
    assert not form.score(answer, '{"name": "Zoe"}').correct


@pytest.mark.parametrize(
    ("pattern", "readable", "unreadable"),
    [
        (r"[A-Z]{2}-\d+", "AB-1", "ab-1"),
        (r"([A-Z]{2})-\d+", "AB", "AB-12"),
        (r"(?:total|sum): (?P<sum>\d+(?:\.\d+)?) EUR", "12.5", "12,5"),
        (r"(?i)answer: (yes|no)", "YES", "maybe"),
        (r"[(](a|b)[)]", "b", "(b)"),
    ],
)
def test_a_reference_that_the_pattern_never_reads_is_refused(pattern: str, readable: str, unreadable: str) -> None:
    form = PatternForm.compiled(pattern, "t")
    assert form.reference(readable) == readable
    with pytest.raises(NoReferenceError, match="can never be the value of an answer"):
        form.reference(unreadable)


@pytest.mark.parametrize("pattern", [r"(?i:it is (yes|no))", r"(\d+(?= EUR)) EUR", r"((a|b)\2) c", r"(\bx\b)"])
def test_a_group_that_depends_on_its_surroundings_refuses_nothing(pattern: str) -> None:
    assert PatternForm.compiled(pattern, "t").reference("YES") == "YES"


def test_a_text_reference_must_be_text(tmp_path: Path) -> None:
    toml = 'prompt = "{{ text }}"\nreference = "label"\n'
    assert references(tmp_path, toml, labelled(7.0, True, " Paris ")) == ["7", "true", "Paris"]
    with pytest.raises(UsageError, match=r"rows\.jsonl:1: label holds a list, .*give the answer a \[schema\]"):
        references(tmp_path, toml, labelled(["Paris"]))
    with pytest.raises(UsageError, match=r"rows\.jsonl:2: label is empty: no answer could be right"):
        references(tmp_path, toml, labelled("Paris", " "))


def test_a_column_of_any_name_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("Review Text,product-name,a.b,label\nfine,pen,x,yes\n")
    toml = YES_NO.replace("{{ text }}?", r"{{ row['Review Text'] }} {{ row['product-name'] }} {{ row['a.b'] }}")
    (tmp_path / "t.toml").write_text(toml)
    task = load_task(str(tmp_path / "t.toml"))
    (row,) = load_rows(task, DataSource(location=str(tmp_path / "r.csv")))
    assert task.request(row).passage_texts() == ["fine", "pen", "x"]
    for named, said in (
        ("{{ Review_Text }}", r'the prompt names \'Review Text\' as \{\{ row\["Review Text"\] \}\}'),
        ("{{ product-name }}", r'the prompt names \'product-name\' as \{\{ row\["product-name"\] \}\}'),
        ("{{ Review Text }}", r'a column whose name is not an identifier is written \{\{ row\["Review Text"\] \}\}'),
        ("{{ row['label'] }}", r"the prompt names 'label', the column of the right answer"),
    ):
        (tmp_path / "t.toml").write_text(YES_NO.replace("{{ text }}", named))
        with pytest.raises(UsageError, match=said):
            load_rows(load_task(str(tmp_path / "t.toml")), DataSource(location=str(tmp_path / "r.csv")))


def test_a_column_called_row_is_a_column(tmp_path: Path) -> None:
    toml = 'prompt = "{{ row }}?"\nreference = "label"\nlabels = ["yes", "no"]\n'
    assert references(tmp_path, toml, [{"row": "x", "label": "yes"}]) == ["yes"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_task_file_saved_by_an_editor_of_windows_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "t.toml").write_bytes(YES_NO.replace("\n", "\r\n").encode(encoding))
    assert load_task(str(tmp_path / "t.toml")).labels == ("yes", "no")


def test_a_list_in_a_prompt_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"rows\.jsonl:1: column 'text' holds a list, and a prompt prints texts"):
        references(tmp_path, YES_NO, [{"text": ["a"], "label": "yes"}])
