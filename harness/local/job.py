"""How a handle wants its rows answered."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.records import Decode

from .adapters import BASE
from .batching import CPU_TOKENS
from .choose import Normalisation
from .counters import Counters


@dataclass
class Job:
    """What a handle queues with its rows.

    adapter: its name in this engine ("" is the base alone) and `folder` where it lies; budget: tokens of a
    batch; unbatched: one row at a time and no shared prefix (a latency probe). `cancelled` ends it after
    the current batch. template: variables of the chat template.
    """

    decode: Decode
    adapter: str = BASE
    folder: Path | None = None
    labels: tuple[str, ...] = ()
    normalisation: Normalisation = "sum"
    budget: int = CPU_TOKENS
    unbatched: bool = False
    template: dict[str, Any] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    cancelled: threading.Event = field(default_factory=threading.Event)
