"""The local backend: a base model in this process or in Ray workers, alone or under one of its adapters."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness import adapter_manifest as adapters
from harness.adapter_manifest import AdapterManifest, base_key, misfit
from harness.backend import Capabilities, OptionTarget, RunContext, RunRequirements
from harness.backends.local.in_process import InProcessExecutor
from harness.backends.local.json_grammar import grammar_of
from harness.backends.local.model_spec import BaseFacts, DecodeSettings, Executor, ModelSpec, RaySettings, check_ray
from harness.backends.ray.ray_executor import RayExecutor
from harness.errors import UsageError
from harness.peft_folder import HEADS, WEIGHTS, tensor_name
from harness.records import BackendIdentity, Completion, Decode, Request
from harness.safetensors_header import read_header

WEIGHTS_OF = {"none": "whole weights", "nf4": "4-bit weights"}


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[backends.NAME]` with kind = "local"; docs/local-models.md says more.

    model: the base, a Hub id or a folder. adapter: "auto" (the current one of this task and base), an id, a path (also
    of a PEFT folder that was trained elsewhere), or "" for none. trained_on: a file with the rows that it learned from,
    where Bench did not train it. decode: how answers are taken; "auto" is the adapter's own, without adapter
    "generate".
    dtype: type of the weights; "auto" is bfloat16 on an accelerator (float16 on old cards), and on a CPU float32, or
        bfloat16 where the weights are stored so and the processor computes it (AVX512-BF16, AMX).
    device: "cuda", "mps" or "cpu"; "auto" takes the best at hand. quantization: "nf4" loads 4-bit weights (needs
    bitsandbytes), "none" whole ones, "auto" those that the adapter was trained on. attention: the implementation in
    use. max_batch_tokens: tokens of a batch (default: 768 for prefill, 8,192 for decode on a CPU; 65,536 on an
    accelerator).
    window: rows that are sorted by length together.
    normalisation: whether a label's score is the sum or the mean of its tokens' log-probabilities.
    device_hour_usd: what an hour of this machine costs. threads: torch's, on a CPU (default: all cores).
    template: variables of the chat template, as { enable_thinking = false }; under chat_template the name of one of
    several (default: as the adapter was trained).
    executor: where the model runs, in this process or in Ray workers. ray: the workers (docs/scale.md).
    """

    kind: str = "local"
    model: str = ""
    adapter: str = ""
    trained_on: str = ""
    decode: Literal["auto", "generate", "choose", "json", "head"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    quantization: Literal["auto", "none", "nf4"] = "auto"
    attention: Literal["auto", "sdpa", "eager"] = "auto"
    max_batch_tokens: int | None = None
    window: int = 4096
    normalisation: Literal["sum", "mean"] = "sum"
    device_hour_usd: float | None = None
    threads: int | None = None
    template: dict[str, Any] | None = None
    executor: Literal["process", "ray"] = "process"
    ray: RaySettings = RaySettings()


@dataclass(frozen=True)
class FoundAdapter:
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
    capabilities = Capabilities(
        options={
            "base": OptionTarget(setting="model"),
            "adapter": OptionTarget(setting="adapter", where_set="adapter", drops_default="model"),
            "trained_on": OptionTarget(setting="trained_on", where_set="adapter"),
            "executor": OptionTarget(setting="executor"),
            "workers": OptionTarget(setting="ray.workers", requires={"executor": "ray"}),
        },
        resume_from_settings=frozenset({"max_batch_tokens", "executor", "ray"}),
        resume_from_identity=frozenset({"quantization"}),
    )

    def __init__(self, name: str, settings: LocalSettings, task_name: str, context: RunContext) -> None:
        self.name = name
        self.settings = settings
        self.task_name = task_name
        self.context = context
        check_ray(name, settings.ray)
        self._adapter: FoundAdapter | None = None
        self._base: BaseFacts | None = None
        self._executor: Executor | None = None

    @property
    def decode(self) -> Decode:
        """The decode mode in force: as set, else the adapter's own, else generate."""
        if self.settings.decode != "auto":
            return self.settings.decode
        return self._adapter.manifest.decode if self._adapter else "generate"

    def identity(self) -> BackendIdentity:
        """Complete after `check`: digests of base and adapter, and how the weights are placed."""
        base, found = self._base, self._adapter
        facts: dict[str, Any] = {}
        if base is not None and self._executor is not None:
            facts = {
                **base.placement,
                "base_revision": base.revision,
                "config_sha256": base.config_sha256,
                "normalisation": self.settings.normalisation,
                **self._executor.facts(),
                **({"template": self._template} if self._template else {}),
            }
        return BackendIdentity(
            kind="local",
            model=self.settings.model or (found.manifest.base_spec if found else ""),
            decode=self.decode,
            adapter=found.manifest.id if found else None,
            adapter_sha256=found.sha256 if found else None,
            base_sha256=base.sha256 if base else None,
            device_hour_usd=self.settings.device_hour_usd,
            training_usd=found.manifest.whole_training_cost_usd if found else None,
            trainings=found.manifest.trainings if found else 1,
            temperature=found.manifest.temperature if found and self.decode == found.manifest.decode else None,
            settings=facts,
        )

    @property
    def _template(self) -> dict[str, Any]:
        """Variables of the chat template: as set, else those that the adapter was trained with."""
        return dict(self._trained_template if self.settings.template is None else self.settings.template)

    @property
    def _trained_template(self) -> dict[str, Any]:
        return dict(self._adapter.manifest.recipe.get("template") or {}) if self._adapter else {}

    async def check(self, requirements: RunRequirements) -> None:
        """Find adapter and base, and refuse what cannot work; no weights are loaded yet. Raises UsageError."""
        found = self._adapter = await asyncio.to_thread(self._find_adapter)
        self._check_decode(requirements)
        model = self.settings.model or (found.manifest.base_spec if found else "")
        if not model:
            raise UsageError(f"backend '{self.name}' names neither a model nor an adapter: use --base PATH_OR_ID.")
        self._executor = self._executor or self._new_executor(model)
        self._base = await self._executor.find()
        if found:
            remark = _check_same_base(found, self._base)
            if remark and not self.context.probing:
                self.context.remark(f"{self.name}: {remark}")
            problem = misfit(found.folder, Path(self._base.folder)) if self.settings.executor == "process" else None
            if problem is not None:
                raise UsageError(
                    f"adapter {found.folder} does not fit the base {self._base.name}: {problem}. Name its own base "
                    f"({found.manifest.base or 'the one it was trained on'}) with --base."
                )
            if self._template != self._trained_template and not self.context.probing:
                self.context.remark(
                    f"{self.name}: adapter {found.manifest.id} was trained with template = {self._trained_template} "
                    f"and is asked with {self._template}: its answers may differ."
                )
        await self._executor.open(self._decode_settings(requirements), requirements.rows)

    def _new_executor(self, model: str) -> Executor:
        s, context = self.settings, self.context
        spec = ModelSpec(
            model=str(Path(model).expanduser().resolve()) if s.executor == "ray" and Path(model).exists() else model,
            device=s.device,
            dtype=s.dtype,
            attention=s.attention,
            quantization=self._quantization(),
            threads=s.threads,
        )
        if s.executor == "ray":
            return RayExecutor(spec, s.window, s.ray, context.shared, context.remark)
        remark = (lambda text: None) if context.probing else context.remark
        return InProcessExecutor(spec, s.window, context.shared, remark, context.status)

    def _quantization(self) -> str:
        """As set, else what the adapter was trained on; the run says where an adapter is asked on other weights."""
        found = self._adapter
        trained = found.manifest.quantization if found else None
        used = (trained or "none") if self.settings.quantization == "auto" else self.settings.quantization
        if found and found.manifest.origin == "peft" and used == "nf4" and self.settings.quantization == "auto":
            used = "nf4" if importlib.util.find_spec("bitsandbytes") else "none"  # its base's name says so, no more
        if found and trained not in (None, used) and not self.context.probing:
            self.context.remark(
                f"{self.name}: adapter {found.manifest.id} was trained on {WEIGHTS_OF[str(trained)]} and is asked on "
                f'{WEIGHTS_OF[used]} (quantization = "{used}"): its answers may differ.'
            )
        return used

    def _decode_settings(self, requirements: RunRequirements) -> DecodeSettings:
        found = self._adapter
        own = adapters.tokenizer_folder(found.folder, found.manifest) if found else None
        return DecodeSettings(
            decode=self.decode,
            adapter=found.name if found else "",
            folder=str(found.folder.resolve()) if found else None,
            sha256=found.sha256 if found else None,
            labels=(found.manifest.labels or requirements.labels) if found else (),
            normalisation=self.settings.normalisation,
            budget=self.settings.max_batch_tokens,
            unbatched=self.context.probing,
            template=self._template,
            tokenizer=str(own.resolve()) if own is not None else None,
            messages=requirements.messages,
            tools=requirements.tools,
        )

    def _find_adapter(self) -> FoundAdapter | None:
        name, workspace = self.settings.adapter, self.context.workspace
        if not name:
            return None
        if name == "auto":
            if not self.settings.model:
                raise UsageError(f"backend '{self.name}': adapter = \"auto\" needs a model: use --base PATH_OR_ID.")
            train = f"bench train --task {self.context.task or self.task_name} --base {self.settings.model}"
            folder = adapters.find_current(workspace, self.task_name, self.settings.model, train)
        else:
            folder = adapters.find_adapter(workspace, name)
        manifest = adapters.read_manifest(folder)
        sha256 = adapters.weights_digest(folder)
        if sha256 is None:
            raise UsageError(f"adapter {folder} holds no {WEIGHTS}; Bench loads safetensors only.")
        if manifest.adapter_sha256 not in (None, sha256):
            raise UsageError(f"adapter {folder}: its weights are not those its manifest names; train it again.")
        read_header(folder / WEIGHTS)
        return FoundAdapter(folder, manifest, sha256)

    def _check_decode(self, requirements: RunRequirements) -> None:
        decode, found = self.decode, self._adapter
        if decode == "choose" and not requirements.labels:
            raise UsageError(
                f"backend '{self.name}': decode = \"choose\" needs labels, and {requirements.task} has none."
            )
        duplicates = sorted({label for label in requirements.labels if requirements.labels.count(label) > 1})
        if duplicates:
            raise UsageError(f"task {requirements.task} names the label '{duplicates[0]}' twice: labels must differ.")
        if decode == "json":
            grammar_of(requirements.labels, requirements.schema)
        if decode == "head":
            if found is None or found.manifest.objective != "head":
                raise UsageError(
                    f"backend '{self.name}': decode = \"head\" needs an adapter trained with a classification head."
                )
            if not found.manifest.labels:
                self._check_unnamed_labels(found, requirements)
            elif sorted(requirements.labels) != sorted(found.manifest.labels):
                raise UsageError(
                    f"adapter {found.manifest.id} knows the labels {', '.join(found.manifest.labels)}, "
                    f"the task asks for {', '.join(requirements.labels) or 'none'}."
                )
        elif found is not None and found.manifest.objective == "head":
            raise UsageError(
                f'adapter {found.manifest.id} is a classification head: it answers only with decode = "head".'
            )

    def _check_unnamed_labels(self, found: FoundAdapter, requirements: RunRequirements) -> None:
        """A head whose folder names no labels: its rows are taken for the task's labels in their order, and it is said.

        Raises UsageError where there are more or fewer.
        """
        header = read_header(found.folder / WEIGHTS)
        count = next((t.shape[0] for name, t in header.items() if tensor_name(name) in HEADS), 0)
        if count != len(requirements.labels):
            raise UsageError(
                f"adapter {found.manifest.id} classifies into {count} labels, {requirements.task} has "
                f"{len(requirements.labels)}: name the task that it was trained for."
            )
        if not self.context.probing:
            self.context.remark(
                f"{self.name}: the adapter does not name its labels; they are taken in the task's order: "
                f"{', '.join(requirements.labels)} (`bench adapter import PATH --labels A,B` sets another)."
            )

    async def stream(self, requests: AsyncIterator[Request], state_dir: Path) -> AsyncIterator[Completion]:
        """Windows of the requests, each sorted by length into batches, wherever the model runs."""
        assert self._executor is not None, "check comes before stream"
        async for completion in self._executor.stream(requests):
            yield completion

    def counters(self) -> dict[str, float]:
        """Rates, padding and prefix-reuse shares, peak memory; empty before the first batch."""
        return self._executor.counters() if self._executor else {}

    async def aclose(self) -> None:
        """End after the current batch; the last handle on a model lets its weights go."""
        if self._executor is not None:
            await self._executor.aclose()


def _check_same_base(found: FoundAdapter, base: BaseFacts) -> str:
    """Refuse an adapter on another base than it was trained on (digest or commit first, name else).

    Of an adapter that Bench did not train only the base's name is known, and bases are copied under other names: then
    the returned sentence says that they differ, and its weights decide whether they fit.
    """
    manifest = found.manifest
    retrain = f"name its base with --base {manifest.base}, or train one with --base {base.name}"
    if manifest.base_sha256 is not None and base.revision is None:
        same = manifest.base_sha256 == base.sha256
        if not same:
            raise UsageError(
                f"adapter {manifest.id} was trained on other weights than those in {base.folder}: {retrain}."
            )
    elif base_key(manifest.base_spec) != base_key(base.name):
        if manifest.origin == "peft":
            named = f"names {manifest.base} as its base" if manifest.base else "names no base"
            return f"adapter {manifest.id} {named} and is asked on {base.name}: whether the weights agree is not known."
        raise UsageError(f"adapter {manifest.id} was trained on {manifest.base}, not on {base.name}: {retrain}.")
    elif None not in (manifest.base_revision, base.revision) and manifest.base_revision != base.revision:
        raise UsageError(
            f"adapter {manifest.id} was trained on commit {manifest.base_revision} of {base.name}, "
            f"which is now at {base.revision}: train it again."
        )
    return ""
