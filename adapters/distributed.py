"""One training in several processes: who this process is, and how all of them come to one decision.

Launchers (torchrun, accelerate) give a process its number in the environment. Process 0 prints, keeps the lock and
writes; a decision that only one process can take (a Ctrl-C heard, a clock that struck) is taken by all at one step.
"""

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import TypeVar

import msgspec
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from harness.adapters.recipe import Recipe
from harness.errors import ExitCode, TrainingError, UsageError

T = TypeVar("T")

ORPHAN_CHECK_S = 1.0
"""How often a process looks whether its launcher is still there."""


class PeerLostError(TrainingError):
    """Another process of this training is gone: nothing can continue without it."""

    exit_code = ExitCode.INCOMPLETE


def world() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", "0")) if world() > 1 else 0


def local_rank() -> int:
    """This process's number on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if world() > 1 else 0


def device() -> str:
    """The device of this process as `place` understands it; raises UsageError where a machine has too few GPUs."""
    if world() == 1 or not torch.cuda.is_available():
        return "auto"
    if local_rank() >= torch.cuda.device_count():
        raise UsageError(
            f"process {rank()} finds no GPU of its own: this machine has {torch.cuda.device_count()}; "
            "start as many processes as there are GPUs (--num-processes)."
        )
    return f"cuda:{local_rank()}"


def share(recipe: Recipe) -> Recipe:
    """The recipe of one process: together they make the steps of `batch` x `accumulate` rows that one would make.

    Raises UsageError where they cannot share a step equally.
    """
    whole = recipe.batch * recipe.accumulate
    if whole % world():
        near = world() * max(1, round(whole / world()))
        raise UsageError(
            f"a step of {whole} rows (batch {recipe.batch} x accumulate {recipe.accumulate}) cannot be shared equally "
            f"by {world()} processes: start another number of them, or use --set batch={near} --set accumulate=1."
        )
    rows = whole // world()
    batch = max(n for n in range(1, min(rows, recipe.batch) + 1) if rows % n == 0)
    return msgspec.structs.replace(recipe, batch=batch, accumulate=rows // batch)


def own_randomness(seed: int) -> None:
    """Dropout of its own for every process but the first, whose stream is that of a training alone."""
    if rank():
        torch.manual_seed(seed * 1_000_003 + rank())


def told(value: T) -> T:
    """What process 0 says, in every process; they wait for it here."""
    if world() == 1:
        return value
    box = [value]
    broadcast_object_list(box)
    return box[0]


def gathered(values: list[T]) -> list[T]:
    """The values of all processes, in the order of the processes."""
    return values if world() == 1 else list(gather_object(values))


def agreed(*flags: bool) -> list[bool]:
    """Each flag, raised where any process raises it."""
    if world() == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.int32, device=PartialState().device)
    torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
    return [bool(vote) for vote in votes.tolist()]


@contextlib.contextmanager
def together() -> Iterator[None]:
    """A training of several processes: ends with PeerLostError where another one is gone.

    A process whose launcher has died ends within seconds, as `kill -9` would end it: checkpoints bear that.
    """
    if world() == 1:
        yield
        return
    threading.Thread(target=_follow_the_launcher, args=(os.getppid(),), daemon=True).start()
    try:
        yield
    except RuntimeError as error:
        if not _broken_link(error):
            raise
        raise PeerLostError(
            f"process {rank()} of {world()}: another process of this training is gone; "
            "the same command continues after the last checkpoint."
        ) from None
    atexit.unregister(_leave)
    atexit.register(_leave)  # not before: a second training of this process goes on in the same group


def _leave() -> None:
    with contextlib.suppress(RuntimeError):  # the others may have left already
        torch.distributed.destroy_process_group()


def _follow_the_launcher(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_S)
    os._exit(int(ExitCode.INCOMPLETE))


def _broken_link(error: RuntimeError) -> bool:
    """Whether a collective failed because of the other side: torch's own kinds, and gloo's plain errors."""
    kinds = (torch.distributed.DistBackendError, torch.distributed.DistNetworkError, torch.distributed.DistStoreError)
    return isinstance(error, kinds) or any(word in str(error) for word in ("gloo", "NCCL", "Connection"))
