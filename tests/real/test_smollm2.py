"""A pretrained Llama on this machine: asked in every decode mode, trained, merged. Light: a few rows each."""

from pathlib import Path
from typing import Any

import pytest

from tests.real.cli import backend_of, bench, texts_of

LABELS = ("World", "Sports", "Business", "Sci/Tech")


@pytest.fixture
def settings(work: Path, smollm2: Path) -> Path:
    """A bench.toml that asks the plain model in each way."""
    tables = [
        f'[backends.{decode}]\nkind = "local"\nmodel = "{smollm2}"\ndecode = "{decode}"\n'
        for decode in ("generate", "choose", "json")
    ]
    (work / "bench.toml").write_text("\n".join(tables), "utf-8")
    return work


def test_the_plain_model_is_asked_in_every_decode_mode(settings: Path, smollm2: Path, news: Path) -> None:
    bench(
        "run", "--task", "agnews", "--data", str(news), "--limit", "6", "--backends", "generate,choose,json",
        "--no-cache", "--out", "run",
    )  # fmt: skip
    run = settings / "run"
    asked = {name: backend_of(run, name) for name in ("generate", "choose", "json")}
    assert {b.answered for b in asked.values()} == {6}
    assert asked["json"].format_errors == {}, "constrained to the labels, no answer can be malformed"
    assert set(texts_of(run, "choose").values()) <= set(LABELS)
    assert set(texts_of(run, "json").values()) <= set(LABELS)
    assert texts_of(run, "generate") == _by_transformers(run, smollm2)


def _by_transformers(run: Path, folder: Path) -> dict[str, str]:
    """The texts of transformers' own `generate`, row by row."""
    import torch
    import transformers

    from harness.runs.run_log import RunLog

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    texts = {}
    for row in RunLog.open(run).rows():
        messages = [{"role": m.role, "content": m.content} for m in row.request.messages]
        encoded = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            output = model.generate(**encoded, max_new_tokens=row.request.max_tokens, do_sample=False)
        new = output[0, encoded["input_ids"].shape[1] :]
        texts[row.sample.id] = tokenizer.decode(new, skip_special_tokens=True)
    return texts


def test_an_adapter_is_trained_asked_and_merged(work: Path, smollm2: Path, adapter: Path, news: Path) -> None:
    bench("adapter", "merge", str(adapter), "--out", "merged")
    (work / "bench.toml").write_text(
        f'[backends.plain]\nkind = "local"\nmodel = "{smollm2}"\n'
        f'[backends.tuned]\nkind = "local"\nadapter = "{adapter}"\n'
        f'[backends.merged]\nkind = "local"\nmodel = "{work / "merged"}"\n',
        "utf-8",
    )
    words = ("--data", str(news), "--backends", "plain,tuned,merged", "--no-cache", "--out", "run")
    bench("run", "--task", "agnews", *words)
    texts = {name: texts_of(work / "run", name) for name in ("plain", "tuned", "merged")}
    assert texts["tuned"] != texts["plain"], "two steps at a high rate change some answer"
    assert texts["tuned"] == texts["merged"]


def test_a_head_is_trained_and_asked(work: Path, smollm2: Path, news: Path) -> None:
    bench(
        "train", "--task", "agnews", "--recipe", "llama-3.2-1b-agnews-head", "--base", str(smollm2),
        "--data", str(news), "--set", "batch=4", "--set", "accumulate=1",
        "--set", "validation_rows=2", "--set", "evaluations=1", "--set", "max_steps=1", "--out", "head",
    )  # fmt: skip
    (work / "bench.toml").write_text(f'[backends.head]\nkind = "local"\nadapter = "{work / "head"}"\n', "utf-8")
    bench("run", "--task", "agnews", "--data", str(news), "--backends", "head", "--out", "run")
    assert backend_of(work / "run", "head").decode == "head"
    assert set(texts_of(work / "run", "head").values()) <= set(LABELS)
