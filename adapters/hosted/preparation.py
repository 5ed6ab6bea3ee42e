"""Preparing a hosted training: rows, file, price, dry run. Nothing is sent."""

import re
from typing import Any, NamedTuple

import msgspec

from harness.adapters.hosted.hosted_recipe import LONGEST_SUFFIX, HostedRecipe, load_hosted
from harness.adapters.hosted.training_file import LEAST_ROWS, TrainingFile, write_file
from harness.adapters.train_options import TrainOptions
from harness.adapters.training_rows import Rows, choose_rows
from harness.errors import UsageError
from harness.hashing import digest
from harness.money.prices import MILLION, price_table, today
from harness.prompting.token_counts import Counter, counter_for
from harness.records import Record
from harness.task import Task


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
    """The price as a clause of a sentence."""
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


LAST_JOBS = "2027-01-06"
"""The last day on which OpenAI makes new fine-tuning jobs (for those who had some before)."""


class HostedPreparation(NamedTuple):
    """All of a training but its job. `rows` are those in the files."""

    options: TrainOptions
    task: Task
    recipe_name: str
    recipe: HostedRecipe
    rows: Rows
    train: TrainingFile
    held: TrainingFile
    price: Quote
    remarks: list[str]

    @property
    def files(self) -> dict[str, TrainingFile]:
        """What is uploaded, by the name of its role in the job."""
        both = {"training": self.train, "validation": self.held}
        return {role: file for role, file in both.items() if file.rows}

    def filename(self, role: str) -> str:
        """Unique to the content, so that an upload is found again."""
        return f"bench-{role}-{self.files[role].sha256[:16]}.jsonl"

    def job_body(self) -> dict[str, Any]:
        """What the job is made with, file ids and token aside."""
        names = {"n_epochs": "epochs", "batch_size": "batch", "learning_rate_multiplier": "learning_rate_multiplier"}
        chosen = {k: v for k, name in names.items() if (v := getattr(self.recipe, name)) != "auto"}
        method: dict[str, Any] = {"type": "supervised"}
        if chosen:
            method["supervised"] = {"hyperparameters": chosen}
        suffix = self.recipe.suffix or re.sub(r"[^A-Za-z0-9-]+", "-", self.task.name)[:LONGEST_SUFFIX]
        return {"model": self.recipe.model, "method": method, "seed": self.recipe.seed, "suffix": suffix}

    def key(self) -> str:
        """The same for the same training at the same provider: where its job is found again."""
        sent = {role: file.sha256 for role, file in self.files.items()}
        return digest([self.task.name, self.recipe.url, self.job_body(), sent])[:12]

    def refuse_retired(self) -> None:
        """Raises UsageError for a model that OpenAI has shut down, or jobs that it makes no longer."""
        if not self.recipe.at_openai:
            return
        day = price_table().retired(self.recipe.model, today())
        elsewhere = "--set base_url=.. names a server that still tunes it"
        if day is not None:
            raise UsageError(f"{self.recipe.model} was shut down on {day}: --set model=.. names another; {elsewhere}.")
        if today().isoformat() > LAST_JOBS:
            raise UsageError(f"OpenAI has made no new fine-tuning jobs since {LAST_JOBS}: {elsewhere}.")


def prepare(options: TrainOptions) -> HostedPreparation:
    """Resolve the recipe, read and check the rows, count and price. Raises UsageError for all that is wrong."""
    task = options.load_task()
    name = options.recipe or task.recipe
    recipe = load_hosted(name, options.overrides, options.base)
    options.check_out()
    rows = choose_rows(task, options.data, recipe, options.limit)
    counter = counter_for(recipe.model)
    train, remarks = write_file(task, rows.train, counter, recipe, "training")
    held, more = write_file(task, rows.validation, counter, recipe, "validation")
    remarks = [*rows.remarks, *remarks, *more]
    if len(train.rows) < LEAST_ROWS:
        raise UsageError(
            f"{len(train.rows)} training rows are left, a provider requires {LEAST_ROWS} or more: take more rows. "
            + " ".join(remarks)
        )
    price = quote(recipe, train, counter)
    kept = Rows(train.samples, held.samples, remarks)
    return HostedPreparation(
        options, task, name, recipe, kept, train, held, price, [*remarks, *_provider_remarks(recipe)]
    )


def _provider_remarks(recipe: HostedRecipe) -> list[str]:
    """What OpenAI has announced of this model."""
    if not recipe.at_openai:
        return []
    listed = price_table().find(recipe.model)
    remarks = [f"OpenAI makes new fine-tuning jobs only until {LAST_JOBS}."]
    if listed is not None and listed.shutdown is not None:
        when = "was" if listed.shutdown <= today().isoformat() else "will be"
        remarks.append(f"{recipe.model} {when} shut down on {listed.shutdown}, and with it what was tuned from it.")
    return remarks


SHOWN = 2


class HostedDryRun(NamedTuple):
    """What would happen: as JSON, and as text."""

    record: dict[str, Any]
    text: str


def dry_run(options: TrainOptions) -> HostedDryRun:
    """Read, check, count and price everything; send nothing. Raises UsageError as the training itself would."""
    job = prepare(options)
    price, ordered = job.price, sorted(row.tokens for row in job.train.rows)
    record: dict[str, Any] = {
        "task": job.task.name,
        "model": job.recipe.model,
        "base_url": job.recipe.url,
        "recipe_name": job.recipe_name,
        "recipe": msgspec.to_builtins(job.recipe),
        "rows": {"training": len(job.train.rows), "validation": len(job.held.rows)},
        "row_tokens": {"median": ordered[len(ordered) // 2], "longest": ordered[-1]},
        "price": {**msgspec.to_builtins(price), "cost_usd": price.cost, "most_cost_usd": price.most_cost},
        "files": {
            role: {"name": job.filename(role), "bytes": len(file.content), "sha256": file.sha256}
            for role, file in job.files.items()
        },
        "job": job.job_body(),
        "examples": [msgspec.to_builtins(row.messages) for row in job.train.rows[:SHOWN]],
        "remarks": job.remarks,
    }
    return HostedDryRun(record, _text(record, job))


def _text(record: dict[str, Any], job: HostedPreparation) -> str:
    rows, lengths = record["rows"], record["row_tokens"]
    lines = [
        f"recipe {record['recipe_name']}: {record['model']} at {record['base_url']}",
        f"rows: {rows['training']:,} for training, {rows['validation']:,} held back from them for validation",
        f"tokens: a row has {lengths['median']} (median) to {lengths['longest']}",
        f"price: {words(job.price, job.recipe.model)}",
        *(f"file: {file['name']}, {file['bytes']:,} bytes" for file in record["files"].values()),
        f"job: {msgspec.json.encode(record['job']).decode()}",
        *(f"note: {remark}" for remark in record["remarks"]),
    ]
    shown = [msgspec.json.encode({"messages": messages}).decode() for messages in record["examples"]]
    return "\n".join([*lines, *(f"--- line: {line}" for line in shown), "nothing was sent."])
