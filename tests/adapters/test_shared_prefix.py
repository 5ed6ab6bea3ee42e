"""A prefix that the rows of a micro-batch share is computed once: loss and gradients are those of the padded batch."""

import io
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from harness.adapters import shared_prefix
from harness.adapters.lora_model import trainable_weights, with_adapter
from harness.adapters.lora_training import train
from harness.adapters.recipe import Lora, Recipe
from harness.adapters.shared_prefix import LAYOUT, collate_shared, computed_tokens, enable
from harness.adapters.train_options import TrainOptions
from harness.adapters.training_examples import IGNORED, Example, as_items, blank, collate
from harness.backends.local.kv_cache import MIN_PREFIX_TOKENS
from harness.peft_folder import WEIGHTS
from harness.workspace import Workspace
from tests.support.tiny_architectures import tiny_model

SHARING = ("llama", "qwen2", "qwen3", "gemma3_text", "mistral", "phi3", "gpt2", "opt", "cohere2", "minicpm3")
"""Grouped and tied heads, biases, sliding windows in some layers or in all, fused projections, learned positions, and
values narrower than keys."""

PADDED = ("bloom", "gpt_neo", "rwkv")
"""Positions from columns, eager attention alone, and a recurrent state."""

VOCABULARY = 300


def tuned(name: str, *, dtype: torch.dtype = torch.float64, dropout: float = 0.0, **changes: Any) -> Any:
    """A tiny model with an adapter that is not zero; no dropout but the adapter's. changes: of the configuration."""
    torch.manual_seed(0)
    base = tiny_model(name, VOCABULARY, **changes)
    base.config.use_cache = False
    model = with_adapter(base, Recipe(lora=Lora(r=4, dropout=dropout)))
    for key, parameter in model.named_parameters():
        if "lora_B" in key:
            parameter.data.normal_(std=0.1)
    model = model.to(dtype).train()
    for key, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and "lora_dropout" not in key:
            module.p = 0.0
    return model


def example_rows(seed: int, count: int = 6, shared: int = 23, longest: int = 20) -> list[Example]:
    """Rows that share so many first tokens, of different lengths, with answers of different lengths."""
    rng = random.Random(seed)

    def tokens(most: int, least: int = 0) -> list[int]:
        return [rng.randrange(20, VOCABULARY) for _ in range(rng.randint(least, most))]

    prefix = tokens(shared, shared)
    return [Example(prefix + tokens(longest), tokens(4, 1)) for _ in range(count)]


def summed_loss(model: Any, batch: dict[str, Any]) -> Tensor:
    """The summed cross-entropy of a batch, packed or padded."""
    inputs = dict(batch)
    labels = inputs.pop("labels")
    if LAYOUT in inputs:
        logits = shared_prefix.forward(model, inputs).logits
    else:
        logits = model(**inputs).logits[:, -labels.shape[1] :]
    loss = torch.nn.functional.cross_entropy
    return loss(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum")


def loss_and_gradients(model: Any, batch: dict[str, Any]) -> tuple[float, dict[str, Tensor]]:
    model.zero_grad()
    loss = summed_loss(model, batch)
    loss.backward()
    return loss.item(), {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}


def difference(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """The norm of the difference of two gradients, relative to the first one's."""
    assert one.keys() == two.keys() and one
    apart = math.fsum(float((one[key] - two[key]).square().sum()) for key in one)
    return math.sqrt(apart / math.fsum(float(value.square().sum()) for value in one.values()))


@pytest.mark.parametrize("name", SHARING)
def test_loss_and_gradients_are_those_of_the_padded_batch(name: str) -> None:
    model = tuned(name)
    assert enable(model)
    for seed, longest in enumerate(
        (20, 0, 60)
    ):  # own tokens beyond the tiny sliding windows, and none but the answer's
        rows = as_items(example_rows(seed, longest=longest))
        batch = collate_shared(rows)
        assert LAYOUT in batch
        loss, gradients = loss_and_gradients(model, batch)
        wanted, expected = loss_and_gradients(model, collate(rows))
        assert loss == pytest.approx(wanted, rel=1e-6)
        assert difference(expected, gradients) < 1e-6, "norms in float32 round, whatever the model's type"


@pytest.mark.parametrize("name", ["llama", "gemma3_text"])
def test_in_float32_they_agree_to_a_hundred_thousandth(name: str) -> None:
    model = tuned(name, dtype=torch.float32)
    assert enable(model)
    for seed in range(5):
        rows = as_items(example_rows(seed, count=8))
        loss, gradients = loss_and_gradients(model, collate_shared(rows))
        wanted, expected = loss_and_gradients(model, collate(rows))
        assert loss == pytest.approx(wanted, rel=1e-5)
        assert difference(expected, gradients) < 1e-5


@pytest.mark.parametrize("name", ["llama4_text", "phimoe"])
def test_routers_of_experts_are_not_adapted(name: str) -> None:
    """They are linear layers that return a tuple, which an adapter cannot be added to."""
    model = tuned(name, dtype=torch.float32)
    loss, gradients = loss_and_gradients(model, collate(as_items(example_rows(1))))
    assert math.isfinite(loss) and gradients
    assert not any("router" in key for key in gradients)


@pytest.mark.parametrize("name", PADDED)
def test_architectures_that_do_not_allow_it_are_left_as_they_are(name: str) -> None:
    model = tiny_model(name, VOCABULARY)
    before = model.config._attn_implementation
    assert not enable(model)
    assert model.config._attn_implementation == before


def test_a_model_whose_numbers_would_differ_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tuned("llama", dtype=torch.float32)
    monkeypatch.setattr(shared_prefix, "sdpa_mask", lambda **options: torch.ones(1, 1, *(options["q_length"],) * 2))
    assert not enable(model)
    assert model.get_base_model().config._attn_implementation == "sdpa"


def test_looking_changes_neither_the_mode_nor_the_random_numbers() -> None:
    model = tuned("llama", dropout=0.1)
    model.get_base_model().model.norm.eval()
    before = [module.training for module in model.modules()], torch.random.get_rng_state()
    assert enable(model)
    assert [module.training for module in model.modules()] == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])


