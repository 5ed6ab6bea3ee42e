"""LoRA adapters on one base: each loaded once beside the base weights, one active at a time."""

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.adapter_manifest import WEIGHTS
from harness.backends.local.base_files import check_safetensors
from harness.backends.local.model_loading import model_loading
from harness.errors import BackendStopped


def fused(layer: Any, name: str) -> Callable[[Tensor], Tensor] | None:
    """The forward pass of a PEFT layer under adapter `name`: base(x) + scaling * (x A^T) B^T.

    For inference only (the base's output is added to in place). None where PEFT's own must serve: other kinds
    than plain LoRA on a plain linear layer, or factors in another type than the base.
    """
    base = layer.base_layer
    if type(base) is not nn.Linear or name not in getattr(layer, "lora_A", {}) or name in layer.lora_variant:
        return None
    down, up, scaling = layer.lora_A[name], layer.lora_B[name], float(layer.scaling[name])
    if up.bias is not None or {down.weight.dtype, up.weight.dtype} != {base.weight.dtype}:
        return None

    def forward(x: Tensor) -> Tensor:
        out: Tensor = base(x)
        flat = x.reshape(-1, x.shape[-1])
        out.view(-1, out.shape[-1]).addmm_(flat @ down.weight.T, up.weight.T, alpha=scaling)
        return out

    return forward


BASE = ""
"""The name under which no adapter is active."""

