"""Log-probabilities of labels, read at the label's position in the answer or not at all, and of the answer's tokens."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.records import TokenLogprobs


class TokenLogprob(NamedTuple):
    """One token of an answer, and its alternatives: token -> log-probability."""

    token: str
    logprob: float
    alternatives: dict[str, float]


def read_logprobs(given: Any) -> tuple[TokenLogprob, ...]:
    """`logprobs` of a choice: OpenAI's `content`, or the older parallel lists (`tokens`, `token_logprobs`); what is
    neither is none."""
    if not isinstance(given, dict):
        return ()
    content = given.get("content")
    if isinstance(content, list):
        found = [_token(entry) for entry in content]
        return tuple(token for token in found if token is not None) if None not in found else ()
    tokens, values, tops = given.get("tokens"), given.get("token_logprobs"), given.get("top_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        return ()
    alternatives = tops if isinstance(tops, list) and len(tops) == len(tokens) else [None] * len(tokens)
    entries = zip(tokens, values, alternatives, strict=True)
    found = [_token({"token": token, "logprob": value, "top_logprobs": top}) for token, value, top in entries]
    return tuple(token for token in found if token is not None) if None not in found else ()


def _token(entry: Any) -> TokenLogprob | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str) or not _is_number(entry.get("logprob")):
        return None
    top = entry.get("top_logprobs")
    if isinstance(top, dict):
        pairs = list(top.items())
    elif isinstance(top, list):
        pairs = [(one.get("token"), one.get("logprob")) for one in top if isinstance(one, dict)]
    else:
        pairs = []
    alternatives = {token: float(value) for token, value in pairs if isinstance(token, str) and _is_number(value)}
    return TokenLogprob(entry["token"], float(entry["logprob"]), alternatives)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def label_scores(
    tokens: Sequence[TokenLogprob], answer: str, labels: tuple[str, ...], *, quoted: bool
) -> dict[str, float] | None:
    """Log-probabilities of labels, as far as the server gives them; None where it gives none.

    answer: the answer as it is scored; it must be a label. quoted: the label is a string in JSON. The tokens
    that write the label are found in the text that all tokens make (its last occurrence: thoughts come before). The
    answered label's is the sum over them. Another label's is known where exactly one alternative of the first of them
    begins it (labels with a common first token are left out: that token does not distinguish them).
    """
    folded = answer.strip().casefold()
    answered = next((label for label in labels if label.casefold() == folded), None)
    place = None if answered is None or not tokens else _find_label(tokens, answered, quoted)
    if answered is None or place is None:
        return None
    first, last, before = place
    scores = {answered: sum(token.logprob for token in tokens[first : last + 1])}
    starts = ((_start(token, before), logprob) for token, logprob in tokens[first].alternatives.items())
    begins = {start: logprob for start, logprob in starts if start}
    for label in labels:
        fitting = [start for start in begins if label.startswith(start)]
        alone = sum(1 for other in labels if any(other.startswith(t) and label.startswith(t) for t in begins)) == 1
        if label != answered and len(fitting) == 1 and alone:
            scores[label] = begins[fitting[0]]
    return scores


def answer_logprobs(tokens: Sequence[TokenLogprob], answer: str) -> TokenLogprobs | None:
    """Of the tokens that write `answer`, its last occurrence in the text that all tokens make (thoughts come before);
    None where that text does not hold it."""
    text = "".join(token.token for token in tokens)
    start = text.rfind(answer.strip())
    if start < 0 or not answer.strip():
        return None
    end, position = start + len(answer.strip()), 0
    found = []
    for token in tokens:
        begins, position = position, position + len(token.token)
        if begins < end and position > start:
            found.append(token.logprob)
    return TokenLogprobs(mean=sum(found) / len(found), least=min(found), tokens=len(found))


def _start(token: str, before: str) -> str:
    """What an alternative would have written of a label, at the position of the label's first token."""
    if not before.strip():
        return token.strip().split('"')[0]
    return token.removeprefix(before).split('"')[0].rstrip() if token.startswith(before) else ""


def _find_label(tokens: Sequence[TokenLogprob], label: str, quoted: bool) -> tuple[int, int, str] | None:
    """First and last token that write the label, and what the first one writes before it."""
    text = "".join(token.token for token in tokens)
    if quoted:
        pattern = f'(?<="){re.escape(json.dumps(label, ensure_ascii=False)[1:-1])}(?=")'
    else:
        pattern = rf"(?<!\w){re.escape(label)}(?!\w)"
    places = list(re.finditer(pattern, text, re.IGNORECASE))
    if not places:
        return None
    found = places[-1]
    first = last = -1
    before, position = "", 0
    for number, token in enumerate(tokens):
        end = position + len(token.token)
        if first < 0 and end > found.start():
            first, before = number, text[position : found.start()]
        if position < found.end():
            last = number
        position = end
    return first, last, before
