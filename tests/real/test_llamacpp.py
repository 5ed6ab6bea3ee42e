"""llama.cpp's own server with the quantised SmolLM2: decode modes, a streamed probe, prompts that do not fit."""

from pathlib import Path

import msgspec
import pytest

from benchmarks.real.servers import Server
from harness.runs.run_log import RunLog
from tests.real.cli import backend_of, bench, summary_of, texts_of

LABELS = ("World", "Sports", "Business", "Sci/Tech")
ROWS = 8


def settings(work: Path, server: Server, **backends: str) -> None:
    """A bench.toml with one table a backend, all of this server."""
    tables = [
        f'[backends.{name}]\nkind = "openai"\nmodel = "smollm2"\nbase_url = "{server.base_url}"\n'
        f"concurrency = 4\n{more}\n"
        for name, more in backends.items()
    ]
    (work / "bench.toml").write_text("\n".join(tables), "utf-8")


def test_closed_labels_are_whole_in_every_decode_mode(work: Path, llamacpp: Server) -> None:
    settings(work, llamacpp, text="", json='decode = "json"\nlogprobs = true')
    words = ("--data", "embedded", "--limit", str(ROWS), "--backends", "text,json", "--no-cache", "--out", "run")
    bench("run", "--task", "agnews", *words)
    run = work / "run"
    assert backend_of(run, "text").answered == backend_of(run, "json").answered == ROWS
    assert backend_of(run, "json").format_errors == {}, "the envelope has room beside the label"
    for line in RunLog.open(run).lines("json").values():
        answer = line.text
        assert answer in LABELS, "the label without its envelope"
        scores = line.label_scores or {}
        assert set(scores) <= set(LABELS)
        if scores:  # as the model alone would have it: the grammar may have forced another label
            assert answer in scores and all(value <= 0 for value in scores.values())


def test_a_latency_probe_reads_the_stream(work: Path, llamacpp: Server) -> None:
    settings(work, llamacpp, text="")
    words = ("--data", "embedded", "--limit", "4", "--backends", "text", "--no-cache", "--latency-probe", "4")
    bench("run", "--task", "agnews", *words, "--out", "run")
    probe = backend_of(work / "run", "text").probe
    assert probe is not None and probe.rows == 4
    assert probe.first_token_p50_s is not None
    assert 0 < probe.first_token_p50_s <= probe.p50_s


@pytest.fixture
def long_rows(work: Path) -> Path:
    """Ten rows of which one is longer than the server's context."""
    rows = [
        {
            "text": f"Parcel {n} came {'late' if n % 2 else 'early'} and the driver waved.",
            "label": "bad" if n % 2 else "good",
        }
        for n in range(9)
    ]
    rows.append({"text": "The parcel was late again. " * 1500, "label": "bad"})
    (work / "rows").mkdir()
    for name in ("train", "test"):
        (work / "rows" / f"{name}.jsonl").write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    (work / "parcels.toml").write_text(
        'prompt = """Is this message good or bad news? Answer with one word.\n\n{{ text }}"""\n'
        'reference = "label"\nlabels = ["good", "bad"]\ndata = "rows"\n',
        "utf-8",
    )
    return work


def test_a_prompt_beyond_the_context_ends_its_row_and_no_other(long_rows: Path, llamacpp: Server) -> None:
    settings(long_rows, llamacpp, text="")
    bench("run", "--task", "./parcels.toml", "--backends", "text", "--no-cache", "--out", "run")
    summary = summary_of(long_rows / "run")
    assert summary.backends["text"].answered == 10, "a row too long is an answer without a label, not an error"
    assert summary.backends["text"].stopped is None
    assert summary.backends["text"].format_errors.get("context too long") == 1
    assert len(texts_of(long_rows / "run", "text")) == 10
