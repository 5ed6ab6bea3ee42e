"""Loading the weights of a base, and the tokenizer that a base and its adapter agree on."""

import copy
import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import transformers

from harness.backends.local.architecture import batched_limit, context_of
from harness.backends.local.base_files import BaseFiles
from harness.backends.local.model import LoadedModel
from harness.backends.local.model_loading import model_loading
from harness.errors import BackendStopped, UsageError
from harness.peft_folder import WEIGHTS, tensor_name
from harness.prompting.chat_rendering import Renderer
from harness.safetensors_header import read_header

QUESTIONS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
"""What torch.cpu is asked; a version of torch that cannot be asked gives no answer, which counts as no."""

SHAPE = (256, 1024)
"""Rows and width of the products that are timed: half a GFLOP each, some tens of milliseconds on one thread."""

REPEATS = 5


@functools.cache
def computes_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16 matrices, and is no slower with them."""
    return _has_instructions() and _seconds(torch.bfloat16) <= _seconds(torch.float32)


def cpu_dtype(stored: str | None) -> str:
    """The type in which a CPU computes a base whose weights are stored in type `stored`, as "auto" has it.

    Weights stored in bfloat16 lose nothing in that type; all others are computed in float32, as they are where the
    processor would only emulate bfloat16.
    """
    return "bfloat16" if stored == "bfloat16" and computes_bfloat16() else "float32"


def _has_instructions() -> bool:
    return any(getattr(torch.cpu, name, bool)() for name in QUESTIONS)


def _seconds(dtype: torch.dtype) -> float:
    """The fastest of some products: what disturbs one does not disturb all."""
    rows, width = SHAPE
    a, b = torch.ones(rows, width, dtype=dtype), torch.ones(width, width, dtype=dtype)
    torch.mm(a, b)
    found = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        torch.mm(a, b)
        found.append(time.perf_counter() - begun)
    return min(found)


Quantization = Literal["none", "nf4"]
Attention = Literal["auto", "sdpa", "eager"]
LOAD_ERRORS = (OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError, TypeError)
"""What from_pretrained raises for files that do not fit together or this machine."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Placement:
    """Where and how weights live; "auto" is already resolved."""

    device: str
    dtype: str
    attention: str = "sdpa"
    quantization: str = "none"
    threads: int | None = None

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it, versions included."""
        facts: dict[str, Any] = {
            "device": self.device,
            "dtype": self.dtype,
            "attention": self.attention,
            "quantization": self.quantization,
            "threads": self.threads or torch.get_num_threads(),
            "torch": str(torch.__version__),  # a subclass of str, which JSON refuses
            "transformers": transformers.__version__,
        }
        if self.device.startswith("cuda"):
            facts["gpu"] = torch.cuda.get_device_name(self.device)
        return facts


def resolve_placement(
    device: str, dtype: str, attention: str, quantization: str, threads: int | None, stored: str | None = None
) -> Placement:
    """Resolve "auto": the best device at hand, and its type: bfloat16 on an accelerator (float16 on old cards).

    On a CPU that is float32, or bfloat16 where the weights are `stored` so and the processor computes it
    (`cpu_bfloat16`). attention: "auto" is sdpa; `architecture.best_attention` says whether a base has it. Raises
    UsageError for a device that is not available and for 4-bit weights without bitsandbytes.
    """
    chosen = _device(device)
    if dtype == "auto":
        dtype = _best_dtype(chosen, stored)
    if quantization == "nf4":
        try:
            import bitsandbytes  # noqa: F401  (transformers needs it; reported now rather than while loading)
        except ImportError:
            raise UsageError(
                'quantization = "nf4" (as set, or as the adapter was trained) needs bitsandbytes: '
                'python -m pip install bitsandbytes, or say quantization = "none" to use whole weights.'
            ) from None
    return Placement(chosen, dtype, "sdpa" if attention == "auto" else attention, quantization, threads)


def _device(requested: str) -> str:
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if requested == "auto":
        return available[0]
    kind, colon, number = requested.partition(":")
    if kind not in available:
        raise UsageError(f"device '{requested}' is not available here (available: {', '.join(available)}).")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if colon and not (number.isdecimal() and int(number) < count):
        raise UsageError(f"device '{requested}' is not available: {kind} has {count}, counted from {kind}:0.")
    return requested


def _best_dtype(device: str, stored: str | None) -> str:
    if device == "cpu":
        return cpu_dtype(stored)
    if device.startswith("cuda") and torch.cuda.get_device_capability(device)[0] < 8:
        return "float16"  # cards before Ampere have no bfloat16 units
    return "bfloat16"


def read_weights(files: BaseFiles, placement: Placement, kind: Any = None, **more: Any) -> Any:
    """The weights of a base as a model, in the type and with the attention of `placement`, on the CPU.

    kind: a class of transformers, by default `AutoModelForCausalLM`. more: further arguments of its `from_pretrained`.
    Reads safetensors of this folder only: no pickle, no code of a model, no network. Raises one of LOAD_ERRORS.
    """
    return (kind or transformers.AutoModelForCausalLM).from_pretrained(
        str(files.folder),
        **{
            "dtype": DTYPES[placement.dtype],
            "attn_implementation": placement.attention,
            "use_safetensors": True,
            "local_files_only": True,
            "trust_remote_code": False,
            **more,
        },
    )


def load(files: BaseFiles, placement: Placement) -> LoadedModel:
    """Tokenizer and weights. Raises BackendStopped with a sentence where they cannot be loaded."""
    if placement.threads:
        torch.set_num_threads(placement.threads)
    try:
        tokenizer = load_tokenizer(files)
        with model_loading():
            model = read_weights(files, placement, **quantized(placement.quantization, placement))
            if placement.quantization == "none":
                model = model.to(placement.device)
    except LOAD_ERRORS as error:
        raise BackendStopped(f"base model {files.name} cannot be loaded: {first_line(error)}.", "model") from error
    return wrap_model(model.eval(), tokenizer)


def wrap_model(model: Any, tokenizer: Any, template: dict[str, Any] | None = None) -> LoadedModel:
    """A live model (a PEFT wrapper is looked through) and its tokenizer. template: variables of its chat template."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return LoadedModel(
        inner, Renderer(tokenizer, template), inner.device, context_of(inner.config), batched_limit(inner.config)
    )


