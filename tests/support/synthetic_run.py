"""A run directory full of made-up news rows and answers: any number of rows, the same bytes for the same seed."""

import random
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from harness.identity import Identity
from harness.labels import score_label
from harness.metrics import ACCURACY, FORMAT_ERROR_RATE, LENIENT_ACCURACY, Metric
from harness.records import (
    Completion,
    Cost,
    Decode,
    Failure,
    Message,
    Passage,
    Request,
    Sample,
    Timing,
    Usage,
    number_repeats,
)
from harness.results import (
    BackendResult,
    ClassResult,
    Confusion,
    CostResult,
    Estimate,
    Latency,
    Load,
    PairResult,
    Summary,
)
from harness.runlog import Manifest, RunLog
from harness.statistics.mcnemar import exact_p
from harness.statistics.proportions import wilson
from harness.statistics.tango import tango_interval

LABELS = ("World", "Sports", "Business", "Sci/Tech")
METRICS: tuple[Metric, ...] = (ACCURACY, FORMAT_ERROR_RATE, LENIENT_ACCURACY)
ASK = "Which topic is this news item about: World, Sports, Business or Sci/Tech? Say the topic only.\n\nItem: "
WORDS = {
    "World": "minister border treaty election parliament embassy ceasefire summit refugees protest",
    "Sports": "goalkeeper season coach final medal striker tournament injury sprint penalty",
    "Business": "shares quarter profit merger inflation retailer bonds dividend forecast supplier",
    "Sci/Tech": "telescope software chip genome browser satellite researchers battery encryption sensor",
}
COMMON = tuple(
    [
        "on",
        "Monday",
        "after",
        "the",
        "a",
        "report",
        "said",
        "that",
        "it",
        "would",
        "again",
        "in",
        "its",
        "first",
        "for",
        "new",
        "two",
        "of",
        "by",
        "with",
        "over",
        "while",
    ]
)


class Maker(NamedTuple):
    """A made-up backend: how often it is right, how often malformed, how often it fails, its price and speed."""

    model: str
    decode: Decode
    right: float
    malformed: float = 0.0
    fails: float = 0.0
    price: float | None = None
    service_s: float = 0.05
    adapter: str | None = None
    training: float | None = None


MAKERS = {
    "llama-ft": Maker("tiny-llama", "choose", 0.94, price=0.00001, adapter="news-a1", training=0.45, service_s=0.02),
    "llama-base": Maker("tiny-llama", "generate", 0.55, malformed=0.2, price=0.00001, service_s=0.03),
    "gpt4": Maker("gpt-4.1", "generate", 0.88, malformed=0.02, fails=0.01, price=0.0004, service_s=0.6),
    "gpt35": Maker("gpt-3.5-turbo", "generate", 0.87, malformed=0.04, price=None, service_s=0.4),
}


def synthetic_run(folder: Path, rows: int, seed: int = 0, makers: dict[str, Maker] | None = None) -> RunLog:
    """A finished run of `rows` rows with its summary (counts, Wilson and Tango intervals; no bootstrap)."""
    chance = random.Random(seed)
    makers = makers or MAKERS
    samples = list(number_repeats(_sample(chance) for _ in range(rows)))
    log = RunLog.create(folder, _manifest(rows, seed, makers), ((s, _request(s)) for s in samples))
    right = {}
    backends = {}
    for name, maker in makers.items():
        backends[name], right[name] = _answer(log, name, maker, samples, chance)
    summary = Summary(
        run=log.manifest.id,
        task="agnews",
        created=log.manifest.created,
        rows=rows,
        data=log.manifest.data,
        metrics=METRICS,
        backends=backends,
        pairs=tuple(_pair(a, b, right[a], right[b]) for a, b in combinations(makers, 2)),
        ranks=_ranks(backends),
        resolution=0.04,
        complete=not any(b.errors for b in backends.values()),
        slices=_slices(samples, right),
    )
    log.write_summary(summary)
    return log


