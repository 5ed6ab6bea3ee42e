"""A server that nobody here wrote: the task runs through `transformers serve` with the tiny model."""

import importlib.util
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.runner import run
from harness.settings import Settings
from harness.workspace import Workspace
from tests.support.processes import ROOT, free_port, wait_until

TINY = ROOT / "adapters" / "tiny"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("transformers", "fastapi", "uvicorn")),
        reason="transformers serve is not installed: pip install 'transformers[serving]'",
    ),
    pytest.mark.skipif(not (TINY / "config.json").exists(), reason="the tiny model is not built"),
]


class Served(NamedTuple):
    """Where the server is, and what it calls its model."""

    url: str
    model: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    port = free_port()
    folder = tmp_path_factory.mktemp("serve")
    log, model = folder / "log.txt", shutil.copytree(TINY, folder / "tiny")
    (model / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    program = "from transformers.cli.transformers import main; main()"
    words = ["serve", str(model), "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", program, *words], stdout=output, stderr=output)
        try:
            wait_until(lambda: up(f"http://127.0.0.1:{port}/health") or process.poll() is not None)
            assert process.poll() is None, log.read_text()[-3000:]
            yield Served(f"http://127.0.0.1:{port}/v1", str(model))
        finally:
            process.kill()
            process.wait(30)


def up(address: str) -> bool:
    """Whether a server answers."""
    try:
        urllib.request.urlopen(address, timeout=2).close()
    except OSError:
        return False
    return True


def test_the_task_runs_through_transformers_serve(served: Served, tmp_path: Path) -> None:
    texts = ["The court ruled on the treaty", "The coach praised the team", "Shares fell on the news", "A new chip"]
    rows = "".join(f'{{"text": "{text} ({n})", "label": {k}}}\n' for n in range(5) for k, text in enumerate(texts))
    (tmp_path / "rows.jsonl").write_text(rows)
    table = {
        "kind": "openai",
        "model": served.model,
        "base_url": served.url,
        "concurrency": 4,
        "price": {"input": 1.0, "output": 1.0},
    }
    log = run(
        "agnews",
        ["served"],
        data=str(tmp_path / "rows.jsonl"),
        probe_rows=2,
        settings=Settings(backends={"served": table}),
        workspace=Workspace(tmp_path / "home"),
    )
    lines = log.lines("served").values()
    assert len(lines) == 20
    assert not [line.error for line in lines if line.error]
    assert all(line.usage.prompt_tokens > 20 and line.cost.incurred for line in lines)
    probed = log.lines("served", probe=True).values()
    assert len(probed) == 2
    assert all(line.error is None and line.timing.first_token_s for line in probed)
    summary = log.summary()
    assert summary is not None
    assert summary.backends["served"].answered == 20


def test_log_probabilities_it_silently_ignores_are_missing_not_invented(served: Served, tmp_path: Path) -> None:
    from tests.openai.asking import ask, row

    answer = ask(served.url, tmp_path, [row("r0")], model=served.model, logprobs=True).by_id["r0"]
    assert answer.error is None
    assert answer.label_scores is None
