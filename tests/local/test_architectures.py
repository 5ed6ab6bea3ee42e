"""Whatever the architecture: the numbers of one row at a time in transformers, or a sentence."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from harness.backends.local.architecture import batched_limit, best_attention, context_of, windows_of
from harness.backends.local.base_files import find_base
from harness.backends.local.engine import LocalEngine
from harness.errors import BackendStopped, UsageError
from harness.workspace import Workspace
from tests.local.asking import ask
from tests.local.equality import compare_choose, compare_generate, compare_head, made_for
from tests.support.tiny_architectures import MISSING, NAMES, REFUSED, tiny_config, tiny_model
from tests.support.tiny_llama import news_requests, tokenizer

TOGETHER = ("gemma3_text", "deepseek_v3", "gpt2")
"""Sliding windows, keys and values of different width, learned positions."""

ALONE = ("bloom", "mamba", "llama4_text")
"""Positions from columns, a recurrent state, and chunks of attention."""


def saved(folder: Path, name: str, **changes: Any) -> Path:
    """A tiny base of an architecture in a folder."""
    made = tokenizer()
    tiny_model(name, len(made), **changes).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", [*TOGETHER, *ALONE])
def test_answers_are_those_of_one_row_at_a_time(name: str) -> None:
    model, made = made_for(name)
    chosen, written = compare_choose(model, made), compare_generate(model, made)
    assert chosen.difference <= 1e-4
    assert chosen.differ == written.differ == 0
    if name != "llama4_text":  # some of its rows fit into a chunk
        assert chosen.batched is (name in TOGETHER)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*NAMES} - {*MISSING, *REFUSED}))
def test_every_architecture_is_exact_in_every_decode_mode(name: str) -> None:
    model, made = made_for(name)
    for compared in (compare_choose(model, made), compare_generate(model, made), compare_head(name, made)):
        if compared is not None:
            assert compared.difference <= 1e-4
            assert compared.differ == 0


def test_a_sliding_window_is_no_context(tmp_path: Path) -> None:
    base = saved(tmp_path / "base", "gemma3_text")
    config = transformers.AutoConfig.from_pretrained(base)
    windows = windows_of(config)
    assert windows is not None
    assert context_of(config) == 512 > windows.tokens == 16
    asked = news_requests(3, longest=60)
    answers = ask(Workspace(tmp_path), asked, model=str(base), decode="choose")
    assert not any(a.prompt_truncated for a in answers.values())
    assert max(a.usage.prompt_tokens for a in answers.values()) > windows.tokens


def test_rows_share_a_batch_only_as_far_as_that_changes_no_number() -> None:
    phi = tiny_config("phi3", 300)
    assert batched_limit(phi) > context_of(phi)
    phi.rope_parameters = {"rope_type": "longrope", "original_max_position_embeddings": 64}
    assert batched_limit(phi) == 64
    assert batched_limit(tiny_config("llama4_text", 300)) == 16
    assert batched_limit(tiny_config("gpt_neo", 300)) == 16


@pytest.mark.parametrize(("name", "attention"), [("llama", "sdpa"), ("gpt_neo", "eager"), ("xglm", "eager")])
def test_auto_takes_the_attention_that_the_architecture_has(name: str, attention: str, tmp_path: Path) -> None:
    base = saved(tmp_path / "base", name)
    assert best_attention(find_base(str(base))) == attention
    answers = ask(Workspace(tmp_path), news_requests(2), model=str(base), decode="choose")
    assert all(a.error is None for a in answers.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_models_that_look_ahead_are_refused_whatever_their_name(name: str) -> None:
    with pytest.raises(BackendStopped, match="no causal language model"):
        compare_choose(*made_for(name))


def test_a_model_that_looks_ahead_is_refused() -> None:
    made = tokenizer()
    config = tiny_config("bert", len(made))
    config.is_decoder = False
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(BackendStopped, match="no causal language model"):
        LocalEngine.from_live(model, made).answer(news_requests(2), decode="choose")


def test_a_kind_of_model_without_causal_form_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    base = saved(tmp_path / "base", "llama")
    config = '{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}'
    (base / "config.json").write_text(config)
    with pytest.raises(UsageError, match=r"no causal language model for model_type 't5'"):
        ask(Workspace(tmp_path), news_requests(1), model=str(base))
    (base / "config.json").write_text(config.replace("t5", "no-such-kind"))
    with pytest.raises(UsageError, match=r"cannot read its config\.json"):
        ask(Workspace(tmp_path), news_requests(1), model=str(base))


def test_a_model_whose_windows_the_engine_cannot_mask_is_computed_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    model, made = made_for("mistral")
    model.config.layer_types = ["sliding_attention"] * 4  # asks for a mask by kind, which Mistral does not take
    torch.manual_seed(3)
    assert compare_choose(model, made).difference <= 1e-4
