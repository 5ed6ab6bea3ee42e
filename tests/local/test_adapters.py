"""One base, many adapters: loaded once, never mixed up."""

import asyncio
from pathlib import Path

import msgspec
import pytest
import torch
from peft import PeftModel

from harness.adapter_manifest import read_manifest, write_manifest
from harness.backend import RunContext
from harness.backends.local.engine import LocalEngine
from harness.backends.local_backend import LocalBackend, LocalSettings
from harness.errors import UsageError
from harness.records import Completion
from harness.workspace import Workspace
from tests.local.asking import Plain, ask, ask_in, needs
from tests.support.streams import each
from tests.support.tiny_llama import make_adapter, make_base, news_requests


def test_interleaved_streams_answer_as_if_each_ran_alone(base: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for name, seed in (("first", 1), ("second", 2)):
        make_adapter(workspace, base, name, seed=seed)
    make_adapter(workspace, base, "topics", seed=3, head=True)
    requests = news_requests(60)
    handles = [
        {"model": str(base), "adapter": adapter, "decode": decode, "window": 8, "max_batch_tokens": 400}
        for adapter, decode in (("", "choose"), ("first", "choose"), ("second", "generate"), ("topics", "auto"))
    ]

    async def together() -> list[list[Completion]]:
        context = RunContext(workspace=workspace)
        return await asyncio.gather(*(ask_in(context, requests, **settings) for settings in handles))

    mixed = [{c.id: c for c in answers} for answers in asyncio.run(together())]
    alone = [ask(workspace, requests, **settings) for settings in handles]
    for a, b in zip(mixed, alone, strict=True):
        assert {i: c.text for i, c in a.items()} == {i: c.text for i, c in b.items()}
    choices = [[answers[r.id].label_scores for r in requests] for answers in mixed[:2]]
    assert choices[0] != choices[1], "the adapter must matter"


def test_an_adapter_scores_as_peft_itself_does(base: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = make_adapter(workspace, base, "tuned")
    plain = Plain(base)
    plain.model = PeftModel.from_pretrained(plain.model, str(folder)).eval()
    requests = news_requests(6)
    answers = ask(workspace, requests, model=str(base), adapter="tuned", decode="choose")
    for asked in requests:
        prompt = plain.prompt(asked)
        scores = {label: plain.log_likelihood(prompt, plain.renderer.encode_answer(label)) for label in asked.labels}
        assert answers[asked.id].label_scores == pytest.approx(scores, abs=1e-4)


def weights_held(engine: LocalEngine) -> int:
    """Bytes of all different tensors of an engine's model."""
    net = engine._ensure_loaded().loaded
    storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in net.model.parameters()}
    return sum(storages.values())


def test_a_base_and_three_adapters_hold_the_base_weights_once(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    base = make_base(tmp_path / "wide", hidden_size=256, intermediate_size=512, num_hidden_layers=4)
    for n in range(3):
        make_adapter(workspace, base, f"a{n}", seed=n, rank=2, head=n == 2)
    requests = news_requests(4)

    async def together() -> tuple[int, int]:
        context = RunContext(workspace=workspace)
        backends = [
            LocalBackend(name, LocalSettings(model=str(base), adapter=name), "agnews", context)
            for name in ("", "a0", "a1", "a2")
        ]
        held = []
        for backend in backends:
            await backend.check(needs(requests))
            assert len([c async for c in backend.stream(each(requests), tmp_path)]) == 4
            (engine,) = context.shared.values()
            held.append(weights_held(engine))
        for backend in backends:
            await backend.aclose()
        return held[0], held[-1]

    alone, all_four = asyncio.run(together())
    assert all_four <= 1.2 * alone


def test_an_engine_that_was_closed_loads_again_for_the_next_handle(base: Path, tmp_path: Path) -> None:
    context = RunContext(workspace=Workspace(tmp_path))
    requests = news_requests(3)
    first = asyncio.run(ask_in(context, requests, model=str(base)))
    again = asyncio.run(ask_in(context, requests, model=str(base)))
    assert [c.text for c in first] == [c.text for c in again]
    assert len(context.shared) == 1


def test_a_live_model_answers_with_its_active_adapter_as_a_stored_one_does(base: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = make_adapter(workspace, base, "tuned")
    plain = Plain(base)
    live = LocalEngine.from_live(PeftModel.from_pretrained(plain.model, str(folder)), plain.tokenizer)
    requests = news_requests(7)
    stored = ask(workspace, requests, model=str(base), adapter="tuned", decode="choose")
    for answer in live.answer(requests, decode="choose"):
        assert answer.label_scores == pytest.approx(stored[answer.id].label_scores, abs=1e-4)


def test_a_live_models_new_weights_are_seen(base: Path) -> None:
    plain = Plain(base)
    live = LocalEngine.from_live(plain.model, plain.tokenizer)
    requests = news_requests(3)
    before = live.answer(requests, decode="choose")
    with torch.no_grad():
        plain.model.model.layers[0].mlp.up_proj.weight.mul_(-1.0)
    after = live.answer(requests, decode="choose")
    assert [c.label_scores for c in before] != [c.label_scores for c in after]


def test_an_adapter_made_for_another_shape_is_refused_in_a_sentence(base: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    wider = make_base(tmp_path / "wider", hidden_size=64)
    folder = make_adapter(workspace, wider, "wide")
    manifest = msgspec.structs.replace(read_manifest(folder), base=str(base), base_sha256=None)
    write_manifest(folder, manifest)
    with pytest.raises(UsageError, match=r"takes 32 values there, the adapter's 64\. Name its own base"):
        ask(workspace, news_requests(1), model=str(base), adapter="wide")
