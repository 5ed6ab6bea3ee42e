"""A fleet's servers as the log tells of them: what each answered, how fast, and what failed there."""

from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from harness.records import LogLine
from harness.results import ServerResult


@dataclass
class Servers:
    """Adds up `notes.endpoint` and `notes.failed_at`, which only fleets write."""

    service: dict[str, "array[float]"] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, line: LogLine) -> None:
        """Take in one line; an answer from the cache comes from no server."""
        if line.cached:
            return
        self.failed.update(line.notes.get("failed_at", "").split())
        url = line.notes.get("endpoint")
        if url is not None:
            self.service.setdefault(url, array("d")).append(line.timing.service_s)

    def results(self) -> dict[str, ServerResult]:
        """By URL. `share`: of all answers that came from a server."""
        total = sum(map(len, self.service.values()))
        found = {}
        for url in sorted({*self.service, *self.failed}):
            times = self.service.get(url, array("d"))
            p50, p95 = np.percentile(times, [50, 95]) if times else (None, None)
            found[url] = ServerResult(
                answered=len(times),
                share=len(times) / total if total else 0.0,
                failed_attempts=self.failed[url],
                p50_s=None if p50 is None else float(p50),
                p95_s=None if p95 is None else float(p95),
            )
        return found
