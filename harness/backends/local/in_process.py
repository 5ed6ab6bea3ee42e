"""A local model in this process: a handle on the engine that holds its weights."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backends.local.base_files import BaseFiles
from harness.backends.local.model_spec import BaseFacts, DecodeSettings, ModelSpec, windows
from harness.records import Completion, Request

if TYPE_CHECKING:
    from harness.backends.local.decode_job import DecodeJob
    from harness.backends.local.engine import LocalEngine
    from harness.backends.local.model import LoadedModel
    from harness.backends.local.weight_loading import Placement


class InProcessExecutor:
    """Handles on one base in one placement share one engine (`shared`); its weights load with the first rows."""

    def __init__(
        self,
        spec: ModelSpec,
        window: int,
        shared: dict[Any, Any],
        remark: Callable[[str], None] = lambda text: None,
        status: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._spec = spec
        self._remark, self._status = remark, status
        self._window = window
        self._shared = shared
        self._base: tuple[BaseFiles, Placement] | None = None
        self._engine: LocalEngine | None = None
        self._job: DecodeJob | None = None

    async def find(self) -> BaseFacts:
        """Hashed in a thread, and not in the event loop. Raises UsageError."""
        from harness.backends.local.decode_job import resolve_model

        base, placement, facts = await asyncio.to_thread(resolve_model, self._spec)
        self._base = base, placement
        return facts

    async def open(self, settings: DecodeSettings, rows: int) -> None:
        """Share the engine that holds this base, or make it. Raises UsageError where its template does not fit."""
        from harness.backends.local.decode_job import check_template, make_job
        from harness.backends.local.engine import LocalEngine

        assert self._base is not None, "find comes before open"
        base, placement = self._base
        for remark in await asyncio.to_thread(check_template, base, settings):
            self._remark(remark)
        if self._engine is None:
            key = ("local engine", base.folder.resolve(), placement)
            self._engine = self._shared.get(key)
            if self._engine is None:
                self._engine = self._shared[key] = LocalEngine(lambda: self._load(base, placement))
            self._engine.open()
        self._job = make_job(settings, placement)

    def _load(self, base: BaseFiles, placement: "Placement") -> "LoadedModel":
        """The weights; what is loaded is said first, as it may take minutes."""
        from harness.backends.local.weight_loading import load

        size = sum(file.stat().st_size for file in base.weights) / 1e6
        amount = f"{size:,.0f} MB" if size < 10_000 else f"{size / 1000:,.0f} GB"
        self._status(f"loading {Path(base.name).name} ({amount}) on {placement.device}")
        return load(base, placement)

    async def stream(self, requests: AsyncIterator[Request]) -> AsyncIterator[Completion]:
        """Windows of the requests, each sorted by length into batches in the engine's own thread."""
        assert self._engine is not None and self._job is not None, "open comes before stream"
        async for window in windows(requests, 1 if self._job.unbatched else self._window):
            async for batch in self._engine.stream(self._job, window):
                for completion in batch:
                    yield completion

    def facts(self) -> dict[str, Any]:
        """Nothing to add."""
        return {}

    def counters(self) -> dict[str, float]:
        """Rates, padding and prefix-reuse shares, peak memory; empty before the first batch."""
        return self._job.counters.table() if self._job else {}

    async def aclose(self) -> None:
        """End after the current batch; the last handle of an engine lets its weights go."""
        if self._job is not None:
            self._job.cancelled.set()
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.close()