def test_every_token_is_computed_once() -> None:
    for seed in range(20):
        rows = example_rows(seed, count=seed % 5 + 2, shared=seed + MIN_PREFIX_TOKENS)
        batch = collate_shared(as_items(rows))
        shared = batch[LAYOUT]["shared"]
        assert shared >= min(seed + MIN_PREFIX_TOKENS, min(row.tokens for row in rows) - 1)
        assert batch["input_ids"].shape == (1, shared + sum(row.tokens - shared for row in rows))
        assert batch["attention_mask"].shape[0] == len(rows), "transformers counts rows and tokens by it"
        assert int(batch["attention_mask"].sum()) == sum(row.tokens for row in rows)
        assert batch["input_ids"].numel() == computed_tokens(rows, range(len(rows)), len(rows))
        assert len(batch["labels"]) == sum(len(row.answer) for row in rows)


def test_equal_prompts_share_the_token_that_predicts_their_answers() -> None:
    prompt = list(range(30, 40))
    rows = as_items([Example(prompt, [50, 2]), Example(prompt, [51, 2]), Example(prompt, [50, 2])])
    batch = collate_shared(rows)
    assert batch["targets"].tolist() == [9, 10, 9, 11, 9, 12]
    model = tuned("llama")
    assert enable(model)
    loss, gradients = loss_and_gradients(model, batch)
    wanted, expected = loss_and_gradients(model, collate(rows))
    assert loss == pytest.approx(wanted) and difference(expected, gradients) < 1e-6


@pytest.mark.parametrize(
    "rows",
    [
        [Example([5, 6, 7, 8, 9], [3]), Example([5, 6, 7, 1, 9], [3])],
        [Example([5, 6, 7, 8, 9], [3])],
        [Example([5, 6, 7, 8, 9], [], 1), Example([5, 6, 7, 8, 9], [], 2)],
    ],
    ids=["a short prefix", "one row", "a classification head"],
)
def test_rows_that_share_too_little_are_padded(rows: list[Example]) -> None:
    batch, padded = collate_shared(as_items(rows)), collate(as_items(rows))
    assert batch.keys() == padded.keys()
    assert all(torch.equal(batch[key], padded[key]) for key in padded)


def test_a_row_that_fills_a_step_up_takes_no_part_but_is_counted() -> None:
    rows = example_rows(0, count=3)
    filled = collate_shared(as_items([*rows, blank(rows[0])]))
    alone = collate_shared(as_items(rows))
    assert torch.equal(filled["input_ids"], alone["input_ids"]) and torch.equal(filled["labels"], alone["labels"])
    assert int(filled["attention_mask"].sum()) == int(alone["attention_mask"].sum()) + 1


def test_a_mask_without_a_layout_gives_transformers_own_attention() -> None:
    model = tuned("llama")
    ids = torch.tensor([example_rows(0)[0].prompt])
    wanted = model(input_ids=ids).logits
    assert enable(model)
    assert torch.equal(model(input_ids=ids).logits, wanted)