def _sample(chance: random.Random) -> Sample:
    label = chance.choice(LABELS)
    own = WORDS[label].split()
    text = " ".join(chance.choice(own if chance.random() < 0.3 else COMMON) for _ in range(38)).capitalize() + "."
    return Sample.of({"text": text}, label, "test", columns={"length": "short" if len(text) < 200 else "long"})


def _request(sample: Sample) -> Request:
    text = sample.inputs["text"]
    return Request(
        id=sample.id,
        messages=(Message(role="user", content=f"{ASK}{text}"),),
        passages=(Passage(message=0, start=len(ASK), end=len(ASK) + len(text)),),
        labels=LABELS,
        max_tokens=12,
    )


def _manifest(rows: int, seed: int, makers: dict[str, Maker]) -> Manifest:
    return Manifest(
        id=f"agnews-20260102-030405-{rows}",
        task="agnews",
        task_spec="agnews",
        parser="1",
        labels=LABELS,
        created="2026-01-02T03:04:05Z",
        rows=rows,
        seed=seed,
        data={
            "source": "made-up.csv",
            "split": "test",
            "fingerprint": "f" * 64,
            "limit": rows,
            "label": "made-up sample",
        },
        request_hash="a" * 64,
        backends={
            n: Identity(
                kind="openai" if m.model.startswith("gpt") else "local",
                model=m.model,
                decode=m.decode,
                adapter=m.adapter,
                device_hour_usd=None if m.model.startswith("gpt") else 0.6,
                price={"input": 2.0, "output": 8.0, "date": "2026-01-01"} if m.model == "gpt-4.1" else None,
                retired="2025-09-01" if m.model == "gpt-3.5-turbo" else None,
            )
            for n, m in makers.items()
        },
        versions={"python": "3.11.9", "bench-harness": "0.1.0"},
        hardware={"cpu": "a made-up processor", "cores": 2},
        git="0123456789abcdef",
    )


def _completion(sample: Sample, maker: Maker, chance: random.Random) -> Completion:
    service = maker.service_s * chance.lognormvariate(0, 0.3)
    if chance.random() < maker.fails:
        failure = Failure(kind="timeout", message="no answer within 60 s")
        return Completion(id=sample.id, error=failure, attempts=4, timing=Timing(service_s=service))
    wrong = [label for label in LABELS if label != sample.reference]
    text = sample.reference if chance.random() < maker.right else chance.choice(wrong)
    if chance.random() < maker.malformed:
        text = chance.choice([f"The topic is {text}.", "I am not sure about this one.", "World or Sports", ""])
    return Completion(
        id=sample.id,
        text=text,
        finish="stop",
        usage=Usage(prompt_tokens=80, completion_tokens=3),
        timing=Timing(service_s=round(service, 4)),
        cost=Cost(list=maker.price, incurred=maker.price),
    )


def _answer(
    log: RunLog, name: str, maker: Maker, samples: list[Sample], chance: random.Random
) -> tuple[BackendResult, dict[int, bool]]:
    kinds: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    table: Counter[tuple[str, str]] = Counter()
    lenient = 0
    right: dict[int, bool] = {}
    services = []
    with log.writer(name) as writer:
        for n, sample in enumerate(samples):
            completion = _completion(sample, maker, chance)
            if completion.error is not None:
                errors[completion.error.kind] += 1
                writer.append(n, completion, None)
                continue
            score = score_label(completion, sample.reference, LABELS)
            writer.append(n, completion, score)
            right[n] = bool(score.correct)
            lenient += bool(score.lenient.correct)
            kinds.update([score.format] if score.format else [])
            table[sample.reference, score.answer or "(no label)"] += 1
            services.append(completion.timing.service_s)
    return _result(maker, len(samples), right, lenient, kinds, errors, table, sorted(services)), right


