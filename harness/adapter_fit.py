"""Whether an adapter's tensors have the sizes of a base's, read from the headers of both before anything is loaded."""

from pathlib import Path

from harness.peft_folder import WEIGHTS, tensor_name
from harness.safetensors_header import TensorInfo, read_header


def misfit(adapter: Path, base: Path) -> str | None:
    """Why an adapter belongs to another base, as half a sentence; None where every size agrees.

    Only layers whose weights lie in the base under the adapter's own name for them are compared: quantised bases pack
    theirs, and some architectures fuse several layers into one.
    """
    weights: dict[str, TensorInfo] = {}
    for path in sorted(base.glob("*.safetensors")):
        weights |= read_header(path)
    for name, tensor in read_header(adapter / WEIGHTS).items():
        module, factor, _ = tensor_name(name).partition(".lora_")
        layer = weights.get(f"{module}.weight")
        if not factor or layer is None or len(layer.shape) != 2 or len(tensor.shape) != 2:
            continue
        outputs, inputs = layer.shape
        if tensor_name(name).endswith(".lora_A.weight") and tensor.shape[1] not in (inputs, outputs):
            return f"{module} takes {inputs:,} values there, the adapter's {tensor.shape[1]:,}"
        if tensor_name(name).endswith(".lora_B.weight") and tensor.shape[0] not in (inputs, outputs):
            return f"{module} gives {outputs:,} values there, the adapter's {tensor.shape[0]:,}"
    missing = _missing_layer(adapter, weights)
    return None if missing is None else f"it has no layer {missing}"


def _missing_layer(adapter: Path, weights: dict[str, TensorInfo]) -> int | None:
    """The number of a layer that the adapter has factors for and the base has not."""
    theirs = [number for name in read_header(adapter / WEIGHTS) if (number := _layer(tensor_name(name))) is not None]
    ours = [number for name in weights if (number := _layer(name)) is not None]
    return max(theirs) if theirs and ours and max(theirs) > max(ours) else None


def _layer(name: str) -> int | None:
    number = name.rpartition("layers.")[2].partition(".")[0]
    return int(number) if "layers." in name and number.isdecimal() else None
