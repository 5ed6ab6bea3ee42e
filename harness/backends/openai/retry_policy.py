"""When to ask again, and after how long: tenacity with full jitter, a cap on attempts and a deadline."""

import asyncio
import contextlib
from collections.abc import Callable

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_any,
    stop_before_delay,
)
from tenacity.stop import stop_base
from tenacity.wait import wait_base, wait_random, wait_random_exponential

from harness.backends.openai.error_classification import TransientError

FIRST_S, LONGEST_S = 0.5, 20.0
"""Full jitter: the k-th wait is uniform between 0 and min(LONGEST_S, FIRST_S * 2^(k-1))."""
SPREAD_S = 0.1
"""Rows with the same Retry-After are not sent again at the same instant."""


class WaitAsReported(wait_base):
    """The server's Retry-After where it gives one, and a little jitter; else full jitter."""

    def __init__(self) -> None:
        self._jitter = wait_random_exponential(multiplier=FIRST_S, max=LONGEST_S)
        self._spread = wait_random(0, SPREAD_S)

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds until the next attempt."""
        outcome = retry_state.outcome
        error = outcome.exception() if outcome is not None else None
        reported_wait = error.retry_after if isinstance(error, TransientError) else None
        return self._jitter(retry_state) if reported_wait is None else reported_wait + self._spread(retry_state)


class StopWhen(stop_base):
    """Stop as soon as a condition holds."""

    def __init__(self, condition: Callable[[], bool]) -> None:
        self._condition = condition

    def __call__(self, retry_state: RetryCallState) -> bool:
        """Whether it holds."""
        return self._condition()


def retrying(max_attempts: int, deadline_s: float, stopped: asyncio.Event) -> AsyncRetrying:
    """The policy for one request. The last TransientError comes out as it was raised.

    stopped: once it is set (the backend stops) nobody waits any longer and no further attempt is made.
    """

    async def pause(seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), seconds)

    return AsyncRetrying(
        stop=stop_any(stop_after_attempt(max_attempts), stop_before_delay(deadline_s), StopWhen(stopped.is_set)),
        wait=_WAIT,
        retry=retry_if_exception_type(TransientError),
        reraise=True,
        sleep=pause,
    )


_WAIT = WaitAsReported()
