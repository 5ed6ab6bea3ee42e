"""Whether batched computation is exact for an architecture; the row-by-row path where it is not."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from harness.backends.local.batching import is_out_of_memory
from harness.backends.local.kv_cache import compute, new_stores, window
from harness.backends.local.model import LoadedModel, Tail
from harness.errors import BackendStopped
from harness.hashing import digest

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


PREFIX, ROWS, WINDOW = 4, (3, 5), 4
"""Tokens of the shared beginning, of the rows behind it, and of a sliding window while they are compared."""

TOLERANCES = {torch.float32: 1e-4}
"""Largest difference, relative to the spread of the logits, that rounding explains."""

ROUNDED = 0.1
"""The same for 16-bit types, of the median: a router near a tie may send single tokens elsewhere."""

_verdicts: dict[str, bool] = {}


def computes_exactly(net: LoadedModel) -> bool:
    """Whether batches, prefixes and label trees give what one row at a time gives; looked at once a process and model.

    Raises BackendStopped for a model that cannot be asked at all: transformers fails on a plain row, or later tokens
    change what is computed for earlier ones.
    """
    key = _key(net)
    if key not in _verdicts:
        with torch.inference_mode(), short_window(net.model.config.get_text_config()):
            _verdicts[key] = _compare(net)
    return _verdicts[key]


def caches_exactly(net: LoadedModel) -> bool:
    """Whether `model.generate` keeps what it has read without changing an answer; looked at once a process and model.

    Where it does not, every token is computed from the whole text before it.
    """
    key = _key(net) + "cache"
    if key not in _verdicts:
        with torch.inference_mode(), short_window(net.model.config.get_text_config()):
            _verdicts[key] = _compare_writing(net)
    return _verdicts[key]


def _compare_writing(net: LoadedModel) -> bool:
    rng = random.Random(1)
    tokens = [rng.randrange(net.vocabulary // 10, net.vocabulary * 9 // 10) for _ in range(PREFIX + max(ROWS))]
    prompt, forced = tokens[:PREFIX], tokens[PREFIX:]
    seen: list[Tensor] = []

    def pick(logits: Tensor) -> int:
        seen.append(logits[0].clone())
        return forced[len(seen) - 1]

    try:
        write(net.model, prompt, len(forced), pick, lambda: False)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return False  # a cache that does not know the model's layers
    return len(seen) == len(forced) and alike(_plainly(net, prompt, forced[:-1]), torch.stack(seen))


def _key(net: LoadedModel) -> str:
    config = net.model.config
    facts = [type(net.model).__name__, config.to_json_string(), config._attn_implementation, str(net.model.dtype)]
    return digest([*facts, net.device.type])


def _compare(net: LoadedModel) -> bool:
    rng = random.Random(0)
    low, high = net.vocabulary // 10, net.vocabulary * 9 // 10
    first, second, other, *ids = (rng.randrange(low, high) for _ in range(3 + PREFIX + max(ROWS)))
    shared, rows = ids[:PREFIX], [ids[PREFIX : PREFIX + n] for n in ROWS]
    wanted = []
    for row in rows:
        chain = _plainly(net, [*shared, *row], [first, second])
        branch = _plainly(net, [*shared, *row], [other])
        if not alike(chain[:1], branch[:1]):
            raise BackendStopped(
                f"{type(net.model).__name__} lets later tokens change earlier ones, so it is no causal language model "
                "(a model with is_decoder = false in its config.json is an encoder): name another base.",
                "model",
            )
        wanted.append(torch.cat([chain, branch[1:], chain[1:2]]))
    try:
        found = _batched(net, shared, rows, [first, second, other])
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return False  # an argument it does not take, a cache of another form: one row at a time then
    return alike(torch.stack(wanted), found)


def _batched(net: LoadedModel, shared: list[int], rows: list[list[int]], tail: list[int]) -> Tensor:
    """Logits [rows, 5, vocabulary]: behind prompts, behind each token of a tree, and of one step of writing."""
    first, second, other = tail
    prefix = compute(net, shared)
    tree = Tail([first, second, other], [0, 1, 0], [[True, False, False], [True, True, False], [False, False, True]])
    packed = net.pack(rows, PREFIX, tree)
    cache = window(new_stores(net, len(rows), packed.valid.shape[1]), slice(0, len(rows)), 0, prefix.layers)
    read = net.logits(packed, cache, 4)
    packed = net.pack(rows, PREFIX)
    cache = window(new_stores(net, len(rows), packed.valid.shape[1] + 1), slice(0, len(rows)), 0, prefix.layers)
    net.logits(packed, cache, 1)
    valid = torch.cat([packed.valid, packed.valid.new_ones(len(rows), 1)], dim=-1)
    step = net.step([first] * len(rows), packed.positions[:, -1:] + 1, valid, cache)
    return torch.cat([read, step[:, None]], dim=1)


def _plainly(net: LoadedModel, prompt: list[int], tail: list[int]) -> Tensor:
    try:
        return continued(net.model, prompt, tail)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise BackendStopped(
            f"{type(net.model).__name__} cannot be asked with transformers: {why}; serve it, and use an openai "
            "backend.",
            "model",
        ) from error


def alike(wanted: Tensor, found: Tensor) -> bool:
    """Whether two sets of logits [.., vocabulary] differ by rounding only."""
    if not wanted.isfinite().all():
        return True  # beyond the type's largest number either way, which every answer will say
    spread = wanted.float().std(-1).clamp(min=1e-6)
    difference = (wanted.float() - found.float()).abs().amax(-1) / spread
    if wanted.dtype in TOLERANCES:
        return bool((difference.max() <= TOLERANCES[wanted.dtype]).item())
    return bool((difference.median() <= ROUNDED).item())


@contextmanager
def short_window(config: Any) -> Iterator[None]:
    """A sliding window that even the short rows reach beyond."""
    whole = getattr(config, "sliding_window", None)
    if not isinstance(whole, int):
        yield
        return
    config.sliding_window = min(whole, WINDOW)
    try:
        yield
    finally:
        config.sliding_window = whole