KEPT = {
    *("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "modules_to_save", "init_lora_weights", "eva_config", "target_modules", "exclude_modules"),
    *("layers_to_transform", "layers_pattern", "fan_in_fan_out", "r", "rank_pattern", "lora_alpha", "alpha_pattern"),
    *("lora_dropout", "lora_bias", "use_rslora", "use_dora"),
}
"""Fields of an adapter's configuration that may say what they like: the engine keeps them, or they mean nothing to
weights that are trained already."""

PLAIN_BEGINNINGS = (True, False, "gaussian", "eva", "orthogonal")
"""Ways to draw the first weights that leave the base as it is (PiSSA, OLoRA and others take a part out of it)."""


class AdapterSet:
    """The adapters of one model. Only the engine's worker may switch them."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._scores: dict[str, Tensor] = {}
        self._loaded: set[str] = set()
        self._layers: list[Any] = []
        self._active: str | None = BASE

    def activate(self, name: str, folder: Path | None) -> None:
        """Make the adapter called `name` the active one, loading it from `folder` at first use."""
        if name == self._active:
            return
        if name != BASE and name not in self._loaded:
            if folder is None:
                raise ValueError(f"adapter {name} was never loaded")
            self._active = None  # a failed load leaves none active for certain
            self._load(name, folder)
        for layer in self._layers:
            _set_layer(layer, name)
        self._active = name

    def head(self, name: str, labels: int) -> Callable[[Tensor], Tensor]:
        """The adapter's classification head: hidden states to one logit a label, in float32."""
        score = self._scores.get(name)
        wanted = (labels, self._model.config.get_text_config().hidden_size)
        if score is None or score.shape != wanted:
            held = "none" if score is None else f"one of {tuple(score.shape)}"
            raise BackendStopped(f"the adapter's manifest wants a classification head of {wanted}, it holds {held}.")
        weights = score.float()
        return lambda hidden: nn.functional.linear(hidden.float(), weights)

    def _load(self, name: str, folder: Path) -> None:
        from peft import LoraConfig, PeftConfig, inject_adapter_in_model
        from peft.tuners.tuners_utils import BaseTunerLayer
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            config = PeftConfig.from_pretrained(str(folder))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _refusal(folder, f"its adapter_config.json is invalid: {error}") from None
        if not isinstance(config, LoraConfig):
            raise BackendStopped(
                f"adapter {folder} is of kind {config.peft_type}; the local engine runs LoRA adapters."
            )
        _check_kind(config, folder)
        path = folder / WEIGHTS
        check_safetensors(path)
        try:
            weights = {key.removeprefix("base_model.model."): value for key, value in load_file(path).items()}
        except SafetensorError as error:
            raise _refusal(folder, str(error)) from None
        score = next((weights.pop(key) for key in ("score.weight", "classifier.weight") if key in weights), None)
        foreign = [key for key in weights if ".lora_" not in key]
        if foreign:
            raise BackendStopped(
                f"adapter {folder} also replaces {foreign[0]}, which the local engine does not: merge it."
            )
        _check_ranks(config, weights, folder)
        # The head is kept here, beside the shared backbone: the base stays one model for every adapter.
        config.task_type = config.modules_to_save = None
        config.inference_mode = config.init_lora_weights = True
        with model_loading(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are several adapters is the point
            try:
                inject_adapter_in_model(config, self._model, name)
            except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
                raise _refusal(folder, str(error)) from None
            finally:  # a failed injection leaves layers behind, which must be switched off for others too
                self._layers = [m for m in self._model.modules() if isinstance(m, BaseTunerLayer)]
        self._fill(name, weights, folder)
        if score is not None:
            self._scores[name] = score.to(self._model.device)
        self._loaded.add(name)
        self._model.eval()

    def _fill(self, name: str, weights: dict[str, Tensor], folder: Path) -> None:
        """Put the saved weights, in their saved type, where injection made random ones."""
        slots: dict[str, nn.Parameter] = {}
        for key, parameter in self._model.named_parameters():
            if ".lora_" in key and f".{name}" in key:
                parameter.requires_grad_(False)
                slots[key.replace(f".{name}", "", 1)] = parameter
        if set(slots) != set(weights):
            odd = sorted(set(slots) ^ set(weights))[0]
            raise BackendStopped(f"adapter {folder} does not fit this base: {odd} is in one of them only.")
        for key, parameter in slots.items():
            if parameter.shape != weights[key].shape:
                raise BackendStopped(
                    f"adapter {folder} does not fit this base: {key} is {tuple(weights[key].shape)}, "
                    f"the base needs {tuple(parameter.shape)}."
                )
            with torch.no_grad():
                parameter.data = weights[key].to(parameter.device)


def _refusal(folder: Path, why: str) -> BackendStopped:
    return BackendStopped(f"adapter {folder} does not fit this base: {' '.join(why.split()).rstrip('.')}.")


def _check_kind(config: Any, folder: Path) -> None:
    """Nothing but LoRA on linear layers: other kinds change the base that all adapters share, or are not kept."""
    plain = type(config)()
    other = [
        field.name
        for field in dataclasses.fields(config)
        if field.name not in KEPT
        and (getattr(config, field.name) or None) != (getattr(plain, field.name) or None)  # an empty list is none
    ]
    if config.init_lora_weights not in PLAIN_BEGINNINGS:
        other.append("init_lora_weights")
    if other:
        raise BackendStopped(
            f"adapter {folder} sets {other[0]} = {str(getattr(config, other[0]))[:60]!r}, which the local engine does "
            "not run beside other adapters: merge it with PEFT, and name the merged model."
        )


def _check_ranks(config: Any, weights: dict[str, Tensor], folder: Path) -> None:
    """No rank beyond those of the weights: memory is never taken on a configuration's word."""
    held = max((value.shape[0] for key, value in weights.items() if ".lora_A." in key), default=0)
    for rank in (config.r, *(config.rank_pattern or {}).values()):
        if not isinstance(rank, int) or not 0 < rank <= held:
            raise _refusal(folder, f"its configuration says rank {rank}, its weights have {held}")


def _set_layer(layer: Any, name: str) -> None:
    """One layer to one adapter, or to none."""
    vars(layer).pop("forward", None)
    layer.enable_adapters(name != BASE)
    if name == BASE:
        layer.forward = layer.base_layer.forward
        return
    layer.set_adapter(name, inference_mode=True)
    forward = fused(layer, name)
    if forward is not None:
        layer.forward = forward
