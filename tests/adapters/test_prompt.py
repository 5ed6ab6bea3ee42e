"""A training on another prompt: the very prompt that `run --prompt` asks with, and a word where the two differ."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from harness import runner
from harness.adapter_manifest import read_manifest
from harness.adapters.dispatch import train
from harness.adapters.lora_training import prepare
from harness.adapters.train_options import TrainOptions
from harness.data.rows import DataSource
from harness.errors import ExitCode, UsageError
from harness.prompting.templates import PromptTemplate
from harness.settings import Settings
from harness.task_loading import load_rows, load_task
from harness.workspace import Workspace
from tests.support.command import bench

QUICK = ("batch=8", "accumulate=1", "epochs=1", "validation_rows=16", "lora.r=2")


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    file = tmp_path / "other.txt"
    file.write_text("File this under a topic.\n{{ text }}\nIt is about")
    return file


def adapter(base: Path, rows: Path, workspace: Workspace, prompt: Path | None) -> Path:
    said = None if prompt is None else str(prompt)
    options = TrainOptions("agnews", str(base), "tiny-agnews", QUICK, str(rows), prompt=said)
    return train(options, workspace, Console(file=io.StringIO()))[0]


def warnings(rows: Path, folder: Path, workspace: Workspace, base: Path, prompt: Path | None) -> list[str]:
    table = {"kind": "local", "model": str(base), "adapter": str(folder), "decode": "choose", "device": "cpu"}
    said = None if prompt is None else str(prompt)
    settings = Settings(backends={"tuned": table})
    log = runner.run("agnews", ["tuned"], data=str(rows), prompt=said, settings=settings, workspace=workspace)
    summary = log.summary()
    assert summary is not None
    return [w for w in summary.warnings if "trained with" in w]


def test_a_training_reads_the_tokens_that_a_run_with_the_same_prompt_sends(
    base: Path, rows: Path, prompt: Path
) -> None:
    job = prepare(TrainOptions("agnews", str(base), "tiny-agnews", QUICK, str(rows), prompt=str(prompt)))
    for sample, example in zip(job.rows.train, job.train, strict=True):
        expected = PromptTemplate.load(prompt).render(sample.inputs)[0][0].content
        assert job.tokenizer.decode(example.prompt).endswith(expected)


def test_an_interrupted_training_is_not_continued_with_another_prompt(base: Path, rows: Path, prompt: Path) -> None:
    own = prepare(TrainOptions("agnews", str(base), "tiny-agnews", QUICK, str(rows)))
    other = prepare(TrainOptions("agnews", str(base), "tiny-agnews", QUICK, str(rows), prompt=str(prompt)))
    assert own.key() != other.key()


def test_the_summary_says_where_an_adapter_is_asked_with_a_prompt_it_was_not_trained_on(
    base: Path, rows: Path, prompt: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "home")
    tuned = adapter(base, rows, workspace, prompt)
    noted = read_manifest(tuned).prompt
    assert noted == {"file": str(prompt), "sha256": PromptTemplate.load(prompt).hash}
    assert warnings(rows, tuned, workspace, base, prompt) == []
    (caution,) = warnings(rows, tuned, workspace, base, None)
    assert str(prompt) in caution and "asked with the task's own prompt" in caution
    prompt.write_text("Another wording.\n{{ text }}\nTopic:")
    (caution,) = warnings(rows, tuned, workspace, base, prompt)
    assert caution.count(str(prompt)) == 2
    plain = adapter(base, rows, workspace, None)
    assert read_manifest(plain).prompt is None
    (caution,) = warnings(rows, plain, workspace, base, prompt)
    assert "trained with the task's own prompt" in caution


def test_the_classical_baseline_reads_what_the_prompt_marks(rows: Path, prompt: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    options = TrainOptions("agnews", None, "tfidf", ("tfidf.min_df=1",), str(rows), prompt=str(prompt))
    _, manifest = train(options, Workspace(tmp_path / "home"), Console(file=io.StringIO()))
    assert manifest.prompt is not None and manifest.prompt["file"] == str(prompt)


def test_a_prompt_that_names_what_rows_do_not_have_is_told_before_anything_is_trained(
    base: Path, rows: Path, prompt: Path
) -> None:
    prompt.write_text("{{ txt }}")
    with pytest.raises(UsageError, match=r"names 'txt'.*'text'"):
        prepare(TrainOptions("agnews", str(base), "tiny-agnews", QUICK, str(rows), prompt=str(prompt)))


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_pairs_without_explanations_train_nothing_and_say_how_to_get_them(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], dry: tuple[str, ...]
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    rows = load_rows(load_task("qqp"), DataSource(location="embedded", split="train"))[:20]
    lines = [json.dumps({**r.inputs, "label": int(r.reference)}) for r in rows]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(lines))
    whole = ("--set", "quantization=none")
    code = bench("train", "--task", "qqp-explained", "--base", str(base), "--data", str(file), *whole, *dry)
    assert code == ExitCode.USAGE
    said = capfd.readouterr().err.strip()
    assert "none of the 20 training rows can be trained on" in said and len(said.splitlines()) == 1
    command = "bench data generate --task qqp-explained --teacher BACKEND --rows N --data DATA --out DIR"
    assert command in said
    from harness.cli.data import generate

    assert {"--teacher", "--rows", "--data", "--out"} <= {o for p in generate.params for o in p.opts}
