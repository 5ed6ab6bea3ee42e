"""Adapters that Bench did not train: a PEFT folder is asked as PEFT itself answers, and is never changed."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlamaForCausalLM, LlamaForSequenceClassification

from harness.adapter_manifest import find_adapter, misfit, read_manifest
from harness.backend import RunContext
from harness.errors import UsageError
from harness.peft_folder import PICKLED, WEIGHTS, read_peft_folder, tensor_name
from harness.workspace import Workspace
from tests.local.asking import Plain, ask, ask_in
from tests.support.tiny_llama import LABELS, make_adapter, make_base, news_requests

pytestmark = pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings", "ignore:Setting .save_embedding")


def loosened(tuned: Any, seed: int = 1) -> Any:
    """Every trained weight far from where it begins, so that the adapter changes answers."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name or "lora_embedding_B" in name:
                parameter.normal_(std=0.5)
            elif "modules_to_save" in name:
                parameter.add_(torch.randn_like(parameter) * 0.5 * parameter.std())
    return tuned.eval()


def foreign(base: Path, folder: Path, **lora: Any) -> Any:
    """An adapter as plain PEFT saves it, and the live model that it was saved from."""
    config: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | lora
    tuned = loosened(get_peft_model(LlamaForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**config)))
    tuned.save_pretrained(str(folder))
    return tuned


Scores = dict[str, dict[str, float]]


def scores_of(tuned: Any, tokenizer: Path, requests: list[Any]) -> Scores:
    """The labels' log-likelihoods by PEFT's own model, one row and one label at a time."""
    plain = Plain(None, tuned, AutoTokenizer.from_pretrained(tokenizer))
    return {
        r.id: {x: plain.log_likelihood(plain.prompt(r), plain.renderer.encode_answer(x)) for x in r.labels}
        for r in requests
    }


def asked(workspace: Path, requests: list[Any], **settings: Any) -> Scores:
    """The same as Bench asks it."""
    found = ask(Workspace(workspace), requests, decode="choose", **settings)
    return {i: c.label_scores or {} for i, c in found.items()}


def agree(ours: Scores, theirs: Scores) -> bool:
    return all(ours[row] == pytest.approx(theirs[row], abs=2e-3) for row in theirs)


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ranks": {"rank_pattern": {"o_proj": 2, "layers.1.mlp.up_proj": 3}, "alpha_pattern": {"o_proj": 16}},
    "two modules": {"target_modules": ["q_proj", "v_proj"], "modules_to_save": None},
    "output": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "embeddings": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "norms": {"target_modules": ["q_proj"], "modules_to_save": ["input_layernorm"]},
    "output factors": {"target_modules": ["v_proj", "lm_head"]},
    "embedding factors": {"target_modules": ["v_proj", "embed_tokens"]},
    "dora": {"target_modules": ["q_proj", "up_proj"], "use_dora": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_peft_folder_is_scored_as_peft_scores(kind: str, base: Path, tmp_path: Path) -> None:
    tuned = foreign(base, tmp_path / "lora", **KINDS[kind])
    requests = news_requests(3)
    expected = scores_of(tuned, base, requests)
    assert agree(asked(tmp_path, requests, model=str(base), adapter=str(tmp_path / "lora")), expected)


def test_a_replaced_layer_is_put_back_for_the_base_and_for_other_adapters(base: Path, tmp_path: Path) -> None:
    foreign(base, tmp_path / "whole", **KINDS["output"])
    make_adapter(Workspace(tmp_path), base, "ours")
    requests = news_requests(4)

    async def in_turns() -> list[Scores]:
        context = RunContext(workspace=Workspace(tmp_path))
        names = ("", str(tmp_path / "whole"), "ours", str(tmp_path / "whole"), "")
        settings = {"model": str(base), "decode": "choose"}
        answers = [await ask_in(context, requests, adapter=name, **settings) for name in names]
        return [{c.id: c.label_scores or {} for c in each} for each in answers]

    first, whole, ours, again, last = asyncio.run(in_turns())
    assert first == last and whole == again
    assert agree(ours, asked(tmp_path, requests, model=str(base), adapter="ours"))
    assert not agree(whole, first)


def renamed(folder: Path, change: Callable[[str], str]) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({change(name): value for name, value in weights.items()}, folder / WEIGHTS)


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name.replace("base_model.model.", "base_model.model._orig_mod."),
        lambda name: name.replace("base_model.model.model.layers", "base_model.model.model.language_model.layers"),
        lambda name: name.replace(".weight", ".default.weight"),
        lambda name: name.removeprefix("base_model.model."),
    ],
    ids=["compiled", "inside a multimodal model", "adapter's name kept", "no prefix"],
)
def test_names_of_other_trainers_are_understood(change: Callable[[str], str], base: Path, tmp_path: Path) -> None:
    tuned = foreign(base, tmp_path / "lora", target_modules=["q_proj", "down_proj"])
    renamed(tmp_path / "lora", change)
    requests = news_requests(3)
    expected = scores_of(tuned, base, requests)
    assert agree(asked(tmp_path, requests, model=str(base), adapter=str(tmp_path / "lora")), expected)


