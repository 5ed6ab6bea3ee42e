"""What answers cost: a dated price table (`prices.toml`), cost as a function of usage, and the ceiling of a run."""

import datetime
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import msgspec

from harness.records import Record, Request, Usage
from harness.text_format import utc_now

MILLION = 1_000_000

MESSAGE_OVERHEAD = 16
"""Upper bound of the tokens that a chat format adds to each message (OpenAI's own formats add 3 to 7)."""


class Price(Record, frozen=True, kw_only=True):
    """USD per million tokens.

    input: prompt tokens. output: answer tokens. cached_input: prompt tokens that the provider had cached; without
    it the price of input. cache_write: prompt tokens written into that cache; without it the price of input.
    batch_input: prompt tokens of the batch API; without it a batch's cost is unknown. batch_output: its answer tokens.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    batch_input: float | None = None
    batch_output: float | None = None

    def cost(self, usage: Usage) -> float:
        """USD of one answer: fresh, cached and cache-writing prompt tokens at their own prices, plus output."""
        cached, written = usage.cached_tokens, usage.cache_write_tokens
        fresh = max(0, usage.prompt_tokens - cached - written)
        return (
            fresh * self.input
            + cached * (self.input if self.cached_input is None else self.cached_input)
            + written * (self.input if self.cache_write is None else self.cache_write)
            + usage.completion_tokens * self.output
        ) / MILLION

    def batch(self) -> "Price | None":
        """The price of the same model in a batch; None where it is unknown."""
        if self.batch_input is None or self.batch_output is None:
            return None
        return Price(input=self.batch_input, output=self.batch_output)


def most_prompt_tokens(request: Request) -> int:
    """A bound that no byte-level tokeniser passes: bytes of all messages and of the schema, and the format's own."""
    schema = len(msgspec.json.encode(request.schema)) if request.schema is not None else 0
    schema += len(msgspec.json.encode(request.tools)) if request.tools else 0
    labels = sum(len(label.encode()) + 4 for label in request.labels)
    return (
        sum(len(m.content.encode("utf-8", "replace")) + MESSAGE_OVERHEAD for m in request.messages)
        + MESSAGE_OVERHEAD
        + schema
        + labels
    )


class Listed(Price, frozen=True, kw_only=True):
    """A model's line in the table: its price, its last day (`shutdown`, ISO date), and what to name instead.

    training: USD per million trained tokens of a hosted fine-tune.
    """

    training: float | None = None
    shutdown: str | None = None
    replacement: str | None = None

    @property
    def price(self) -> Price:
        """The price alone."""
        return Price(**{f: getattr(self, f) for f in Price.__struct_fields__})


class PriceTable(Record, frozen=True, kw_only=True):
    """The table as a whole, its date and its source.

    training_as_of, training_source: of the prices of training, which come from elsewhere.
    """

    schema: int
    as_of: str
    source: str
    training_as_of: str = ""
    training_source: str = ""
    models: dict[str, Listed]

    def find(self, model: str) -> Listed | None:
        """A model's line: its exact id, or for a hosted fine-tune (`ft:<base>:org:name:id`) its base's."""
        if model in self.models:
            return self.models[model]
        if model.startswith("ft:") and model.count(":") > 1:
            return self.models.get(":".join(model.split(":")[:2]))
        return None

    def retired(self, model: str, today: datetime.date) -> str | None:
        """The day a model was shut down, where that day has come; else None."""
        listed = self.find(model)
        if listed is None or listed.shutdown is None or listed.shutdown > today.isoformat():
            return None
        return listed.shutdown

    def living(self, model: str, today: datetime.date) -> str | None:
        """What to name instead of a retired model: its replacement, or that one's, until one lives."""
        seen = {model}
        listed = self.find(model)
        while listed is not None and listed.replacement is not None and listed.replacement not in seen:
            name = listed.replacement
            if self.retired(name, today) is None:
                return name
            seen.add(name)
            listed = self.find(name)
        return None


@lru_cache(maxsize=1)
def price_table() -> PriceTable:
    """The built-in table."""
    text = resources.files("harness.money").joinpath("prices.toml").read_text("utf-8")
    return msgspec.toml.decode(text.encode(), type=PriceTable)


def today() -> datetime.date:
    """The present day in UTC (providers switch models off by it)."""
    return utc_now().date()


@dataclass
class Budget:
    """Money of one run, USD. Not for use from several threads: the run's event loop owns it.

    A backend reserves the most a request can cost before it sends, and settles with the true cost after.
    """

    ceiling: float | None = None
    spent: float = 0.0
    reserved: float = 0.0

    def reserve(self, most: float) -> bool:
        """Set `most` aside; False (and nothing set aside) where the ceiling could be passed."""
        if self.ceiling is not None and self.spent + self.reserved + most > self.ceiling:
            return False
        self.reserved += most
        return True

    def settle(self, reserved: float, cost: float) -> None:
        """Give back a reservation and book what the request did cost."""
        self.reserved -= reserved
        self.spent += cost