def _result(
    maker: Maker,
    asked: int,
    right: dict[int, bool],
    lenient: int,
    kinds: Counter[str],
    errors: Counter[str],
    table: Counter[tuple[str, str]],
    services: list[float],
) -> BackendResult:
    n = len(right)
    malformed = (
        _rate(sum(kinds.values()), n)
        if maker.decode == "generate"
        else Estimate(value=None, method=f"n/a: decode mode {maker.decode}")
    )
    answers = (*LABELS, "(no label)")
    latency = Latency(rows=n, p50_s=services[n // 2], p95_s=services[int(n * 0.95)], mean_s=round(sum(services) / n, 6))
    return BackendResult(
        decode=maker.decode,
        model=maker.model,
        adapter=maker.adapter,
        asked=asked,
        answered=n,
        errors=dict(errors),
        metrics={
            "accuracy": _rate(sum(right.values()), n),
            "format_error_rate": malformed,
            "lenient_accuracy": _rate(lenient, n),
        },
        per_class={label: _class(table, label) for label in LABELS},
        confusion=Confusion(
            labels=LABELS, answers=answers, counts=tuple(tuple(float(table[r, a]) for a in answers) for r in LABELS)
        ),
        format_errors=dict(kinds),
        usage={"prompt_tokens": 80 * n, "completion_tokens": 3 * n},
        contaminated=0 if maker.adapter else None,
        probe=latency,
        load=Load(wall_s=10.0, rows_per_s=n / 10, tokens_per_s=8.3 * n, service=latency, attempts=asked),
        cost=CostResult(
            list=None if maker.price is None else maker.price * n,
            incurred=None if maker.price is None else maker.price * n,
            per_1000=None if maker.price is None else maker.price * 1000,
            training=maker.training,
            basis="made up",
        ),
    )


def _rate(hits: int, n: int) -> Estimate:
    low, high = wilson(hits, n)
    return Estimate(value=hits / n, low=low, high=high, method="Wilson 95 %", n=n)


def _class(table: Counter[tuple[str, str]], label: str) -> ClassResult:
    hits = table[label, label]
    said = sum(v for (_, a), v in table.items() if a == label)
    support = sum(v for (r, _), v in table.items() if r == label)
    precision, recall = (hits / total if total else 0.0 for total in (said, support))
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return ClassResult(precision=precision, recall=recall, f1=f1, support=support)


def _pair(a: str, b: str, right_a: dict[int, bool], right_b: dict[int, bool]) -> PairResult:
    both = right_a.keys() & right_b.keys()
    only_a = sum(right_a[n] and not right_b[n] for n in both)
    only_b = sum(right_b[n] and not right_a[n] for n in both)
    low, high = tango_interval(only_b, only_a, len(both))
    p = exact_p(only_a, only_b)
    verdict = "not distinguishable" if p > 0.05 / 6 else "a better" if only_a > only_b else "b better"
    return PairResult(
        a=a,
        b=b,
        metric="accuracy",
        rows=len(both),
        difference=Estimate(value=(only_a - only_b) / len(both), low=low, high=high, method="Tango 95 %", n=len(both)),
        p=p,
        p_method="exact McNemar",
        p_holm=min(1.0, 6 * p),
        only_a=only_a,
        only_b=only_b,
        verdict=verdict,  # type: ignore[arg-type]
    )


def _ranks(backends: dict[str, BackendResult]) -> dict[str, int]:
    """Equal where intervals overlap: not the paired test of the engine, but enough to make ties."""
    order = sorted(backends, key=lambda n: -(backends[n].metrics["accuracy"].value or 0))
    ranks: dict[str, int] = {}
    for place, name in enumerate(order, 1):
        before = order[place - 2] if place > 1 else None
        high = backends[name].metrics["accuracy"].high or 0
        tied = before is not None and high >= (backends[before].metrics["accuracy"].low or 0)
        ranks[name] = ranks[before] if tied and before is not None else place
    return ranks


def _slices(
    samples: list[Sample], right: dict[str, dict[int, bool]]
) -> dict[str, dict[str, dict[str, dict[str, Estimate]]]]:
    values = Counter(s.columns["length"] for s in samples)
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    for value, _ in values.most_common():
        found[value] = {}
        for name, verdicts in right.items():
            hits = [verdicts[n] for n, s in enumerate(samples) if s.columns["length"] == value and n in verdicts]
            found[value][name] = {"accuracy": _rate(sum(hits), len(hits))} if hits else {}
    return {"length": found}
