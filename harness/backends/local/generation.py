"""`decode = generate` and `json`: text token by token for a batch; constrained decoding by a grammar."""

import random
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from harness.backends.local.batching import (
    CPU_TOKENS,
    PromptItem,
    has_non_finite,
    non_finite_completion,
    prefill_chunks,
)
from harness.backends.local.exactness import cache_is_exact, generate_with_cache, generate_without_cache
from harness.backends.local.json_grammar import grammar_of
from harness.backends.local.kv_cache import NO_LAYERS, Prefix, new_stores, window
from harness.backends.local.model import LoadedModel
from harness.hashing import digest
from harness.prompting.chat_rendering import Renderer
from harness.records import Completion, Finish, Request, Timing, TokenLogprobs, Usage
from harness.scoring.reasoning import BLOCKS, separate_reasoning


class Constraints:
    """Grammars on one tokenizer; each is compiled once and copied for every row."""

    def __init__(self, renderer: Renderer, vocabulary: int, ends: frozenset[int]) -> None:
        from llguidance import LLExecutor
        from llguidance.hf import from_tokenizer

        self._tokenizer = from_tokenizer(renderer.tokenizer, n_vocab=vocabulary, eos_token=sorted(ends))
        self._executor = LLExecutor(num_threads=torch.get_num_threads())
        self._compiled: dict[str, Any] = {}

    def matcher(self, request: Request) -> Any:
        """A matcher at the beginning of an answer."""
        from llguidance import LLMatcher

        grammar = grammar_of(request.labels, request.schema)
        if grammar not in self._compiled:
            self._compiled[grammar] = LLMatcher(self._tokenizer, grammar)
        return self._compiled[grammar].deep_copy()

    def forbid(self, matchers: Sequence[Any], logits: Tensor) -> Tensor:
        """Logits [rows, vocabulary] with minus infinity wherever a row's grammar does not allow the token."""
        rows, vocabulary = logits.shape
        bits = torch.zeros((rows, (vocabulary + 31) // 32), dtype=torch.int32)
        pairs = [(matcher, row) for row, matcher in enumerate(matchers)]
        self._executor.unsafe_compute_mask_ptr(pairs, bits.data_ptr(), bits.shape[1] * 4, rows)
        allowed = (bits.to(logits.device)[:, :, None] >> torch.arange(32, device=logits.device)) & 1
        return logits.masked_fill(allowed.view(rows, -1)[:, :vocabulary] == 0, float("-inf"))


STOP_MARGIN_TOKENS = 4
"""Tokens decoded besides those a stop string can cover: tokenizers join neighbours."""


class GeneratingRow:
    """One row while it is being written, with at most `most` tokens; `matcher` keeps it inside a grammar.

    lost: its logits became no numbers.
    """

    def __init__(
        self, item: PromptItem, loaded: LoadedModel, ends: frozenset[int], max_tokens: int, matcher: Any = None
    ) -> None:
        self.item = item
        self.request = item.request
        self.max_tokens = max_tokens
        self.matcher = matcher
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.overflowed = False
        self.finish: Finish | None = None
        self._renderer = loaded.renderer
        self._decode = loaded.renderer.decode
        self._ends = ends
        # A stop string of n bytes spans at most n tokens: each token holds a byte or more.
        self._tail = max((len(stop.encode()) for stop in self.request.stop), default=0) + STOP_MARGIN_TOKENS
        seed = digest([self.request.seed, self.request.repeat, self.request.id])[:16]
        self._random = random.Random(int(seed, 16))

    def sample_token(self, logits: Tensor) -> int:
        """The next token at the request's temperature; each row has its own seeded randomness."""
        probabilities = (logits.float() / self.request.temperature).softmax(-1).cumsum(-1)
        point = torch.tensor(self._random.random(), device=logits.device) * probabilities[-1]
        token = int(torch.searchsorted(probabilities, point, right=True))
        return token if token < len(probabilities) else int(logits.argmax())  # rounding at the very end

    def append_token(self, token: int, logprob: float) -> None:
        """Add a token with its log-probability, and see whether the answer ends with it."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if (
            self.overflowed
            or token in self._ends
            or (self.request.stop and self._stopped())
            or self._grammar_is_complete(token)
        ):
            self.finish = "stop"
        elif len(self.tokens) >= self.max_tokens:  # a value that may end here is whole
            self.finish = "stop" if self.matcher is not None and self.matcher.is_accepting() else "length"

    def _grammar_is_complete(self, token: int) -> bool:
        """Whether the grammar allows nothing further."""
        if self.matcher is None:
            return False
        self.matcher.consume_token(token)
        return bool(self.matcher.is_stopped())

    def _stopped(self) -> bool:
        tail = self._decode(self.tokens[-self._tail :])
        return any(stop in tail for stop in self.request.stop) and self._cut_at_stop(self._decode(self.tokens))[1]

    def _cut_at_stop(self, text: str) -> tuple[str, bool]:
        places = [text.find(stop) for stop in self.request.stop]
        found = [place for place in places if place >= 0]
        return (text[: min(found)], True) if found else (text, False)

    def _split_reasoning(self) -> tuple[str, str]:
        """Answer and thoughts; marks of thoughts may be special tokens, so these are skipped only afterwards."""
        text, _ = self._cut_at_stop(self._decode(self.tokens))
        if self.matcher is not None:  # its grammar does not allow reasoning
            return text, ""
        opened = any(self.item.prompt.text.rstrip().endswith(begin) for begin, _ in BLOCKS)
        whole, _ = self._cut_at_stop(self._renderer.decode(self.tokens, special=True))
        found = separate_reasoning(whole, opened=opened, prompt=[m.content for m in self.request.messages])
        if not found.reasoning and found.closed:
            return text, ""
        return self._renderer.without_special(found.answer), self._renderer.without_special(found.reasoning)

    def completion(self, cached: int, first_token_s: float) -> Completion:
        """The answer: text up to the stop string or end token, special tokens skipped."""
        if self.overflowed:
            return non_finite_completion(self.request)
        text, reasoning = self._split_reasoning()
        thoughts = min(len(self.tokens), self._renderer.count(reasoning))
        return Completion(
            id=self.request.id,
            repeat=self.request.repeat,
            text=text,
            reasoning=reasoning,
            finish=self.finish,
            prompt_hash=self.item.prompt.hash(),
            prompt_truncated=self.item.prompt.truncated,
            token_logprobs=self._token_logprobs(text, thoughts),
            timing=Timing(first_token_s=first_token_s),
            usage=Usage(
                prompt_tokens=len(self.item.prompt.ids),
                cached_tokens=cached,
                completion_tokens=len(self.tokens),
                reasoning_tokens=thoughts,
            ),
        )

    def _token_logprobs(self, text: str, thoughts: int) -> TokenLogprobs | None:
        """Of the answer's tokens behind `thoughts` tokens of reasoning; None where it has none."""
        pairs = list(zip(self.tokens, self.logprobs, strict=True))[thoughts:]
        found = [logprob for token, logprob in pairs if token not in self._ends]
        if not found or not text.strip():
            return None
        return TokenLogprobs(mean=sum(found) / len(found), least=min(found), tokens=len(found))


class PrefillResult(NamedTuple):
    """Prompts that were read: the cache, next logits [rows, vocabulary], valid columns, last positions [rows, 1]."""

    cache: Cache
    logits: Tensor
    valid: Tensor
    positions: Tensor


class GenerationDecoder:
    """Writes answers on one net; `constrained`: inside each request's JSON schema or label set."""

    def __init__(self, loaded: LoadedModel, *, constrained: bool = False) -> None:
        self.loaded = loaded
        self.prefill_tokens = CPU_TOKENS if loaded.device.type == "cpu" else 1 << 20
        configured = getattr(loaded.model.generation_config, "eos_token_id", None)
        ends = configured if isinstance(configured, list) else [configured]
        self.ends = frozenset(int(e) for e in (*ends, loaded.renderer.end_id) if e is not None)
        self._longest: dict[tuple[str, ...], int] = {}
        self._constraints = Constraints(loaded.renderer, loaded.vocabulary, self.ends) if constrained else None

    def extra_tokens(self, request: Request) -> int:
        """Tokens a row takes besides its prompt: its answer, at most; inside a label set no label is cut off."""
        if self._constraints is None or request.schema is not None or not request.labels:
            return request.max_tokens
        if request.labels not in self._longest:
            lengths = [len(self.loaded.renderer.encode_answer(f" {label}")) for label in request.labels]
            self._longest[request.labels] = max(lengths) + 1
        return max(request.max_tokens, self._longest[request.labels])

    def max_prompt_tokens(self, request: Request) -> int:
        """Tokens a prompt may have."""
        return self.loaded.context - self.extra_tokens(request)

    def batch_key(self, request: Request) -> None:
        """Any rows go together."""
        return

    def max_batch_rows(self, request: Request) -> int:
        """No bound but the tokens: one column of logits a step."""
        return 1 << 20

    def count_columns(self, items: list[PromptItem], prefix: int) -> tuple[int, int]:
        """Prompt tokens computed behind the prefix, and columns with their padding."""
        own = [len(i.prompt.ids) - prefix for i in items]
        return sum(own), sum(max(own[part]) * len(own[part]) for part in prefill_chunks(own, self.prefill_tokens))

    def decode_batch(self, items: list[PromptItem], prefix: Prefix) -> list[Completion]:
        """Read all prompts, then write one token a step for the rows still being written."""
        started = time.perf_counter()
        answers = [self._start_row(item) for item in items]
        cache, logits, valid, positions = self._prefill(items, prefix)
        active = answers
        first_token_s = 0.0
        while True:
            for answer, chosen in zip(active, self._next_tokens(active, logits), strict=True):
                answer.append_token(*chosen)
            first_token_s = first_token_s or time.perf_counter() - started
            keep = [i for i, answer in enumerate(active) if answer.finish is None]
            if not keep:
                return [answer.completion(len(prefix.ids), first_token_s) for answer in answers]
            if len(keep) < len(active):
                rows = torch.tensor(keep, device=self.loaded.device)
                cache.batch_select_indices(rows)
                valid, positions = valid[rows], positions[rows]
                active = [active[i] for i in keep]
            valid = torch.cat([valid, valid.new_ones(len(active), 1)], dim=-1)
            positions = positions + 1
            logits = self.loaded.step([answer.tokens[-1] for answer in active], positions, valid, cache)

    def decode_singly(self, item: PromptItem) -> Completion:
        """The same without batch, prefix and mask of ours."""
        started = time.perf_counter()
        answer = self._start_row(item)
        first_token_s = 0.0

        def pick(logits: Tensor) -> int:
            nonlocal first_token_s
            ((token, logprob),) = self._next_tokens([answer], logits)
            answer.append_token(token, logprob)
            first_token_s = first_token_s or time.perf_counter() - started
            return token

        generate = generate_with_cache if cache_is_exact(self.loaded) else generate_without_cache
        generate(self.loaded.model, item.prompt.ids, answer.max_tokens, pick, lambda: answer.finish is not None)
        return answer.completion(0, first_token_s)

    def _prefill(self, items: list[PromptItem], prefix: Prefix) -> PrefillResult:
        """The prompts, in pieces small enough for the caches of a CPU, into one store."""
        skip = len(prefix.ids)
        rows = [item.prompt.ids[skip:] for item in items]
        widest = max(map(len, rows))
        longest = max(self.extra_tokens(item.request) for item in items)
        stores = new_stores(self.loaded, len(rows), skip + widest + longest - 1)
        valid = torch.zeros(len(rows), skip + widest, dtype=torch.bool, device=self.loaded.device)
        logits, positions = [], []
        for part in prefill_chunks(list(map(len, rows)), self.prefill_tokens):
            packed = self.loaded.pack(rows[part], skip)
            first = widest - packed.ids.shape[1]
            cache = window(stores, part, first, prefix.layers)
            logits.append(self.loaded.logits(packed, cache, 1)[:, -1])
            positions.append(packed.positions[:, -1:])
            valid[part, first:] = packed.valid
        whole = window(stores, slice(0, len(rows)), 0, NO_LAYERS, used=skip + widest)
        return PrefillResult(whole, torch.cat(logits), valid, torch.cat(positions))

    def _start_row(self, item: PromptItem) -> GeneratingRow:
        matcher = self._constraints.matcher(item.request) if self._constraints else None
        return GeneratingRow(item, self.loaded, self.ends, self.extra_tokens(item.request), matcher)

    def _next_tokens(self, answers: Sequence[GeneratingRow], logits: Tensor) -> list[tuple[int, float]]:
        """One token a row and its log-probability, which neither temperature nor grammar changes."""
        free = logits.float()
        if self._constraints:
            logits = self._constraints.forbid([answer.matcher for answer in answers], logits)
        best = logits.max(-1)
        tokens: list[int] = best.indices.tolist()
        for i, (answer, score) in enumerate(zip(answers, best.values.tolist(), strict=True)):
            answer.overflowed = has_non_finite([score])
            if answer.request.temperature > 0 and not answer.overflowed:
                tokens[i] = answer.sample_token(logits[i])
        picked = free.gather(-1, torch.tensor(tokens, device=free.device)[:, None])[:, 0]
        return list(zip(tokens, (picked - free.logsumexp(-1)).tolist(), strict=True))
