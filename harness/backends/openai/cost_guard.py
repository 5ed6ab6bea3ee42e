"""Staying below `--max-cost`: the most an attempt can cost is set aside before it is sent."""

import asyncio
from collections.abc import Callable

from harness.money.budget import Budget
from harness.money.prices import Price
from harness.records import Usage

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
