"""Models for the benchmark: Llama architecture, random weights, a real tokenizer trained on the rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

LABELS = ["World", "Sports", "Business", "Sci/Tech"]
INSTRUCTION = (
    "Classify the news item into one topic: World, Sports, Business or Sci/Tech. "
    "Answer with the topic and nothing else.\n\n"
)
SHAPES: dict[str, dict[str, Any]] = {
    "8m": {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 8, "num_attention_heads": 4},
    "100m": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12},
}

LORA: dict[str, Any] = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}

VOCABULARY = {"8m": 8192, "100m": 16384}


def prompt(text: str, shots: list[tuple[int, str]]) -> str:
    """Instruction, fixed shots, the item: the same text for every contestant."""
    shown = "".join(f"News: {s}\n\nTopic: {LABELS[c]}\n\n" for c, s in shots)
    return f"{INSTRUCTION}{shown}News: {text}\n\nTopic:"


@dataclass(frozen=True)
class Made:
    """A model folder, and a folder with a LoRA adapter that carries a classification head."""

    base: Path
    adapter: Path


def train_tokenizer(texts: list[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on the rows; adds no BOS."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|pad|>")


def shape(name: str, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """The configuration of a named shape on a tokenizer."""
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    return LlamaConfig(**(settings | SHAPES[name]))


def make(folder: Path, name: str, texts: list[str], labels: int) -> Made:
    """Base and head adapter on disk, in float32; made once a folder."""
    made = Made(folder / name / "base", folder / name / "head")
    if (made.adapter / "adapter_model.safetensors").is_file():
        return made
    from peft import LoraConfig, get_peft_model

    tokenizer = train_tokenizer(texts, VOCABULARY[name])
    config = shape(name, tokenizer)
    torch.manual_seed(0)
    base = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in base.parameters():
            if parameter.dim() == 2:  # spreads the logits, so that rounding decides no answer
                parameter.mul_(2.0)
    base.save_pretrained(made.base)
    tokenizer.save_pretrained(made.base)
    config.num_labels = labels
    classifier = LlamaForSequenceClassification.from_pretrained(made.base, num_labels=labels, dtype=torch.float32)
    tuned = get_peft_model(classifier, LoraConfig(task_type="SEQ_CLS", **LORA))
    _disturb(tuned)
    tuned.save_pretrained(made.adapter)
    return made


def make_writers(made: Made, count: int) -> list[Path]:
    """So many LoRA adapters of the causal model, each with weights of its own."""
    from peft import LoraConfig, get_peft_model

    folders = [made.base.parent / f"writer-{n}" for n in range(count)]
    for n, folder in enumerate(folders):
        if not (folder / "adapter_model.safetensors").is_file():
            torch.manual_seed(n + 1)
            base = LlamaForCausalLM.from_pretrained(made.base, dtype=torch.float32)
            tuned = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **LORA))
            _disturb(tuned)
            tuned.save_pretrained(folder)
    return folders


def _disturb(tuned: Any) -> None:
    """Give a fresh adapter an effect: PEFT starts B at zero."""
    with torch.no_grad():
        for key, parameter in tuned.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.05)
            if "score" in key:
                parameter.normal_(std=0.2)
