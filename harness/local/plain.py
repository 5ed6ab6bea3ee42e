"""Row by row, as transformers itself computes: no padding, no shared prefix, no mask or cache of ours.

Slow, and right for every causal language model: for architectures that the batched engine does not compute exactly
(recurrent states, positions taken from columns), and for rows beyond `architecture.batched_limit`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

Ended = Callable[[], bool]


def continued(model: Any, prompt: Sequence[int], tail: Sequence[int]) -> Tensor:
    """Logits behind the prompt and behind each token of `tail`: [1 + len(tail), vocabulary]."""
    ids = torch.tensor([[*prompt, *tail]], device=model.device)
    return model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :]  # type: ignore[no-any-return]


def rewrite(model: Any, prompt: Sequence[int], most: int, pick: Callable[[Tensor], int], ended: Ended) -> None:
    """Tokens one after another, each computed from the whole text before it.

    `pick` takes a token from logits [1, vocabulary], until `ended`.
    """
    ids = list(prompt)
    while len(ids) < len(prompt) + most and not ended():
        ids.append(pick(continued(model, ids, [])))


def write(model: Any, prompt: Sequence[int], most: int, pick: Callable[[Tensor], int], ended: Ended) -> None:
    """The same by `model.generate`, which keeps what it has read in a cache of the model's own kind."""
    ids = torch.tensor([list(prompt)], device=model.device)
    # Nothing of the checkpoint's own: penalties and sampling are the request's affair.
    plain = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=most, do_sample=False, num_beams=1, use_cache=True, pad_token_id=0, eos_token_id=None
    )
    own, model.generation_config = model.generation_config, plain
    try:
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=plain,
            logits_processor=LogitsProcessorList([_Picked(pick)]),
            stopping_criteria=StoppingCriteriaList([_Ended(ended)]),
        )
    finally:
        model.generation_config = own


class _Picked(LogitsProcessor):
    """Leaves one token possible: the one that was picked."""

    def __init__(self, pick: Callable[[Tensor], int]) -> None:
        self._pick = pick

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [1, vocabulary], minus infinity but for the picked token."""
        only = torch.full_like(scores, float("-inf"))
        only[0, self._pick(scores)] = 0
        return only


class _Ended(StoppingCriteria):
    """Ends when the answer has ended."""

    def __init__(self, ended: Callable[[], bool]) -> None:
        self._ended = ended

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """One truth value a row."""
        return torch.full((len(input_ids),), self._ended(), device=input_ids.device, dtype=torch.bool)
