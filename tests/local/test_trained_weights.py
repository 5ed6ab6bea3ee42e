"""An adapter runs on weights of the type that it was trained on, unless a person says otherwise: no bitsandbytes
is needed to see which, because nothing is loaded before the first row."""

import asyncio
import json
import sys
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import runner
from harness.adapter_manifest import read_manifest, write_manifest
from harness.backend import RunContext
from harness.backends import local_backend
from harness.backends.local.model_spec import ModelSpec
from harness.backends.local_backend import LocalBackend, LocalSettings
from harness.errors import UsageError
from harness.execution.executor import Observer
from harness.execution.run_plan import plan_resume
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.workspace import Workspace
from tests.local.asking import needs
from tests.support.tiny_llama import make_adapter, news_requests

NF4 = {"quantization": "nf4"}


@pytest.fixture
def bitsandbytes(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were installed; `check` only looks whether it is. PEFT looks closer, and is asked before."""
    make_adapter(Workspace(tmp_path), base, "first")
    monkeypatch.setitem(sys.modules, "bitsandbytes", types.ModuleType("bitsandbytes"))


def asked_on(context: RunContext, **settings: Any) -> str:
    """The quantisation in the identity of a backend that has been checked."""
    backend = LocalBackend("llama-ft", LocalSettings(**settings), "agnews", context)
    asyncio.run(backend.check(needs(news_requests(1))))
    return str(backend.identity().settings["quantization"])


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize(
    ("recipe", "said", "used"),
    [
        (NF4, "auto", "nf4"),
        ({"quantization": "none"}, "auto", "none"),
        ({}, "auto", "none"),
        ({"quantization": ["nf4"]}, "auto", "none"),
        (NF4, "none", "none"),
        ({"quantization": "none"}, "nf4", "nf4"),
    ],
)
def test_auto_is_what_the_adapter_was_trained_on_and_a_person_is_obeyed(
    base: Path, tmp_path: Path, recipe: dict[str, Any], said: str, used: str
) -> None:
    workspace = Workspace(tmp_path)
    remarks: list[str] = []
    make_adapter(workspace, base, "tuned", recipe=recipe)
    context = RunContext(workspace=workspace, remark=remarks.append)
    assert asked_on(context, adapter="tuned", quantization=said) == used
    trained = recipe.get("quantization", used)
    assert len(remarks) == (1 if trained in ("none", "nf4") and trained != used else 0)
    for remark in remarks:
        assert remark.startswith("llama-ft: adapter tuned was trained on ")
        assert f'quantization = "{used}"' in remark


def test_a_base_alone_is_asked_on_whole_weights(base: Path, tmp_path: Path) -> None:
    assert asked_on(RunContext(workspace=Workspace(tmp_path)), model=str(base)) == "none"


def test_without_bitsandbytes_the_refusal_names_both_ways_out(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    workspace = Workspace(tmp_path)
    make_adapter(workspace, base, "tuned", recipe=NF4)
    with pytest.raises(UsageError, match='pip install bitsandbytes, or say quantization = "none"'):
        asked_on(RunContext(workspace=workspace), adapter="tuned")
    assert asked_on(RunContext(workspace=workspace), adapter="tuned", quantization="none") == "none"


@pytest.mark.usefixtures("bitsandbytes")
@pytest.mark.parametrize(("of_base", "engines"), [("auto", 2), ("nf4", 1)])
def test_base_and_adapter_share_an_engine_where_they_stand_on_the_same_weights(
    base: Path, tmp_path: Path, of_base: str, engines: int
) -> None:
    context = RunContext(workspace=Workspace(tmp_path))
    make_adapter(context.workspace, base, "tuned", recipe=NF4)
    asked_on(context, model=str(base), quantization=of_base)
    asked_on(context, adapter="tuned")
    assert len(context.shared) == engines


def test_ray_workers_are_told_the_weights_that_auto_means(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoWorkers:
        def __init__(self, wanted: ModelSpec, *_: object) -> None:
            raise UsageError(f"wanted: {wanted.quantization}")

    monkeypatch.setattr(local_backend, "RayExecutor", NoWorkers)
    make_adapter(Workspace(tmp_path), base, "tuned", recipe=NF4)
    with pytest.raises(UsageError, match="wanted: nf4"):
        asked_on(RunContext(workspace=Workspace(tmp_path)), adapter="tuned", executor="ray")


def test_a_resumed_run_goes_on_with_the_weights_that_have_answered(base: Path, tmp_path: Path) -> None:
    """A run of before "auto": its settings name no quantisation, its identity says what answered."""
    workspace = Workspace(tmp_path)
    remarks: list[str] = []
    folder = make_adapter(workspace, base, "tuned", decode="choose", recipe={"quantization": "none"})
    table = {"kind": "local", "adapter": str(folder), "device": "cpu"}
    options: dict[str, Any] = {"settings": Settings(backends={"tuned": table}), "workspace": workspace}
    runner.run("agnews", ["tuned"], data="embedded", limit=6, probe_rows=2, out=tmp_path / "run", **options)
    written = tmp_path / "run" / "manifest.json"
    assert "quantization" not in json.loads(written.read_text())["backend_settings"]["tuned"]
    (log,) = (tmp_path / "run").rglob("tuned.jsonl")
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-2]))
    write_manifest(folder, msgspec.structs.replace(read_manifest(folder), recipe=NF4))

    finished = runner.resume(tmp_path / "run", observer=Observer(remark=remarks.append), **options)
    assert finished.manifest.backends["tuned"].settings["quantization"] == "none"
    assert len([r for r in remarks if "was trained on 4-bit weights" in r]) == 1


@pytest.mark.usefixtures("bitsandbytes")
def test_answers_on_other_weights_are_never_mixed_into_a_run(base: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = make_adapter(workspace, base, "tuned", decode="choose")
    table = {"kind": "local", "adapter": str(folder), "device": "cpu"}
    options: dict[str, Any] = {"settings": Settings(backends={"tuned": table}), "workspace": workspace}
    log = runner.run("agnews", ["tuned"], data="embedded", limit=2, out=tmp_path / "run", **options)
    plan = plan_resume(log.path)
    before = log.manifest.backends["tuned"]
    now = msgspec.structs.replace(before, settings={**before.settings, "quantization": "nf4"})
    with pytest.raises(UsageError, match="quantization none and now has nf4"):
        plan.open({"tuned": now})
    assert RunLog.open(log.path).manifest.backends["tuned"] == before
