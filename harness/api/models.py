"""Whether a model is still alive: by the price table, and by what the server itself says of it."""

from harness.api.settings import OpenAISettings
from harness.errors import UsageError
from harness.prices import price_table, today


def check_living(name: str, model: str, settings: OpenAISettings) -> None:
    """Refuse a model that OpenAI has shut down. Raises UsageError naming what to ask instead, and where."""
    if not settings.at_openai:
        return
    table = price_table()
    day = table.retired(model, today())
    if day is not None:
        raise retired(name, model, day, table.living(model, today()))


def retired(name: str, model: str, day: str, instead: str | None) -> UsageError:
    """The sentence about a retired model."""
    change = f'model = "{instead}"' if instead else "model to a living one"
    return UsageError(
        f"backend '{name}': {model} was shut down by OpenAI on {day}: set {change} in [backends.{name}] of bench.toml, "
        f"or base_url to a server that still has it."
    )
