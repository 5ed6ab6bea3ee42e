"""What a hosted training costs, before anything is uploaded: trained tokens times the table's price."""

from harness.errors import UsageError
from harness.money.prices import MILLION, price_table
from harness.prompting.tokens import Counter
from harness.records import Record

from .file import TrainingFile
from .recipe import HostedRecipe


class Quote(Record, frozen=True, kw_only=True, omit_defaults=False):
    """The price of a training.

    tokens: of the training rows, read once; most_tokens: a bound of them. epochs: None where the provider chooses.
    usd_per_million: of trained tokens, None = unknown; as_of: the price's date ("" where the recipe says it).
    cost, most_cost: USD for the tokens estimated and for the bound; None = unknown.
    """

    tokens: int
    most_tokens: int
    tokenizer: str
    approximate: bool
    epochs: int | None = None
    usd_per_million: float | None = None
    as_of: str = ""

    @property
    def cost(self) -> float | None:
        """USD, as far as tokens can be counted here."""
        return self._of(self.tokens)

    @property
    def most_cost(self) -> float | None:
        """USD that the training cannot pass."""
        return self._of(self.most_tokens)

    def _of(self, tokens: int) -> float | None:
        if self.usd_per_million is None or self.epochs is None:
            return None
        return tokens * self.epochs * self.usd_per_million / MILLION


def quote(recipe: HostedRecipe, train: TrainingFile, counter: Counter) -> Quote:
    """The price of training on a file."""
    table = price_table()
    listed = table.find(recipe.model)
    usd = recipe.training_usd if recipe.training_usd is not None else listed.training if listed is not None else None
    return Quote(
        tokens=train.tokens,
        most_tokens=train.most_tokens,
        tokenizer=counter.name,
        approximate=counter.approximate,
        epochs=recipe.epochs if isinstance(recipe.epochs, int) else None,
        usd_per_million=usd,
        as_of=table.training_as_of if recipe.training_usd is None and usd is not None else "",
    )


def words(price: Quote, model: str) -> str:
    """The price as a clause for people."""
    about = "about " if price.approximate else ""
    epochs = f"{price.epochs} epoch{'' if price.epochs == 1 else 's'}" if price.epochs else "epochs of its choice"
    amount = f"{about}{price.tokens:,} tokens (by {price.tokenizer}) x {epochs}"
    if price.usd_per_million is None:
        return f"{amount}; the price of training {model} is unknown (say it with --set training_usd=..)"
    source = f"price table of {price.as_of}" if price.as_of else "as the recipe says"
    each = f"{price.usd_per_million:g} USD a million trained tokens ({source})"
    if price.cost is None or price.most_cost is None:
        return f"{amount} at {each}; how many epochs decides the cost (--set epochs=3)"
    most = f", at most {price.most_cost:.2f} USD" if price.approximate else ""
    return f"{amount} at {each}: {about}{price.cost:.2f} USD{most}"


def refuse_too_dear(price: Quote, ceiling: float | None, model: str) -> None:
    """What `--max-cost` asks for, before anything is sent. Raises UsageError."""
    if ceiling is None:
        return
    if price.usd_per_million is None:
        raise UsageError(
            f"the price of training {model} is unknown, so --max-cost cannot be kept: say it with --set "
            "training_usd=.. (USD per million trained tokens), or leave out --max-cost."
        )
    if price.most_cost is None or price.cost is None:
        raise UsageError(
            "the provider would choose the epochs, so --max-cost cannot be kept: say how many (--set epochs=3)."
        )
    if price.most_cost > ceiling:
        bound = f" (expected {price.cost:.4f}; tokens are only bounded here)" if price.approximate else ""
        raise UsageError(
            f"this training could cost {price.most_cost:.4f} USD{bound} and pass --max-cost {ceiling:g}: nothing was "
            "sent; raise it, take fewer rows (--limit) or fewer epochs (--set epochs=1)."
        )
