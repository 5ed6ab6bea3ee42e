"""Rows that the machine could not answer: infrastructure errors, never scored as wrong."""

import math
from collections.abc import Iterable

from harness.records import Completion, Failure, Request


def failed(request: Request, kind: str, message: str) -> Completion:
    """No answer, and why."""
    return Completion(id=request.id, repeat=request.repeat, error=Failure(kind=kind, message=message))


def overflowed(scores: Iterable[float]) -> bool:
    """Whether a model's scores are no numbers: float16 ends at 65,504, and some models compute more."""
    return any(map(math.isnan, scores))


def not_a_number(request: Request) -> Completion:
    """The infrastructure error of a row whose scores are no numbers: whichever came first would be its answer."""
    return failed(request, "not_a_number", 'the model\'s scores are no numbers: set dtype = "float32" (or "bfloat16")')
