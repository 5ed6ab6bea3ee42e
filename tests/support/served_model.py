"""An OpenAI-compatible server over transformers' own `generate`, with the faults that real deployments have.

Nothing of Bench's engine answers here, so that equal answers are a result.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.support.json_server import json_server

Change = Callable[[Any], None]


@dataclass
class Deployment:
    """How a model is served.

    base, adapter: folders (no adapter: the base alone). template: another chat template; keep_system: whether system
    messages reach it. end: whether the end token ends an answer. temperature: in place of the request's. context:
    prompts are cut to their last tokens so many. change: what is done to the model once it is loaded. models: entries
    of /v1/models. base_id: the model id that is answered by the base alone. usage: whether tokens are reported.
    """

    base: Path
    adapter: Path | None = None
    template: str | None = None
    keep_system: bool = True
    end: bool = True
    temperature: float | None = None
    context: int | None = None
    change: Change | None = None
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "tuned"}])
    base_id: str | None = None
    usage: bool = True


class ServedModel:
    """The model of a deployment, loaded."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.tokenizer: Any = AutoTokenizer.from_pretrained(deployment.base)
        if deployment.template is not None:
            self.tokenizer.chat_template = deployment.template
        self.model: Any = AutoModelForCausalLM.from_pretrained(deployment.base, dtype=torch.float32)
        if deployment.adapter is not None:
            self.model = PeftModel.from_pretrained(self.model, str(deployment.adapter))
        self.model.eval()
        if deployment.change is not None:
            with torch.no_grad():
                deployment.change(self.model)
        self._lock = threading.Lock()

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """One chat completion."""
        with self._lock, torch.inference_mode():
            if self.deployment.base_id == body["model"] and self.deployment.adapter is not None:
                with self.model.disable_adapter():
                    return self._answer(body)
            return self._answer(body)

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        d = self.deployment
        messages = [m for m in body["messages"] if d.keep_system or m["role"] != "system"]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompt = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        prompt = prompt if d.context is None else prompt[-d.context :]
        torch.manual_seed(body["seed"])
        temperature = body["temperature"] if d.temperature is None else d.temperature
        ends = [self.tokenizer.eos_token_id, *self.tokenizer.convert_tokens_to_ids(["<|turn|>"])]
        out = self.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=body["max_tokens"],
            do_sample=temperature > 0,
            **({"temperature": temperature} if temperature > 0 else {}),
            eos_token_id=ends if d.end else -1,
            pad_token_id=self.tokenizer.pad_token_id,
            output_logits=True,
            return_dict_in_generate=True,
        )
        tokens = [int(t) for t in out.sequences[0, len(prompt) :]]
        stopped = d.end and bool(tokens) and tokens[-1] in ends
        content = self.tokenizer.decode(tokens, skip_special_tokens=True)
        logprobs = {
            "content": [
                {"token": self.tokenizer.decode([token]), "logprob": float(row[0].log_softmax(-1)[token])}
                for token, row in zip(tokens, out.logits, strict=True)
            ]
        }
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(tokens)}
        return {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content},
                    "finish_reason": "stop" if stopped else "length",
                    **({"logprobs": logprobs} if body.get("logprobs") else {}),
                }
            ],
            **({"usage": {**usage, "total_tokens": sum(usage.values())}} if d.usage else {}),
        }


@contextmanager
def serve(deployment: Deployment) -> Iterator[str]:
    """The base URL of a running deployment; it ends with the block."""
    served = ServedModel(deployment)

    with json_server(deployment.models, lambda _path, body: (200, served.answer(body))) as url:
        yield url
