"""The local backend: a base model on this machine, alone or under one of its adapters."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from harness import adapter as adapters
from harness.adapter import AdapterManifest, base_key
from harness.backend import Needs, RunContext
from harness.errors import UsageError
from harness.identity import Identity
from harness.local.base import BaseFiles, check_safetensors, find_base, missing_extra
from harness.local.batching import usual_tokens
from harness.local.grammar import grammar_of
from harness.records import Completion, Decode, Request

if TYPE_CHECKING:
    from harness.local.engine import LocalEngine
    from harness.local.job import Job
    from harness.local.loading import Placement


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[backends.NAME]` with kind = "local"; docs/local-models.md says more.

    model: the base, a Hub id or a folder. adapter: "auto" (the current one of this task and base), an id, a path, or
    "" for none. decode: how answers are taken; "auto" is the adapter's own, without adapter "generate".
    dtype: type of the weights; "auto" is float32 on a CPU, bfloat16 on an accelerator (float16 on old cards).
    device: "cuda", "mps" or "cpu"; "auto" takes the best at hand. quantization: "nf4" loads 4-bit weights (needs
    bitsandbytes). attention: the implementation in use. max_batch_tokens: tokens of a batch (default: 768 reading,
    8,192 writing on a CPU; 65,536 on an accelerator). window: rows that are sorted by length together.
    normalisation: whether a label's score is the sum or the mean of its tokens' log-probabilities.
    device_hour_usd: what an hour of this machine costs. threads: torch's, on a CPU (default: all cores).
    """

    kind: str = "local"
    model: str = ""
    adapter: str = ""
    decode: Literal["auto", "generate", "choose", "json", "head"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    quantization: Literal["none", "nf4"] = "none"
    attention: Literal["auto", "sdpa", "eager"] = "auto"
    max_batch_tokens: int | None = None
    window: int = 4096
    normalisation: Literal["sum", "mean"] = "sum"
    device_hour_usd: float | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Found:
    """An adapter as found: folder, manifest and the digest of its weights."""

    folder: Path
    manifest: AdapterManifest
    sha256: str

    @property
    def name(self) -> str:
        """Its name inside an engine: by content, so that no two adapters are ever taken for one."""
        return f"a{self.sha256[:16]}"


class LocalBackend:
    """A handle on the engine that holds the base model; several handles share one engine."""

    Settings = LocalSettings

    def __init__(self, name: str, settings: LocalSettings, task_name: str, context: RunContext) -> None:
        self.name = name
        self.settings = settings
        self.task_name = task_name
        self.context = context
        self._adapter: Found | None = None
        self._base: BaseFiles | None = None
        self._placement: Placement | None = None
        self._engine: LocalEngine | None = None
        self._job: Job | None = None

    @property
    def decode(self) -> Decode:
        """The decode mode in force: as set, else the adapter's own, else generate."""
        if self.settings.decode != "auto":
            return self.settings.decode
        return self._adapter.manifest.decode if self._adapter else "generate"

    def identity(self) -> Identity:
        """Complete after `check`: digests of base and adapter, and how the weights are placed."""
        base, found = self._base, self._adapter
        facts: dict[str, Any] = self._placement.facts() if self._placement else {}
        if base is not None:
            facts |= {
                "base_revision": base.revision,
                "config_sha256": base.config_sha256(),
                "normalisation": self.settings.normalisation,
            }
        return Identity(
            kind="local",
            model=self.settings.model or (found.manifest.base if found else ""),
            decode=self.decode,
            adapter=found.manifest.id if found else None,
            adapter_sha256=found.sha256 if found else None,
            base_sha256=base.sha256() if base and base.revision is None else None,
            device_hour_usd=self.settings.device_hour_usd,
            training_usd=found.manifest.training_cost_usd if found else None,
            settings=facts,
        )

    async def check(self, needs: Needs) -> None:
        """Find adapter and base, and refuse what cannot work; no weights are loaded yet. Raises UsageError."""
        await asyncio.to_thread(self._find)
        self._check_decode(needs)
        self._attach()

    def _find(self) -> None:
        self._adapter = self._find_adapter()
        model = self.settings.model or (self._adapter.manifest.base if self._adapter else "")
        if not model:
            raise UsageError(f"backend '{self.name}' names neither a model nor an adapter: say --base PATH_OR_ID.")
        self._base = find_base(model)
        if self._adapter:
            _check_same_base(self._adapter, self._base)
        try:
            from harness.local.loading import place
        except ImportError:
            raise missing_extra() from None
        s = self.settings
        self._placement = place(s.device, s.dtype, s.attention, s.quantization, s.threads)
        self.identity()  # hashes the weights here, in a thread, and not later in the event loop

    def _find_adapter(self) -> Found | None:
        word, workspace = self.settings.adapter, self.context.workspace
        if not word:
            return None
        if word == "auto":
            if not self.settings.model:
                raise UsageError(f"backend '{self.name}': adapter = \"auto\" needs a model: say --base PATH_OR_ID.")
            folder = adapters.find_current(workspace, self.task_name, self.settings.model)
        else:
            folder = adapters.find_adapter(workspace, word)
        manifest = adapters.read_manifest(folder)
        sha256 = adapters.weights_digest(folder)
        if sha256 is None:
            raise UsageError(f"adapter {folder} holds no {adapters.WEIGHTS}; Bench loads safetensors only.")
        if manifest.adapter_sha256 not in (None, sha256):
            raise UsageError(f"adapter {folder}: its weights are not those its manifest names; train it again.")
        check_safetensors(folder / adapters.WEIGHTS)
        return Found(folder, manifest, sha256)

    def _check_decode(self, needs: Needs) -> None:
        decode, found = self.decode, self._adapter
        if decode == "choose" and not needs.labels:
            raise UsageError(f"backend '{self.name}': decode = \"choose\" needs labels, and {needs.task} has none.")
        twice = sorted({label for label in needs.labels if needs.labels.count(label) > 1})
        if twice:
            raise UsageError(f"task {needs.task} names the label '{twice[0]}' twice: labels must differ.")
        if decode == "json":
            grammar_of(needs.labels, needs.schema)
        if decode == "head":
            if found is None or found.manifest.objective != "head":
                raise UsageError(
                    f"backend '{self.name}': decode = \"head\" needs an adapter trained with a classification head."
                )
            if set(needs.labels) != set(found.manifest.labels):
                raise UsageError(
                    f"adapter {found.manifest.id} knows the labels {', '.join(found.manifest.labels)}, "
                    f"the task asks for {', '.join(needs.labels) or 'none'}."
                )
        elif found is not None and found.manifest.objective == "head":
            raise UsageError(
                f'adapter {found.manifest.id} is a classification head: it answers only with decode = "head".'
            )

    def _attach(self) -> None:
        """Share the engine that holds this base, or make it; its weights load with the first rows."""
        from harness.local.engine import LocalEngine
        from harness.local.job import Job
        from harness.local.loading import load

        assert self._base is not None and self._placement is not None
        base, placement, found = self._base, self._placement, self._adapter
        if self._engine is None:
            key = ("local engine", base.folder.resolve(), placement)
            self._engine = self.context.shared.get(key)
            if self._engine is None:
                self._engine = self.context.shared[key] = LocalEngine(lambda: load(base, placement))
            self._engine.open()
        self._job = Job(
            decode=self.decode,
            adapter=found.name if found else "",
            folder=found.folder if found else None,
            labels=found.manifest.labels if found else (),
            normalisation=self.settings.normalisation,
            budget=self.settings.max_batch_tokens or usual_tokens(placement.device.split(":")[0], self.decode),
            unbatched=self.context.probing,
        )

    async def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        """Windows of the requests, each sorted by length into batches in the engine's own thread."""
        assert self._engine is not None and self._job is not None, "check comes before stream"
        async for window in _windows(requests, 1 if self.context.probing else self.settings.window):
            async for batch in self._engine.stream(self._job, window):
                for completion in batch:
                    yield completion

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


async def _windows(requests: AsyncIterator[Request], size: int) -> AsyncIterator[list[Request]]:
    window: list[Request] = []
    async for request in requests:
        window.append(request)
        if len(window) >= size:
            yield window
            window = []
    if window:
        yield window


def _check_same_base(found: Found, base: BaseFiles) -> None:
    """Refuse an adapter on another base than it was trained on (digest or commit first, name else)."""
    manifest = found.manifest
    retrain = f"name its base with --base {manifest.base}, or train one with --base {base.name}"
    if manifest.base_sha256 is not None and base.revision is None:
        same = manifest.base_sha256 == base.sha256()
        if not same:
            raise UsageError(
                f"adapter {manifest.id} was trained on other weights than those in {base.folder}: {retrain}."
            )
    elif base_key(manifest.base) != base_key(base.name):
        raise UsageError(f"adapter {manifest.id} was trained on {manifest.base}, not on {base.name}: {retrain}.")
    elif None not in (manifest.base_revision, base.revision) and manifest.base_revision != base.revision:
        raise UsageError(
            f"adapter {manifest.id} was trained on commit {manifest.base_revision} of {base.name}, "
            f"which is now at {base.revision}: train it again."
        )
