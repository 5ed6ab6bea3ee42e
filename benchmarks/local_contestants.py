"""One contestant, one process: reads a job, answers its rows, writes what it answered and what it cost.

    python benchmarks/local_contestants.py CONTESTANT JOB.json OUT.json

Contestants: bench, lm-eval, vllm, generate (transformers, row by row), pipeline (transformers, classification).
A job: {"kind": "choose" | "generate" | "head", "base", "adapter", "prompts", "texts", "labels",
"max_tokens", "batch", "threads", "dtype" (the peer's)}, for bench also "adapters": folders asked at the same time as
the base. Where the base has a chat template, everybody applies it. With "sequences" bench and lm-eval also tell what
they scored: for each row and label the token ids of the prompt and label.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

Job = dict[str, Any]
Answer = dict[str, Any]


def bench(job: Job) -> Answer:
    """Bench's local backend, as `bench run` drives it; with `adapters`, a handle on the base and one on each."""
    from harness.adapter_manifest import AdapterManifest, weights_digest, write_manifest
    from harness.backend import RunContext, RunRequirements
    from harness.backends.local_backend import LocalBackend, LocalSettings
    from harness.records import InputSpan, Message, Request
    from harness.workspace import Workspace

    labels = tuple(job["labels"])

    def manifest(folder: Path) -> str:
        head = job["kind"] == "head"
        known = AdapterManifest(
            id=folder.name,
            task="bench",
            task_version="1",
            base=job["base"],
            objective="head" if head else "generate",
            decode=job["kind"],
            labels=labels,
            adapter_sha256=weights_digest(folder),
        )
        write_manifest(folder, known)
        return str(folder)

    requests = []
    for n, (prompt, text) in enumerate(zip(job["prompts"], job["texts"], strict=True)):
        start = prompt.rindex(text)
        requests.append(
            Request(
                id=str(n),
                messages=(Message(role="user", content=prompt),),
                passages=(InputSpan(message=0, start=start, end=start + len(text)),),
                labels=labels,
                max_tokens=job["max_tokens"],
            )
        )

    async def each() -> AsyncIterator[Request]:
        for request in requests:
            yield request

    async def ask(context: RunContext, adapter: str, folder: Path) -> Answer:
        settings = LocalSettings(
            model=job["base"], adapter=adapter, decode=job["kind"], device="cpu", threads=job["threads"]
        )
        backend = LocalBackend("bench", settings, "bench", context)
        await backend.check(RunRequirements(task="bench", rows=len(requests), labels=labels))
        begun = time.process_time()
        found = {int(c.id): c async for c in backend.stream(each(), folder)}
        counters = backend.counters()
        answering = time.process_time() - begun
        texts = [found[n].text for n in range(len(requests))]
        closing.append(backend)
        said: Answer = {"answers": texts, "tokens": counters["computed_tokens"], "counters": counters}
        said["answering_cpu_s"] = answering
        return said | ({"sequences": bench_sequences(job)} if job.get("sequences") else {})

    closing: list[LocalBackend] = []

    async def all_handles() -> Answer:
        with tempfile.TemporaryDirectory() as folder:
            context = RunContext(workspace=Workspace(Path(folder)))
            first = manifest(Path(job["adapter"])) if job["kind"] == "head" else ""
            others = [manifest(Path(path)) for path in job.get("adapters", [])]
            answers = await asyncio.gather(*(ask(context, name, Path(folder)) for name in (first, *others)))
            for backend in closing:
                await backend.aclose()
        return answers[0]

    return asyncio.run(all_handles())


def bench_sequences(job: Job) -> list[list[list[int]]]:
    """Token ids of each row's prompt with each label, as `choose` scores them."""
    from transformers import AutoTokenizer

    from harness.prompting.chat_rendering import Renderer
    from harness.records import Message

    renderer = Renderer(AutoTokenizer.from_pretrained(job["base"]))
    labels = [renderer.encode_answer(label) for label in job["labels"]]
    texts = [renderer.text((Message(role="user", content=prompt),)) for prompt in job["prompts"]]
    return [[[*ids, *label] for label in labels] for ids in renderer.encode(texts)]


def has_template(base: str) -> bool:
    """Whether a model folder holds a chat template."""
    return (Path(base) / "chat_template.jinja").is_file()


