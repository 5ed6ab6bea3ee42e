"""Cross Validated: open answers, measured by their likeness to the reference where the libraries are installed."""

from pathlib import Path

import pytest

from harness.data.rows import DataSource, DataWarning
from harness.errors import UsageError
from harness.records import Completion
from harness.task_loading import build_request, load_rows, load_task
from harness.tasks import crossvalidated
from harness.tasks.crossvalidated import CrossValidated
from tests.support.shared import SHARED, needs_shared


def test_the_reference_scores_itself_highest_and_an_empty_answer_is_a_format_error() -> None:
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    task = CrossValidated()
    assert [m.name for m in task.metrics][:2] == ["chrf", "rouge_l"]
    first, second = load_rows(task, DataSource(location="embedded"))[:2]
    same = task.score(first, Completion(id="x", text=first.reference, finish="stop"))
    other = task.score(first, Completion(id="x", text=second.reference, finish="stop"))
    assert same.values["chrf"] == pytest.approx(1.0)
    assert same.values["rouge_l"] == pytest.approx(1.0)
    assert other.values["chrf"] < 0.5
    assert (same.correct, same.format) == (None, None)
    assert task.score(first, Completion(id="x", text=" ", finish="stop")).format == "empty"
    assert task.score(first, Completion(id="x", text="The mean", finish="length")).format == "cut off"
    assert task.score(first, Completion(id="x", text="No.", finish="refusal")).values["chrf"] == 0.0


def test_without_the_libraries_length_and_format_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossvalidated, "find_spec", lambda name: None)
    task = CrossValidated()
    row = load_rows(task, DataSource(location="embedded"))[0]
    score = task.score(row, Completion(id="x", text="two words", finish="stop"))
    assert score.values == {"words": 2.0}
    assert [m.name for m in task.metrics] == ["format_error_rate", "words"]


def test_the_request_holds_title_and_question_and_no_answer() -> None:
    task = load_task("crossvalidated")
    row = load_rows(task, DataSource(location="embedded"))[0]
    request = build_request(task, row)
    assert request.passage_texts() == [f"{row.inputs['title']}\n\n{row.inputs['question']}"]
    assert row.reference not in request.messages[0].content
    assert request.labels == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"question": "a", "answer": "b"}, {"question": "a", "answer": ""}]', "element 2: the answer is empty"),
        ('[{"question": "a", "answer": "b", "answer_score": "nan"}]', "element 1: answer_score 'nan' is not a number"),
        ('[{"question": "a"}]', "element 1: no column 'answer'"),
        ('[{"question": ["a"], "answer": "b"}]', "element 1: column 'question' holds a list, not text"),
    ],
)
def test_a_bad_row_is_told_with_its_place(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UsageError, match=said):
        list(CrossValidated().samples(DataSource(location=str(tmp_path / "a.json"))))


@needs_shared("crossvalidated/pairs.jsonl")
def test_real_questions_keep_their_source() -> None:
    with pytest.warns(DataWarning, match="602 answers with fewer votes"):
        rows = load_rows(CrossValidated(), DataSource(location=str(SHARED / "crossvalidated" / "pairs.jsonl")))
    assert len(rows) == 1026
    assert rows[0].columns["link"].startswith("http")
    assert rows[0].group == "53"
