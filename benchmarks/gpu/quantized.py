"""4-bit weights (NF4 by bitsandbytes): that they are 4-bit on the device, and that answers follow from them."""

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.gpu.answers import TOLERANCE, answer, largest_difference
from benchmarks.gpu.results import Finding, Recorder
from benchmarks.gpu.training_checks import train
from benchmarks.gpu.workload import TINY, Setting, load_tokenizer, requests
from harness.backends.local.base_files import find_base
from harness.backends.local.weight_loading import load, resolve_placement


def check_nf4(setting: Setting, record: Recorder) -> None:
    """Layers, answers and two training steps on the tiny Llama."""
    if find_spec("bitsandbytes") is None:
        record.skip("NF4", "bitsandbytes is not installed.")
        return
    record.measure("weights are 4-bit", lambda: weights(setting))
    record.measure("choose, against the same weights unpacked", lambda: answers(setting), needs_s=10)
    record.measure("two training steps", lambda: training(setting), needs_s=10)


def loaded(setting: Setting, dtype: str) -> Any:
    """The tiny Llama in 4 bits as `bench run` loads it."""
    return load(find_base(str(TINY)), resolve_placement(setting.device, dtype, "auto", "nf4", None)).model


def four_bit_layers(model: Any) -> dict[str, Any]:
    """The quantised layers by name."""
    from bitsandbytes.nn import Linear4bit

    return {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}


def weights(setting: Setting) -> Finding:
    """All linear layers but the output layer hold two weights in a byte, of kind nf4, on the device."""
    model = loaded(setting, "auto")
    layers = four_bit_layers(model)
    right = [
        layer
        for layer in layers.values()
        if layer.weight.dtype == torch.uint8
        and layer.weight.quant_state.quant_type == "nf4"
        and 2 * layer.weight.numel() == layer.in_features * layer.out_features
        and layer.weight.device.type == setting.device
    ]
    expected = 7 * model.config.num_hidden_layers
    figures = {"layers": len(layers), "expected": expected, "packed_nf4": len(right)}
    return Finding(figures, len(right) == len(layers) == expected)


def answers(setting: Setting) -> Finding:
    """Label scores computed with 4-bit kernels in float32 against a plain model that holds the unpacked numbers."""
    asked = requests("test", setting.count(100, 8))
    packed = {"device": setting.device, "quantization": "nf4"}
    found = answer(asked, decode="choose", **packed)
    whole = answer(asked, decode="choose")
    with tempfile.TemporaryDirectory() as folder:
        unpacked(setting, Path(folder))
        wanted = answer(asked, decode="choose", model=folder)
    errors = sum(a.error is not None for a in (*wanted, *found))
    differ = sum(a.text != b.text for a, b in zip(wanted, found, strict=True))
    worst = largest_difference(wanted, found)
    same = sum(a.text == b.text for a, b in zip(whole, found, strict=True))
    figures = {
        "rows": len(asked),
        "errors": errors,
        "answers_that_differ": differ,
        "largest_score_difference": worst if worst is not None else "none",
        "same_as_whole_weights_share": same / len(asked),
    }
    holds = not errors and not differ and worst is not None and worst <= TOLERANCE
    return Finding(figures, holds, f"scores within {TOLERANCE:g}")


def unpacked(setting: Setting, folder: Path) -> None:
    """Save the tiny Llama in float32 with every quantised matrix replaced by what its 4 bits mean."""
    from bitsandbytes.functional import dequantize_4bit

    layers = four_bit_layers(loaded(setting, "float32"))
    plain: Any = transformers.AutoModelForCausalLM.from_pretrained(str(TINY), dtype=torch.float32)
    with torch.no_grad():
        for name, layer in layers.items():
            numbers = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            plain.get_submodule(name).weight.copy_(numbers.float().reshape(layer.out_features, layer.in_features))
    plain.save_pretrained(str(folder))
    load_tokenizer().save_pretrained(str(folder))


def training(setting: Setting) -> Finding:
    """LoRA on 4-bit weights: finite losses, and weights that move."""
    done = train(setting.device, steps=2, quantization="nf4")
    figures: dict[str, Any] = {"loss_1": done.losses[0], "loss_2": done.losses[1], "weights_moved": done.moved}
    return Finding(figures, all(torch.isfinite(torch.tensor(done.losses)).tolist()) and done.moved > 0)
