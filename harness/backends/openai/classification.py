"""`decode = "head"`: a classification head at a server, by vLLM's `/classify`.

The server is sent what the head was trained on: the row's own texts, without prompt and chat template. Its answer is
the label with the largest probability, as the model's configuration names it (id2label).
"""

import math
from typing import Any

from harness.backends.openai.answer_parsing import BadBodyError, ChatAnswer, ReportedError, decode, first_words
from harness.backends.openai.error_body import server_error
from harness.backends.openai.in_flight_request import ReceivedAnswer
from harness.backends.openai.server_pool import Endpoint
from harness.backends.openai.token_usage import usage_of

PATH = "/classify"


def classify_url(base_url: str) -> str:
    """The address of `/classify`, which lies beside `/v1` and not below it."""
    return base_url.rstrip("/").removesuffix("/v1") + PATH


def read_classification(body: bytes) -> ChatAnswer:
    """The answer in a body. Raises BadBodyError where it holds no classification, ReportedError where it holds an
    error."""
    plain = decode(body)
    if not isinstance(plain, dict):
        raise BadBodyError(f"the body is no JSON object: {first_words(body)}")
    usage = usage_of(plain)
    data = plain.get("data")
    found: Any = data[0] if isinstance(data, list) and data else None
    if not isinstance(found, dict) or not isinstance(found.get("label"), str):
        error = server_error(plain)
        if error is not None:
            raise ReportedError(error, usage)
        raise BadBodyError(f"the answer holds no label: {first_words(body)}", usage)
    probabilities = found.get("probs")
    numbers = [p for p in probabilities if isinstance(p, int | float)] if isinstance(probabilities, list) else []
    label = found["label"]
    return ChatAnswer(text=label, raw=label, finish="stop", usage=usage, probabilities=tuple(map(float, numbers)))


def head_scores(answer: ChatAnswer, labels: tuple[str, ...]) -> dict[str, float] | None:
    """Log-probabilities of labels. The server names the best one only: the others are known where its place among the
    probabilities is the label's place in the task."""
    values = answer.probabilities
    if not values or answer.text not in labels:
        return None
    logs = [math.log(value) if value > 0 else -math.inf for value in values]
    best = max(range(len(logs)), key=logs.__getitem__)
    if len(values) == len(labels) and labels[best] == answer.text:
        return {label: log for label, log in zip(labels, logs, strict=True) if math.isfinite(log)}
    return {answer.text: logs[best]}


async def send_classified(endpoint: Endpoint, body: bytes) -> ReceivedAnswer:
    """Send a body to `/classify`."""
    response = await endpoint.client.post(classify_url(endpoint.url), body)
    return ReceivedAnswer(read_classification(response.content), response.headers)
