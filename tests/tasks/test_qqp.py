"""QQP: 0 or 1, alone or behind an explanation; pairs that share questions belong together."""

import warnings
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.rows import DataSource, DataWarning
from harness.errors import UsageError
from harness.records import Completion, Sample
from harness.task_loading import build_request, load_rows, load_task
from harness.tasks.qqp import Qqp, QqpExplained, read_alone, read_explained
from tests.support.shared import SHARED, needs_shared
from tools.samples import questions


@pytest.mark.parametrize(
    ("text", "strict", "kind", "lenient"),
    [
        ("1", "1", None, "1"),
        (" 0\n", "0", None, "0"),
        ("", None, "no label", None),
        ("I cannot tell.", None, "no label", None),
        ("They are duplicates.", None, "no label", "1"),
        ("They are not duplicates.", None, "no label", "0"),
        ("Dissimilar", None, "no label", "0"),
        ("They don't ask the same.", None, "no label", "0"),
        ("These aren\u2019t duplicates.", None, "no label", "0"),
        ("They cannot be called similar.", None, "no label", "0"),
        ("2", None, "label outside 0/1", None),
        ("0.5", None, "label outside 0/1", None),
        ("-1", None, "label outside 0/1", None),
        ("10", None, "label outside 0/1", None),
        ("0 or 1", None, "several labels", None),
        ("1. They mean the same.", None, "text after the label", "1"),
        ("Label: 0", None, "text before the label", "0"),
        ("１", "1", None, "1"),
        ("١", None, "no label", None),
    ],
)
def test_an_answer_that_should_be_the_label_alone(
    text: str, strict: str | None, kind: str | None, lenient: str | None
) -> None:
    reading = read_alone(text)
    assert (reading.strict, reading.kind, reading.lenient) == (strict, kind, lenient)


@pytest.mark.parametrize(
    ("text", "strict", "kind", "lenient"),
    [
        ("Both ask how.\nLabel: 1", "1", None, "1"),
        ("One asks how, 1 asks why.\n\n label:0 ", "0", None, "0"),
        ("Label: 1", "1", None, "1"),
        ("Both ask how.\nLabel: 1\nThanks!", None, "text after the label", "1"),
        ("Both ask how.\nLabel: 1 (similar)", None, "text after the label", "1"),
        ("Label: 0\nLabel: 1", None, "several labels", None),
        ("Label: 1\nBoth ask how.\nLabel: 1", None, "several labels", "1"),
        ("Both ask how.\nLabel: yes", None, "label outside 0/1", None),
        ("Both ask how.\n1", None, "no label", "1"),
        ("Both ask how.\nLabel:", None, "no label", None),
        ("Both ask how.", None, "no label", None),
    ],
)
def test_an_answer_that_should_end_in_a_line_with_the_label(
    text: str, strict: str | None, kind: str | None, lenient: str | None
) -> None:
    reading = read_explained(text)
    assert (reading.strict, reading.kind, reading.lenient) == (strict, kind, lenient)


def test_an_answer_that_met_the_length_limit_is_cut_off_unless_the_label_stands() -> None:
    assert read_alone("Well, the", cut=True).kind == "cut off"
    assert read_explained("Both questions", cut=True).kind == "cut off"
    assert read_alone("1", cut=True).kind is None


@given(st.text() | st.text(alphabet="01 label:.\n-", max_size=30), st.booleans())
def test_no_answer_makes_a_reader_raise_and_lenient_takes_what_strict_takes(text: str, cut: bool) -> None:
    for read in (read_alone, read_explained):
        reading = read(text, cut=cut)
        assert (reading.kind is None) == (reading.strict is not None)
        if reading.strict is not None:
            assert reading.lenient == reading.strict


@given(st.sampled_from("01"), st.text().filter(lambda t: "label" not in t.casefold()))
def test_a_valid_answer_always_round_trips(label: str, explanation: str) -> None:
    assert read_alone(label).strict == label
    assert read_explained(f"{explanation}\nLabel: {label}").strict == label


def rows(path: Path, split: str = "test") -> list[Sample]:
    return load_rows(Qqp(), DataSource(location=str(path), split=split))


def test_glue_and_quora_and_jsonl_read_alike_each_with_its_own_quoting(tmp_path: Path) -> None:
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    (tmp_path / "dev.tsv").write_text(header + '7\t1\t2\tWhat is "x?\tIs "x" y?\t1\r\n', newline="")
    [glue] = rows(tmp_path)
    assert glue.inputs == {"question1": 'What is "x?', "question2": 'Is "x" y?'}
    quoted = header + "".join(f'{i}\t1\t2\t"What\tis ""x{i}""?"\tIs x{i} y?\t0\n' for i in range(40))
    (tmp_path / "quora.tsv").write_text(quoted)
    both = rows(tmp_path / "quora.tsv") + rows(tmp_path / "quora.tsv", "train")
    assert len(both) == 40
    assert {s.inputs["question1"] for s in both} == {f'What\tis "x{i}"?' for i in range(40)}
    (tmp_path / "a.jsonl").write_text('{"question1": "a", "question2": "b", "label": 1}\n')
    assert rows(tmp_path / "a.jsonl")[0].reference == "1"


