"""Speed of inference at a shape: prefill and decode as shares of the device's limits, and lm-eval on the same model."""

from importlib.util import find_spec
from typing import Any

import msgspec

from benchmarks.gpu.limits import COPY, PEAK, decode_bytes, limit, peak_gib, prefill_flop, seconds, share
from benchmarks.gpu.results import Figures, Finding, Recorder, Row
from benchmarks.gpu.workload import (
    Setting,
    Shape,
    free_memory,
    load_tokenizer,
    long_requests,
    random_model,
    requests,
)
from harness.backends.local.engine import LocalEngine
from harness.backends.local.exactness import batching_is_exact
from harness.backends.local.weight_loading import wrap_model
from harness.records import Completion, Request

PEER_BATCH = 64


def measure_inference(setting: Setting, shape: Shape, record: Recorder) -> None:
    """Decode of one row and of many, prefill of short and of long prompts, then lm-eval."""
    free_memory()
    tokenizer = load_tokenizer()
    model = random_model(shape, setting, tokenizer)
    engine = LocalEngine.from_live(model, tokenizer)
    label = f"{setting.dtype}: batches and shared prefixes compute what one row alone does"
    record.measure(label, lambda: Finding({}, batching_is_exact(wrap_model(model, tokenizer))))

    written = setting.count(64, 4)
    one, many = (requests("train", rows, max_tokens=1 + written) for rows in (1, setting.count(256, 4)))
    record.measure("decode, 1 row", lambda: decode(setting, shape, engine, one, record))
    record.measure(f"decode, {len(many)} rows", lambda: decode(setting, shape, engine, many, record))
    short, items = requests("train", setting.count(1024, 8)), setting.count(40, 3)
    long = long_requests(setting.count(64, 2), items)
    chosen = record.measure(f"choose, {len(short)} rows", lambda: prefill(setting, shape, engine, short, record))
    record.measure(
        f"choose, {len(long)} prompts of {items} news items", lambda: prefill(setting, shape, engine, long, record)
    )
    few = requests("train", setting.count(2 * PEER_BATCH, 4), max_tokens=written)
    wrote = record.measure(f"generate {written} tokens, {len(few)} rows", lambda: generate(setting, engine, few))

    if find_spec("lm_eval") is None:
        record.skip("lm-eval (hf)", "lm_eval is not installed.")
        return
    name = f"lm-eval (hf) choose, {len(short)} rows"
    record.measure(name, lambda: peer_choose(setting, model, engine, short, chosen), needs_s=12)
    name = f"lm-eval (hf) generate {written} tokens, {len(few)} rows"
    record.measure(name, lambda: peer_generate(setting, model, few, wrote), needs_s=12)


def timed(setting: Setting, engine: LocalEngine, asked: list[Request], mode: Any) -> tuple[list[Completion], float]:
    """Answers and median seconds. Raises RuntimeError where a row has no answer."""
    answers = engine.answer(asked, decode=mode)
    wrong = next((a.error for a in answers if a.error is not None), None)
    if wrong is not None:
        raise RuntimeError(f"{wrong.kind}: {wrong.message}")
    return answers, seconds(setting.device, lambda: engine.answer(asked, decode=mode), warm=False)


def decode(setting: Setting, shape: Shape, engine: LocalEngine, asked: list[Request], record: Recorder) -> Finding:
    """Seconds of one step of decoding, from the difference to answers of one token: prefill is left out."""
    free_memory()
    answers, whole = timed(setting, engine, asked, "generate")
    first = [msgspec.structs.replace(request, max_tokens=1) for request in asked]
    _, reading = timed(setting, engine, first, "generate")
    steps = max(a.usage.completion_tokens for a in answers) - 1
    tokens = sum(a.usage.completion_tokens for a in answers) - len(answers)
    step = (whole - reading) / max(1, steps)
    context = sum(a.usage.prompt_tokens for a in answers) / len(answers) + steps / 2
    read = decode_bytes(shape, len(asked), context, width=2 if setting.dtype == "bfloat16" else 4)
    batches = len({a.timing.service_s for a in answers})
    figures: Figures = {"step_ms": 1e3 * step, "tokens_per_s": tokens / max(1e-9, whole - reading)}
    figures |= share(read / max(1e-9, step), limit(record, COPY))
    note = "" if batches == 1 else f"{batches} batches: the share holds for one"
    return Finding({**figures, **peak_gib(setting), "steps": steps}, note=note)


