"""What a run will cost and how long it will take, without a call."""

from collections.abc import Iterable

import msgspec

from harness.money.prices import Price, price_table, today
from harness.prompting.token_counts import PER_MESSAGE, PER_REPLY, Counter, answer_budget, counter_for
from harness.records import BackendIdentity, Record, Request, Usage


class CostEstimate(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One backend's estimate.

    prompt_tokens: all prompts; answer_tokens: answers as long as the reference answers; most_answer_tokens: as
    long as max_tokens allows. cost, most_cost: USD with either, None = unknown; batch_cost: of answer_tokens in a
    batch. seconds: at the limits given, None where none is given. A backend that asks in batches: all USD are a
    batch's, and no time is known. tokenizer, approximate: how tokens were counted. remarks: user messages.
    """

    backend: str
    model: str
    requests: int
    prompt_tokens: int
    answer_tokens: int
    most_answer_tokens: int
    tokenizer: str
    approximate: bool
    cost: float | None = None
    most_cost: float | None = None
    batch_cost: float | None = None
    seconds: float | None = None
    remarks: tuple[str, ...] = ()


def estimate(
    backend: str, identity: BackendIdentity, asked: Iterable[tuple[Request, str | None]], repeats: int
) -> CostEstimate:
    """Estimate from what a backend says of itself.

    asked: requests, each with the answer a right model gives; None where the data has none: it may take max_tokens.
    """
    counter = counter_for(identity.model)
    requests = prompt = answer = most = 0
    for request, target in asked:
        requests += repeats
        prompt += repeats * prompt_tokens(request, counter)
        longest = answer_budget(request, identity.decode if identity.kind == "openai" else "generate")
        answer += repeats * (longest if target is None else min(longest, 1 + counter.count(target)))
        most += repeats * longest
    listed = msgspec.convert(identity.price, Price) if identity.price else None
    in_batch = listed.batch() if listed is not None else None
    batching = bool(identity.settings.get("batch"))
    price = in_batch if batching else listed
    return CostEstimate(
        backend=backend,
        model=identity.model,
        requests=requests,
        prompt_tokens=prompt,
        answer_tokens=answer,
        most_answer_tokens=most,
        tokenizer=counter.name,
        approximate=counter.approximate,
        cost=_cost(price, prompt, answer),
        most_cost=_cost(price, prompt, most),
        batch_cost=_cost(in_batch, prompt, answer),
        seconds=None if batching else at_limits(identity, requests, prompt + most),
        remarks=tuple(_remarks(identity, price)),
    )


def prompt_tokens(request: Request, counter: Counter) -> int:
    """Tokens of a prompt in OpenAI's chat format."""
    return PER_REPLY + sum(PER_MESSAGE + counter.count(m.role) + counter.count(m.content) for m in request.messages)


def _cost(price: Price | None, prompt: int, answer: int) -> float | None:
    return None if price is None else price.cost(Usage(prompt_tokens=prompt, completion_tokens=answer))


def at_limits(identity: BackendIdentity, requests: int, tokens: int) -> float | None:
    """Seconds by the tighter of the requests-per-minute and tokens-per-minute limits of all servers together."""
    named = identity.settings.get("base_url")  # a list of servers, or the file that names them
    servers = len(named) if isinstance(named, list) and named else 1
    minutes = []
    for key, amount in (("rpm", requests), ("tpm", tokens)):
        limit = identity.settings.get(key)
        if limit:
            minutes.append(amount / (limit * servers))
    return 60 * max(minutes) if minutes else None


def _remarks(identity: BackendIdentity, price: Price | None) -> list[str]:
    remarks = []
    if identity.kind == "local":
        remarks.append("runs on this machine: no price per token; a run measures its device hours")
    elif identity.kind == "replay":
        remarks.append("recorded answers: costs nothing")
    elif price is None:
        asked, key = (" in a batch", "batch_input and batch_output of ") if identity.settings.get("batch") else ("", "")
        remarks.append(f"the price of {identity.model}{asked} is unknown: set {key}price in bench.toml")
    if identity.retired and identity.retired <= today().isoformat():
        instead = price_table().living(identity.model, today())
        remarks.append(f"shut down on {identity.retired}{f'; name {instead} instead' if instead else ''}")
    elif identity.retired:
        remarks.append(f"will be shut down on {identity.retired}")
    return remarks
