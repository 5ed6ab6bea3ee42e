"""An adapter folder from elsewhere: only safetensors, only its own files, nothing allocated on its word."""

import asyncio
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from harness.backend import RunContext
from harness.backends.local_backend import LocalBackend, LocalSettings
from harness.errors import BenchError
from harness.peft_folder import WEIGHTS
from harness.records import Completion
from harness.workspace import Workspace
from tests.local.asking import ask, ask_in, each, needs
from tests.support.tiny_llama import LABELS, make_adapter, make_base, news_requests


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base") / "base")


def refused(workspace: Workspace, base: Path, folder: Path) -> str:
    """The sentence with which an answer from this adapter is refused."""
    with pytest.raises(BenchError) as told:
        ask(workspace, news_requests(2), model=str(base), adapter=str(folder), decode="choose")
    assert "\n" not in str(told.value)
    return str(told.value)


def change(path: Path, fields: dict[str, object]) -> None:
    """Other values for some fields of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def header(tensors: dict[str, object]) -> bytes:
    """A safetensors file that is all header."""
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


def test_pickled_weights_are_never_opened(tmp_path: Path, base: Path) -> None:
    workspace, trap = Workspace(tmp_path), tmp_path / "trap"
    folder = make_adapter(workspace, base, "a")
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(trap)))
    assert "adapter_model.safetensors" in refused(workspace, base, folder)
    assert not trap.exists()


def test_a_pickle_under_the_name_of_safetensors_is_refused(tmp_path: Path, base: Path) -> None:
    workspace, trap = Workspace(tmp_path), tmp_path / "trap"
    folder = make_adapter(workspace, base, "a")
    (folder / "adapter_model.safetensors").write_bytes(pickle.dumps(Bomb(trap)))
    refused(workspace, base, folder)
    assert not trap.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (1 << 62).to_bytes(8, "little") + b"{}",
        header({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        header({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [5, -7]}}),
        header({"x": {"dtype": "F32", "shape": [4], "data_offsets": "all"}}),
        header({"x": []}),
        b"\x02\x00\x00\x00\x00\x00\x00\x00\xff\xfe",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        header({"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}) + b"\0" * 8,
        header({"x": {"dtype": "F7", "shape": [2], "data_offsets": [0, 8]}}) + b"\0" * 8,
    ],
    ids=[
        "empty",
        "no size",
        "a huge header",
        "huge tensors",
        "negative",
        "no offsets",
        "no table",
        "no utf-8",
        "deep",
        "another size",
        "an unknown type",
    ],
)
def test_weights_that_claim_what_they_are_not(tmp_path: Path, base: Path, content: bytes) -> None:
    workspace = Workspace(tmp_path)
    folder = make_adapter(workspace, base, "a")
    (folder / "adapter_model.safetensors").write_bytes(content)
    change(folder / "manifest.json", {"adapter_sha256": None})  # else they are refused for being others
    refused(workspace, base, folder)


@pytest.mark.parametrize("known", [True, False], ids=["a known architecture", "an architecture of its own"])
def test_code_that_comes_with_a_base_is_never_run(tmp_path: Path, known: bool) -> None:
    trap, base = tmp_path / "trap", make_base(tmp_path / "base")
    (base / "modeling_trap.py").write_text(f"import os\nos.mkdir({str(trap)!r})\n")
    config = json.loads((base / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "modeling_trap.Config", "AutoModelForCausalLM": "modeling_trap.Model"}
    config["model_type"] = config["model_type"] if known else "trap"
    (base / "config.json").write_text(json.dumps(config))
    if known:
        assert len(ask(Workspace(tmp_path), news_requests(2), model=str(base), decode="choose")) == 2
    else:
        with pytest.raises(BenchError, match=r"cannot be loaded|cannot read its config"):
            ask(Workspace(tmp_path), news_requests(2), model=str(base), decode="choose")
    assert not trap.exists()


@pytest.mark.parametrize("name", ["../../etc", "/etc", "..", "a/../../b"])
def test_a_name_leads_to_no_other_folder(tmp_path: Path, base: Path, name: str) -> None:
    assert "adapter" in refused(Workspace(tmp_path), base, Path(name))


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"schema": 1}', '{"schema": 99}', '{"schema": "2"}', "[" * 100_000, "\0"]
)
def test_a_broken_manifest_is_a_sentence(tmp_path: Path, base: Path, content: str) -> None:
    workspace = Workspace(tmp_path)
    folder = make_adapter(workspace, base, "a")
    for path in folder.glob("*manifest*.json"):
        path.write_text(content)
    refused(workspace, base, folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"peft_type": "NO_SUCH"},
        {"r": 1 << 40},
        {"r": -1},
        {"auto_mapping": {"x": "y"}},
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit_is_a_sentence(tmp_path: Path, base: Path, fields: dict[str, object]) -> None:
    workspace = Workspace(tmp_path)
    folder = make_adapter(workspace, base, "a")
    change(folder / "adapter_config.json", fields)
    if "auto_mapping" in fields:  # names a class to import; never looked at
        answers = ask(workspace, news_requests(2), model=str(base), adapter=str(folder), decode="choose")
        assert len(answers) == 2
        return
    refused(workspace, base, folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"init_lora_weights": "olora"},
        {"init_lora_weights": "pissa"},
        {"layer_replication": [[0, 1], [0, 2]]},
        {"kasa_config": {}},
        {"alora_invocation_tokens": [1]},
        {"target_parameters": ["mlp.up_proj.weight"]},
        {"trainable_token_indices": [1]},
    ],
    ids=str,
)
def test_an_adapter_never_changes_the_base_that_others_share(
    tmp_path: Path, base: Path, fields: dict[str, object]
) -> None:
    workspace, requests = Workspace(tmp_path), news_requests(3)
    change(make_adapter(workspace, base, "foreign") / "adapter_config.json", fields)
    alone = ask(workspace, requests, model=str(base), decode="choose")

    async def beside_it() -> list[Completion]:
        context = RunContext(workspace=workspace)
        plain = LocalBackend("plain", LocalSettings(model=str(base), decode="choose"), "agnews", context)
        await plain.check(needs(requests))
        with pytest.raises(BenchError, match=f"sets {next(iter(fields))} = .* merge it"):
            await ask_in(context, requests, model=str(base), adapter="foreign", decode="choose")
        answers = [c async for c in plain.stream(each(requests), tmp_path)]
        await plain.aclose()
        return answers

    assert {c.id: c.label_scores for c in asyncio.run(beside_it())} == {i: c.label_scores for i, c in alone.items()}


@pytest.mark.parametrize("fields", [{"target_modules": ["no_such"]}, {"bias": "all"}], ids=str)
def test_what_the_weights_decide_is_not_taken_from_the_configuration(
    tmp_path: Path, base: Path, fields: dict[str, object]
) -> None:
    workspace, requests = Workspace(tmp_path), news_requests(3)
    folder = make_adapter(workspace, base, "a")
    plain = ask(workspace, requests, model=str(base), adapter=str(folder), decode="choose")
    change(folder / "adapter_config.json", fields)
    changed = ask(workspace, requests, model=str(base), adapter=str(folder), decode="choose")
    assert {i: c.label_scores for i, c in changed.items()} == {i: c.label_scores for i, c in plain.items()}


def test_weights_of_a_trained_bias_are_refused(tmp_path: Path, base: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = make_adapter(workspace, base, "a")
    weights = load_file(folder / WEIGHTS)
    name = next(key for key in weights if key.endswith("q_proj.lora_B.weight"))
    weights[name.replace("lora_B.weight", "bias")] = weights[name][:, 0].contiguous()
    save_file(weights, folder / WEIGHTS)
    change(folder / "adapter_config.json", {"bias": "all"})
    refused(workspace, base, folder)


@pytest.mark.parametrize("labels", [("World", "Sports"), (*LABELS, "World")], ids=["fewer", "twice"])
def test_a_head_that_does_not_score_the_labels_of_its_manifest_is_refused(
    tmp_path: Path, base: Path, labels: tuple[str, ...]
) -> None:
    workspace = Workspace(tmp_path)
    folder = make_adapter(workspace, base, "a", head=True)
    change(folder / "manifest.json", {"labels": labels})
    asked = news_requests(2, labels=labels[:2])
    with pytest.raises(BenchError, match=r"classification head of \(2, 32\)|knows the labels"):
        ask(workspace, asked if len(labels) == 2 else news_requests(2), model=str(base), adapter="a")


def test_a_head_that_is_missing_is_told(tmp_path: Path, base: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = make_adapter(workspace, base, "a")
    change(folder / "manifest.json", {"objective": "head", "decode": "head"})
    with pytest.raises(BenchError, match="it holds none"):
        ask(workspace, news_requests(2), model=str(base), adapter="a")
