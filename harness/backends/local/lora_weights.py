"""LoRA adapters on one base: each loaded once beside the base weights, one active at a time."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.backends.local.model_loading import model_loading
from harness.backends.local.peft_weights import AdapterWeights, Replacement, read_adapter_weights, refusal, unwrapped
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


class AdapterSet:
    """The adapters of one model. Only the engine's worker may switch them."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._scores: dict[str, Tensor] = {}
        self._replaced: dict[str, list[Replacement]] = {}
        self._originals: list[tuple[nn.Module, str, nn.Parameter | None]] = []
        self._loaded: set[str] = set()
        self._layers: list[Any] = []
        self._active: str | None = BASE

    def activate(self, name: str, folder: Path | None) -> None:
        """Make the adapter called `name` the active one, loading it from `folder` at first use."""
        if name == self._active:
            return
        self._active = None  # a failed load leaves none active for certain
        self._put_parameters(BASE)  # an adapter is read against the base alone
        if name != BASE and name not in self._loaded:
            if folder is None:
                raise ValueError(f"adapter {name} was never loaded")
            self._load(name, folder)
        self._put_parameters(name)
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
        from peft import inject_adapter_in_model
        from peft.tuners.tuners_utils import BaseTunerLayer

        found = read_adapter_weights(folder, self._model)
        if found.lora:
            with model_loading(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that there are several adapters is the point
                try:
                    inject_adapter_in_model(found.config, self._model, name)
                except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
                    raise refusal(folder, str(error)) from None
                finally:  # a failed injection leaves layers behind, which must be switched off for others too
                    self._layers = [m for m in self._model.modules() if isinstance(m, BaseTunerLayer)]
            self._fill(name, found, folder)
        # The head is kept here, beside the shared backbone: the base stays one model for every adapter.
        if found.score is not None:
            self._scores[name] = found.score.to(self._model.device)
        self._replaced[name] = found.replaced
        self._loaded.add(name)
        self._model.eval()

    def _fill(self, name: str, found: AdapterWeights, folder: Path) -> None:
        """Put the saved weights, in their saved type, where injection made random ones."""
        slots: dict[str, nn.Parameter] = {}
        for key, parameter in self._model.named_parameters():
            if ".lora_" in key and f".{name}" in key:
                parameter.requires_grad_(False)
                slots[key.replace(f".{name}", "", 1)] = parameter
        if set(slots) != set(found.lora):
            odd = sorted(set(slots) ^ set(found.lora))[0]
            raise refusal(folder, f"{odd} is in one of them only")
        grown = {id(new.module) for new in found.replaced}
        for key, parameter in slots.items():
            value = found.lora[key]
            layer = unwrapped(self._model.get_submodule(key.partition(".lora_")[0]))
            if parameter.shape != value.shape and id(layer) not in grown:
                raise refusal(folder, f"{key} is {tuple(value.shape)}, the base needs {tuple(parameter.shape)}")
            with torch.no_grad():
                parameter.data = value.to(parameter.device)

    def _put_parameters(self, name: str) -> None:
        """The whole parameters of adapter `name` in the place of the base's, which are put back first.

        By module and not by parameter: a tied one stays as it is in the other module.
        """
        for module, parameter, own in self._originals:
            _put(module, parameter, own)
        self._originals = []
        for new in self._replaced.get(name, ()):
            self._originals.append((new.module, new.name, new.module._parameters[new.name]))
            _put(new.module, new.name, nn.Parameter(new.value, requires_grad=False))


def _put(module: Any, name: str, parameter: nn.Parameter | None) -> None:
    """Set a module's parameter, and the sizes that a layer remembers of it."""
    module._parameters[name] = parameter
    if name == "weight" and parameter is not None and parameter.dim() == 2:
        for size in ("num_embeddings", "out_features"):
            if hasattr(module, size):
                setattr(module, size, parameter.shape[0])


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
