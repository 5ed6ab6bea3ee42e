"""A run directory full of made-up news rows and answers: any number of rows, the same bytes for the same seed."""

import random
from pathlib import Path
from typing import NamedTuple

from harness.metrics import CLASSIFICATION
from harness.records import (
    BackendIdentity,
    Completion,
    Cost,
    Decode,
    Failure,
    InputSpan,
    Message,
    Request,
    Sample,
    Timing,
    Usage,
    number_repeats,
)
from harness.runs.run_log import Manifest, RunLog, Session
from harness.scoring.label_parsing import score_label
from harness.summary.summarise import summarise

LABELS = ("World", "Sports", "Business", "Sci/Tech")
ASK = "Which topic is this news item about: World, Sports, Business or Sci/Tech? Say the topic only.\n\nItem: "
PROBED = 100
"""Rows of the latency probe."""
WORDS = {
    "World": "minister border treaty election parliament embassy ceasefire summit refugees protest",
    "Sports": "goalkeeper season coach final medal striker tournament injury sprint penalty",
    "Business": "shares quarter profit merger inflation retailer bonds dividend forecast supplier",
    "Sci/Tech": "telescope software chip genome browser satellite researchers battery encryption sensor",
}
COMMON = "on Monday after the a report said that it would again in its first for new two of by with over while"


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


def synthetic_run(
    folder: Path, rows: int, seed: int = 0, makers: dict[str, Maker] | None = None, varied: bool = False
) -> RunLog:
    """A finished run of `rows` rows with its summary.

    varied: from so many words that the texts compress about as badly as written English does.
    """
    chance = random.Random(seed)
    makers = makers or MAKERS
    samples = list(number_repeats(_sample(chance, varied) for _ in range(rows)))
    log = RunLog.create(folder, _manifest(rows, seed, makers), ((s, _request(s)) for s in samples))
    for name, maker in makers.items():
        _answer(log, name, maker, samples, chance)
    contaminated = {name: 0 for name, maker in makers.items() if maker.adapter}
    log.write_summary(summarise(log, CLASSIFICATION, contaminated))
    return log


def _word(chance: random.Random) -> str:
    """One of 200,000 words that do not exist."""
    return "".join(chance.choice("bdfgklmnprst") + chance.choice("aeiou") for _ in range(3))


def _sample(chance: random.Random, varied: bool) -> Sample:
    label = chance.choice(LABELS)
    own, common = WORDS[label].split(), COMMON.split()
    words = [chance.choice(own if chance.random() < 0.3 else common) for _ in range(38)]
    if varied:
        words = [w if chance.random() < 0.3 else _word(chance) for w in words]
    text = " ".join(words).capitalize() + "."
    return Sample.of({"text": text}, label, "test", columns={"length": "short" if len(text) < 200 else "long"})


def _request(sample: Sample) -> Request:
    text = sample.inputs["text"]
    return Request(
        id=sample.id,
        messages=(Message(role="user", content=f"{ASK}{text}"),),
        passages=(InputSpan(message=0, start=len(ASK), end=len(ASK) + len(text)),),
        labels=LABELS,
        max_tokens=12,
    )


def _manifest(rows: int, seed: int, makers: dict[str, Maker]) -> Manifest:
    return Manifest(
        id=f"agnews-2026010{2 + seed}-030405-{rows}",
        task="agnews",
        task_spec="agnews",
        parser="1",
        labels=LABELS,
        created=f"2026-01-0{2 + seed}T03:04:05Z",
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
            n: BackendIdentity(
                kind="openai" if m.model.startswith("gpt") else "local",
                model=m.model,
                decode=m.decode,
                adapter=m.adapter,
                training_usd=m.training,
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


def _answer(log: RunLog, name: str, maker: Maker, samples: list[Sample], chance: random.Random) -> None:
    with log.writer(name) as writer:
        for n, sample in enumerate(samples):
            completion = _completion(sample, maker, chance)
            writer.append(
                n, completion, None if completion.error else score_label(completion, sample.reference, LABELS)
            )
    with log.writer(name, probe=True) as writer:
        for n, sample in enumerate(samples[:PROBED]):
            writer.append(n, _completion(sample, maker._replace(fails=0.0), chance), None)
    log.note_session(
        name, Session(started="2026-01-02T03:04:05Z", wall_s=maker.service_s * len(samples) / 8, rows=len(samples))
    )
