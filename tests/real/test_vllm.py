"""vLLM on a CPU: the adapter as `bench adapter check` says to serve it, every decode mode, kill -9 and resume."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.real import servers
from harness.adapter_manifest import read_manifest
from harness.runs.run_log import RunLog
from tests.real.cli import backend_of, bench, summary_of, texts_of
from tests.real.conftest import need
from tests.support.processes import BENCH, PATIENCE_S, count_lines, wait_until

LABELS = ("World", "Sports", "Business", "Sci/Tech")


@pytest.fixture(scope="module")
def line(adapter: Path) -> str:
    """The command that `bench adapter check --for vllm` prints."""
    need("vllm")
    text = bench("adapter", "check", str(adapter), "--for", "vllm")
    return next(words.strip() for words in text.splitlines() if words.strip().startswith("vllm serve "))


@pytest.fixture(scope="module")
def vllm(line: str) -> Iterator[servers.Server]:
    """vLLM started by that very command."""
    with servers.vllm_command(line) as server:
        yield server


def settings(work: Path, server: servers.Server, **backends: str) -> None:
    """A bench.toml with one table a backend, all of this server."""
    tables = [
        f'[backends.{name}]\nkind = "openai"\nbase_url = "{server.base_url}"\nconcurrency = 4\n{more}\n'
        for name, more in backends.items()
    ]
    (work / "bench.toml").write_text("\n".join(tables), "utf-8")


def test_the_printed_command_serves_base_and_adapter(
    work: Path, vllm: servers.Server, adapter: Path, smollm2: Path
) -> None:
    served = read_manifest(adapter).id
    assert set(vllm.models()) == {str(smollm2), served}
    settings(work, vllm, base=f'model = "{smollm2}"', tuned=f'model = "{served}"')
    with (work / "bench.toml").open("a", encoding="utf-8") as more:
        more.write(f'[backends.here]\nkind = "local"\nadapter = "{adapter}"\n')
    for name in ("base", "tuned", "here"):  # one after the other: on a CPU, vLLM 0.32 mixes adapters of one batch up
        bench(
            "run",
            "--task",
            "agnews",
            "--data",
            "embedded",
            "--limit",
            "12",
            "--backends",
            name,
            "--no-cache",
            "--out",
            name,
        )
    texts = {name: texts_of(work / name, name) for name in ("base", "tuned", "here")}
    assert texts["base"] != texts["tuned"]
    equal = sum(texts["tuned"][row].strip() == text.strip() for row, text in texts["here"].items())
    assert equal >= 11, "the served copy answers as the adapter does here"


def test_base_and_adapter_that_answer_alike_are_called_out(
    work: Path, vllm: servers.Server, adapter: Path, smollm2: Path
) -> None:
    settings(work, vllm, base=f'model = "{smollm2}"', tuned=f'model = "{read_manifest(adapter).id}"')
    words = ("--data", "embedded", "--limit", "24", "--backends", "base,tuned", "--no-cache", "--out", "run")
    text = " ".join(bench("run", "--task", "agnews", *words).split())
    alike = texts_of(work / "run", "base") == texts_of(work / "run", "tuned")  # vLLM mixes adapters up
    assert ("gave the same text on 24 of 24 rows" in text) == alike


def test_closed_labels_are_whole_in_every_decode_mode(work: Path, vllm: servers.Server, smollm2: Path) -> None:
    model = f'model = "{smollm2}"'
    settings(work, vllm, text=model, json=f'{model}\ndecode = "json"\nlogprobs = true')
    words = ("--data", "embedded", "--limit", "8", "--backends", "text,json", "--no-cache", "--out", "run")
    bench("run", "--task", "agnews", *words, "--latency-probe", "2")
    asked = backend_of(work / "run", "json")
    assert asked.answered == 8 and asked.format_errors == {}
    for answer in RunLog.open(work / "run").lines("json").values():
        assert answer.text in LABELS
        assert answer.label_scores is not None and answer.text in answer.label_scores
        assert set(answer.label_scores) <= set(LABELS) and max(answer.label_scores.values()) <= 0
    probe = backend_of(work / "run", "text").probe
    assert probe is not None and probe.first_token_p50_s is not None


def test_a_killed_run_is_resumed_and_asks_nothing_twice(work: Path, vllm: servers.Server, smollm2: Path) -> None:
    settings(work, vllm, api=f'model = "{smollm2}"')
    words = (
        "run",
        "--task",
        "agnews",
        "--data",
        "embedded",
        "--limit",
        "24",
        "--backends",
        "api",
        "--no-cache",
        "--quiet",
    )
    bench(*words, "--out", "whole")
    process = subprocess.Popen(
        [*BENCH, *words, "--out", "torn"], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    log = work / "torn" / "api.jsonl"
    wait_until(lambda: count_lines(log) >= 6, process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    kept = log.read_bytes().split(b"\n")[:-1]
    bench("run", "--resume", "torn", "--quiet")
    assert log.read_bytes().split(b"\n")[: len(kept)] == kept
    assert texts_of(work / "torn", "api") == texts_of(work / "whole", "api")
    assert len(kept) + (24 - len(kept)) == count_lines(log), "every row was answered once"


def test_a_server_killed_in_the_middle_leaves_a_run_that_a_new_one_finishes(
    work: Path, line: str, smollm2: Path
) -> None:
    words = ("--data", "embedded", "--limit", "24", "--backends", "api", "--no-cache", "--out", "run")
    port = servers.free_port()
    with servers.vllm_command(line, port=port) as first:
        settings(work, first, api=f'model = "{smollm2}"\nmax_attempts = 2')
        asking = subprocess.Popen(
            [*BENCH, "run", "--task", "agnews", *words, "--quiet"],
            cwd=work,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        wait_until(lambda: count_lines(work / "run" / "api.jsonl") >= 4, asking)
        first.kill()
        text, _ = asking.communicate(timeout=servers_gone_s)
    assert asking.returncode == 3, text
    with servers.vllm_command(line, port=port):
        bench("run", "--resume", "run", "--quiet")
    assert summary_of(work / "run").complete


servers_gone_s = 300
