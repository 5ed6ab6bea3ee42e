"""The last layer's feed-forward block computes the columns that predict an answer, and no others."""

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the `local` extra")

from torch import Tensor  # noqa: E402

from harness.adapters import shared_prefix  # noqa: E402
from harness.adapters.last_layer import last_layer  # noqa: E402
from harness.adapters.shared_prefix import collate_shared, enable  # noqa: E402
from harness.adapters.training_examples import Example, as_items, collate  # noqa: E402
from tests.adapters.test_shared_prefix import (  # noqa: E402
    difference,
    example_rows,
    loss_and_gradients,
    summed_loss,
    tuned,
)
from tests.support.tiny_architectures import tiny_model  # noqa: E402


def feed_forward_columns(model: Any, batch: dict[str, Any]) -> list[int]:
    """Columns that each layer's first feed-forward product reads."""
    seen: list[int] = []
    blocks = [m for name, m in model.named_modules() if name.endswith(".gate_proj")]
    hooks = [block.register_forward_hook(lambda _m, args, _out: seen.append(args[0].shape[1])) for block in blocks]
    summed_loss(model, batch)
    for hook in hooks:
        hook.remove()
    return seen


def test_only_the_last_layer_skips_columns_and_only_with_a_layout() -> None:
    model = tuned("llama")
    assert enable(model)
    rows = as_items(example_rows(0))
    batch, padded = collate_shared(rows), collate(rows)
    columns, answers = batch["input_ids"].shape[1], len(set(batch["targets"].tolist()))
    assert answers < columns
    *others, last = feed_forward_columns(model, batch)
    assert set(others) == {columns} and last == answers
    assert set(feed_forward_columns(model, padded)) == {padded["input_ids"].shape[1]}
    *others, last = feed_forward_columns(model, batch)
    assert set(others) == {columns} and last == answers, "a padded batch leaves nothing behind"


def test_a_column_that_predicts_for_several_rows_has_one_gradient() -> None:
    prompt = list(range(30, 40))
    rows = as_items([Example(prompt, [50, 2]), Example(prompt, [51, 2]), Example(prompt, [50, 2])])
    model = tuned("llama", dtype=torch.float64)
    assert enable(model)
    batch = collate_shared(rows)
    assert batch[shared_prefix.LAYOUT]["predicting"].tolist() == sorted(set(batch["targets"].tolist()))
    loss, gradients = loss_and_gradients(model, batch)
    wanted, expected = loss_and_gradients(model, collate(rows))
    assert loss == pytest.approx(wanted) and difference(expected, gradients) < 1e-6


def test_a_block_that_mixes_columns_is_left_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tuned("llama")
    block = model.get_base_model().model.layers[-1].mlp
    plain = type(block).forward

    def mixed(self: Any, states: Tensor) -> Tensor:
        """Adds how many columns there are, which skipping columns would change; the rest of a batch it leaves alone."""
        found: Tensor = plain(self, states)
        return found + (0.5 if states.shape[1] < 9 else 0.0)

    monkeypatch.setattr(type(block), "forward", mixed)
    assert enable(model), "the shared prefix alone is exact"
    assert "forward" not in vars(block)
    assert not model.get_base_model().model.layers[-1]._forward_pre_hooks
    rows = as_items(example_rows(0))
    assert len(set(feed_forward_columns(model, collate_shared(rows)))) == 1


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "mixtral", "gpt2"])
def test_the_last_layer_of_an_architecture_is_found(name: str) -> None:
    model = tiny_model(name, 300)
    found = last_layer(model, model.config.num_hidden_layers)
    stack = model.transformer.h if name == "gpt2" else model.model.layers
    assert found is stack[-1]


def test_an_encoder_beside_the_decoder_is_not_mistaken_for_it() -> None:
    model = tiny_model("llama", 300)
    model.other = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(model.config.num_hidden_layers))
    assert last_layer(model, model.config.num_hidden_layers) is None