def load_tokenizer(files: BaseFiles) -> Any:
    """The base's tokenizer, from its folder only."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # no fork happens here; silences the warning
    return transformers.AutoTokenizer.from_pretrained(str(files.folder), local_files_only=True, trust_remote_code=False)


def quantized(quantization: str, placement: Placement) -> dict[str, Any]:
    """Arguments of `from_pretrained` for 4-bit weights, by `run` and `train` alike; nothing for whole ones."""
    if quantization == "none":
        return {}
    config = transformers.BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=DTYPES[placement.dtype],
    )
    return {"quantization_config": config, "device_map": {"": placement.device}}


def first_line(error: BaseException) -> str:
    """The first line of an error, without its final stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
"""How the names of input embeddings end, in the architectures that adapters are trained for."""


class ChosenTokenizer(NamedTuple):
    """remarks: sentences on what differs from the base's tokenizer."""

    tokenizer: Any
    remarks: list[str]


def choose_tokenizer(base: Any, folder: Path | None, rows: int) -> ChosenTokenizer:
    """The tokenizer for an adapter. base: the base's own. folder: where the adapter's lies; None: it brings none.

    rows: embeddings that base and adapter have together. A training often adds a padding token without an embedding,
    which no prompt holds: such a tokenizer's chat template is taken, and the base's tokens are kept. Raises UsageError
    where the template prints a token that has no embedding.
    """
    if folder is None:
        return ChosenTokenizer(base, [])
    try:
        own = load_tokenizer(BaseFiles(str(folder), folder))
    except LOAD_ERRORS as error:
        return ChosenTokenizer(
            base, [f"the tokenizer in {folder} cannot be loaded ({first_line(error)}): the base's is used."]
        )
    template = getattr(own, "chat_template", None) or getattr(base, "chat_template", None)
    other_template = template != getattr(base, "chat_template", None)
    vocabulary, known = own.get_vocab(), base.get_vocab()
    without = sorted((token for token, number in vocabulary.items() if number >= rows), key=vocabulary.__getitem__)
    remarks = [f"{folder}: its own chat template is used, which differs from the base's."] if other_template else []
    if without:
        printed = [token for token in without if other_template and token in str(template)]
        if printed:
            raise UsageError(
                f"adapter {folder}: its chat template prints the token {printed[0]!r}, for which neither the base nor "
                "the adapter has an embedding: save the grown embeddings with it "
                "(model.save_pretrained(FOLDER, save_embedding_layers=True)), or name the base that has them."
            )
        named = ", ".join(map(repr, without[:3]))
        remarks.append(f"{folder}: {len(without)} tokens without embeddings ({named}) are left out of its tokenizer.")
        chosen = copy.copy(base) if other_template else base
    elif vocabulary != known:
        more = len(vocabulary) - len(known)
        remarks.append(f"{folder}: its own tokenizer is used ({more:+,} tokens against the base's).")
        chosen = own
    else:
        chosen = copy.copy(base) if other_template else base
    if other_template or chosen is own:
        chosen.chat_template = template
    return ChosenTokenizer(chosen, remarks)


def embedding_rows(adapter: Path | None, vocabulary: int) -> int:
    """Input embeddings under an adapter: those that it brings (grown ones), else the base's `vocabulary`."""
    if adapter is None:
        return vocabulary
    for name, tensor in read_header(adapter / WEIGHTS).items():
        if tensor_name(name).endswith(EMBEDDINGS) and len(tensor.shape) == 2:
            return tensor.shape[0]
    return vocabulary
