"""The latency probe: one request at a time, the backends taking turns row by row.

Blocks of one backend after the other would measure the hour of the day as well: load on a server and heat of a device
drift. So every row is asked of every backend before the next row is, in an order that is drawn anew for each row.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from harness.errors import BackendStopped
from harness.records import LogLine

SAME_ERRORS = 3
"""A backend is asked no more after so many errors of one kind; after the first where it has not answered yet."""


@dataclass
class Probed:
    """One backend's part. ask: asks the row at a position and returns the line written, None where none was.

    todo: positions without an answer yet. requests, answers: of this session; cost: USD they incurred, None where one
    is unknown.
    """

    ask: Callable[[int], Awaitable[LogLine | None]]
    todo: list[int]
    requests: int = 0
    answers: int = 0
    cost: float | None = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    ended: str | None = None

    async def one(self, n: int) -> None:
        """Ask one row; `ended` says why where this backend is to be asked no more."""
        try:
            line = await self.ask(n)
        except BackendStopped as stop:  # the run itself meets the same stop, and reports it
            self.ended = str(stop)
            return
        if line is None:
            return
        self.requests += 1
        if self.cost is not None and line.error is None:
            self.cost = None if line.cost.incurred is None else self.cost + line.cost.incurred
        elif line.cost.incurred is not None and self.cost is not None:
            self.cost += line.cost.incurred
        if line.error is None:
            self.answers += 1
            return
        self.errors[line.error.kind] += 1
        if not self.answers or self.errors[line.error.kind] >= SAME_ERRORS:
            self.ended = f"{line.error.kind}: {line.error.message}"


async def probe_in_turns(
    backends: Mapping[str, Probed], seed: int, stopped: Callable[[], bool], progress: Callable[[int, int], None]
) -> None:
    """Ask every backend its rows, one request at a time; the first row of each is asked once more before, to warm up.

    progress: told (rows done, rows in all) after every row.
    """
    rows = sorted({n for probed in backends.values() for n in probed.todo})
    if not rows:
        return
    progress(0, len(rows))
    for done, n in enumerate([rows[0], *rows]):
        turn = [name for name, probed in backends.items() if n in probed.todo or (done == 0 and probed.todo)]
        random.Random(f"{seed} {done}").shuffle(turn)
        for name in turn:
            probed = backends[name]
            if stopped():
                return
            if probed.ended is None:
                await probed.one(probed.todo[0] if done == 0 else n)
        if all(probed.ended is not None for probed in backends.values() if probed.todo):
            return
        progress(done, len(rows))


def told(backends: Mapping[str, Probed]) -> list[str]:
    """What the probe took, and whom it could not measure, in sentences."""
    requests = sum(probed.requests for probed in backends.values())
    if not requests and all(probed.ended is None for probed in backends.values()):
        return []
    costs = [probed.cost for probed in backends.values()]
    money = "at an unknown cost" if None in costs else f"${sum(c for c in costs if c is not None):.6f}"
    found = [f"latency probe: {requests} requests to {', '.join(backends)}, one at a time, {money}"]
    for name, probed in backends.items():
        if probed.ended is not None:
            left = "its latency is not measured" if not probed.answers else "the answers so far count"
            count = f"{probed.requests} request{'' if probed.requests == 1 else 's'}"
            found.append(f"{name}: the latency probe ended after {count} ({probed.ended}); {left}")
    return found
