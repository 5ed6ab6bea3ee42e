"""`check` refuses what cannot work, in a sentence, before anything is paid for and without loading weights."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.adapter_manifest import read_manifest, write_manifest
from harness.backend import RunContext
from harness.backends.local_backend import LocalBackend, LocalSettings
from harness.errors import UsageError
from harness.peft_folder import WEIGHTS
from harness.settings import decode_table
from harness.workspace import Workspace
from tests.local.asking import needs
from tests.support.tiny_llama import make_adapter, make_base, news_requests


def check(workspace: Path, **settings: Any) -> LocalBackend:
    """A backend that has been checked for topic rows."""
    backend = LocalBackend("llama-ft", LocalSettings(**settings), "agnews", RunContext(workspace=Workspace(workspace)))
    asyncio.run(backend.check(needs(news_requests(1))))
    return backend


def refusal(workspace: Path, **settings: Any) -> str:
    """The sentence of a refusal."""
    with pytest.raises(UsageError) as caught:
        check(workspace, **settings)
    return str(caught.value)


def test_no_adapter_yet_names_the_command_that_trains_one(base: Path, tmp_path: Path) -> None:
    said = refusal(tmp_path, model=str(base), adapter="auto")
    assert f"bench train --task agnews --base {base}" in said


def test_the_adapter_marked_current_is_found_with_its_decode_mode(base: Path, tmp_path: Path) -> None:
    make_adapter(Workspace(tmp_path), base, "good", decode="choose", current=True)
    identity = check(tmp_path, model=str(base), adapter="auto").identity()
    assert (identity.adapter, identity.decode) == ("good", "choose")


def test_an_adapter_alone_brings_its_base(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(Workspace(tmp_path), base, "good")
    identity = check(tmp_path, adapter=str(folder)).identity()
    assert identity.model == str(base)
    assert identity.adapter_sha256 == read_manifest(folder).adapter_sha256
    assert identity.base_sha256 == read_manifest(folder).base_sha256
    assert identity.settings["dtype"] == "float32"
    assert {"device", "attention", "quantization", "threads", "normalisation", "torch"} <= set(identity.settings)


def test_an_adapter_on_other_weights_is_refused(base: Path, tmp_path: Path) -> None:
    make_adapter(Workspace(tmp_path), base, "good")
    other = make_base(tmp_path / "other", seed=99)
    assert "was trained on other weights" in refusal(tmp_path, model=str(other), adapter="good")


def test_the_same_base_may_have_moved(base: Path, tmp_path: Path) -> None:
    make_adapter(Workspace(tmp_path), base, "good")
    moved = make_base(tmp_path / "moved")
    assert check(tmp_path, model=str(moved), adapter="good").identity().adapter == "good"


def test_an_adapter_of_a_hub_model_is_refused_on_another(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(Workspace(tmp_path), base, "good")
    manifest = msgspec.structs.replace(read_manifest(folder), base="some/model", base_sha256=None)
    write_manifest(folder, manifest)
    said = refusal(tmp_path, model=str(base), adapter="good")
    assert "was trained on some/model" in said
    assert "--base some/model" in said


def test_adapter_weights_that_were_exchanged_are_refused(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(Workspace(tmp_path), base, "good")
    stranger = make_adapter(Workspace(tmp_path), base, "stranger", seed=5)
    (folder / WEIGHTS).write_bytes((stranger / WEIGHTS).read_bytes())
    assert "not those its manifest names" in refusal(tmp_path, model=str(base), adapter="good")


def test_an_unknown_adapter_is_answered_with_the_nearest(base: Path, tmp_path: Path) -> None:
    make_adapter(Workspace(tmp_path), base, "agnews-good")
    assert "did you mean 'agnews-good'?" in refusal(tmp_path, model=str(base), adapter="agnews-god")


def test_a_model_that_cannot_be_fetched_says_what_to_do(tmp_path: Path) -> None:
    said = refusal(tmp_path, model="meta-llama/Llama-3.2-1B-Instruct")
    assert "cannot be fetched" in said
    assert "--base PATH" in said


def test_a_folder_that_does_not_exist_is_no_hub_id(tmp_path: Path) -> None:
    assert "there is no such folder" in refusal(tmp_path, model="./models/none")


def test_pickled_weights_are_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_bytes((base / "config.json").read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    said = refusal(tmp_path, model=str(folder))
    assert "pytorch_model.bin" in said
    assert "safetensors only" in said


def test_cut_off_weights_are_refused(tmp_path: Path) -> None:
    folder = make_base(tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "cut off" in refusal(tmp_path, model=str(folder))
    weights.write_bytes(b"not weights at all")
    assert "not a safetensors file" in refusal(tmp_path, model=str(folder))


def test_choose_needs_labels(base: Path, tmp_path: Path) -> None:
    backend = LocalBackend(
        "x", LocalSettings(model=str(base), decode="choose"), "open", RunContext(workspace=Workspace(tmp_path))
    )
    with pytest.raises(UsageError, match="needs labels"):
        asyncio.run(backend.check(needs(news_requests(1, labels=()))))


def test_neither_model_nor_adapter(tmp_path: Path) -> None:
    assert "neither a model nor an adapter" in refusal(tmp_path)


def test_a_device_that_is_not_here(base: Path, tmp_path: Path) -> None:
    assert "device 'tpu' is not available here" in refusal(tmp_path, model=str(base), device="tpu")


@pytest.mark.parametrize("device", ["cuda:2", "cuda:-1", "cuda:x", "cuda:"])
def test_a_card_that_is_not_here(base: Path, tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert f"device '{device}' is not available: cuda has 2" in refusal(tmp_path, model=str(base), device=device)


def test_four_bit_weights_without_bitsandbytes(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    assert "pip install bitsandbytes" in refusal(tmp_path, model=str(base), quantization="nf4")


def test_without_the_extra_the_sentence_says_how_to_install_it(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "harness.backends.local.weight_loading", None)
    assert "'peft>=" in refusal(tmp_path, model=str(base))


def test_an_unknown_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'normalisation'"):
        decode_table({"kind": "local", "normalization": "mean"}, LocalSettings, "[backends.x]")


def test_the_same_weights_under_another_configuration_have_another_identity(base: Path, tmp_path: Path) -> None:
    changed = make_base(tmp_path / "changed")
    first = check(tmp_path, model=str(changed)).identity()
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    second = check(tmp_path, model=str(changed)).identity()
    assert second.base_sha256 == first.base_sha256
    assert second.settings["config_sha256"] != first.settings["config_sha256"]
