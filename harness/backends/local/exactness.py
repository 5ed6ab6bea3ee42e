"""Whether batched computation is exact for an architecture; the row-by-row path where it is not."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from harness.backends.local.batching import is_out_of_memory
from harness.backends.local.kv_cache import compute_prefix, new_stores, window
from harness.backends.local.model import LoadedModel, Tail
from harness.errors import BackendStopped
from harness.hashing import digest

Ended = Callable[[], bool]


def logits_after(model: Any, prompt: Sequence[int], tail: Sequence[int]) -> Tensor:
    """Logits behind the prompt and behind each token of `tail`: [1 + len(tail), vocabulary]."""
    ids = torch.tensor([[*prompt, *tail]], device=model.device)
    return model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :]  # type: ignore[no-any-return]


def generate_without_cache(
    model: Any, prompt: Sequence[int], max_tokens: int, pick: Callable[[Tensor], int], ended: Ended
) -> None:
    """Tokens one after another, each computed from the whole text before it.

    `pick` takes a token from logits [1, vocabulary], until `ended`.
    """
    ids = list(prompt)
    while len(ids) < len(prompt) + max_tokens and not ended():
        ids.append(pick(logits_after(model, ids, [])))


def generate_with_cache(
    model: Any, prompt: Sequence[int], max_tokens: int, pick: Callable[[Tensor], int], ended: Ended
) -> None:
    """The same by `model.generate`, which keeps what it has read in a cache of the model's own kind."""
    ids = torch.tensor([list(prompt)], device=model.device)
    # Nothing of the checkpoint's own: penalties and sampling are the request's affair.
    plain = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=max_tokens, do_sample=False, num_beams=1, use_cache=True, pad_token_id=0, eos_token_id=None
    )
    original, model.generation_config = model.generation_config, plain
    try:
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=plain,
            logits_processor=LogitsProcessorList([_ForcedToken(pick)]),
            stopping_criteria=StoppingCriteriaList([_StopCallback(ended)]),
        )
    finally:
        model.generation_config = original


class _ForcedToken(LogitsProcessor):
    """Leaves one token possible: the one that was picked."""

    def __init__(self, pick: Callable[[Tensor], int]) -> None:
        self._pick = pick

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [1, vocabulary], minus infinity but for the picked token."""
        only = torch.full_like(scores, float("-inf"))
        only[0, self._pick(scores)] = 0
        return only


class _StopCallback(StoppingCriteria):
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


def batching_is_exact(loaded: LoadedModel) -> bool:
    """Whether batches, prefixes and label trees give what one row at a time gives; looked at once a process and model.

    Raises BackendStopped for a model that cannot be asked at all: transformers fails on a plain row, or later tokens
    change what is computed for earlier ones.
    """
    key = _key(loaded)
    if key not in _verdicts:
        with torch.inference_mode(), short_window(loaded.model.config.get_text_config()):
            _verdicts[key] = _compare_batching(loaded)
    return _verdicts[key]


def cache_is_exact(loaded: LoadedModel) -> bool:
    """Whether `model.generate` keeps what it has read without changing an answer; looked at once a process and model.

    Where it does not, every token is computed from the whole text before it.
    """
    key = _key(loaded) + "cache"
    if key not in _verdicts:
        with torch.inference_mode(), short_window(loaded.model.config.get_text_config()):
            _verdicts[key] = _compare_generation(loaded)
    return _verdicts[key]


def _compare_generation(loaded: LoadedModel) -> bool:
    rng = random.Random(1)
    tokens = [rng.randrange(loaded.vocabulary // 10, loaded.vocabulary * 9 // 10) for _ in range(PREFIX + max(ROWS))]
    prompt, forced = tokens[:PREFIX], tokens[PREFIX:]
    seen: list[Tensor] = []

    def pick(logits: Tensor) -> int:
        seen.append(logits[0].clone())
        return forced[len(seen) - 1]

    try:
        generate_with_cache(loaded.model, prompt, len(forced), pick, lambda: False)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return False  # a cache that does not know the model's layers
    return len(seen) == len(forced) and equal_up_to_rounding(
        _plain_logits(loaded, prompt, forced[:-1]), torch.stack(seen)
    )


def _key(loaded: LoadedModel) -> str:
    config = loaded.model.config
    facts = [type(loaded.model).__name__, config.to_json_string(), config._attn_implementation, str(loaded.model.dtype)]
    return digest([*facts, loaded.device.type])


def _compare_batching(loaded: LoadedModel) -> bool:
    rng = random.Random(0)
    low, high = loaded.vocabulary // 10, loaded.vocabulary * 9 // 10
    first, second, other, *ids = (rng.randrange(low, high) for _ in range(3 + PREFIX + max(ROWS)))
    shared, rows = ids[:PREFIX], [ids[PREFIX : PREFIX + n] for n in ROWS]
    expected = []
    for row in rows:
        chain = _plain_logits(loaded, [*shared, *row], [first, second])
        branch = _plain_logits(loaded, [*shared, *row], [other])
        if not equal_up_to_rounding(chain[:1], branch[:1]):
            raise BackendStopped(
                f"{type(loaded.model).__name__} lets later tokens change earlier ones, so it is no causal "
                "language model (one with is_decoder = false in its config.json is an encoder): name another base.",
                "model",
            )
        expected.append(torch.cat([chain, branch[1:], chain[1:2]]))
    try:
        actual = _batched_logits(loaded, shared, rows, [first, second, other])
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return False  # an argument it does not take, a cache of another form: one row at a time then
    return equal_up_to_rounding(torch.stack(expected), actual)


def _batched_logits(loaded: LoadedModel, shared: list[int], rows: list[list[int]], tail: list[int]) -> Tensor:
    """Logits [rows, 5, vocabulary]: behind prompts, behind each token of a tree, and of one step of writing."""
    first, second, other = tail
    prefix = compute_prefix(loaded, shared)
    tree = Tail([first, second, other], [0, 1, 0], [[True, False, False], [True, True, False], [False, False, True]])
    packed = loaded.pack(rows, PREFIX, tree)
    cache = window(new_stores(loaded, len(rows), packed.valid.shape[1]), slice(0, len(rows)), 0, prefix.layers)
    read = loaded.logits(packed, cache, 4)
    packed = loaded.pack(rows, PREFIX)
    cache = window(new_stores(loaded, len(rows), packed.valid.shape[1] + 1), slice(0, len(rows)), 0, prefix.layers)
    loaded.logits(packed, cache, 1)
    valid = torch.cat([packed.valid, packed.valid.new_ones(len(rows), 1)], dim=-1)
    step = loaded.step([first] * len(rows), packed.positions[:, -1:] + 1, valid, cache)
    return torch.cat([read, step[:, None]], dim=1)


def _plain_logits(loaded: LoadedModel, prompt: list[int], tail: list[int]) -> Tensor:
    try:
        return logits_after(loaded.model, prompt, tail)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise BackendStopped(
            f"{type(loaded.model).__name__} cannot be asked with transformers: {reason}; serve it, and use an openai "
            "backend.",
            "model",
        ) from error


def equal_up_to_rounding(expected: Tensor, actual: Tensor) -> bool:
    """Whether two sets of logits [.., vocabulary] differ by rounding only."""
    if not expected.isfinite().all():
        return True  # beyond the type's largest number either way, which every answer will say
    spread = expected.float().std(-1).clamp(min=1e-6)
    difference = (expected.float() - actual.float()).abs().amax(-1) / spread
    if expected.dtype in TOLERANCES:
        return bool((difference.max() <= TOLERANCES[expected.dtype]).item())
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
