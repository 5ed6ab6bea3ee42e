"""Words that people try first lead somewhere; advice names the task as it was typed."""

from pathlib import Path

import pytest

from tests.support.command import bench

REVIEWS = 'prompt = "Good? {{ text }}"\nreference = "label"\nlabels = ["yes", "no"]\ndata = "rows.csv"\n'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("version",), "bench, version "),
        (("help",), "Usage: bench [OPTIONS]"),
        (("help", "run"), "Usage: bench run"),
        (("--help", "run"), "Usage: bench run"),
        (("-h", "data"), "Usage: bench data"),
        (("list", "task"), "agnews"),
    ],
)
def test_the_first_words_of_a_newcomer(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(*words) == 0
    assert said in capsys.readouterr().out


def test_a_list_that_is_unknown_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("list", "rum") == 2
    assert "there is no list 'rum'; did you mean 'runs'?" in capsys.readouterr().err


def test_a_model_that_is_shut_down_is_listed_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench.toml").write_text(
        '[backends.own]\nkind = "openai"\nmodel = "gpt-3.5-turbo"\nbase_url = "http://127.0.0.1:1/v1"\n'
    )
    assert bench("list", "backends") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "(shut down on 2026-10-23: name another model in bench.toml)" in lines["gpt35"]
    assert "shut down" not in lines["own"] + lines["gpt4"]


def test_advice_names_the_task_as_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    (tmp_path / "rows.csv").write_text("text,label\nfine,yes\nbad,no\n")
    (tmp_path / "reviews.toml").write_text(REVIEWS)
    assert bench("run", "--task", "./reviews.toml", "--backends", "tfidf") == 2
    assert "run `bench train --task ./reviews.toml --recipe tfidf` first" in capsys.readouterr().err


def test_a_classifier_is_no_backend_of_a_task_with_open_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    assert bench("run", "--task", "persona-json", "--data", "embedded", "--backends", "tfidf") == 2
    said = capsys.readouterr().err
    assert "'tfidf' is a classifier, and task 'persona-json' has open answers: leave it out" in said
    assert "bench train" not in said
