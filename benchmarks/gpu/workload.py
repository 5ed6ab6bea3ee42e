"""What the GPU check runs on: the tiny Llama and news rows that ship with Bench, and random models at true shapes."""

import gc
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import torch
import transformers

from harness.backends.local.weight_loading import DTYPES
from harness.data.rows import EMBEDDED, DataSource
from harness.records import Request, Sample
from harness.task import Task
from harness.task_loading import build_request, load_rows
from harness.tasks.agnews import AgNews

TINY = Path(__file__).parents[2] / "adapters" / "tiny"
"""The Llama of a million weights that the quickstart fine-tunes."""

TASK = cast(Task, AgNews())


@dataclass(frozen=True)
class Setting:
    """Where the check runs. small: a dry run at shapes and row counts that a CPU finishes in seconds."""

    device: str
    small: bool

    @property
    def dtype(self) -> Literal["float32", "bfloat16"]:
        """Type of the weights at true shapes."""
        return "float32" if self.device == "cpu" else "bfloat16"

    def count(self, usual: int, small: int) -> int:
        """`usual` on a card, `small` in a dry run."""
        return small if self.small else usual


@dataclass(frozen=True)
class Shape:
    """Dimensions of a Llama; weights are counted without norms."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int = 128_256
    tied: bool = True

    @cached_property
    def attention_weights(self) -> int:
        """Weights of one layer's four projections."""
        return 2 * self.hidden * self.hidden + 2 * self.hidden * self.kv_width

    @cached_property
    def mlp_weights(self) -> int:
        """Weights of one layer's three MLP matrices."""
        return 3 * self.hidden * self.feed_forward

    @cached_property
    def output_weights(self) -> int:
        """Weights of the output layer, which are the embedding's where they are tied."""
        return self.hidden * self.vocabulary

    @property
    def kv_width(self) -> int:
        """Numbers in a layer's keys (or values) of one token."""
        return self.hidden // self.heads * self.kv_heads

    def config(self, tokenizer: Any) -> Any:
        """transformers' configuration on a tokenizer, whose vocabulary may be the smaller one."""
        return transformers.LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.feed_forward,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            max_position_embeddings=4096,
            tie_word_embeddings=self.tied,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )


SHAPES = {
    "llama-3.2-1b": Shape(2048, 8192, 16, 32, 8),
    "llama-3.2-3b": Shape(3072, 8192, 28, 24, 8),
    "llama-3.1-8b": Shape(4096, 14_336, 32, 32, 8, tied=False),
}
SMALL = Shape(64, 128, 2, 4, 2, vocabulary=2048)
"""Takes the place of every shape in a dry run."""


def shape_of(name: str, setting: Setting) -> Shape:
    """The true shape of a model, or the small one in a dry run."""
    return SMALL if setting.small else SHAPES[name]


def load_tokenizer() -> Any:
    """The tokenizer of the tiny Llama."""
    return transformers.AutoTokenizer.from_pretrained(str(TINY), local_files_only=True)


def random_model(shape: Shape, setting: Setting, tokenizer: Any) -> Any:
    """A Llama of this shape with random weights, made on the device, in evaluation mode."""
    torch.manual_seed(0)
    kind: Any = transformers.AutoModelForCausalLM
    with torch.device(setting.device):
        made = kind.from_config(shape.config(tokenizer), dtype=DTYPES[setting.dtype], attn_implementation="sdpa")
    return made.eval()


def free_memory() -> None:
    """Return the memory of what is no longer referenced, and count the peak from here on."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def samples(split: str, count: int) -> list[Sample]:
    """The first rows of a split of the embedded news (2,500 train, 500 test rows, all different)."""
    return load_rows(TASK, DataSource(location=EMBEDDED, split=split))[:count]


def requests(split: str, count: int, **changes: Any) -> list[Request]:
    """Their requests. changes: of fields of every request."""
    return [msgspec.structs.replace(build_request(TASK, sample), **changes) for sample in samples(split, count)]


def long_requests(count: int, items: int) -> list[Request]:
    """Requests whose prompt holds `items` news items after one instruction (about 45 tokens each)."""
    rows = samples("train", count + items)
    joined = []
    for n in range(count):
        text = "\n".join(row.inputs["text"] for row in rows[n : n + items])
        joined.append(build_request(TASK, Sample.of({"text": text}, "", "train")))
    return joined
