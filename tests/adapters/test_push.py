"""`bench adapter push` through the real client, to a Hub on loopback: four files, nothing private, plain sentences."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

safetensors = pytest.importorskip("safetensors.numpy")
pytest.importorskip("huggingface_hub")

from harness.adapter_manifest import AdapterManifest, weights_digest, write_manifest  # noqa: E402
from harness.peft_folder import WEIGHTS  # noqa: E402
from tests.support.hub_server import TOKEN, Hub, hub_server  # noqa: E402
from tests.support.processes import BENCH, PATIENCE_S  # noqa: E402


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as running:
        yield running


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """An adapter's folder as a training leaves it, made of paths of this machine."""
    folder = tmp_path / "home" / "adapters" / "mine"
    base = tmp_path / "secret place" / "my-llama"
    base.mkdir(parents=True)
    folder.mkdir(parents=True)
    safetensors.save_file({"base_model.model.x.lora_A.weight": np.ones((2, 2), np.float32)}, folder / WEIGHTS)
    config = {"r": 2, "base_model_name_or_path": str(base), "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "rows.json").write_text('{"train": ["1"], "validation": []}')
    manifest = AdapterManifest(
        id="mine",
        task="agnews",
        task_version="1",
        base=str(base),
        base_sha256="0" * 64,
        labels=("World", "Sports"),
        recipe_name=str(tmp_path / "mine.toml"),
        recipe={"base": str(base), "claims": [{"who": "GPT-4", "metric": "accuracy", "value": 0.872}]},
        data={"source": str(tmp_path / "rows"), "rows": 104, "fingerprint": "abc"},
        selection={"rows": 16, "metric": "accuracy"},
        metrics={"validation_accuracy": 0.9375, "training_loss": 0.123},
        adapter_sha256=weights_digest(folder),
    )
    write_manifest(folder, manifest)
    return folder


def push(
    trained: Path, *words: str, url: str, token: str | None = TOKEN, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own: the client reads its settings when it is imported."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    home = trained.parents[1]
    settings = {"BENCH_HOME": str(home), "HF_HOME": str(home / "hf"), "HF_ENDPOINT": url, "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [*BENCH, "adapter", "push", "mine", *words],
        env={**clean, **settings, **({"HF_TOKEN": token} if token else {}), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_private_repository_gets_weights_configuration_manifest_and_card_in_one_commit(
    trained: Path, hub: Hub, tmp_path: Path
) -> None:
    done = push(trained, "team/news", url=hub.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.url}/team/news (private)"
    assert hub.private == {"team/news": True} and len(hub.commits) == 1
    files = hub.files["team/news"]
    assert sorted(files) == ["README.md", "adapter_config.json", WEIGHTS, "manifest.json"]
    assert files[WEIGHTS] == (trained / WEIGHTS).read_bytes()
    written = b"".join(content for name, content in files.items() if name != WEIGHTS).decode()
    assert str(tmp_path) not in written and "secret place" not in written and TOKEN not in written
    manifest = json.loads(files["manifest.json"])
    assert (manifest["base"], manifest["recipe_name"], manifest["data"]["source"]) == ("my-llama", "mine.toml", "rows")
    assert manifest["adapter_sha256"] == hashlib.sha256(files[WEIGHTS]).hexdigest()
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "my-llama"
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: peft\n")
    assert "| validation accuracy | 0.9375 |" in card and "104 rows" in card
    assert "GPT-4: accuracy 0.872" in card and "not measured here" in card


def test_public_is_said_aloud_and_an_existing_public_repository_is_not_filled_by_accident(
    trained: Path, hub: Hub
) -> None:
    assert push(trained, "team/news", "--public", url=hub.url).stdout.endswith("(public)\n")
    assert hub.private == {"team/news": False}
    again = push(trained, "team/news", url=hub.url)
    assert again.returncode == 2 and "team/news exists and is public: use --public" in again.stderr
    assert push(trained, "team/news", "--public", url=hub.url).returncode == 0


def test_who_is_not_known_not_allowed_or_not_connected_gets_a_sentence(trained: Path, hub: Hub) -> None:
    for token in (None, "hf_wrong"):
        unknown = push(trained, "team/news", url=hub.url, token=token)
        assert unknown.returncode == 2 and "run `hf auth login`, or set HF_TOKEN" in unknown.stderr
    hub.refuse = {"/api/repos/create": 403}
    forbidden = push(trained, "team/news", url=hub.url)
    assert forbidden.returncode == 2 and "the Hub refuses team/news (403)" in forbidden.stderr
    hub.refuse = {"/commit/": 500}
    broken = push(trained, "team/news", url=hub.url)
    assert broken.returncode == 2 and "answered 500" in broken.stderr and "nothing was committed" in broken.stderr
    assert not hub.commits
    offline = push(trained, "team/news", url=hub.url, HF_HUB_OFFLINE="1")
    assert offline.returncode == 2 and "unset HF_HUB_OFFLINE" in offline.stderr
    nobody = push(trained, "team/news", url="http://127.0.0.1:9")
    assert nobody.returncode == 2 and "http://127.0.0.1:9 cannot be reached" in nobody.stderr
    assert push(trained, "a/b/c", url=hub.url).returncode == 2


def test_weights_that_are_not_the_trained_ones_stay_here(trained: Path, hub: Hub) -> None:
    with (trained / WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    done = push(trained, "team/news", url=hub.url)
    assert done.returncode == 2 and "is not the file that was trained" in done.stderr
    assert not hub.private