def prefill(setting: Setting, shape: Shape, engine: LocalEngine, asked: list[Request], record: Recorder) -> Finding:
    """Label scores of all rows: real tokens a second, each row's own and the shared prefix once."""
    free_memory()
    answers, took = timed(setting, engine, asked, "choose")
    tokens = sum(a.usage.prompt_tokens - a.usage.cached_tokens for a in answers) + answers[0].usage.cached_tokens
    figures: Figures = {"rows_per_s": len(asked) / took, "tokens_per_s": tokens / took}
    figures |= share(prefill_flop(shape, tokens, len(asked)) / took, limit(record, PEAK))
    return Finding({**figures, **peak_gib(setting), "tokens": tokens})


def generate(setting: Setting, engine: LocalEngine, asked: list[Request]) -> Finding:
    """Whole answers, prompts included."""
    free_memory()
    answers, took = timed(setting, engine, asked, "generate")
    tokens = sum(a.usage.completion_tokens for a in answers)
    return Finding({"rows_per_s": len(asked) / took, "tokens_per_s": tokens / took, **peak_gib(setting)})


def peer(model: Any) -> Any:
    """lm-eval's hf model around the same weights."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model, tokenizer=load_tokenizer(), batch_size=PEER_BATCH)


def instances(kind: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
    """lm-eval's form of what is asked."""
    from lm_eval.api.instance import Instance

    return [Instance(request_type=kind, doc={}, arguments=given, idx=n) for n, given in enumerate(arguments)]


def beside(setting: Setting, rows: int, took: float, ours: Row) -> Figures:
    """The peer's figures, and how many times as fast Bench was."""
    rate = rows / took
    mine = float(ours.figures.get("rows_per_s", 0.0))
    return {"rows_per_s": rate, "bench_times_as_fast": mine / rate, **peak_gib(setting), "batch": PEER_BATCH}


def peer_choose(setting: Setting, model: Any, engine: LocalEngine, asked: list[Request], ours: Row) -> Finding:
    """The same rows and labels by `loglikelihood`, which scores every label of a row."""
    free_memory()
    judged = peer(model)
    pairs = [(r.messages[0].content, f" {label}") for r in asked for label in r.labels]
    scored: list[Any] = []

    def score() -> None:
        scored[:] = judged.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)

    judged.loglikelihood(instances("loglikelihood", pairs[: 4 * PEER_BATCH]), disable_tqdm=True)
    took = seconds(setting.device, score, warm=False)
    figures = beside(setting, len(asked), took, ours)
    width = len(asked[0].labels)
    same = 0
    for n, answer in enumerate(engine.answer(asked, decode="choose")):
        scores = [float(likelihood) for likelihood, _ in scored[n * width : (n + 1) * width]]
        same += answer.text == asked[n].labels[scores.index(max(scores))]
    return Finding({**figures, "same_labels_share": same / len(asked)})


def peer_generate(setting: Setting, model: Any, asked: list[Request], ours: Row) -> Finding:
    """The same rows and as many tokens by `generate_until`."""
    free_memory()
    judged = peer(model)
    options = {"until": [], "max_gen_toks": asked[0].max_tokens, "do_sample": False}
    wanted = [(r.messages[0].content, dict(options)) for r in asked]

    def write() -> None:
        judged.generate_until(instances("generate_until", wanted), disable_tqdm=True)

    judged.generate_until(instances("generate_until", wanted[:PEER_BATCH]), disable_tqdm=True)
    took = seconds(setting.device, write, warm=False)
    return Finding(beside(setting, len(asked), took, ours))
