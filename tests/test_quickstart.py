"""The quickstart tells the whole story offline: an adapter that really learns, three candidates, a report."""

import io
import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.data.rows import EMBEDDED, DataSource
from harness.records import Completion, Sample
from harness.task_loading import build_request, load_rows
from harness.tasks.agnews import AgNews
from harness.workspace import Workspace
from tests.support.processes import BENCH

torch = pytest.importorskip("torch", reason="the quickstart needs the extra 'local'")

TINY = Path(__file__).parents[1] / "adapters" / "tiny"


def evaluation_rows(count: int) -> list[Sample]:
    from harness.data.sampling import seeded_order

    return seeded_order(load_rows(AgNews(), DataSource(location=EMBEDDED, split="test")), seed=0)[:count]


def answers(model: Any, tokenizer: Any, samples: list[Sample]) -> list[Completion]:
    from harness.backends.local.engine import LocalEngine

    torch.set_num_threads(1)
    requests = [build_request(AgNews(), s) for s in samples]
    return LocalEngine.from_live(model, tokenizer).answer(requests, decode="generate")


def accuracy(samples: list[Sample], completions: list[Completion]) -> float:
    return sum(bool(AgNews().score(s, c).correct) for s, c in zip(samples, completions, strict=True)) / len(samples)


def tiny() -> tuple[Any, Any]:
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    return model, transformers.AutoTokenizer.from_pretrained(TINY)


def test_the_shipped_base_is_small_holds_no_code_and_pads_with_another_token_than_it_ends_with() -> None:
    assert sum(p.stat().st_size for p in TINY.iterdir()) < 3_000_000
    assert {p.suffix for p in TINY.iterdir()} == {".json", ".safetensors"}
    _, tokenizer = tiny()
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.chat_template is None


def test_the_untrained_base_knows_the_format_and_nothing_else() -> None:
    samples = evaluation_rows(200)
    completions = answers(*tiny(), samples)
    assert not [c for s, c in zip(samples, completions, strict=True) if AgNews().score(s, c).format]
    assert 0.15 < accuracy(samples, completions) < 0.40, "near chance (25 %)"


def test_the_tuned_model_stops_by_itself_and_has_learned_on_rows_it_never_saw(tmp_path: Path) -> None:
    from peft import PeftModel

    from harness.adapters.lora_training import train
    from harness.adapters.train_options import TrainOptions

    short = ("rows=640", "validation_rows=0")
    options = TrainOptions("agnews", str(TINY), "tiny-agnews", short, EMBEDDED)
    folder, manifest = train(options, Workspace(tmp_path), Console(file=io.StringIO()))
    assert manifest.data["label"] == "embedded sample"
    model, tokenizer = tiny()
    samples = evaluation_rows(200)
    completions = answers(PeftModel.from_pretrained(model, str(folder)), tokenizer, samples)
    assert Counter(c.finish for c in completions) == {"stop": 200}
    assert accuracy(samples, completions) > 0.5


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_quickstart_ends_with_a_table_and_a_report_and_spends_nothing(tmp_path: Path) -> None:
    canary = "sk-canary-0123456789"
    home = tmp_path / "home"
    work = tmp_path / "work"
    work.mkdir()
    environment = {
        **os.environ,
        "BENCH_HOME": str(home),
        "OPENAI_API_KEY": canary,
        "HTTPS_PROXY": "http://127.0.0.1:9",  # whatever leaves this machine fails
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [*BENCH, "quickstart", "--json"],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    scores = {name: b["metrics"]["accuracy"]["value"] for name, b in summary["backends"].items()}
    assert set(scores) == {"llama-base", "llama-ft", "loopback-tfidf"}
    assert scores["llama-base"] < 0.4 and scores["llama-ft"] > scores["llama-base"] + 0.3
    assert scores["loopback-tfidf"] > 0.8
    assert summary["data"]["label"] == "embedded sample" and "embedded sample" in done.stderr
    assert all(b["missing"] == 0 and not b["errors"] for b in summary["backends"].values())
    report = next(home.glob("runs/*/report.html"))
    assert "embedded sample" in report.read_text() and str(report) in done.stderr
    assert "would cost about" in done.stderr and "nothing was spent" in done.stderr
    assert "\x1b" not in done.stderr
    assert not list(work.iterdir()), "everything it writes goes into the workspace"
    assert not [p for p in home.rglob("*") if p.is_file() and canary.encode() in p.read_bytes()]