def test_an_output_layer_under_tinkers_name_is_the_bases(base: Path, tmp_path: Path) -> None:
    tuned = foreign(base, tmp_path / "lora", target_modules=["q_proj", "lm_head"])
    renamed(tmp_path / "lora", lambda name: name.replace("model.lm_head.", "model.model.unembed_tokens."))
    config = json.loads((tmp_path / "lora/adapter_config.json").read_text())
    (tmp_path / "lora/adapter_config.json").write_text(json.dumps({**config, "target_modules": "all-linear"}))
    requests = news_requests(3)
    expected = scores_of(tuned, base, requests)
    assert agree(asked(tmp_path, requests, model=str(base), adapter=str(tmp_path / "lora")), expected)


def test_a_grown_vocabulary_is_asked_with_its_own_tokenizer(chat_base: Path, tmp_path: Path) -> None:
    made = AutoTokenizer.from_pretrained(chat_base)
    made.add_special_tokens({"additional_special_tokens": ["<|topic|>", "<|turn|>"]})
    made.chat_template = made.chat_template.replace("<|assistant|>\n", "<|assistant|>\n<|topic|>")
    model = LlamaForCausalLM.from_pretrained(chat_base, dtype=torch.float32)
    model.resize_token_embeddings(len(made), mean_resizing=False)
    config = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    tuned = loosened(get_peft_model(model, config))
    tuned.save_pretrained(str(tmp_path / "lora"), save_embedding_layers=True)
    made.save_pretrained(str(tmp_path / "lora"))
    requests = news_requests(4)
    expected = scores_of(tuned, tmp_path / "lora", requests)
    assert agree(asked(tmp_path, requests, model=str(chat_base), adapter=str(tmp_path / "lora")), expected)


def test_a_template_that_prints_a_token_without_embedding_is_refused(chat_base: Path, tmp_path: Path) -> None:
    foreign(chat_base, tmp_path / "lora", target_modules=["q_proj"])
    made = AutoTokenizer.from_pretrained(chat_base)
    made.add_special_tokens({"additional_special_tokens": ["<|topic|>", "<|turn|>"]})
    made.save_pretrained(str(tmp_path / "lora"))  # a token more, never printed: it does not matter
    requests = news_requests(2)
    plain = asked(tmp_path, requests, model=str(chat_base), adapter=str(tmp_path / "lora"))
    (tmp_path / "lora/tokenizer_config.json").rename(tmp_path / "lora/other.json")
    assert plain == asked(tmp_path, requests, model=str(chat_base), adapter=str(tmp_path / "lora"))
    (tmp_path / "lora/other.json").rename(tmp_path / "lora/tokenizer_config.json")
    made.chat_template = made.chat_template.replace("<|assistant|>\n", "<|topic|>")
    made.save_pretrained(str(tmp_path / "lora"))
    with pytest.raises(UsageError, match=r"prints the token '<\|topic\|>', for which neither the base nor the adapter"):
        asked(tmp_path, requests, model=str(chat_base), adapter=str(tmp_path / "lora"))


def head(base: Path, folder: Path) -> Any:
    torch.manual_seed(5)
    model = LlamaForSequenceClassification.from_pretrained(base, num_labels=len(LABELS), dtype=torch.float32)
    config = LoraConfig(r=4, target_modules="all-linear", task_type="SEQ_CLS")
    tuned = loosened(get_peft_model(model, config))
    tuned.save_pretrained(str(folder))
    return tuned


@pytest.mark.parametrize("named", [True, False])
def test_a_head_is_asked_with_the_labels_that_are_known(named: bool, base: Path, tmp_path: Path) -> None:
    tuned = head(base, tmp_path / "head")
    order = list(reversed(LABELS)) if named else list(LABELS)
    if named:
        names = {"id2label": dict(enumerate(order))}
        (tmp_path / "head/config.json").write_text(json.dumps(names))
    requests = news_requests(5)
    tokenizer = AutoTokenizer.from_pretrained(base)
    found = ask(Workspace(tmp_path), requests, model=str(base), adapter=str(tmp_path / "head"))
    for request in requests:
        ids = tokenizer(request.passage_texts()[0], return_tensors="pt", add_special_tokens=False)["input_ids"]
        logits = tuned(input_ids=ids).logits[0].log_softmax(-1).tolist()
        assert found[request.id].label_scores == pytest.approx(dict(zip(order, logits, strict=True)), abs=1e-4)


def test_a_head_of_another_number_of_labels_is_refused(base: Path, tmp_path: Path) -> None:
    head(base, tmp_path / "head")
    with pytest.raises(UsageError, match="classifies into 4 labels, agnews has 3"):
        ask(Workspace(tmp_path), news_requests(2, labels=LABELS[:3]), model=str(base), adapter=str(tmp_path / "head"))


def test_asking_leaves_the_folder_as_it_was(base: Path, tmp_path: Path) -> None:
    foreign(base, tmp_path / "lora")
    (tmp_path / "lora/training_args.bin").write_bytes(b"\x80pickled")
    (tmp_path / "lora/checkpoint-10").mkdir()
    before = {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted((tmp_path / "lora").iterdir())}
    ask(Workspace(tmp_path), news_requests(2), model=str(base), adapter=str(tmp_path / "lora"))
    assert before == {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted((tmp_path / "lora").iterdir())}


