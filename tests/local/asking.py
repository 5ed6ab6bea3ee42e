"""Asking a local backend in one call, and the plain transformers answers to hold it against."""

import asyncio
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.backend import RunContext, RunRequirements
from harness.backends.local_backend import LocalBackend, LocalSettings
from harness.prompting.chat_rendering import Renderer
from harness.records import Completion, Request
from harness.workspace import Workspace
from tests.support.streams import each


def needs(requests: list[Request], task: str = "agnews") -> RunRequirements:
    """What a run would announce about these requests."""
    first = requests[0]
    return RunRequirements(
        task=task, rows=len(requests), labels=first.labels, schema=first.schema, messages=first.messages
    )


async def ask_in(context: RunContext, requests: list[Request], **settings: Any) -> list[Completion]:
    """Check, stream and close one backend within a run."""
    backend = LocalBackend("local", LocalSettings(**settings), "agnews", context)
    await backend.check(needs(requests))
    answers = [c async for c in backend.stream(each(requests), context.workspace.root)]
    await backend.aclose()
    return answers


def ask(workspace: Workspace, requests: list[Request], **settings: Any) -> dict[str, Completion]:
    """The answers of one backend in a run of its own, by request id."""
    return {c.id: c for c in asyncio.run(ask_in(RunContext(workspace=workspace), requests, **settings))}


class Plain:
    """The reference: plain transformers, one row at a time, no cache of ours, float32."""

    def __init__(self, base: Path | None, model: Any = None, tokenizer: Any = None) -> None:
        self.model = model or AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32).eval()
        self.tokenizer = tokenizer or AutoTokenizer.from_pretrained(base)
        self.renderer = Renderer(self.tokenizer)

    def prompt(self, request: Request) -> list[int]:
        """Token ids of the prompt."""
        return self.renderer.prompts([request], 10**6)[0].ids

    @torch.inference_mode()
    def log_likelihood(self, prompt: list[int], answer: list[int]) -> float:
        """Sum of the answer's token log-probabilities behind the prompt, one unbatched forward pass."""
        logits = self.model(torch.tensor([prompt + answer]), use_cache=False).logits[0].float().log_softmax(-1)
        return sum(float(logits[len(prompt) - 1 + n, token]) for n, token in enumerate(answer))

    @torch.inference_mode()
    def generate(self, prompt: list[int], tokens: int) -> list[int]:
        """Greedy continuation by `model.generate`."""
        out = self.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=tokens,
            do_sample=False,
            eos_token_id=self.renderer.end_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return [int(t) for t in out[0, len(prompt) :]]
