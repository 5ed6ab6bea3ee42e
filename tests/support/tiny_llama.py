"""Tiny Llama models with random weights, real tokenizers and random LoRA adapters, made on the fly.

Random weights have no favourite answers, but they have near-ties: `spread` widens their logits so that
float32 rounding never decides.
"""

import random
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from harness.adapter_manifest import AdapterManifest, mark_current, weights_digest, write_manifest
from harness.backends.local.base_files import find_base
from harness.records import Decode, InputSpan, Message, Request
from harness.workspace import Workspace

LABELS = ("World", "Sports", "Business", "Sci/Tech")
SALAD = """
court market team shares chip minister goal profit robot border season bank software treaty coach oil rocket
vote league price browser army final merger probe storm cup bond server talks the of in a to
"""
WORDS = SALAD.split()
BOS, EOS, PAD, END_OF_TURN = "<|begin|>", "<|end|>", "<|pad|>", "<|turn|>"

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|turn|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
"""Adds its own BOS, as Llama 3's does."""


def sentences(count: int, seed: int = 0, longest: int = 30) -> list[str]:
    """Word salad of 1 to `longest` words, different lengths, reproducible."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, longest))).capitalize() + "." for _ in range(count)]


def tokenizer(*, bos: bool = False, chat: bool = False, size: int = 600) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on generated text. bos: begins every text with BOS; chat: has a chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = [BOS, EOS, PAD, END_OF_TURN]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([*sentences(400, seed=1), *(f" {label}" for label in LABELS for _ in range(9))], trainer)
    if bos:
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, bpe.token_to_id(BOS))]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=BOS if bos or chat else None, eos_token=EOS, pad_token=PAD
    )
    if chat:
        made.add_special_tokens({"additional_special_tokens": [END_OF_TURN]})
        made.chat_template = CHAT_TEMPLATE
    return made


def config(vocabulary: int, **changes: Any) -> LlamaConfig:
    """About 50,000 weights: two layers of 32, grouped-query attention, tied embeddings."""
    shape: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
    }
    return LlamaConfig(**(shape | changes))


def make_base(
    folder: Path, *, bos: bool = False, chat: bool = False, seed: int = 0, spread: float = 4.0, **changes: Any
) -> Path:
    """A base model in a folder, saved as transformers saves it. changes: of the configuration."""
    made = tokenizer(bos=bos, chat=chat)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        config(
            len(made),
            bos_token_id=made.bos_token_id,
            eos_token_id=made.eos_token_id,
            pad_token_id=made.pad_token_id,
            **changes,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(spread)
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def make_adapter(
    workspace: Workspace,
    base: Path,
    name: str,
    *,
    seed: int = 1,
    head: bool = False,
    task: str = "agnews",
    rank: int = 4,
    decode: Decode | None = None,
    labels: tuple[str, ...] = LABELS,
    current: bool = False,
    recipe: dict[str, Any] | None = None,
) -> Path:
    """A LoRA adapter of random weights large enough to change answers, with its manifest, in the workspace."""
    torch.manual_seed(seed)
    if head:
        model: Any = LlamaForSequenceClassification.from_pretrained(base, num_labels=len(labels), dtype=torch.float32)
    else:
        model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    kind = "SEQ_CLS" if head else "CAUSAL_LM"
    tuned = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type=kind))
    with torch.no_grad():
        for key, parameter in tuned.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.5)
    folder = workspace.adapters / name
    tuned.save_pretrained(str(folder))
    manifest = AdapterManifest(
        id=name,
        task=task,
        task_version="1",
        base=str(base),
        base_sha256=find_base(str(base)).sha256(),
        objective="head" if head else "generate",
        decode=decode or ("head" if head else "generate"),
        labels=labels,
        recipe=recipe or {},
        adapter_sha256=weights_digest(folder),
    )
    write_manifest(folder, manifest)
    if current:
        mark_current(workspace, manifest)
    return folder


def news_requests(
    count: int, *, labels: tuple[str, ...] = LABELS, seed: int = 2, longest: int = 30, **changes: Any
) -> list[Request]:
    """Requests like those of a topic task: shared instruction, one passage, a closed label set."""
    made = []
    for n, text in enumerate(sentences(count, seed=seed, longest=longest)):
        before = "Which section does the news item belong to? One topic and nothing else.\n\nNews: "
        made.append(
            Request(
                id=f"row-{n}",
                messages=(Message(role="user", content=f"{before}{text}\n\nTopic:"),),
                passages=(InputSpan(message=0, start=len(before), end=len(before) + len(text)),),
                labels=labels,
                **({"max_tokens": 8} | changes),
            )
        )
    return made
