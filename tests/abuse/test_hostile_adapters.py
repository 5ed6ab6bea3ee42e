"""An adapter folder from elsewhere: only safetensors, only its own files, nothing allocated on its word."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import BenchError
from harness.workspace import Workspace
from tests.local.asking import ask
from tests.support.tiny_llama import make_adapter, make_base, news_requests


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
    ],
    ids=["empty", "no size", "a huge header", "huge tensors", "negative", "no offsets", "no table", "no utf-8", "deep"],
)
def test_weights_that_claim_what_they_are_not(tmp_path: Path, base: Path, content: bytes) -> None:
    workspace = Workspace(tmp_path)
    folder = make_adapter(workspace, base, "a")
    (folder / "adapter_model.safetensors").write_bytes(content)
    refused(workspace, base, folder)


@pytest.mark.parametrize("name", ["../../etc", "/etc", "..", "a/../../b"])
def test_a_name_leads_to_no_other_folder(tmp_path: Path, base: Path, name: str) -> None:
    assert "adapter" in refused(Workspace(tmp_path), base, Path(name))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema": 1}', '{"schema": 99}', "[" * 100_000, "\0"])
def test_a_broken_manifest_is_a_sentence(tmp_path: Path, base: Path, content: str) -> None:
    workspace = Workspace(tmp_path)
    folder = make_adapter(workspace, base, "a")
    for path in folder.glob("*manifest*.json"):
        path.write_text(content)
    refused(workspace, base, folder)


@pytest.mark.parametrize(
    "change",
    [
        {"peft_type": "NO_SUCH"},
        {"r": 1 << 40},
        {"r": -1},
        {"target_modules": ["no_such"]},
        {"auto_mapping": {"x": "y"}},
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit_is_a_sentence(tmp_path: Path, base: Path, change: dict[str, object]) -> None:
    workspace = Workspace(tmp_path)
    folder = make_adapter(workspace, base, "a")
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    if "auto_mapping" in change:  # names a class to import; never looked at
        answers = ask(workspace, news_requests(2), model=str(base), adapter=str(folder), decode="choose")
        assert len(answers) == 2
        return
    refused(workspace, base, folder)
