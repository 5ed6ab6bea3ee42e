"""Recipes of hosted fine-tuning: few fields, for the provider chooses the rest."""

from typing import Literal
from urllib.parse import urlsplit

from harness.adapters.recipe import Claim, checked, recipe_table, refuse_below_zero
from harness.backends.openai.openai_settings import OPENAI_URL
from harness.errors import SettingsError
from harness.records import Record

LONGEST_SUFFIX = 64


class HostedRecipe(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Everything that decides a hosted training, its data aside.

    about: one line for lists. objective: "hosted" says that this kind of recipe is meant.
    model: the base model's id at the provider. base_url: any OpenAI-compatible server with files and
        fine_tuning; api_key_env: the environment variable with its key.
    suffix: becomes part of the tuned model's name (default: the task's name).
    epochs, batch, learning_rate_multiplier: a number, or "auto", and the provider chooses.
    max_length: most tokens of a row, prompt and answer, that the provider trains on without cutting (default: not
        checked). too_long: rows beyond it are refused or dropped; they are never cut.
    training_usd: USD per million trained tokens, instead of the price table's.
    rows: at most so many training rows: a seeded sample, or those with the largest number in the column
        best_by. best_by: a column of numbers. validation_rows: carved from the training rows before.
    seed: the provider's, and of which rows train and validate. rows_seed: of the rows alone (default: seed).
    poll_s: seconds between two looks at the job. claims: what was published about the case.
    """

    about: str = ""
    objective: Literal["hosted"]
    model: str
    base_url: str = OPENAI_URL
    api_key_env: str = "OPENAI_API_KEY"
    suffix: str | None = None
    epochs: int | Literal["auto"] = "auto"
    batch: int | Literal["auto"] = "auto"
    learning_rate_multiplier: float | Literal["auto"] = "auto"
    max_length: int | None = None
    too_long: Literal["refuse", "drop"] = "refuse"
    training_usd: float | None = None
    rows: int | None = None
    best_by: str | None = None
    validation_rows: int = 100
    seed: int = 0
    rows_seed: int | None = None
    poll_s: float = 10.0
    claims: tuple[Claim, ...] = ()

    @property
    def url(self) -> str:
        """The server, without a trailing slash."""
        return self.base_url.rstrip("/")

    @property
    def drawn_by(self) -> int:
        """The seed by which rows are drawn."""
        return self.seed if self.rows_seed is None else self.rows_seed

    @property
    def at_openai(self) -> bool:
        """Whether OpenAI itself trains (its shut-down dates then hold)."""
        return self.url == OPENAI_URL


def load_hosted(word: str, overrides: tuple[str, ...] = (), model: str | None = None) -> HostedRecipe:
    """A hosted recipe by name or path, `--set` overrides and `--base` (`model`) on top. Raises UsageError."""
    table, where = recipe_table(word, overrides), f"recipe {word}"
    if model is not None:
        table["model"] = model
    recipe = checked(table, HostedRecipe, where)
    names = ("epochs", "batch", "learning_rate_multiplier", "max_length", "training_usd", "poll_s")
    refuse_below_zero(recipe, names, where)
    address = urlsplit(recipe.base_url)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise SettingsError(f"{where}: base_url must be an http(s) URL, it is '{recipe.base_url}'.")
    if "@" in address.netloc:
        raise SettingsError(
            f"{where}: base_url holds a password, which would be stored: name it in api_key_env instead."
        )
    if recipe.suffix is not None and not 0 < len(recipe.suffix) <= LONGEST_SUFFIX:
        raise SettingsError(f"{where}: suffix must have 1 to {LONGEST_SUFFIX} characters, it has {len(recipe.suffix)}.")
    return recipe
