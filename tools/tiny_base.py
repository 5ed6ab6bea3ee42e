"""The tiny Llama that the quickstart fine-tunes, built from nothing by one command.

    python -m tools.tiny_base           # a few CPU-minutes; writes adapters/tiny

A language model of a million weights, pretrained on generated news without labels. Some of its documents are
the task's own prompt answered with a label drawn by chance: it knows how an answer looks and nothing about
which is right, so before tuning it is near chance instead of giving no answers.
"""

import argparse
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from harness.data.rows import EMBEDDED, DataSource
from harness.errors import UsageError
from harness.prompting.chat_rendering import Renderer
from harness.records import Sample
from harness.task import Task
from harness.task_loading import build_request, load_rows, load_task
from tools.samples.news import pretraining_texts

OUT = Path(__file__).parents[1] / "adapters" / "tiny"
END, PAD = "<|end|>", "<|pad|>"


@dataclass(frozen=True)
class Shape:
    """Size of the model and of its training. `prompts`: share of documents that are prompts with chance labels."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 336
    vocabulary: int = 2048
    context: int = 512
    documents: int = 60_000
    prompts: float = 0.15
    block: int = 192
    batch: int = 8
    steps: int = 2500
    learning_rate: float = 3e-3
    seed: int = 11


def pretraining_rows(task: Task, texts: str | None, count: int, seed: int) -> list[Sample]:
    """Rows to pretrain on, references blank: generated, or the training split of `texts`.

    No row of the evaluation split is among them (asserted on row ids).
    """
    if texts is None:
        rows = [Sample.of({"text": text}, "", "train") for text in pretraining_texts(count, seed)]
        evaluated = load_rows(task, DataSource(location=EMBEDDED, split="test"))
    else:
        rows = [Sample.of(s.inputs, "", "train") for s in load_rows(task, DataSource(location=texts, split="train"))]
        evaluated = load_rows(task, DataSource(location=texts, split="test")) if Path(texts).is_dir() else []
    kept_out = {Sample.of(s.inputs, "", "test").id for s in evaluated}
    rows = [row for row in rows if row.id not in kept_out]
    assert not kept_out & {row.id for row in rows}
    return rows


def train_tokenizer(texts: Iterator[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer; end and padding are two different tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, padding_side="left"
    )


def documents(task: Task, rows: list[Sample], renderer: Renderer, shape: Shape) -> list[list[int]]:
    """Token ids of every document, shuffled: plain texts, and prompts answered with labels drawn by chance."""
    rng = random.Random(shape.seed)
    rows = list(rows)
    rng.shuffle(rows)
    cut = round(len(rows) * shape.prompts)
    prompts = [p.ids for p in renderer.prompts([build_request(task, row) for row in rows[:cut]], shape.context)]
    answers = [rng.choice(task.labels) for _ in prompts]
    found = [
        ids + renderer.encode_answer(answer) + [renderer.end_id] for ids, answer in zip(prompts, answers, strict=True)
    ]
    plain = renderer.encode(["\n".join(row.inputs.values()) for row in rows[cut:]])
    found += [[*ids, renderer.end_id] for ids in plain]
    rng.shuffle(found)
    return found


def blocks(docs: list[list[int]], shape: Shape) -> Iterator[torch.Tensor]:
    """Endless batches of packed documents, shape (batch, block)."""
    stream = itertools.chain.from_iterable(itertools.cycle(docs))
    while True:
        flat = list(itertools.islice(stream, shape.batch * shape.block))
        yield torch.tensor(flat).view(shape.batch, shape.block)


def new_model(shape: Shape, tokenizer: Any) -> Any:
    """The untrained model, weights tied, float32."""
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return transformers.LlamaForCausalLM(config)


def pretrain(model: Any, batches: Iterator[torch.Tensor], shape: Shape) -> None:
    """Next-token training with AdamW, warm-up and a cosine to zero."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=shape.learning_rate, betas=(0.9, 0.95), weight_decay=0.05)
    warm_up = 50
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda n: min((n + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * n / shape.steps))),
    )
    model.train()
    for step in range(1, shape.steps + 1):
        batch = next(batches)
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 100 == 0:
            print(f"step {step}/{shape.steps}: loss {loss.item():.3f}", flush=True)


def build(out: Path, task: Task, texts: str | None, shape: Shape) -> None:
    """Build tokenizer and model and write them to `out` (float16 safetensors)."""
    transformers.set_seed(shape.seed)
    rows = pretraining_rows(task, texts, shape.documents, shape.seed)
    asked = (build_request(task, row).messages[0].content for row in rows[: len(rows) // 4])
    answers = [f" {label}" for label in task.labels] * 200
    tokenizer = train_tokenizer(itertools.chain(asked, answers), shape.vocabulary)
    renderer = Renderer(tokenizer)
    docs = documents(task, rows, renderer, shape)
    model = new_model(shape, tokenizer)
    print(f"{len(docs)} documents, {sum(map(len, docs))} tokens, {model.num_parameters()} weights", flush=True)
    pretrain(model, blocks(docs, shape), shape)
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    """Build the base from generated texts, or from `--texts PATH`."""
    parser = argparse.ArgumentParser(description="Build the tiny base model.")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write the model to")
    parser.add_argument("--task", default="agnews", help="whose prompt and label words it gets to know")
    parser.add_argument("--texts", help="pretrain on this data's training texts (labels unread) instead")
    for name, kind in (("width", int), ("feed_forward", int), ("vocabulary", int), ("steps", int), ("prompts", float)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(Shape, name))
    args = vars(parser.parse_args())
    out, task, texts = args.pop("out"), args.pop("task"), args.pop("texts")
    try:
        build(out, load_task(task), texts, Shape(**args))
    except UsageError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
