"""Whether a model is still alive: by the price table, and by what the server itself says of it."""

import openai

from harness.api.reachability import served_models
from harness.api.settings import OpenAISettings
from harness.errors import UsageError
from harness.money.prices import price_table, today


def check_listed(name: str, model: str, settings: OpenAISettings) -> None:
    """Refuse a model that OpenAI has shut down. Raises UsageError naming what to ask instead, and where."""
    if settings.at_openai:
        day = price_table().retired(model, today())
        if day is not None:
            raise retired(name, model, day)


async def check_served(name: str, model: str, url: str, client: openai.AsyncOpenAI) -> str | None:
    """The shut-down date that the server itself gives for a model (`/v1/models`), where it gives one.

    Raises UsageError where that day has come, where nothing can be reached at the address, or where what answers there
    is no such server. A server that lists no models, or asks for a key to do so, is not held against: its answer to
    the first request will say what is wrong.
    """
    day = next((m.shutdown_date for m in await served_models(where(name), url, client) if m.id == model), None)
    if day is not None and day[:10] <= today().isoformat():
        raise retired(name, model, day[:10])
    return day


def where(name: str) -> str:
    """How a sentence names a backend."""
    return f"backend '{name}'"


async def lacks_model(url: str, model: str, client: openai.AsyncOpenAI) -> str | None:
    """What a server of a fleet serves instead of the model; None where it has it, or does not say."""
    served = await served_models("", url, client, strict=False)
    names = {model, model.rpartition(":")[0]}  # SGLang asks an adapter as BASE:ADAPTER and lists both for themselves
    if not served or any(m.id in names for m in served):
        return None
    return f"{url} does not serve {model} (it serves {', '.join(m.id for m in served[:5])}): it is left out."


def retired(name: str, model: str, day: str) -> UsageError:
    """The sentence about a model that was shut down on `day`."""
    instead = price_table().living(model, today())
    change = f'model = "{instead}"' if instead else "model to a living one"
    return UsageError(
        f"backend '{name}': {model} was shut down on {day}: set {change} in [backends.{name}] of bench.toml, "
        f"or base_url to a server that still has it."
    )
