"""The header of a safetensors file: names, types and shapes of its tensors, without reading the weights."""

from pathlib import Path

import msgspec

from harness.errors import UsageError

LONGEST_HEADER = 1 << 28
"""Bytes; a longer header is none."""


class TensorInfo(msgspec.Struct, frozen=True):
    """A tensor as its header describes it. data_offsets: begin and end in the data part, in bytes."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a file, by name. Raises UsageError for a truncated or foreign file."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            raw = msgspec.json.decode(file.read(size) if size < LONGEST_HEADER else b"", type=dict[str, msgspec.Raw])
        raw.pop("__metadata__", None)
        tensors = {name: msgspec.json.decode(value, type=TensorInfo) for name, value in raw.items()}
    except msgspec.MsgspecError:
        raise UsageError(f"{path} is not a safetensors file: download it again.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from None
    whole = 8 + size + max((tensor.data_offsets[1] for tensor in tensors.values()), default=0)
    if path.stat().st_size < whole:
        raise UsageError(f"{path} is cut off ({path.stat().st_size} of {whole} bytes): download it again.")
    return tensors
