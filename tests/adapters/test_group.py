"""Seeds and sweeps: every training is an adapter of its own, the best on validation rows is current, and it says so."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from harness.adapter_group import read_group
from harness.adapter_manifest import find_adapter, find_current, read_manifest
from harness.adapters import trainer, validation
from harness.adapters.dispatch import train_group
from harness.adapters.lora_training import train
from harness.adapters.train_options import TrainOptions
from harness.cli.train import train as verb
from harness.errors import UsageError
from harness.workspace import Workspace
from tests.adapters.test_training import QUICK, options, quiet, same_weights

SHORT = ("max_steps=2", "evaluations=1")


def said(console: Console) -> str:
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def scored_by(monkeypatch: pytest.MonkeyPatch, value: Callable[[int], float]) -> None:
    """Let validation say value(0) in the first training, value(1) in the second, ..: these bases learn nothing."""
    models: list[Any] = []

    def measure(self: Any, model: Any, tokenizer: Any) -> dict[str, float]:
        if not any(model is m for m in models):
            models.append(model)
        return {"accuracy": value(len(models) - 1)}

    monkeypatch.setattr(validation.Validation, "measure", measure)


def test_seeds_give_an_adapter_each_and_the_best_on_validation_is_current(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_by(monkeypatch, lambda n: (0.5, 0.9, 0.7)[n])
    workspace = Workspace(tmp_path / "home")
    done = train_group(options(base, rows, *SHORT, "device_hour_usd=3.6"), (), 3, workspace, quiet())
    assert len(done.folders) == 3 and done.folder == done.folders[1]
    assert find_current(workspace, "agnews", str(base)) == done.folder
    manifests = [read_manifest(folder) for folder in done.folders]
    assert [m.seed for m in manifests] == [0, 1, 2]
    assert len({m.data["fingerprint"] for m in manifests}) == 1, "the same training rows"
    assert len({m.selection["fingerprint"] for m in manifests}) == 1, "the same validation rows"
    assert len({m.adapter_sha256 for m in manifests}) == 3
    chosen = manifests[1].selection["group"]
    assert chosen["chosen"] and chosen["of"] == 3 and chosen["mean"] == pytest.approx(0.7)
    assert chosen["sd"] == pytest.approx(0.2) and chosen["range"] == [0.5, 0.9]
    assert "16 validation rows taken from train" in chosen["chosen_on"]
    assert not manifests[0].selection["group"]["chosen"]
    costs = [m.training_cost_usd or 0.0 for m in manifests]
    assert min(costs) > 0 and manifests[1].whole_training_cost_usd == pytest.approx(sum(costs))
    for folder in done.folders:
        assert read_group(folder) == done.group
    assert not list(workspace.adapters.glob(".*")), "nothing half-made is left behind"


def test_a_training_of_a_group_is_the_training_one_would_start_alone(base: Path, rows: Path, tmp_path: Path) -> None:
    done = train_group(options(base, rows, *SHORT), (), 2, Workspace(tmp_path / "group"), quiet())
    alone, _ = train(options(base, rows, *SHORT, "seed=1", "rows_seed=0"), Workspace(tmp_path / "alone"), quiet())
    assert same_weights(done.folders[1], alone)


def test_an_interrupted_group_goes_on_where_it_was_and_repeats_nothing(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = options(base, rows, "epochs=1", "evaluations=1")
    whole = train_group(wanted, (), 2, Workspace(tmp_path / "whole"), quiet())
    workspace = Workspace(tmp_path / "cut")
    step, begun = trainer.AnswerTrainer.training_step, []

    def interrupted_in_the_second(self: Any, *args: Any) -> Any:
        begun.append(self.args.seed)
        if self.args.seed == 1 and self.state.global_step == 4:
            next(c for c in self.callback_handler.callbacks if isinstance(c, trainer.Interrupt)).asked = True
        return step(self, *args)

    monkeypatch.setattr(trainer.AnswerTrainer, "training_step", interrupted_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        train_group(wanted, (), 2, workspace, quiet())
    with pytest.raises(UsageError, match="no adapter"):
        find_current(workspace, "agnews", str(base))
    finished = next(workspace.adapters.glob("agnews-*"))
    begun.clear()
    monkeypatch.setattr(trainer.AnswerTrainer, "training_step", step)
    console = Console(file=io.StringIO(), width=200)
    done = train_group(wanted, (), 2, workspace, console)
    assert "1 of 2 trainings are finished already" in said(console)
    assert "continuing after checkpoint at step 5" in said(console)
    assert done.folders[0] == finished
    assert all(same_weights(a, b) for a, b in zip(whole.folders, done.folders, strict=True))
    assert done.group.candidates[0].mean == whole.group.candidates[0].mean


def test_a_sweep_is_ranked_by_the_mean_over_seeds_and_says_how_much_was_tried(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_by(monkeypatch, lambda n: (0.99, 0.10, 0.60, 0.70)[n])
    workspace = Workspace(tmp_path)
    done = train_group(options(base, rows, *SHORT), ("lora.r=2,4",), 2, workspace, quiet())
    first, second = done.group.candidates
    assert (first.settings, first.mean) == ({"lora.r": 4}, pytest.approx(0.65))
    assert second.mean == pytest.approx(0.545)
    assert done.manifest.recipe["lora"]["r"] == 4 and done.manifest.seed == 1
    assert find_current(workspace, "agnews", str(base)) == done.folder
    told = read_manifest(done.folders[0]).selection
    assert (told["from"], told["group"]["of"], told["group"]["candidates"]) == ("train", 4, 2)
    assert (
        "best of 2 candidates" in told["group"]["caution"]
        and "evaluation split was not used" in told["group"]["caution"]
    )


def test_a_candidate_whose_loss_is_no_number_is_tried_and_does_not_stop_the_sweep(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = trainer.AnswerTrainer.compute_loss

    def broken_with_r_4(self: Any, model: Any, *args: Any, **rest: Any) -> Any:
        value = loss(self, model, *args, **rest)
        return value * float("nan") if model.training and model.peft_config["default"].r == 4 else value

    monkeypatch.setattr(trainer.AnswerTrainer, "compute_loss", broken_with_r_4)
    console = Console(file=io.StringIO(), width=200)
    done = train_group(options(base, rows, *SHORT), ("lora.r=4,2",), 1, Workspace(tmp_path), console)
    assert "given up: the loss became nan at step 1" in said(console)
    assert done.manifest.recipe["lora"]["r"] == 2 and len(done.folders) == 1
    assert done.group.tried == 2 and done.group.candidates[1].failed == 1


def test_the_verb_prints_a_ranking_for_people_and_the_group_for_machines(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    args = ["--task", "agnews", "--base", str(base), "--recipe", "tiny-agnews", "--data", str(rows), "--quiet"]
    for setting in (*QUICK, *SHORT):
        args += ["--set", setting]
    text = CliRunner().invoke(verb, [*args, "--seeds", "2"], catch_exceptions=False).stdout
    assert "2 seeds, ranked by accuracy on 16 validation rows taken from the training split" in text
    assert "spread over seeds: mean 0." in text and "(current)" in text and "next: bench run" in text
    record = json.loads(
        CliRunner().invoke(verb, [*args, "--sweep", "lora.r=2,4", "--json"], catch_exceptions=False).stdout
    )
    assert [c["rank"] for c in record["group"]["candidates"]] == [1, 2]
    chosen = find_adapter(Workspace(tmp_path / "home"), record["group"]["chosen"])
    assert record["path"] == str(chosen) and record["manifest"]["selection"]["group"]["chosen"]


def test_a_dry_run_lists_the_grid_and_trains_nothing(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    args = ["--task", "agnews", "--base", str(base), "--recipe", "tiny-agnews", "--data", str(rows), "--dry-run"]
    args += ["--sweep", "epochs=1,2", "--seeds", "2", "--set", "batch=10"]
    record = json.loads(CliRunner().invoke(verb, [*args, "--json"], catch_exceptions=False).stdout)
    assert [(t["settings"], t["seed"], t["steps"]) for t in record["trainings"]] == [
        ({"epochs": 1.0}, 0, 10),
        ({"epochs": 1.0}, 1, 10),
        ({"epochs": 2.0}, 0, 20),
        ({"epochs": 2.0}, 1, 20),
    ]
    assert record["steps"] == 60 and record["seconds"] > 0
    text = CliRunner().invoke(verb, args, catch_exceptions=False).stdout
    assert "4 trainings, one after the other" in text and "together: 60 steps" in text
    assert not (tmp_path / "home").exists()


def test_a_baseline_can_be_swept_but_has_no_seeds(rows: Path, tmp_path: Path) -> None:
    wanted = TrainOptions("agnews", recipe="tfidf", data=str(rows), overrides=("validation_rows=16",))
    with pytest.raises(UsageError, match="the same for every seed"):
        train_group(wanted, (), 3, Workspace(tmp_path), quiet())
    done = train_group(wanted, ("tfidf.ngrams=1,2",), 1, Workspace(tmp_path), quiet())
    assert [c.settings for c in done.group.candidates if c.rank] and done.manifest.objective == "tfidf"
    assert find_current(Workspace(tmp_path), "agnews", "tfidf") == done.folder


@pytest.mark.parametrize(
    ("settings", "out", "said"),
    [
        ((), "mine", "--out takes one adapter"),
        (("validation_rows=0",), None, "it holds no validation rows back"),
    ],
)
def test_what_a_group_cannot_do_is_told_before_it_begins(
    settings: tuple[str, ...], out: str | None, said: str, base: Path, rows: Path, tmp_path: Path
) -> None:
    wanted = options(base, rows, *settings, out=tmp_path / out if out else None)
    with pytest.raises(UsageError, match=said):
        train_group(wanted, (), 2, Workspace(tmp_path / "home"), quiet())


def test_several_processes_are_told_to_train_one_at_a_time(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="start them without a launcher"):
        train_group(options(base, rows), (), 2, Workspace(tmp_path), quiet())
