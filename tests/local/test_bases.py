"""Bases: loaded one after another, and refused where a folder is not the model that it seems to be."""

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import transformers

from harness.backend import RunContext
from harness.backends.local.base_files import find_base
from harness.errors import UsageError
from harness.workspace import Workspace
from tests.local.asking import ask_in
from tests.support.tiny_llama import make_adapter, make_base, news_requests

PEFT = {"peft_type": "LORA", "base_model_name_or_path": "owner/some-base", "r": 4, "task_type": "CAUSAL_LM"}


def test_backends_on_different_bases_load_them_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bases = [make_base(tmp_path / f"base-{n}", hidden_size=32 * n, seed=n) for n in (1, 2, 3)]
    honest, inside, most = transformers.AutoModelForCausalLM.from_pretrained, threading.Semaphore(3), []

    def watched(*args: Any, **options: Any) -> Any:
        with inside:
            most.append(3 - inside._value)
            time.sleep(0.05)  # time for another to come in
            return honest(*args, **options)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", watched)

    async def all_at_once() -> list[Any]:
        context = RunContext(workspace=Workspace(tmp_path))
        return await asyncio.gather(
            *(ask_in(context, news_requests(3), model=str(base), decode="choose") for base in bases)
        )

    assert [len(answers) for answers in asyncio.run(all_at_once())] == [3, 3, 3]
    assert most == [1, 1, 1]


def test_a_merged_folder_with_a_left_over_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    merged = make_base(tmp_path / "merged")
    (merged / "adapter_config.json").write_text(json.dumps(PEFT))
    with pytest.raises(UsageError, match=r"holds a whole model and a PEFT adapter .* move the files"):
        find_base(str(merged))


def test_an_adapter_named_as_base_is_told_from_a_model(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(Workspace(tmp_path), base, "topics")
    with pytest.raises(UsageError, match=r"is an adapter, not a model: name its base here, and say adapter = "):
        find_base(str(folder))


def test_a_foreign_peft_adapter_is_no_base_either(tmp_path: Path) -> None:
    folder = tmp_path / "peft"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(PEFT))
    with pytest.raises(UsageError, match=r"is an adapter, not a model: name its base here, and say adapter = "):
        find_base(str(folder))


def test_a_missing_shard_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = make_base(tmp_path / "base")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match=r"lacks model-00002-of-00002.safetensors"):
        find_base(str(folder))