def test_torn_lines_of_glue_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(
        "question1\tquestion2\tis_duplicate\na\tb\t0\nno end\nc\td\t1\n", encoding="utf-8-sig"
    )
    with pytest.warns(DataWarning, match=r"train\.tsv: 1 lines do not hold 3 fields and were left out \(line 3\)"):
        assert len(rows(tmp_path, "train")) == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"question1": "a", "question2": "b", "label": -1}', r"a\.jsonl:1: label '-1' is none of 0, 1 \(-1 marks"),
        ('{"question1": "a", "question2": "b", "label": "١"}', r"a\.jsonl:1: label '١' is none of 0, 1"),
        ('{"question1": "a", "question2": " ", "label": 1}', r"a\.jsonl:1: question2 is empty"),
        ('{"question1": "a", "label": 1}', r"a\.jsonl:1: no column 'question2'; did you mean 'question1'"),
        ('{"question1": "a", "question2": "b"}', r"a\.jsonl:1: no column 'label'"),
    ],
)
def test_a_bad_row_is_told_with_its_line(tmp_path: Path, row: str, said: str) -> None:
    (tmp_path / "a.jsonl").write_text(row + "\n")
    with pytest.raises(UsageError, match=said):
        rows(tmp_path / "a.jsonl")


def test_pairs_that_share_questions_are_one_group_and_go_to_the_same_split(tmp_path: Path) -> None:
    lines = [f"{i}\t{i}\t{i}\tq{i // 2}\tq{i // 2 + i % 2 * 1000}\t0" for i in range(400)]
    (tmp_path / "quora.tsv").write_text("\n".join(["id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", *lines]))
    train, test = rows(tmp_path / "quora.tsv", "train"), rows(tmp_path / "quora.tsv", "test")
    assert len(train) + len(test) == 400
    assert not {s.group for s in train} & {s.group for s in test}
    assert 10 <= len(test) <= 80
    assert set(Counter(s.group for s in train + test).values()) == {2}


def test_no_gold_text_stands_in_a_request_though_the_target_holds_it() -> None:
    for name in ("qqp", "qqp-explained"):
        task = load_task(name)
        for row in load_rows(task, DataSource(location="embedded", split="train")):
            flipped = msgspec.structs.replace(row, reference="10"[int(row.reference)], columns={"explanation": "zzz"})
            assert build_request(task, row) == build_request(task, flipped)
            assert task.request(row) == task.request(flipped)


def test_the_articles_loop_reads_the_label_it_has_given() -> None:
    """The published evaluation generates from the whole training text, gold label included, and reads a label back.

    A model that only repeats its prompt then scores 100 %. Given our requests the same model scores nothing.
    """
    task = QqpExplained()
    test = [
        msgspec.structs.replace(r, columns={"explanation": "Both are about it."})
        for r in load_rows(task, DataSource(location="embedded"))
    ]

    def right(prompts: list[str]) -> float:
        answers = [Completion(id=r.id, text=prompt, finish="stop") for r, prompt in zip(test, prompts, strict=True)]
        return sum(bool(task.score(r, a).lenient.correct) for r, a in zip(test, answers, strict=True)) / len(test)

    ours = [build_request(task, r).messages[0].content for r in test]
    articles = [f"Explanation and label.\n{r.inputs}\n{task.target(r)}" for r in test]
    assert right(articles) == 1.0
    assert right(ours) == 0.0
    assert all(task.target(r) not in p and r.columns["explanation"] not in p for r, p in zip(test, ours, strict=True))


def test_the_score_counts_refusals_as_wrong_and_says_so() -> None:
    row = load_rows(Qqp(), DataSource(location="embedded"))[0]
    score = Qqp().score(row, Completion(id=row.id, text=row.reference, finish="refusal"))
    assert (score.correct, score.format, score.answer) == (False, "refusal", None)
    assert Qqp().score(row, Completion(id=row.id, text=row.reference, finish="stop")).correct is True


def test_a_target_without_an_explanation_says_what_to_do() -> None:
    row = load_rows(QqpExplained(), DataSource(location="embedded"))[0]
    with pytest.raises(UsageError, match=r"has no explanation to train on.*--task qqp\)"):
        QqpExplained().target(row)


def test_the_embedded_sample_is_what_its_module_writes_and_shares_no_question() -> None:
    for split in ("train", "test"):
        assert (questions.OUT / f"{split}.jsonl").read_bytes() == questions.file_content(split)
    train, test = (load_rows(Qqp(), DataSource(location="embedded", split=s)) for s in ("train", "test"))
    assert not {q for r in train for q in r.inputs.values()} & {q for r in test for q in r.inputs.values()}
    assert Counter(r.reference for r in test) == {"0": 30, "1": 30}
    assert len({r.group for r in test}) > 1


@needs_shared("qqp")
def test_the_real_pairs_are_read_and_their_shared_questions_grouped() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        test = rows(SHARED / "qqp")
    assert len(test) == 5000
    assert len({r.group for r in test}) < 5000
