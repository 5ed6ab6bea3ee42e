"""One base, many adapters: loaded once, never mixed up."""

import asyncio
from pathlib import Path

import pytest
from peft import PeftModel

from harness.backend import RunContext
from harness.records import Completion
from harness.workspace import Workspace
from tests.local.asking import Plain, ask, ask_in
from tests.support.tiny_llama import make_adapter, news_requests


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
