"""Tokens of requests: expected and counted, and the cost that they may still cause."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

from harness.money.prices import Budget, Price
from harness.records import Usage

MOST_TOKENS = 1_000_000_000
"""Counts above it are no counts."""


def usage_of(body: dict[str, Any]) -> Usage | None:
    """The usage of an answer or of a stream's event; None where it does not say (a prompt of no tokens is no count)."""
    for key in (body, body.get("x_groq")):
        usage = key.get("usage") if isinstance(key, dict) else None
        if isinstance(usage, list):
            usage = next((part for part in usage if isinstance(part, dict)), None)
        if isinstance(usage, dict):
            found = _read(usage)
            if found is not None:
                return found
    return None


def _read(usage: dict[str, Any]) -> Usage | None:
    prompt = _first(usage, "prompt_tokens", "input_tokens")
    if not prompt:
        return None
    answer = _first(usage, "completion_tokens", "output_tokens")
    of_prompt = _details(usage, "prompt_tokens_details", "input_tokens_details")
    of_answer = _details(usage, "completion_tokens_details", "output_tokens_details")
    cached = _first(of_prompt, "cached_tokens") or _first(
        usage, "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"
    )
    written = _first(of_prompt, "cache_write_tokens", "cache_creation_tokens") or _first(
        usage, "cache_creation_input_tokens"
    )
    reasoning = _first(of_answer, "reasoning_tokens", "thinking_tokens") or _first(
        usage, "reasoning_tokens", "thinking_tokens", "thoughts_tokens"
    )
    total = _first(usage, "total_tokens")
    prompt, answer, reasoning = _reconcile(prompt, answer, reasoning, cached, written, total)
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=min(cached, prompt),
        cache_write_tokens=min(written, max(0, prompt - cached)),
        completion_tokens=answer,
        reasoning_tokens=min(reasoning, answer),
    )


def _reconcile(prompt: int, answer: int, reasoning: int, cached: int, written: int, total: int) -> tuple[int, int, int]:
    """Prompt with all cached tokens in it, answer with all reasoning in it, and reasoning.

    The first convention whose sum is `total_tokens` holds. Where none fits, a total above the sum is the answer's:
    tokens that were billed and are not reported elsewhere are reasoning (Gemini reports it only this way). Without a
    total, counts that cannot be parts of their total are reported with it.
    """
    separate = cached + written
    if total:
        for of_prompt in (0, separate, cached):
            for of_answer in (0, reasoning):
                if total == prompt + of_prompt + answer + of_answer:
                    return prompt + of_prompt, answer + of_answer, reasoning
        unseen = total - prompt - answer
        if unseen > 0:
            return prompt, answer + unseen, max(reasoning, unseen)
    return (
        prompt + separate if separate > prompt else prompt,
        answer + reasoning if reasoning > answer else answer,
        reasoning,
    )


def _details(usage: dict[str, Any], *names: str) -> dict[str, Any]:
    return next((usage[name] for name in names if isinstance(usage.get(name), dict)), {})


def _first(usage: dict[str, Any], *names: str) -> int:
    """The first of these counts that is one: a whole number, or one written as text."""
    for name in names:
        value = usage.get(name)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value) and 0 < value <= MOST_TOKENS:
            return int(value)
    return 0


LOOK_AGAIN_S = 0.02
NOTHING = 1e-9
"""USD that are no reservation but the rounding of many."""

ORDINARY_TIERS = (None, "auto", "default", "standard", "scale")


def list_cost(price: Price | None, usage: Usage | None, tier: str | None) -> float | None:
    """USD of an answer by the tier that was used: flex costs what a batch costs, other tiers' prices are unknown."""
    if price is None or usage is None:
        return None
    of_tier = price if tier in ORDINARY_TIERS else price.batch() if tier == "flex" else None
    return None if of_tier is None else of_tier.cost(usage)


class BudgetReservation:
    """One backend's view of the run's budget.

    maybe_billed: USD set aside for attempts that broke off, which the provider may bill although no answer
    came; they stay booked against the ceiling, so that it is never passed, but are no row's cost.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.maybe_billed = 0.0
        self._first: object | None = None
        self._bound_seen = budget.ceiling is None
        self._first_ended = asyncio.Event()

    async def wait_for_first(self, call: object, stopped: Callable[[], bool], halted: asyncio.Event) -> None:
        """With a cost limit the first request is sent alone: its usage tells whether the bound holds (some servers bill
        thoughts beyond max_tokens)."""
        while not self._bound_seen and self._first not in (None, call) and not stopped():
            must_wait = [asyncio.ensure_future(event.wait()) for event in (self._first_ended, halted)]
            try:
                await asyncio.wait(must_wait, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in must_wait:
                    wait.cancel()
        if not self._bound_seen and self._first is None:
            self._first = call
            self._first_ended.clear()

    def release_first(self, call: object) -> None:
        """A request has ended: where it was the first one, the others may go."""
        if self._first is call:
            self._first = None
            self._bound_seen = True
            self._first_ended.set()

    async def reserve(self, max_cost: float | None, stopped: Callable[[], bool]) -> bool:
        """Set `most` aside. False where it can not be had even when everything in flight has been settled."""
        if self.budget.ceiling is None or max_cost is None:
            return True
        while not self.budget.reserve(max_cost):
            if stopped() or self.budget.reserved < NOTHING:
                return False
            await asyncio.sleep(LOOK_AGAIN_S)
        return True

    def settle(self, max_cost: float | None, cost: float | None, *, maybe_billed: bool = False) -> None:
        """Give the reservation back and book the cost; an attempt that broke off may have cost the most."""
        if maybe_billed:
            self.maybe_billed += max_cost or 0.0
        if self.budget.ceiling is None:
            self.budget.settle(0.0, cost or 0.0)
        else:
            self.budget.settle(max_cost or 0.0, (max_cost or 0.0) if maybe_billed else (cost or 0.0))
