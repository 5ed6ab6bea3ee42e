"""The classical baseline: TF-IDF and logistic regression on the row's own texts, on a CPU, in seconds.

A fine-tuned model that does not beat it should not ship.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from harness import hardware
from harness.adapter_manifest import BASELINE, AdapterManifest, weights_digest
from harness.adapters.recipe import Recipe, load_recipe
from harness.adapters.report_samples import Answered, few, write_examples
from harness.adapters.saving import AdapterDestination, data_facts, plain, selection_facts, write_rows
from harness.adapters.train_options import TrainOptions
from harness.adapters.training_rows import Rows, choose_rows
from harness.adapters.validation import temperature_of
from harness.backends.sklearn_backend import TfidfClassifier, missing_sklearn
from harness.errors import UsageError
from harness.metrics import ACCURACY
from harness.prompting.prompt_variants import prompt_of
from harness.records import Completion, Sample
from harness.task import Task
from harness.task_loading import build_request
from harness.training_record import ANSWER_SHARE, commonest_share, constant_facts
from harness.workspace import Workspace


def train_baseline(
    options: TrainOptions, workspace: Workspace, console: Console, rows: Rows | None = None
) -> tuple[Path, AdapterManifest]:
    """Fit on training rows with the C that does best on rows held back from them. Raises UsageError."""
    task = options.load_task()
    if not task.labels:
        raise UsageError(f"task '{task.name}' has no label set: a TF-IDF baseline classifies.")
    name = options.recipe or task.recipe
    recipe = load_recipe(name, options.overrides)
    options.check_out()
    rows = rows or choose_rows(task, options.data, recipe, options.limit)
    for remark in rows.remarks if options.tells_remarks else ():
        console.print(f"bench: {remark}", markup=False, highlight=False)
    begun = time.perf_counter()
    chosen, c, tried = _fit(task, rows.train, rows.validation, recipe)
    accuracy = tried.get(c)
    seconds = time.perf_counter() - begun
    where = AdapterDestination.make(options, task, workspace)
    chosen.save(where.aside)
    write_rows(where.aside, task, rows)
    answered = _answered(task, chosen, rows.validation)
    share = commonest_share(a.score.answer for a in answered)
    write_examples(where.aside, [], few(task, ACCURACY, answered))
    manifest = AdapterManifest(
        id=where.id,
        task=task.name,
        task_version=task.version,
        base=BASELINE,
        objective="tfidf",
        decode="head",
        labels=chosen.labels,
        recipe_name=name,
        recipe=plain(recipe),
        data=data_facts(options, rows, len(rows.train), rows.remarks),
        selection={
            **selection_facts(options, rows, len(rows.validation)),
            **constant_facts(task, [row.reference for row in rows.validation]),
            "metric": "accuracy" if accuracy is not None else None,
            "c": c,
            "tried_c": [{"c": tried_c, "accuracy": value} for tried_c, value in tried.items()],
        },
        prompt=prompt_of(task),
        seed=recipe.seed,
        created=where.created.isoformat(timespec="seconds"),
        duration_s=round(seconds, 3),
        device_hours=seconds / 3600,
        device_hour_usd=recipe.device_hour_usd,
        metrics={
            **({"validation_accuracy": accuracy} if accuracy is not None else {}),
            **({f"validation_{ANSWER_SHARE}": share} if share is not None else {}),
        },
        versions=hardware.versions(),
        hardware=hardware.hardware(),
        adapter_sha256=weights_digest(where.aside),
        temperature=_temperature(task, chosen, rows.validation),
    )
    return where.folder, where.settle(manifest, workspace, current=options.current)


def _fit(
    task: Task, train: list[Sample], held: list[Sample], recipe: Recipe
) -> tuple[TfidfClassifier, float, dict[float, float]]:
    """The best classifier of the recipe's C values, its C, and each C's accuracy on the rows held back."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise missing_sklearn() from None
    settings = recipe.tfidf
    vectorizer = TfidfVectorizer(
        ngram_range=(1, settings.ngrams), min_df=settings.min_df, sublinear_tf=True, dtype=np.float32
    )
    try:
        features = vectorizer.fit_transform(_texts(task, train))
    except ValueError as error:
        raise UsageError(f"recipe: [tfidf] finds no words in the training rows ({error}).") from None
    targets = [task.target(s) for s in train]
    tried: list[tuple[float, float, TfidfClassifier]] = []
    for c in settings.c if held else settings.c[:1]:
        model: Any = LogisticRegression(C=c, max_iter=1000).fit(features, targets)
        classifier = TfidfClassifier.of(vectorizer, model, settings.ngrams)
        tried.append((_accuracy(task, classifier, held) if held else 0.0, c, classifier))
    best = max(tried, key=lambda t: t[0])
    return best[2], best[1], {c: accuracy for accuracy, c, _ in tried} if held else {}


def _texts(task: Task, samples: list[Sample]) -> list[str]:
    return ["\n\n".join(build_request(task, sample).passage_texts()) for sample in samples]


def _accuracy(task: Task, classifier: TfidfClassifier, held: list[Sample]) -> float:
    answers = _said(task, classifier, held)
    return sum(label == task.target(s) for label, s in zip(answers, held, strict=True)) / len(held)


def _said(task: Task, classifier: TfidfClassifier, held: list[Sample]) -> list[str]:
    return [max(scores, key=scores.__getitem__) for scores in classifier.classify(_texts(task, held))]


def _temperature(task: Task, classifier: TfidfClassifier, held: list[Sample]) -> float | None:
    """Fitted on the rows held back; None where there are too few."""
    scores = classifier.classify(_texts(task, held)) if held else []
    return temperature_of(scores, [sample.reference for sample in held], task.labels)


def _answered(task: Task, classifier: TfidfClassifier, held: list[Sample]) -> list[Answered]:
    """What the classifier says of the rows held back, as the task judges it."""
    found = []
    for sample, label in zip(held, _said(task, classifier, held) if held else (), strict=True):
        score = task.score(sample, Completion(id=sample.id, text=label, finish="stop"))
        value = None if score.correct is None else float(score.correct)
        found.append(Answered(sample, build_request(task, sample), label, score, value))
    return found
