"""Mixtures of experts: what is trained on them can be asked and merged, or is refused before the training."""

from pathlib import Path

import pytest

from harness.adapters.lora_training import prepare, train
from harness.adapters.merging import merge
from harness.errors import UsageError
from harness.workspace import Workspace
from tests.adapters.test_training import options, quiet
from tests.local.asking import ask
from tests.support.tiny_architectures import tiny_model
from tests.support.tiny_llama import news_requests, tokenizer


@pytest.fixture(scope="module", params=["mixtral", "qwen2_moe"])
def mixture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base with four experts in each layer (one of the kinds has a shared expert besides)."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    made = tokenizer()
    tiny_model(request.param, len(made)).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def test_an_adapter_on_a_mixture_of_experts_can_be_asked_and_merged(mixture: Path, rows: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    wanted = options(mixture, rows, "max_steps=2", "validation_rows=4", "lora.dropout=0.1")
    folder, manifest = train(wanted, workspace, quiet())
    assert manifest.steps == 2
    asked = news_requests(3)
    tuned = ask(workspace, asked, model=str(mixture), adapter=str(folder), decode="choose")
    assert all(a.error is None for a in tuned.values())
    merged = merge(folder, tmp_path / "merged", rows=4)
    alone = ask(workspace, asked, model=str(merged.folder), decode="choose")
    for key, answer in tuned.items():
        assert alone[key].label_scores == pytest.approx(answer.label_scores, abs=1e-3)


def test_targets_inside_experts_are_refused_before_anything_is_loaded(mixture: Path, rows: Path) -> None:
    with pytest.raises(UsageError, match=r"recipe: \[lora\] does not fit the base"):
        prepare(options(mixture, rows, 'lora.targets=["experts"]', "lora.dropout=0"))
