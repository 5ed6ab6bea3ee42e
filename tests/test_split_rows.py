"""One file becomes training and test rows: nothing lost, groups whole, the same split from the same rows."""

import json
import random
from pathlib import Path

import pytest

from tests.support.command import bench


def rows(folder: Path, name: str, lines: list[dict[str, object]]) -> Path:
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / name


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


LINES: list[dict[str, object]] = [{"text": f"row {n}", "customer": n // 4, "paid": n % 2 == 0} for n in range(200)]


def test_every_row_stands_on_one_side_and_groups_stay_whole(tmp_path: Path) -> None:
    file = rows(tmp_path, "a.jsonl", LINES)
    assert bench("data", "split", str(file), "--out", str(tmp_path / "s"), "--group", "customer", "--test", "0.25") == 0
    train, test = texts(tmp_path / "s" / "train.jsonl"), texts(tmp_path / "s" / "test.jsonl")
    assert sorted(train + test) == sorted(str(line["text"]) for line in LINES)
    assert len(test) == 52  # 13 customers of four rows: the first whole number of them that holds a quarter
    assert not {int(t[4:]) // 4 for t in train} & {int(t[4:]) // 4 for t in test}


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does(tmp_path: Path) -> None:
    shuffled = random.Random(3).sample(LINES, len(LINES))
    for name, lines, seed in (("a", LINES, "0"), ("b", shuffled, "0"), ("c", LINES, "1")):
        file = rows(tmp_path, f"{name}.jsonl", lines)
        assert bench("data", "split", str(file), "--out", str(tmp_path / name), "--seed", seed) == 0
    sides = {name: set(texts(tmp_path / name / "test.jsonl")) for name in "abc"}
    assert sides["a"] == sides["b"] != sides["c"]


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        ([], [], "there is no row: nothing to split"),
        ([LINES[0], LINES[0]], [], "there is only one row: nothing to split"),
        (LINES[:4], ["--group", "customer"], "there is only one value of 'customer': nothing to split"),
        (LINES[:4], ["--group", "client"], r"a.jsonl:1: no column 'client'"),
    ],
)
def test_what_cannot_be_split_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[dict[str, object]], options: list[str], said: str
) -> None:
    file = rows(tmp_path, "a.jsonl", lines)
    assert bench("data", "split", str(file), "--out", str(tmp_path / "s"), *options) == 2
    assert said in capsys.readouterr().err


def test_two_rows_are_one_on_each_side_and_nothing_is_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("data", "split", str(rows(tmp_path, "a.jsonl", LINES[:2])), "--out", str(tmp_path / "s"))
    assert bench(*command) == 0
    assert capsys.readouterr().out.endswith("s: 1 training row and 1 test row.\n")
    assert bench(*command) == 2
    assert "train.jsonl already exists: name another --out" in capsys.readouterr().err


TASK = 'prompt = "Good? {{ text }}"\nreference = "label"\nlabels = ["yes", "no"]\ndata = "one.jsonl"\n'


def test_a_task_whose_data_is_one_file_is_not_trained_on_what_it_is_evaluated_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    lines: list[dict[str, object]] = [
        {"text": f"{n} {'a' if n % 2 else 'b'}", "label": "yes" if n % 2 else "no"} for n in range(40)
    ]
    rows(tmp_path, "one.jsonl", lines)
    (tmp_path / "t.toml").write_text(TASK)
    train = ("train", "--task", "./t.toml", "--recipe", "tfidf")
    assert bench(*train, "--out", "a") == 2
    assert "the training rows are the evaluated rows (40 rows), and none is left to train on" in capsys.readouterr().err
    assert bench("data", "check", "--task", "./t.toml") == 0
    assert "train and test are the same rows" in capsys.readouterr().out
    assert bench(*train, "--out", "a", "--data", "one.jsonl") == 0
    told = capsys.readouterr()
    assert "is one file without splits: all its rows are training rows" in " ".join(told.err.split())
    assert "--data OTHER" in told.out
    assert bench("data", "split", "one.jsonl", "--out", "split") == 0
    assert bench(*train, "--out", "b", "--data", "split") == 0
    assert "--data split" in capsys.readouterr().out