class DropoutByToken(torch.nn.Module):
    """Dropout whose mask belongs to a token, wherever that token lies in a batch."""

    keys: Tensor  # [rows, columns], the number of each token
    predicting: Tensor  # the columns that the last feed-forward block computes

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def forward(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        kept = torch.rand(400, x.shape[-1], generator=generator) > 0.3
        keys = DropoutByToken.keys
        if keys.shape[1] != x.shape[1]:
            keys = keys[:, DropoutByToken.predicting]
        return x * kept[keys].to(x.dtype) / 0.7


def test_dropout_falls_on_the_tokens_on_which_it_falls_in_the_padded_batch() -> None:
    rows = example_rows(3)
    batch, padded = collate_shared(as_items(rows)), collate(as_items(rows))
    shared = batch[LAYOUT]["shared"]
    keys = torch.zeros_like(padded["input_ids"])
    own = shared
    for n, row in enumerate(rows):
        columns = torch.arange(own, own + row.tokens - shared)
        keys[n, -row.tokens :] = torch.cat([torch.arange(shared), columns])
        own += row.tokens - shared
    model = tuned("llama", dropout=0.3)
    assert enable(model)
    for seed, layer in enumerate(m for m in model.modules() if hasattr(m, "lora_dropout")):
        layer.lora_dropout["default"] = DropoutByToken(seed)
    DropoutByToken.keys = keys
    wanted, expected = loss_and_gradients(model, padded)
    DropoutByToken.keys, DropoutByToken.predicting = torch.arange(own)[None], batch[LAYOUT]["predicting"]
    loss, gradients = loss_and_gradients(model, batch)
    assert loss == pytest.approx(wanted, rel=1e-6)
    assert difference(expected, gradients) < 1e-6


def test_with_dropout_loss_and_gradient_have_the_same_expectation() -> None:
    """Means over 100 draws of the masks, of the loss and of the gradient along 3 directions, within 3 standard errors.

    The largest of four such statistics exceeds that in 1 % of all seeds; the seed is fixed.
    """
    rows = as_items(example_rows(1, count=4, longest=6))
    model = tuned("llama", dtype=torch.float32, dropout=0.3, num_hidden_layers=1)
    assert enable(model)
    torch.manual_seed(5)
    directions = [{key: torch.randn_like(p) for key, p in trainable_weights(model).items()} for _ in range(3)]
    drawn = []
    for batch in (collate_shared(rows), collate(rows)):
        found = []
        for _ in range(100):
            loss, gradients = loss_and_gradients(model, batch)
            along = [float(sum((d[key] * g).sum() for key, g in gradients.items())) for d in directions]
            found.append([loss, *along])
        drawn.append(torch.tensor(found))
    shared, padded = drawn
    error = ((shared.var(0) + padded.var(0)) / 100).sqrt()
    assert ((shared.mean(0) - padded.mean(0)).abs() < 3 * error).all()
    assert (shared.std(0) > 0).all()


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputed_activations_give_the_same_gradients(reentrant: bool) -> None:
    batch = collate_shared(as_items(example_rows(2)))
    model = tuned("llama", dropout=0.1)
    assert enable(model)
    torch.manual_seed(9)
    wanted, expected = loss_and_gradients(model, batch)
    base = model.get_base_model()
    base.enable_input_require_grads()
    turn_on = getattr(base, "activation_checkpointing_enable", None) or base.gradient_checkpointing_enable
    turn_on({"use_reentrant": reentrant})
    torch.manual_seed(9)
    loss, gradients = loss_and_gradients(model, batch)
    assert loss == pytest.approx(wanted)
    assert difference(expected, gradients) < 1e-9


QUICK = ("batch=8", "max_steps=6", "validation_rows=16", "evaluations=1", "lora.r=2", "lora.dropout=0.0")


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Rows of the micro-batches that were computed with a shared prefix."""
    seen: list[int] = []
    forward = shared_prefix.forward

    def counted(model: Any, inputs: dict[str, Any]) -> Any:
        seen.append(len(inputs["attention_mask"]))
        return forward(model, inputs)

    monkeypatch.setattr(shared_prefix, "forward", counted)
    yield seen
    seen.clear()


@pytest.mark.parametrize(
    "settings",
    [
        ("batch=4", "accumulate=2"),
        ("accumulate=1", "activation_checkpointing=true"),
        ("accumulate=1", "dtype=bfloat16"),
    ],
    ids=["accumulated", "recomputed", "bfloat16"],
)
def test_a_training_ends_in_the_adapter_that_padded_batches_give(
    settings: tuple[str, ...],
    base: Path,
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layouts: list[int],
) -> None:
    options = TrainOptions("agnews", str(base), "tiny-agnews", (*QUICK, *settings), str(rows))
    folder, manifest = train(options, Workspace(tmp_path / "shared"), Console(file=io.StringIO()))
    assert len(layouts) >= 6 + 2, "training and validation"
    layouts.clear()
    monkeypatch.setattr(shared_prefix, "enable", lambda model: False)
    other, padded = train(options, Workspace(tmp_path / "padded"), Console(file=io.StringIO()))
    assert not layouts
    rough = "dtype=bfloat16" in settings
    assert manifest.tokens == padded.tokens
    assert manifest.metrics == pytest.approx(padded.metrics, rel=2e-2 if rough else 1e-4)
    one, two = load_file(folder / WEIGHTS), load_file(other / WEIGHTS)
    for key in one:
        assert torch.allclose(one[key], two[key], rtol=0, atol=5e-3 if rough else 2e-4), key


def test_heads_read_texts_that_share_nothing(base: Path, rows: Path, tmp_path: Path, layouts: list[int]) -> None:
    settings = (*QUICK, "objective=head")
    train(
        TrainOptions("agnews", str(base), "tiny-agnews", settings, str(rows)), Workspace(tmp_path), Console(quiet=True)
    )
    assert not layouts