def lm_eval(job: Job) -> Answer:
    """lm-evaluation-harness: its `hf` model through `simple_evaluate`."""
    import datasets
    import torch
    from lm_eval import simple_evaluate
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(job["threads"])
    rows = [{"prompt": prompt, "choices": job["labels"], "gold": 0} for prompt in job["prompts"]]
    common = {
        "task": "bench",
        "dataset_path": "unused",
        "custom_dataset": lambda **_: datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)}),
        "test_split": "test",
        "doc_to_text": "{{prompt}}",
        "target_delimiter": " ",
        "num_fewshot": 0,
    }
    if job["kind"] == "choose":
        kind: dict[str, Any] = {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "gold"}
        metric, aggregation = "acc", "mean"
    else:
        settings = {"until": [], "max_gen_toks": job["max_tokens"], "do_sample": False}
        kind = {"output_type": "generate_until", "doc_to_target": "", "generation_kwargs": settings}
        metric, aggregation = "bypass", "bypass"
    task = ConfigurableTask(
        config=common
        | kind
        | {"metric_list": [{"metric": metric, "aggregation": aggregation, "higher_is_better": True}]}
    )
    model = HFLM(pretrained=job["base"], dtype=job["dtype"], batch_size=job["batch"], device="cpu")
    tokens = 0
    call = model._model_call

    def counted(inps: Any, **kwargs: Any) -> Any:
        nonlocal tokens
        tokens += inps.numel()
        return call(inps, **kwargs)

    model._model_call = counted
    scored: dict[str, list[list[int]]] = {}
    if job.get("sequences"):
        score = model._loglikelihood_tokens

        def noted(requests: Any, *rest: Any, **kwargs: Any) -> Any:
            for (context, _), prompt, continuation in requests:
                scored.setdefault(context, []).append([*prompt, *continuation])
            return score(requests, *rest, **kwargs)

        model._loglikelihood_tokens = noted
    chat = has_template(job["base"])
    result = simple_evaluate(
        model, tasks=[task], log_samples=True, bootstrap_iters=0, verbosity="ERROR", apply_chat_template=chat
    )
    samples = sorted(result["samples"]["bench"], key=lambda s: s["doc_id"])
    said: Answer = {"tokens": tokens}
    if scored:
        said["sequences"] = [scored[s["arguments"][0][0]] for s in samples]
    if job["kind"] == "choose":
        scores = [[float(r[0]) for r in s["filtered_resps"]] for s in samples]
        said |= {"answers": [job["labels"][row.index(max(row))] for row in scores], "scores": scores}
    else:
        said["answers"] = [s["filtered_resps"][0] for s in samples]
    return said


def vllm(job: Job) -> Answer:
    """vLLM's own class for many prompts at once, in this process, without compilation."""
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}
    os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}
    from vllm import LLM, SamplingParams

    model = LLM(job["base"], dtype=job["dtype"], max_model_len=1024, enforce_eager=True, seed=0)
    settings = SamplingParams(temperature=0, max_tokens=job["max_tokens"])
    begun = time.process_time()
    if has_template(job["base"]):
        asked = [[{"role": "user", "content": prompt}] for prompt in job["prompts"]]
        outputs = model.chat(asked, settings, use_tqdm=False)
    else:
        outputs = model.generate(job["prompts"], settings, use_tqdm=False)
    answering = time.process_time() - begun
    return {"answers": [o.outputs[0].text for o in outputs], "answering_cpu_s": answering}


def generate(job: Job) -> Answer:
    """Plain transformers: `model.generate`, left-padded batches in file order (batch 1: row by row)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(job["threads"])
    tokenizer = AutoTokenizer.from_pretrained(job["base"], padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(job["base"], dtype=torch.float32).eval()
    answers = []
    for start in range(0, len(job["prompts"]), job["batch"]):
        batch = tokenizer(
            job["prompts"][start : start + job["batch"]], return_tensors="pt", padding=True, return_token_type_ids=False
        )
        out = model.generate(**batch, max_new_tokens=job["max_tokens"], do_sample=False)
        answers += tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return {"answers": answers}


def pipeline(job: Job) -> Answer:
    """transformers' classification pipeline on the same base, adapter and head."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers import pipeline as make_pipeline

    torch.set_num_threads(job["threads"])
    base = AutoModelForSequenceClassification.from_pretrained(
        job["base"], num_labels=len(job["labels"]), dtype=torch.float32
    )
    model = PeftModel.from_pretrained(base, job["adapter"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(job["base"])
    classify = make_pipeline("text-classification", model=model, tokenizer=tokenizer, batch_size=job["batch"])
    answers = [job["labels"][int(a["label"].removeprefix("LABEL_"))] for a in classify(job["texts"])]
    return {"answers": answers}


def near_ties(job: Job, rows: list[int], within: float) -> list[int]:
    """Those rows on whose greedy path the two best logits come within `within` of each other."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["base"])
    model = AutoModelForCausalLM.from_pretrained(job["base"], dtype=torch.float32).eval()
    close = []
    for row in rows:
        batch = tokenizer(job["prompts"][row], return_tensors="pt", return_token_type_ids=False)
        out = model.generate(
            **batch,
            max_new_tokens=job["max_tokens"],
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        gaps = [float(step[0].topk(2).values.diff().abs()) for step in out.logits]
        if min(gaps) <= within:
            close.append(row)
    return close


CONTESTANTS = {"bench": bench, "lm-eval": lm_eval, "vllm": vllm, "generate": generate, "pipeline": pipeline}


def main() -> None:
    name, job_path, out_path = sys.argv[1:]
    os.environ["HF_HUB_OFFLINE"] = "1"
    job: Job = json.loads(Path(job_path).read_text())
    begun = time.perf_counter()
    answer = CONTESTANTS[name](job)
    Path(out_path).write_text(json.dumps(answer | {"inside_s": time.perf_counter() - begun}))


if __name__ == "__main__":
    main()
