"""A linear layer and its LoRA adapter as one operation: numbers and gradients are PEFT's."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the `local` extra")

from peft import LoraConfig, get_peft_model  # noqa: E402
from peft.tuners.lora import Linear  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from harness.adapters.lora_dropout import pack_dropout  # noqa: E402
from harness.adapters.lora_linear import FusedLinear, fuse_lora  # noqa: E402


class Pair(nn.Module):
    """Two layers that read the same input, one with a bias, and one that reads what they make."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(12, 20), nn.Linear(12, 20, bias=False), nn.Linear(20, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(torch.tanh(self.one(x)) * self.two(x))  # type: ignore[no-any-return]


def adapted(fused: bool = True, dtype: Any = torch.float64, **lora: Any) -> Any:
    """The same weights each time, with an adapter that is not zero."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 12, "target_modules": ["one", "two", "three"]} | lora
    config = LoraConfig(**settings)
    model = get_peft_model(Pair(), config).to(dtype).train()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(std=0.3)
    pack_dropout(model)
    if fused:
        fuse_lora(model)
    return model


def computed(model: Any, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs, and the gradients of a sum of squares (of the input too), with masks of one seed."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    torch.manual_seed(7)
    out = model(x)
    (out**2).sum().backward()
    assert x.grad is not None
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return out.detach(), found | {"x": x.grad}


def assert_same(one: Any, two: Any, x: Tensor, tolerance: float) -> None:
    (out, found), (wanted, expected) = computed(one, x), computed(two, x)
    assert torch.allclose(out, wanted, rtol=tolerance, atol=tolerance)
    assert found.keys() == expected.keys() and len(found) > 1
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= tolerance * gradient.norm(), name


@pytest.mark.parametrize(
    "lora",
    [{}, {"lora_dropout": 0.25}, {"use_rslora": True}, {"r": 1}, {"rank_pattern": {"two": 8}}],
    ids=["plain", "dropout", "rslora", "rank 1", "two ranks"],
)
@pytest.mark.parametrize("shape", [(9, 12), (2, 5, 12)])
def test_outputs_and_gradients_are_those_of_peft(lora: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    x = torch.randn(shape, dtype=torch.float64)
    assert_same(adapted(**lora), adapted(fused=False, **lora), x, 1e-12)
    assert_same(adapted(dtype=torch.float32, **lora), adapted(False, torch.float32, **lora), x.float(), 1e-5)


def test_an_input_without_gradient_gives_the_same_weights_gradients() -> None:
    x = torch.randn(6, 12, dtype=torch.float64)
    found = []
    for fused in (True, False):
        model = adapted(fused, lora_dropout=0.1)
        torch.manual_seed(2)
        model(x).sum().backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(found[0]) == 6
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(*found, strict=True))


def ask(change: Callable[[Any], Any]) -> list[Tensor]:
    """What a fused model and PEFT's give after a change, without gradient where there is none to have."""
    x = torch.randn(5, 12, dtype=torch.float64)
    found = []
    for fused in (True, False):
        model = adapted(fused)
        change(model)
        found.append(model(x).detach())
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.merge_adapter(),
        lambda model: model.base_model.disable_adapter_layers(),
        lambda model: model.add_adapter("second", LoraConfig(r=2, target_modules=["one"])),
        lambda model: (
            model.add_adapter("second", LoraConfig(r=2, target_modules=["one"], init_lora_weights="gaussian")),
            model.base_model.set_adapter(["default", "second"]),
        ),
        lambda model: model.requires_grad_(True),
        lambda model: model.eval(),
    ],
    ids=["merged", "disabled", "another beside it", "two active", "trained base", "evaluation"],
)
def test_what_is_not_the_plain_case_is_computed_by_peft(change: Callable[[Any], Any]) -> None:
    torch.manual_seed(3)
    ours, theirs = ask(change)
    assert torch.allclose(ours, theirs, rtol=1e-12)


def test_variants_of_lora_are_left_alone() -> None:
    x = torch.randn(5, 12, dtype=torch.float64)
    assert_same(adapted(use_dora=True), adapted(fused=False, use_dora=True), x, 1e-12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = (adapted(fused, torch.float32)(x.float()) for fused in (True, False))
    assert torch.equal(ours, theirs)


def test_layers_that_read_the_same_input_keep_it_once() -> None:
    def kept(fused: bool) -> int:
        """Bytes that the backward pass needs beside the weights."""
        model, bytes_of = adapted(fused, torch.float32, lora_dropout=0.1), {}
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

        def remember(t: Tensor) -> Tensor:
            store = t.untyped_storage()
            if store.data_ptr() not in weights:
                bytes_of[store.data_ptr()] = (store.nbytes(), t)
            return t

        with torch.autograd.graph.saved_tensors_hooks(remember, lambda t: t):
            model(torch.randn(400, 12, requires_grad=True))
        return sum(size for size, _ in bytes_of.values())

    assert kept(True) < 0.9 * kept(False)


def test_copies_have_weights_of_their_own_and_names_stay() -> None:
    model = adapted()
    assert sum(type(m) is FusedLinear for m in model.modules()) == 3
    assert model.state_dict().keys() == adapted(fused=False).state_dict().keys()
    x = torch.randn(3, 12, dtype=torch.float64)
    before = model(x).detach()
    box = io.BytesIO()
    torch.save(model, box)
    box.seek(0)
    for other in (copy.deepcopy(model), torch.load(box, weights_only=False)):
        for parameter in other.parameters():
            parameter.data.zero_()
        assert torch.equal(model(x), before) and not other(x).any()


def test_layers_that_adapt_something_else_are_left_alone() -> None:
    base = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4))
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["0", "1"]))
    fuse_lora(model)
    kinds = [type(m) for m in model.modules() if hasattr(m, "lora_A")]
    assert FusedLinear in kinds and Linear not in kinds and len(kinds) == 2
