"""LoRA adapters: read from PEFT files, checked against the base, applied and switched."""

import dataclasses
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.backends.local.model_loading import model_loading
from harness.errors import BackendStopped
from harness.peft_folder import HEADS, WEIGHTS, tensor_name
from harness.safetensors_header import read_header

KEPT = {
    *("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "modules_to_save", "init_lora_weights", "eva_config", "target_modules", "exclude_modules"),
    *("layers_to_transform", "layers_pattern", "fan_in_fan_out", "r", "rank_pattern", "lora_alpha", "alpha_pattern"),
    *("lora_dropout", "lora_bias", "use_rslora", "use_dora", "bias", "ensure_weight_tying"),
}
"""Fields of an adapter's configuration that may say what they like: the engine keeps them, or they mean nothing to
weights that are trained already."""

PLAIN_BEGINNINGS = (True, False, "gaussian", "eva", "orthogonal")
"""Ways to draw the first weights that leave the base as it is (PiSSA, OLoRA and others take a part out of it)."""

MERGE = "merge it (bench adapter merge {} --out DIR) and name DIR as the model"


class Replacement(NamedTuple):
    """A parameter that an adapter brings whole: of which module, under which name, in the base's type."""

    module: nn.Module
    name: str
    value: Tensor


class AdapterWeights(NamedTuple):
    """config: PEFT's, for exactly the modules that `lora` has factors of. lora: name in the model -> factor. replaced:
    whole parameters. score: a classification head's matrix [labels, hidden size], or None.
    """

    config: Any
    lora: dict[str, Tensor]
    replaced: list[Replacement]
    score: Tensor | None


def read_adapter_weights(folder: Path, model: Any) -> AdapterWeights:
    """Read an adapter for a base model, which may already hold others. Raises BackendStopped saying what to do."""
    from peft import LoraConfig, PeftConfig
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = PeftConfig.from_pretrained(str(folder))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise refusal(folder, f"its adapter_config.json is invalid: {error}") from None
    if not isinstance(config, LoraConfig):
        raise BackendStopped(
            f"adapter {folder} is of kind {config.peft_type}; the local engine runs LoRA adapters: {_merge(folder)}."
        )
    _check_kind(config, folder)
    read_header(folder / WEIGHTS)
    try:
        weights = {tensor_name(key): value for key, value in load_file(folder / WEIGHTS).items()}
    except SafetensorError as error:
        raise refusal(folder, str(error)) from None
    score = next((weights.pop(key) for key in HEADS if key in weights), None)
    _check_ranks(config, weights, folder)
    modules = _Modules(model)
    lora: dict[str, Tensor] = {}
    replaced: list[Replacement] = []
    for key, value in weights.items():
        module, factor, rest = key.partition(".lora_")
        if factor:  # PEFT saves DoRA's magnitudes under the name of the layer that holds them
            leaf = ".weight" if rest == "magnitude_vector" else ""
            lora[f"{modules.find(module, folder)}{factor}{rest}{leaf}"] = value
        else:
            replaced.append(_replacement(model, modules, key, value, folder))
    replaced += _tied_output(model, replaced, follow=bool(getattr(config, "ensure_weight_tying", False)))
    _for_exactly(config, sorted({key.partition(".lora_")[0] for key in lora}))
    return AdapterWeights(config, lora, replaced, score)


def refusal(folder: Path, why: str) -> BackendStopped:
    """The error for an adapter that belongs to another base."""
    return BackendStopped(f"adapter {folder} does not fit this base: {' '.join(why.split()).rstrip('.')}.")


def unwrapped(module: Any) -> Any:
    """A module without the LoRA layers that other adapters put around it."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return module.get_base_layer() if isinstance(module, BaseTunerLayer) else module


class _Modules:
    """Finds a module of the base by the name that an adapter has for it.

    A model that was trained inside another one (a text model in a multimodal one) has another prefix: its modules are
    found by what follows the number of the layer, where that is unambiguous.
    """

    def __init__(self, model: Any) -> None:
        self._names = {
            name for name, _ in model.named_modules() if ".lora_" not in name and ".base_layer" not in f".{name}"
        }
        self._by_tail: dict[str, list[str]] = {}
        for name in self._names:
            self._by_tail.setdefault(_tail(name), []).append(name)

    def find(self, name: str, folder: Path) -> str:
        """Raises BackendStopped for a module that the base has not."""
        if name in self._names:
            return name
        found = self._by_tail.get(_tail(name), [])
        if len(found) != 1:
            raise refusal(folder, f"the base has no module {name}")
        return found[0]


def _tail(name: str) -> str:
    _, layers, after = name.rpartition("layers.")
    return f"{layers}{after}" if layers else name.rpartition(".")[2]


def _replacement(model: Any, modules: _Modules, key: str, value: Tensor, folder: Path) -> Replacement:
    """A saved tensor that is no factor: a parameter that was trained whole (`modules_to_save`), or grown embeddings."""
    path, _, name = key.rpartition(".")
    module = unwrapped(model.get_submodule(modules.find(path, folder)))
    own = module._parameters.get(name)
    if own is None:
        raise refusal(folder, f"the base has no parameter {key}")
    if not own.is_floating_point():
        raise BackendStopped(
            f"adapter {folder} replaces {key}, which this base holds quantised: ask it with quantization = "
            f'"none", or {_merge(folder)}.'
        )
    grown = module in _embeddings(model) and value.dim() == 2 and value.shape[1:] == own.shape[1:]
    if value.shape != own.shape and not grown:
        raise refusal(folder, f"{key} is {tuple(value.shape)}, the base's {tuple(own.shape)}")
    return Replacement(module, name, value.to(own.device, own.dtype))


def _embeddings(model: Any) -> list[nn.Module]:
    return [unwrapped(found()) for found in (model.get_input_embeddings, model.get_output_embeddings)]


def _tied_output(model: Any, replaced: Iterable[Replacement], *, follow: bool) -> list[Replacement]:
    """The output layer's new weights where the base ties them to embeddings that grew (or PEFT was set to tie them).

    Embeddings that were trained at their old size come untied, as PEFT itself loads them.
    """
    inputs, outputs = _embeddings(model)
    own = {(id(found.module), found.name): found.value for found in replaced}
    new = own.get((id(inputs), "weight"))
    tied = outputs is not None and getattr(outputs, "weight", None) is getattr(inputs, "weight", None)
    if new is None or not tied or (id(outputs), "weight") in own:
        return []
    return [Replacement(outputs, "weight", new)] if follow or len(new) != len(inputs.weight) else []  # type: ignore[arg-type]


def _for_exactly(config: Any, modules: list[str]) -> None:
    """PEFT's configuration for these modules and no others. A head and whole parameters are kept beside the model."""
    config.target_modules = modules
    config.task_type = config.modules_to_save = config.exclude_modules = None
    config.layers_to_transform = config.layers_pattern = None
    config.bias = "none"
    config.inference_mode = config.init_lora_weights = True


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
            f"not run beside other adapters: {_merge(folder)}."
        )


def _check_ranks(config: Any, weights: dict[str, Tensor], folder: Path) -> None:
    """No rank beyond those of the weights: memory is never taken on a configuration's word."""
    sizes = [value.shape[0] for key, value in weights.items() if ".lora_A." in key or key.endswith(".lora_embedding_A")]
    held = max(sizes, default=0)
    for rank in (config.r, *(config.rank_pattern or {}).values()) if sizes else ():
        if not isinstance(rank, int) or not 0 < rank <= held:
            raise refusal(folder, f"its configuration says rank {rank}, its weights have {held}")


def _merge(folder: Path) -> str:
    return MERGE.format(folder)


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
