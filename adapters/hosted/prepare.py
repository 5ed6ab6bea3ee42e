"""A hosted training that can begin: everything read, checked and priced, nothing sent."""

import re
from typing import Any, NamedTuple

from harness.errors import UsageError
from harness.hashing import digest
from harness.money.prices import price_table, today
from harness.prompting.tokens import counter_for
from harness.task import Task

from ..options import TrainOptions
from ..rows import Rows, choose_rows
from .file import LEAST_ROWS, TrainingFile, write_file
from .price import Quote, quote
from .recipe import LONGEST_SUFFIX, HostedRecipe, load_hosted

LAST_JOBS = "2027-01-06"
"""The last day on which OpenAI makes new fine-tuning jobs (for those who had some before)."""


class Prepared(NamedTuple):
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


def prepare(options: TrainOptions) -> Prepared:
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
            f"{len(train.rows)} training rows are left, a provider wants {LEAST_ROWS} or more: take more rows. "
            + " ".join(remarks)
        )
    price = quote(recipe, train, counter)
    kept = Rows(train.samples, held.samples, remarks)
    return Prepared(options, task, name, recipe, kept, train, held, price, [*remarks, *_provider_remarks(recipe)])


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
