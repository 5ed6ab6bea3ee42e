"""Answers of the device against the CPU's, on the tiny Llama through the backend that `bench run` uses."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model

from benchmarks.gpu.results import Finding, Recorder
from benchmarks.gpu.workload import TASK, TINY, Setting, load_tokenizer, requests
from harness.adapter_manifest import AdapterManifest, weights_digest, write_manifest
from harness.backend import RunContext, RunRequirements
from harness.backends.local.batching import ACCELERATOR_TOKENS
from harness.backends.local_backend import LocalBackend, LocalSettings
from harness.prompting.chat_rendering import Renderer
from harness.records import Completion, Request
from harness.workspace import Workspace

TOLERANCE = 1e-3
"""Largest difference of a label's log-likelihood in float32; also of two logits that rounding may exchange."""

WRITTEN = 24
"""Tokens of a generated answer."""

SCHEMA = {
    "type": "object",
    "properties": {"topic": {"enum": list(TASK.labels)}, "sure": {"type": "boolean"}},
    "required": ["topic", "sure"],
    "additionalProperties": False,
}


def check_answers(setting: Setting, record: Recorder) -> None:
    """Every way of answering, in float32 against the CPU; then the agreement of 16-bit weights."""
    rows = setting.count(300, 16)
    asked = requests("test", rows)
    record.measure("choose, float32", lambda: compare(asked, "choose", setting), needs_s=15)
    written = requests("test", rows, max_tokens=WRITTEN)
    record.measure("generate, float32", lambda: compare(written, "generate", setting), needs_s=15)
    with tempfile.TemporaryDirectory() as folder:
        head = make_head(Path(folder) / "head")
        record.measure("head, float32", lambda: compare(asked, "head", setting, str(head)), needs_s=10)
    if find_spec("llguidance") is None:
        record.skip("json, float32", "llguidance is not installed.")
    else:
        few = asked[: setting.count(100, 8)]
        record.measure("json inside the labels, float32", lambda: compare(few, "json", setting), needs_s=10)
        typed = requests("test", len(few), schema=SCHEMA, max_tokens=48)
        record.measure("json inside a schema, float32", lambda: compare(typed, "json", setting), needs_s=10)
    record.measure("choose, bfloat16 against float32", lambda: agreement(asked, setting), needs_s=10)


def compare(asked: list[Request], decode: str, setting: Setting, adapter: str = "") -> Finding:
    """The device's answers in large batches against the CPU's in its usual ones: texts, and label scores within
    TOLERANCE. Generated texts may differ where the CPU's two best tokens lie within it."""
    wanted = answer(asked, decode=decode, adapter=adapter)
    found = answer(asked, decode=decode, adapter=adapter, device=setting.device, max_batch_tokens=ACCELERATOR_TOKENS)
    errors = sum(a.error is not None for a in (*wanted, *found))
    differ = [n for n, (a, b) in enumerate(zip(wanted, found, strict=True)) if a.text != b.text]
    figures: dict[str, Any] = {"rows": len(asked), "errors": errors, "answers_that_differ": len(differ)}
    worst = largest_difference(wanted, found)
    if worst is not None:
        figures["largest_score_difference"] = worst
    if decode == "generate" and differ:
        tied = near_ties([asked[n] for n in differ])
        figures["of_these_near_ties"] = tied
        differ = differ[tied:]
    holds = not errors and not differ and (worst or 0.0) <= TOLERANCE
    return Finding(figures, holds, f"scores within {TOLERANCE:g}" if worst is not None else "")


def agreement(asked: list[Request], setting: Setting) -> Finding:
    """Labels chosen with 16-bit weights on the device that are the CPU's in float32; nothing is required of it."""
    wanted = answer(asked, decode="choose")
    found = answer(asked, decode="choose", device=setting.device, dtype="bfloat16")
    same = sum(a.text == b.text for a, b in zip(wanted, found, strict=True))
    return Finding({"rows": len(asked), "same_labels_share": same / len(asked)})


def largest_difference(wanted: Sequence[Completion], found: Sequence[Completion]) -> float | None:
    """Largest absolute difference of a label's score; None where answers carry none."""
    pairs = [(a.label_scores, b.label_scores) for a, b in zip(wanted, found, strict=True)]
    differences = [abs(a[label] - b[label]) for a, b in pairs if a and b for label in a]
    return max(differences, default=None)


def answer(
    asked: list[Request], *, decode: str, device: str = "cpu", dtype: str = "float32", **settings: Any
) -> list[Completion]:
    """Answers of the tiny Llama in the order of the requests. settings: further ones of the backend."""
    chosen: dict[str, Any] = {"model": str(TINY), "decode": decode, "device": device, "dtype": dtype, **settings}

    async def each() -> AsyncIterator[Request]:
        for request in asked:
            yield request

    async def run(folder: Path) -> list[Completion]:
        context = RunContext(workspace=Workspace(folder))
        backend = LocalBackend("checked", LocalSettings(**chosen), TASK.name, context)
        first = asked[0]
        wanted = RunRequirements(task=TASK.name, rows=len(asked), labels=first.labels, schema=first.schema)
        await backend.check(wanted)
        found = {c.id: c async for c in backend.stream(each(), folder)}
        await backend.aclose()
        return [found[request.id] for request in asked]

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(Path(folder)))


def make_head(folder: Path) -> Path:
    """A classification head with LoRA layers on the tiny Llama, all random and large enough to decide answers."""
    torch.manual_seed(3)
    kind: Any = transformers.AutoModelForSequenceClassification
    base = kind.from_pretrained(str(TINY), num_labels=len(TASK.labels), dtype=torch.float32)
    tuned = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules="all-linear"))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
            if "score" in name:
                parameter.normal_(std=0.5)
    tuned.save_pretrained(str(folder))
    manifest = AdapterManifest(
        id=folder.name,
        task=TASK.name,
        task_version=TASK.version,
        base=str(TINY),
        objective="head",
        decode="head",
        labels=TASK.labels,
        adapter_sha256=weights_digest(folder),
    )
    write_manifest(folder, manifest)
    return folder


@torch.inference_mode()
def near_ties(asked: list[Request]) -> int:
    """How many of these rows meet, on their greedy path on the CPU, two best logits within TOLERANCE."""
    kind: Any = transformers.AutoModelForCausalLM
    model = kind.from_pretrained(str(TINY), dtype=torch.float32).eval()
    renderer = Renderer(load_tokenizer())
    tied = 0
    for prompt in renderer.prompts(asked, 1 << 30):
        ids, gaps = list(prompt.ids), []
        for _ in range(WRITTEN):
            best = model(torch.tensor([ids]), use_cache=False).logits[0, -1].topk(2)
            gaps.append(float(best.values[0] - best.values[1]))
            ids.append(int(best.indices[0]))
        tied += min(gaps) <= TOLERANCE
    return tied
