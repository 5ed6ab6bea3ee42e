"""Rows as people bring them: encodings, Arrow folders, splits by time, a task guessed from a file."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.data import data
from harness.cli.new_task import FORM_NAMES, form_files, new_task
from harness.data.rows import DataSource, DataWarning, open_rows
from harness.data.splitting import stored_split
from harness.data.text_lines import find_encoding
from harness.errors import DataError, UsageError
from harness.runner import split_once
from harness.task_forms import FORMS
from harness.task_loading import load_rows, load_task, task_problems
from harness.workspace import Workspace

GERMAN = "id;text;label\n1;Ein schöner Tag für Müßiggänger;gut\n2;Übler Ärger;schlecht\n"
RUSSIAN = "text,label\n" + "".join(f"Это короткий отзыв о покупке номер {n},да\n" for n in range(20))
JAPANESE = "text,label\n" + "".join(f"これは商品についての感想です{n},はい\n" for n in range(20))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(GERMAN, "cp1252"), (RUSSIAN, "cp1251"), (JAPANESE, "cp932"), (GERMAN, "utf-16"), (GERMAN, "utf-8-sig")],
)
def test_csv_of_another_encoding_is_read_and_said(text: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode(encoding))
    unicode = encoding.startswith("utf")
    with pytest.warns(DataWarning) as told:
        rows = list(open_rows(DataSource(location=str(path)), delimiter=None if unicode or ";" in text else ","))
        told_by_hand = DataWarning("x")
        import warnings

        warnings.warn(told_by_hand, stacklevel=1)
    assert rows[0].fields["text"] in text
    assert any("is read as" in str(w.message) for w in told) is not unicode


def test_a_named_encoding_wins_and_a_wrong_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("text\nZażółć gęślą jaźń\n".encode("cp1250"))
    rows = list(open_rows(DataSource(location=str(path)), encoding="cp1250"))
    assert rows[0].fields["text"] == "Zażółć gęślą jaźń"
    with pytest.raises(DataError, match="'cp99999' is no encoding of text"):
        list(open_rows(DataSource(location=str(path)), encoding="cp99999"))


def test_utf_8_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(GERMAN, "utf-8")
    assert find_encoding(path) is None


def test_bytes_of_no_encoding_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text\n" + bytes(range(128, 160)) + b"\n")
    with pytest.raises(DataError, match="its encoding cannot be detected; name it with `encoding`"):
        list(open_rows(DataSource(location=str(path))))


def test_arrow_folders_with_and_without_splits_are_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = datasets.Dataset.from_list([{"text": "a", "label": 1}, {"text": "b", "label": 0}], features=features)
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": rows, "test": rows.select([1])}).save_to_disk(tmp_path / "two")
    one = list(open_rows(DataSource(location=str(tmp_path / "one"))))
    assert [row.fields for row in one] == [{"text": "a", "label": 1}, {"text": "b", "label": 0}]
    assert one[0].classes == {"label": ("no", "yes")}
    assert [row.fields["text"] for row in open_rows(DataSource(location=str(tmp_path / "two")))] == ["b"]


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    "times",
    [
        [f"2025-01-{day:02}" for day in range(1, 11)],
        [f"2025-01-01T0{hour}:00:00+02:00" for hour in range(10)],
        [str(1_700_000_000 + n) for n in range(10)],
        [str(1_700_000_000_000 + n) for n in range(10)],
    ],
)
def test_the_latest_rows_are_test_rows(times: list[str], tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    shuffled = times[5:] + times[:5]
    file.write_text("when,text\n" + "".join(f"{time},row {n}\n" for n, time in enumerate(shuffled)))
    arguments = ["split", str(file), "--out", str(tmp_path / "s"), "--by", "time", "--column", "when", "--test", "0.3"]
    done = CliRunner().invoke(data, arguments)
    assert done.exit_code == 0, done.output
    assert sorted(str(row["when"]) for row in lines(tmp_path / "s" / "test.jsonl")) == sorted(times[7:])


def test_rows_of_one_time_stay_on_one_side_and_what_is_no_time_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("when,text\n" + "".join(f"2025-01-0{1 + n // 5},row {n}\n" for n in range(10)))
    arguments = ["split", str(file), "--out", str(tmp_path / "s"), "--by", "time", "--column", "when", "--test", "0.1"]
    assert CliRunner().invoke(data, arguments).exit_code == 0
    assert len(lines(tmp_path / "s" / "test.jsonl")) == 5
    file.write_text("when,text\nyesterday,a\n2025-01-01,b\n")
    refused = CliRunner().invoke(data, [*arguments[:3], str(tmp_path / "t"), *arguments[4:]])
    assert isinstance(refused.exception, UsageError)
    assert "rows.csv:2: column 'when' holds 'yesterday', which is no time" in str(refused.exception)


def test_a_test_share_is_kept_and_is_the_same_every_time(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text\n" + "".join(f"row {n}\n" for n in range(50)))
    first = stored_split(str(file), 0.2, 0, tmp_path)
    assert (len(lines(first / "train.jsonl")), len(lines(first / "test.jsonl"))) == (40, 10)
    before = (first / "test.jsonl").stat().st_mtime_ns
    assert split_once(str(file), 0.2, Workspace(tmp_path)) == first
    assert (first / "test.jsonl").stat().st_mtime_ns == before
    file.write_text(file.read_text() + "one more\n")
    assert stored_split(str(file), 0.2, 0, tmp_path) != first
    for wrong, said in ((1.5, "above 0 and below 1"), (0.2, "name it with --data FILE")):
        with pytest.raises(UsageError, match=said):
            split_once(None, wrong, Workspace(tmp_path))


def test_every_form_has_a_starter_that_keeps_its_promises(tmp_path: Path) -> None:
    assert set(FORM_NAMES) == set(FORMS)
    for form in FORM_NAMES:
        for name, text in form_files("mine", form).items():
            (tmp_path / form / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / form / name).write_text(text)
        assert task_problems(load_task(str(tmp_path / form / "mine.toml"))) == [], form


RECORD = {"shop": "North", "total": 3.5, "day": "2025-01-02"}
CHAT = [{"role": "user", "content": "open?"}, {"role": "assistant", "content": "yes"}]


@pytest.mark.parametrize(
    ("rows", "keys"),
    [
        ([{"id": n, "text": f"long text number {n}", "label": "ab"[n % 2]} for n in range(30)], ['labels = "train"']),
        (
            [{"Text of it": f"long text number {n}", "tags": ["a", "b"][: n % 3]} for n in range(30)],
            ['form = "multi-label"', '{{ row["Text of it"] }}'],
        ),
        ([{"text": f"long text number {n}", "score": n * 1.5} for n in range(30)], ['form = "number"']),
        ([{"text": f"receipt {n}", "out": RECORD} for n in range(30)], ['"total" = "number"', '"day" = "date"']),
        ([{"messages": [{**CHAT[0], "content": f"{n}?"}, CHAT[1]]} for n in range(30)], ['messages = "messages"']),
        (
            [{"question": f"what is {n}", "answer": f"it is {n * 7} things"} for n in range(30)],
            ['reference = "answer"'],
        ),
    ],
)
def test_a_task_is_guessed_from_rows(rows: list[dict[str, object]], keys: list[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = CliRunner().invoke(new_task, ["fresh", "--from", str(file), "--out", str(tmp_path / "out")])
    assert made.exit_code == 0, made.output
    text = (tmp_path / "out" / "fresh.toml").read_text()
    for key in keys:
        assert key in text
    task = load_task(str(tmp_path / "out" / "fresh.toml"))
    assert task_problems(task) == []
    assert len(load_rows(task, DataSource(split="train"))) + len(load_rows(task, DataSource())) == 30
    assert "for training and" in made.output


def test_rows_of_which_nothing_can_be_guessed_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("a,b\n" + "".join(f"text one {n},text two {n}\n" for n in range(30)))
    refused = CliRunner().invoke(new_task, ["fresh", "--from", str(file), "--out", str(tmp_path)])
    assert isinstance(refused.exception, UsageError)
    assert "no column looks like a right answer (a, b)" in str(refused.exception)


def test_any_data_set_of_the_hub_is_read_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[tuple[object, ...]] = []

    def load(path: str, config: str | None, *, split: str, revision: str | None) -> object:
        asked.append((path, config, split, revision))
        return datasets.Dataset.from_list([{"sentence": f"{split} {n}", "kind": "ab"[n]} for n in range(2)])

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *_: ["train", "validation"])
    rows = list(open_rows(DataSource(location="hub:owner/name:en")))
    assert rows[0].fields["sentence"] == "validation 0" and asked == [("owner/name", "en", "validation", None)]
    file = tmp_path / "t.toml"
    file.write_text(
        'prompt = "{{ text }}"\ndata = "hub:owner/name"\nreference = "kind"\nlabels = "train"\n'
        '[columns]\ntext = "sentence"\n[hub]\nrevision = "v2"\nsplits = { train = "train", test = "validation" }\n'
    )
    task = load_task(str(file))
    assert task.labels == ("a", "b") and asked[-1] == ("owner/name", None, "train", "v2")
    assert [row.inputs["text"] for row in load_rows(task, DataSource())] == ["validation 0", "validation 1"]
    with pytest.raises(UsageError, match="has no split 'dev'"):
        list(open_rows(DataSource(location="hub:owner/name", split="dev")))
