"""A classification head, exported and served as vLLM serves it, answers as the local head; a broken one does not."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the `local` extra")

from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402

from harness.adapter_manifest import find_adapter  # noqa: E402
from harness.adapters.adapter_export import export_adapter  # noqa: E402
from harness.deployment.parity_result import ParityResult  # noqa: E402
from harness.deployment.parity_run import ParityOptions, run_parity  # noqa: E402
from harness.settings import load_settings  # noqa: E402
from harness.workspace import Workspace  # noqa: E402
from tests.support.json_server import json_server  # noqa: E402
from tests.support.tiny_llama import make_adapter, make_base, sentences  # noqa: E402

ROWS = 60
TASK_LABELS = ("court", "market", "team")
HEAD_LABELS = ("team", "court", "market")
"""In the order of the head's rows, which is not the task's."""


@contextmanager
def classify_server(folder: Path, change: Callable[[Any], None]) -> Iterator[str]:
    """vLLM's `/classify` over transformers' own model class."""
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        change(model)

    def classify(body: dict[str, Any]) -> dict[str, Any]:
        ids = tokenizer(body["input"])["input_ids"]
        with torch.inference_mode():
            probs = model(torch.tensor([ids])).logits[0].softmax(-1).tolist()
        best = max(range(len(probs)), key=probs.__getitem__)
        found = {"index": 0, "label": model.config.id2label[best], "probs": probs, "num_classes": len(probs)}
        return {"object": "list", "data": [found], "usage": {"prompt_tokens": len(ids), "total_tokens": len(ids)}}

    def answer(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return (200, classify(body)) if path == "/classify" else (404, {"error": {"message": "no such path"}})

    with json_server([{"id": "sorter"}], answer) as url:
        yield url


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a head, its export, a task and its rows."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("head")
    workspace = Workspace(folder / "home")
    base = make_base(folder / "base", bos=True, seed=3)
    make_adapter(workspace, base, "sorter", head=True, task="sections", labels=HEAD_LABELS)
    export_adapter(find_adapter(workspace, "sorter"), "merged", folder / "merged", rows=0)
    rows = [{"text": text, "label": "court"} for text in sentences(ROWS, seed=3)]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    (folder / "sections.toml").write_text(
        'prompt = "Which section?\\n\\n{{ text }}"\nreference = "label"\n'
        f'labels = {json.dumps(TASK_LABELS)}\ndata = "test.jsonl"\n',
        "utf-8",
    )
    return folder


def parity(home: Path, change: Callable[[Any], None]) -> ParityResult:
    with classify_server(home / "merged", change) as url:
        toml = home / "bench.toml"
        toml.write_text(
            f'[backends.head]\nkind = "openai"\nmodel = "sorter"\nbase_url = "{url}"\ndecode = "head"\n', "utf-8"
        )
        asked = ParityOptions(served="head", task=str(home / "sections.toml"), rows=ROWS, probe_rows=2, margin=0.05)
        workspace = Workspace(home / "home")
        return run_parity("sorter", asked, settings=load_settings(toml), workspace=workspace)[0]


def test_an_exported_head_answers_alike_through_classify(home: Path) -> None:
    found = parity(home, lambda model: None)
    assert found.verdict == "alike" and found.agreement.value == 1.0
    assert [check.metric for check in found.checks if check.gated] == ["accuracy"], "a head makes no format errors"
    assert found.reference.decode == found.served.decode == "head"
    assert found.reference.prompt_tokens == found.served.prompt_tokens
    assert found.findings == () and found.served.probed


def test_a_head_whose_labels_are_swapped_is_not_alike(home: Path) -> None:
    def swapped(model: Any) -> None:
        model.score.weight.copy_(model.score.weight[[1, 2, 0]].clone())

    found = parity(home, swapped)
    assert found.verdict == "not alike" and found.agreement.value is not None and found.agreement.value < 0.5
