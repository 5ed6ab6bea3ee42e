"""Weights and tokenizer from the base's files, placed where and how the settings say. Runs in the engine's thread."""

import os
from dataclasses import dataclass
from typing import Any, Literal

import torch
import transformers

from harness.backends.local.architecture import batched_limit, context_of
from harness.backends.local.base_files import BaseFiles
from harness.backends.local.cpu_bfloat16 import cpu_dtype
from harness.backends.local.model import LoadedModel
from harness.backends.local.model_loading import model_loading
from harness.errors import BackendStopped, UsageError
from harness.prompting.chat_rendering import Renderer

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
            import bitsandbytes  # noqa: F401  (transformers needs it; better said now than while loading)
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


def load(files: BaseFiles, placement: Placement) -> LoadedModel:
    """Tokenizer and weights. Raises BackendStopped with a sentence where they cannot be loaded."""
    if placement.threads:
        torch.set_num_threads(placement.threads)
    try:
        tokenizer = load_tokenizer(files)
        with model_loading():
            model: Any = transformers.AutoModelForCausalLM.from_pretrained(
                str(files.folder),
                dtype=DTYPES[placement.dtype],
                attn_implementation=placement.attention,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                **quantized(placement.quantization, placement),
            )
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