def test_a_pickled_adapter_is_refused_with_a_command_that_converts_it(base: Path, tmp_path: Path) -> None:
    foreign(base, tmp_path / "lora", target_modules=["q_proj"])
    weights = load_file(tmp_path / "lora" / WEIGHTS)
    torch.save(weights, tmp_path / "lora" / PICKLED)
    (tmp_path / "lora" / WEIGHTS).unlink()
    with pytest.raises(UsageError, match="is pickled, which can run code") as refused:
        read_peft_folder(tmp_path / "lora")
    code = str(refused.value).partition('python -c "')[2].removesuffix('"')
    subprocess.run([sys.executable, "-c", code], check=True)
    converted = load_file(tmp_path / "lora" / WEIGHTS)
    assert all(torch.equal(converted[name], weights[name]) for name in weights)


def test_one_checkpoint_is_taken_and_of_several_one_must_be_named(base: Path, tmp_path: Path) -> None:
    foreign(base, tmp_path / "out/checkpoint-20", target_modules=["q_proj"])
    assert find_adapter(Workspace(tmp_path), str(tmp_path / "out")) == tmp_path / "out/checkpoint-20"
    shutil.copytree(tmp_path / "out/checkpoint-20", tmp_path / "out/checkpoint-100")
    with pytest.raises(UsageError, match=r"checkpoint-20, checkpoint-100\) and no adapter: name .*/checkpoint-100"):
        find_adapter(Workspace(tmp_path), str(tmp_path / "out"))


def test_what_is_no_adapter_is_told_with_the_way_out(base: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    foreign(base, tmp_path / "lora", target_modules=["q_proj"])
    for path, words in {
        base: "it holds a whole model .*: name it as the model",
        tmp_path / "lora" / WEIGHTS: "name the folder that holds the file",
        tmp_path: "name .*/lora",
    }.items():
        with pytest.raises(UsageError, match=words):
            find_adapter(workspace, str(path))
    with pytest.raises(UsageError, match="neither an adapter's folder nor an id"):
        find_adapter(workspace, "nowhere")
    config = json.loads((tmp_path / "lora/adapter_config.json").read_text())
    (tmp_path / "lora/adapter_config.json").write_text(json.dumps({**config, "task_type": "TOKEN_CLS"}))
    with pytest.raises(UsageError, match="asks adapters that write answers"):
        read_manifest(tmp_path / "lora")
    (tmp_path / "lora/adapter_config.json").write_text(json.dumps(config))
    save_file({}, tmp_path / "lora" / WEIGHTS)
    with pytest.raises(UsageError, match="it was saved empty"):
        read_manifest(tmp_path / "lora")


def test_a_base_of_another_size_is_refused_before_anything_is_loaded(base: Path, tmp_path: Path) -> None:
    other = make_base(tmp_path / "other", hidden_size=48, num_attention_heads=4)
    foreign(other, tmp_path / "lora")
    with pytest.raises(
        UsageError, match=r"does not fit the base .*(takes|gives) (32|64) values there, the adapter's (48|64)"
    ):
        ask(Workspace(tmp_path), news_requests(2), model=str(base), adapter=str(tmp_path / "lora"))
    deeper = make_base(tmp_path / "deeper", num_hidden_layers=3)
    foreign(deeper, tmp_path / "deep")
    assert misfit(tmp_path / "deep", base) == "it has no layer 2"
    assert misfit(tmp_path / "deep", deeper) is None


@pytest.mark.parametrize(
    ("named", "base_name", "quantization"),
    [
        ("unsloth/Some-1B-Instruct-bnb-4bit", "unsloth/Some-1B-Instruct", "nf4"),
        ("unsloth/Some-1B-unsloth-bnb-4bit", "unsloth/Some-1B", "nf4"),
        ("owner/Some-1B", "owner/Some-1B", None),
    ],
)
def test_a_quantised_copy_is_the_same_base_in_four_bits(
    named: str, base_name: str, quantization: str | None, base: Path, tmp_path: Path
) -> None:
    foreign(base, tmp_path / "lora", target_modules=["q_proj"])
    config = json.loads((tmp_path / "lora/adapter_config.json").read_text())
    config |= {"base_model_name_or_path": named, "revision": "unsloth"}
    (tmp_path / "lora/adapter_config.json").write_text(json.dumps(config))
    manifest = read_manifest(tmp_path / "lora")
    assert (manifest.base, manifest.quantization, manifest.base_revision) == (base_name, quantization, None)


def test_tensor_names_lose_what_training_put_around_them() -> None:
    inner = "model.layers.0.self_attn.q_proj.lora_A.weight"
    assert tensor_name(f"base_model.model.{inner}") == inner
    assert tensor_name("base_model.model.model.embed_tokens.base_layer.weight") == "model.embed_tokens.weight"
    assert tensor_name("base_model.model.score.modules_to_save.default.weight") == "score.weight"
