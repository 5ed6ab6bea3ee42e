"""`bench adapter check --for vllm` finds what vLLM's loader refuses, and prints the line that serves the rest."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

safetensors = pytest.importorskip("safetensors.numpy")

from harness.adapter_manifest import AdapterManifest, write_manifest  # noqa: E402
from harness.adapters.serving import for_vllm  # noqa: E402
from harness.cli.adapter import adapter  # noqa: E402
from harness.errors import UsageError  # noqa: E402
from harness.peft_folder import WEIGHTS  # noqa: E402

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """An adapter's folder with a configuration of PEFT's, changed as a test wants."""

    def build(objective: str = "generate", quantization: str = "none", tensor: str = "", **config: Any) -> Path:
        folder = tmp_path / "adapter"
        folder.mkdir()
        plain = {"r": 8, "lora_alpha": 16, "bias": "none", "modules_to_save": None, "use_dora": False}
        plain |= {"use_rslora": False, "rank_pattern": {}, "alpha_pattern": {}, "target_modules": ["q_proj"]}
        (folder / "adapter_config.json").write_text(json.dumps(plain | config))
        names = [f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight", *([tensor] if tensor else [])]
        safetensors.save_file({name: np.zeros((2, 2), np.float32) for name in names}, folder / WEIGHTS)
        write_manifest(
            folder,
            AdapterManifest(
                id="mine",
                task="agnews",
                task_version="1",
                base="org/llama 1B",
                base_revision="abc123",
                objective=objective,  # type: ignore[arg-type]
                recipe={"quantization": quantization},
            ),
        )
        return folder

    return build


def test_a_plain_adapter_is_served_by_the_line_that_is_printed(make: Make) -> None:
    folder = make()
    found = for_vllm(folder, 16)
    assert (found.problems, found.notes) == ([], [])
    assert found.command == (
        "vllm serve 'org/llama 1B' --enable-lora --max-lora-rank 16 "
        f"--lora-modules mine={folder.resolve()} --revision abc123"
    )
    result = CliRunner().invoke(adapter, ["check", str(folder), "--for", "vllm"], standalone_mode=False)
    assert result.return_value == 0 and result.output.strip() == found.command


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"r": 24}, "its rank 24 is above --max-lora-rank 16: serve it with --max-lora-rank 32, or train with"),
        ({"r": 600}, "its rank 600 is above --max-lora-rank 16: train with --set lora.r=16"),
        ({"use_dora": True}, "DoRA adapter, which vLLM refuses: merge it"),
        ({"modules_to_save": ["lm_head"]}, "whole layers are trained beside the adapter (lm_head)"),
        ({"objective": "head"}, "a classification head, which vLLM does not load"),
        ({"bias": "lora_only"}, "biases are trained"),
        ({"alpha_pattern": {"q_proj": 4}}, "vLLM scales all by alpha / r"),
        ({"tensor": "base_model.model.lm_head.weight"}, "holds 1 weights that are no LoRA factors"),
    ],
)
def test_what_vllm_refuses_is_told_with_what_to_do(changes: dict[str, Any], said: str, make: Make) -> None:
    folder = make(**changes)
    found = for_vllm(folder, 16)
    assert found.command is None
    assert said in " ".join(found.problems)
    result = CliRunner().invoke(adapter, ["check", str(folder), "--for", "vllm"], standalone_mode=False)
    assert result.return_value == 2 and result.output.startswith("no: ")


def test_a_broken_adapter_is_told(make: Make) -> None:
    folder = make()
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(b"\xff" * 8 + whole[8:])
    with pytest.raises(UsageError, match="not a safetensors file"):
        for_vllm(folder, 16)
    (folder / "adapter_config.json").write_text('{"r": "many"}')
    with pytest.raises(UsageError, match="missing or unreadable"):
        for_vllm(folder, 16)


def test_what_vllm_takes_with_care_is_noted(make: Make) -> None:
    found = for_vllm(make(quantization="nf4", use_rslora=True, target_modules=["q_proj", "lm_head"]), 64)
    assert found.problems == []
    notes = " ".join(found.notes)
    assert "trained on 4-bit weights" in notes and "alpha / sqrt(r)" in notes and "adapters of lm_head" in notes
    assert found.command is not None and found.command.endswith("--quantization bitsandbytes")
    assert "--max-lora-rank 64" in found.command


def test_a_rank_that_vllm_does_not_know_is_refused(make: Make) -> None:
    folder = make()
    with pytest.raises(UsageError, match="--max-lora-rank 12: vLLM takes 1, 8, 16"):
        for_vllm(folder, 12)
    with pytest.raises(UsageError, match="goes with --for vllm"):
        CliRunner().invoke(
            adapter, ["check", str(folder), "--max-lora-rank", "16"], standalone_mode=False, catch_exceptions=False
        )
