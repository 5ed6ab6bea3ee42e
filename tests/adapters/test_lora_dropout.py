"""Dropout whose masks are made of 16 bits an element."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the `local` extra")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from harness.adapters.lora_dropout import STEPS, PackedDropout, keep_mask, pack_dropout  # noqa: E402


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_and_the_mean(p: float) -> None:
    torch.manual_seed(0)
    kept = keep_mask(torch.Size((1000, 1001)), round(p * STEPS))
    bound = 5 * (p * (1 - p) / kept.numel()) ** 0.5
    assert abs(kept.double().mean().item() - (1 - p)) < bound + 1 / STEPS
    out = PackedDropout(p)(torch.ones(1000, 1001))
    assert abs(out.double().mean().item() - 1) < 5 * bound / (1 - p) + 1e-4
    assert out.unique().tolist() == [0.0, pytest.approx(1 / (1 - p), rel=1e-3)]


def test_elements_of_one_draw_are_independent() -> None:
    torch.manual_seed(1)
    kept = keep_mask(torch.Size((250_000, 4)), STEPS // 2).double()
    both = (kept - 0.5).T @ (kept - 0.5) / len(kept)
    off = both - torch.diag(both.diag())
    assert off.abs().max() < 5 * 0.25 / len(kept) ** 0.5
    neighbours = ((kept[1:] - 0.5) * (kept[:-1] - 0.5)).mean(0)
    assert neighbours.abs().max() < 5 * 0.25 / len(kept) ** 0.5


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 7), (2, 3, 4)])
def test_a_seed_gives_the_same_masks_and_the_gradient_is_the_mask(shape: tuple[int, ...]) -> None:
    layer, x = PackedDropout(0.25), torch.randn(shape, requires_grad=True)
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(first, layer(x)) and first.shape == x.shape
    first.sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad * x, first)


def test_recomputed_activations_have_the_same_mask() -> None:
    layer, weights = PackedDropout(0.3), torch.randn(8, 8, requires_grad=True)

    def loss(recompute: bool) -> Any:
        torch.manual_seed(5)
        x = torch.arange(64.0).view(8, 8)
        found = checkpoint(lambda w: layer(x @ w), weights, use_reentrant=False) if recompute else layer(x @ weights)
        return (found**2).sum()

    plain, again = (torch.autograd.grad(loss(recompute), weights)[0] for recompute in (False, True))
    assert torch.equal(plain, again)


def test_nothing_is_dropped_outside_of_training() -> None:
    x = torch.randn(4, 4)
    assert PackedDropout(0.5).eval()(x) is x or torch.equal(PackedDropout(0.5).eval()(x), x)
    assert torch.equal(PackedDropout(0.0)(x), x)
    assert torch.equal(PackedDropout(1.0)(x), torch.zeros(4, 4))


def test_layers_of_an_adapter_are_exchanged_and_its_configuration_stays(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from tests.support.tiny_llama import make_base

    base = AutoModelForCausalLM.from_pretrained(make_base(tmp_path / "base"))
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=2, lora_dropout=0.1))
    pack_dropout(model)
    found = [m for name, m in model.named_modules() if "lora_dropout." in name]
    assert found and all(type(m) is PackedDropout and m.p == 0.1 for m in found)
    assert not any(type(m) is nn.Dropout for m in found)
    model.save_pretrained(str(tmp_path / "saved"))
    assert json.loads((tmp_path / "saved" / "adapter_config.json").read_text("utf-8"))["lora_dropout"] == 0.1
