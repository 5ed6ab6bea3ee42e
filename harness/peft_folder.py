"""What a PEFT folder says of itself: an adapter that plain PEFT, TRL, Unsloth, Axolotl or LLaMA-Factory wrote.

The folder is only read. Its configuration is a claim: what is loaded is decided by the weights themselves.
"""

import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from harness.errors import UsageError
from harness.safetensors_header import TensorInfo, read_header

PEFT_CONFIG = "adapter_config.json"
"""PEFT's mark of an adapter."""

WEIGHTS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"
TOKENIZER = "tokenizer_config.json"

HEADS = ("score.weight", "classifier.weight")
"""A classification head's matrix, labels x hidden size, as PEFT names it behind `base_model.model.`."""

GENERATES = (None, "", "CAUSAL_LM")
CLASSIFIES = "SEQ_CLS"

TWIN = re.compile(r"(-unsloth)?-bnb-4bit$", re.IGNORECASE)
"""Suffix of a model's copy in bitsandbytes' 4-bit form, as Unsloth and others publish it."""

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "modules_to_save.default.")
"""Parts of a tensor's name that come from how the model was wrapped while it was trained."""

COMMIT = re.compile(r"[0-9a-f]{40}")
CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class PeftFolder(NamedTuple):
    """An adapter folder as read.

    folder: where its files are (a single `checkpoint-*` of a training's output folder). base: as the configuration
    names it, without the suffix of a 4-bit copy; named: word for word. revision: the base's commit, where one is named.
    quantization: "nf4" where the base named is a 4-bit copy. head_labels: rows of its classification head, 0 for none.
    labels: of the head in the order of its rows, where the folder says them. tokenizer: whether it brings its own.
    """

    folder: Path
    base: str
    named: str
    revision: str | None
    quantization: Literal["none", "nf4"] | None
    head_labels: int
    labels: tuple[str, ...]
    tokenizer: bool


def peft_config(folder: Path) -> dict[str, Any] | None:
    """The content of `adapter_config.json`; {} where it cannot be read, None without it."""
    try:
        return msgspec.json.decode((folder / PEFT_CONFIG).read_bytes(), type=dict[str, Any])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError):
        return {}


def peft_location(path: Path) -> Path | None:
    """The folder that holds the adapter: `path`, or the only `checkpoint-*` in it; None where there is none.

    Raises UsageError where several checkpoints are there and nothing says which one.
    """
    if (path / PEFT_CONFIG).is_file():
        return path
    found = sorted(
        (int(match[1]), one.parent)
        for one in path.glob(f"checkpoint-*/{PEFT_CONFIG}")
        if (match := CHECKPOINT.fullmatch(one.parent.name))
    )
    if len(found) > 1:
        names = ", ".join(folder.name for _, folder in found)
        raise UsageError(f"{path} holds checkpoints of a training ({names}) and no adapter: name {found[-1][1]}.")
    return found[0][1] if found else None


def read_peft_folder(path: Path) -> PeftFolder:
    """Read an adapter folder. Raises UsageError with what to do for one that cannot be used."""
    folder = peft_location(path)
    if folder is None:
        raise UsageError(f"{path} is not an adapter: {_missing(path)}")
    config = peft_config(folder)
    if not config:
        raise UsageError(f"{folder / PEFT_CONFIG} is not valid JSON: download the adapter again.")
    tensors = _tensors(folder)
    task = config.get("task_type")
    if task not in (*GENERATES, CLASSIFIES):
        raise UsageError(
            f"{folder}: task_type = {str(task)!r} in {PEFT_CONFIG}: Bench asks adapters that write answers (CAUSAL_LM) "
            "or classify rows (SEQ_CLS)."
        )
    named = str(config.get("base_model_name_or_path") or "")
    twin = TWIN.search(named) is not None and not Path(named).exists()
    revision = str(config.get("revision") or "")
    head_labels = next((tensors[name].shape[0] for name in HEADS if name in tensors), 0)
    return PeftFolder(
        folder=folder,
        base=TWIN.sub("", named) if twin else named,
        named=named,
        revision=revision if COMMIT.fullmatch(revision) and not twin else None,
        quantization="nf4" if twin else None,
        head_labels=head_labels,
        labels=_labels(folder, head_labels),
        tokenizer=(folder / TOKENIZER).is_file(),
    )


def tensor_name(saved: str) -> str:
    """A saved tensor's name as the base model would call it: without PEFT's prefix and wrappers of the training.

    Tinker's archives call the output layer `unembed_tokens`.
    """
    for part in WRAPPERS:
        saved = saved.replace(part, "")
    while saved.startswith("base_model.model."):
        saved = saved.removeprefix("base_model.model.")
    saved = re.sub(r"^(model\.)?unembed_tokens\.", "lm_head.", saved).replace(".base_layer.", ".")
    return re.sub(r"\.default(?=\.|$)", "", saved)


def _tensors(folder: Path) -> dict[str, TensorInfo]:
    path = folder / WEIGHTS
    if not path.is_file():
        raise UsageError(_without_weights(folder))
    tensors = {tensor_name(name): info for name, info in read_header(path).items()}
    if not tensors:
        raise UsageError(
            f"{path} holds no tensors: it was saved empty. Save it again where it was trained: "
            "model.save_pretrained(FOLDER)."
        )
    return tensors


def _without_weights(folder: Path) -> str:
    if (folder / PICKLED).is_file():
        source, target = folder / PICKLED, folder / WEIGHTS
        return (
            f"{source} is pickled, which can run code; Bench reads safetensors only. Convert it: python -c "
            f'"import torch; from safetensors.torch import save_file; '
            f"w = torch.load(r'{source}', map_location='cpu', weights_only=True); "
            f"save_file({{k: v.clone().contiguous() for k, v in w.items()}}, r'{target}')\""
        )
    gguf = next(iter(sorted(folder.glob("*.gguf"))), None)
    if gguf is not None:
        return f"{gguf} is an adapter for llama.cpp; Bench reads {WEIGHTS}, from which it was converted."
    return f"{folder} holds no {WEIGHTS}: download the adapter again, or save it with model.save_pretrained(FOLDER)."


def _missing(path: Path) -> str:
    """Why a path is no adapter folder, and what to name instead."""
    if path.is_file():
        return f"name the folder that holds the file, {path.absolute().parent}."
    if not path.is_dir():
        return "there is no such folder."
    if (path / WEIGHTS).is_file() or (path / PICKLED).is_file():
        return f"it lacks {PEFT_CONFIG}, which model.save_pretrained(FOLDER) writes beside the weights."
    if (path / "config.json").is_file():
        return f'it holds a whole model (config.json): name it as the model, model = "{path}" or --base {path}.'
    inner = next((one.parent for one in sorted(path.glob(f"*/{PEFT_CONFIG}"))), None)
    return f"it holds no {PEFT_CONFIG}" + (f"; name {inner}." if inner is not None else ".")


def _labels(folder: Path, count: int) -> tuple[str, ...]:
    """The labels of a head by `id2label` of a `config.json` beside it; empty where it names none of its own."""
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=dict[str, Any])
        names = {int(number): str(label) for number, label in dict(config.get("id2label") or {}).items()}
    except (OSError, ValueError, TypeError, msgspec.MsgspecError):
        return ()
    if sorted(names) != list(range(count)) or all(re.fullmatch(r"LABEL_\d+", name) for name in names.values()):
        return ()
    return tuple(names[number] for number in range(count))
