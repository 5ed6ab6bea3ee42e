"""How far the runs of a workspace are, read from their directories while others write them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BenchError
from harness.results import Summary
from harness.runs.run_log import Manifest, RunLog

RECENT_S = 120.0
"""A run whose last answer is older may have been stopped."""

RATE_OVER_S = 60.0
"""The rate of answers is that of the last so many seconds."""


@dataclass(frozen=True)
class BackendState:
    """One backend of a run that has not ended.

    answered: answers, of `total`; errors: infrastructure errors among the last lines; probed: answers of the latency
    probe; rate: answers a second, None while it is not known; left_s: seconds until the last answer at this rate.
    """

    name: str
    model: str
    total: int
    answered: int = 0
    errors: int = 0
    probed: int = 0
    rate: float | None = None

    @property
    def left_s(self) -> float | None:
        """Seconds until all are answered."""
        return (self.total - self.answered) / self.rate if self.rate and self.answered < self.total else None


@dataclass(frozen=True)
class RunState:
    """One run. summary: None until it has ended; idle_s: seconds since anything was written; problem: why it cannot be
    read."""

    folder: Path
    manifest: Manifest | None = None
    summary: Summary | None = None
    backends: tuple[BackendState, ...] = ()
    idle_s: float = 0.0
    problem: str = ""

    @property
    def recent(self) -> bool:
        """Whether it is probably being written."""
        return self.idle_s <= RECENT_S


@dataclass(frozen=True)
class _Count:
    """What was counted in a log of so many bytes."""

    size: int
    answered: int
    errors: int


class RunWatch:
    """Looks at the runs of a folder again and again; counts a log again only when it has grown."""

    def __init__(self, runs: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._runs, self._clock = runs, clock
        self._counts: dict[Path, _Count] = {}
        self._seen: dict[Path, list[tuple[float, int]]] = {}
        self._ended: dict[Path, tuple[int, RunState]] = {}

    def look(self) -> list[RunState]:
        """All runs, the newest first."""
        states = [self._state(path.parent) for path in self._runs.glob("[!.]*/manifest.json")]
        return sorted(
            states, key=lambda s: ("" if s.manifest is None else s.manifest.created, s.folder.name), reverse=True
        )

    def _state(self, folder: Path) -> RunState:
        try:
            done = (folder / "summary.json").stat().st_mtime_ns
        except FileNotFoundError:
            done = 0
        if done and folder in self._ended and self._ended[folder][0] == done:
            return self._ended[folder][1]
        try:
            log = RunLog.open(folder)
            summary = log.summary()
            if summary is not None:
                state = RunState(folder, log.manifest, summary)
                self._ended[folder] = done, state
                return state
            return self._under_way(log)
        except (BenchError, OSError) as error:
            return RunState(folder, problem=str(error))

    def _under_way(self, log: RunLog) -> RunState:
        backends = tuple(self._backend(log, name) for name in log.manifest.backends)
        written = [path.stat().st_mtime for path in log.path.rglob("*") if path.is_file()]
        return RunState(log.path, log.manifest, None, backends, max(0.0, time.time() - max(written, default=0.0)))

    def _backend(self, log: RunLog, name: str) -> BackendState:
        manifest = log.manifest
        count = self._count(log, name, probe=False)
        path = log.log_path(name)
        now = self._clock()
        seen = [(t, n) for t, n in self._seen.get(path, []) if now - t <= RATE_OVER_S]
        self._seen[path] = [*seen, (now, count.answered)]
        first = self._seen[path][0]
        rate = (count.answered - first[1]) / (now - first[0]) if now > first[0] else None
        return BackendState(
            name,
            manifest.backends[name].model,
            manifest.rows * manifest.repeats,
            count.answered,
            count.errors,
            self._count(log, name, probe=True).answered if manifest.probe_rows else 0,
            rate or None,
        )

    def _count(self, log: RunLog, name: str, *, probe: bool) -> _Count:
        found = log.backend_log(name, probe=probe)
        size = sum(file.stat().st_size for file in found.files())
        known = self._counts.get(found.path)
        if known is None or known.size != size:
            known = self._counts[found.path] = _Count(size, *found.progress())
        return known
