"""Running out of memory: recognised on every device, answered with a smaller batch."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that an allocation failed (CUDA, MPS, or torch's CPU allocator)."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def release(device: torch.device) -> None:
    """Hand cached blocks back so that the smaller batch finds room."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
