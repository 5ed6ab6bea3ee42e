"""Finding JSON within an answer: every outermost array or object, in linear time."""

import json
from collections.abc import Iterator
from typing import Any

MANY_STARTS = 500
"""Where an answer offers more beginnings of JSON than this, the rest is not looked at."""


def outermost_json(text: str, decoder: json.JSONDecoder) -> Iterator[tuple[Any, int, int]]:
    """Every outermost JSON array or object that is complete in the text, with its start and end. Never raises."""
    at = starts = 0
    while starts < MANY_STARTS:
        at = min((p for p in (text.find("[", at), text.find("{", at)) if p >= 0), default=-1)
        if at < 0:
            return
        starts += 1
        try:
            value, end = decoder.raw_decode(text, at)
        except RecursionError:  # nested for its own sake: every further beginning would cost as much
            return
        except ValueError:
            at += 1
            continue
        yield value, at, end
        at = end
