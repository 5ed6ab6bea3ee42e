"""`--seeds` and `--sweep`: several trainings, checked before the first begins, ranked on validation rows."""

import gc
import itertools
import os
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console

from harness import hardware
from harness.adapter_group import GROUP, Candidate, Group, Training, best_seed, rank
from harness.adapter_manifest import AdapterManifest, adapter_folders, mark_current, read_manifest, write_manifest
from harness.adapters.recipe import Recipe, load_recipe
from harness.adapters.saving import lock_training_folder, plain
from harness.adapters.train_options import LossNotFiniteError, TrainOptions
from harness.adapters.training_rows import Rows, choose_rows
from harness.backends.local.base_files import find_base
from harness.data.sampling import fingerprint
from harness.errors import UsageError
from harness.files import write_json
from harness.hashing import digest
from harness.metrics import Metric
from harness.prompting.prompt_variants import prompt_of
from harness.task import Task
from harness.text_format import utc_now
from harness.workspace import Workspace

VALUES = re.compile(r"""(?:\[[^\]]*\]|"[^"]*"|'[^']*'|[^,])+""")
"""Values between commas; commas within a TOML list or text do not part them."""

NOT_SWEPT = {
    "seed": "use --seeds N",
    "rows_seed": "all candidates learn from, and are ranked on, the same draw of rows",
    "validation_rows": "candidates can only be ranked on the same validation rows",
    "objective": "train each recipe on its own, and let `bench run` compare them",
    "decode": "answers taken in different ways cannot be ranked; let `bench run` compare them",
    "base": "start one sweep a base, and let `bench run` compare their winners",
}
"""Recipe fields that a sweep cannot vary -> why, or what to do."""


class Point(NamedTuple):
    """One training of a group: what differs from the others, how to ask for it, and what it resolves to."""

    number: int
    settings: dict[str, Any]
    overrides: tuple[str, ...]
    recipe: Recipe

    @property
    def seed(self) -> int:
        """Of row order, initial weights and dropout."""
        return self.recipe.seed

    def named(self) -> str:
        """`learning_rate=0.0002, lora.r=8, seed 1`."""
        return ", ".join([*(f"{k}={v}" for k, v in self.settings.items()), f"seed {self.seed}"])


def swept_fields(sweeps: tuple[str, ...]) -> dict[str, list[str]]:
    """Field -> its values as typed. Raises UsageError for what cannot be swept."""
    found: dict[str, list[str]] = {}
    for sweep in sweeps:
        key, equals, text = sweep.partition("=")
        values = [value.strip() for value in VALUES.findall(text)]
        if not equals or not key or not values:
            raise UsageError(f"--sweep {sweep}: say field=value,value, for example --sweep lora.r=8,16.")
        if key in NOT_SWEPT:
            raise UsageError(f"--sweep {sweep}: {key} is not for sweeps: {NOT_SWEPT[key]}.")
        if key in found:
            raise UsageError(f"--sweep {key} is given twice: name all its values in one, split by commas.")
        if len(values) < 2:
            raise UsageError(f"--sweep {sweep} names one value: use --set {sweep}, or name several, split by commas.")
        found[key] = values
    return found


def grid(recipe_name: str, overrides: tuple[str, ...], sweeps: tuple[str, ...], seeds: int) -> list[Point]:
    """All trainings: every point of the grid with every seed, the seeds of one point after each other.

    Which rows are drawn and held back is decided by the first seed for all of them. Raises UsageError:
    unknown field (with the nearest name), wrong value, or the same training twice.
    """
    fields = swept_fields(sweeps)
    first = load_recipe(recipe_name, overrides)
    points: list[Point] = []
    for values in itertools.product(*fields.values()):
        typed = tuple(f"{key}={value}" for key, value in zip(fields, values, strict=True))
        for seed in range(first.seed, first.seed + seeds):
            mine = (*overrides, *typed, f"seed={seed}", f"rows_seed={first.drawn_by}")
            recipe = load_recipe(recipe_name, mine)
            settings = {key: _field(recipe, key) for key in fields}
            points.append(Point(len(points) + 1, settings, mine, recipe))
    seen: set[bytes] = set()
    for point in points:
        encoded = msgspec.json.encode(point.recipe)
        if encoded in seen:
            raise UsageError(f"--sweep names {point.named()} twice.")
        seen.add(encoded)
    return points


def _field(recipe: Recipe, key: str) -> Any:
    """The value of a (dotted) field, as JSON holds it."""
    found: Any = plain(recipe)
    for part in key.split("."):
        found = found[part]
    return found


Train = Callable[[TrainOptions, Workspace, Console, Rows | None], tuple[Path, AdapterManifest]]
"""One training of given rows; raises LossNotFiniteError where its settings are hopeless."""


class SweepResult(NamedTuple):
    """The chosen adapter, its manifest, what was tried, and the folders of all adapters of the group."""

    folder: Path
    manifest: AdapterManifest
    group: Group
    folders: list[Path]


class Started(msgspec.Struct):
    """What is kept while a group is trained: its id, and which trainings had to be given up, by number."""

    id: str
    failed: dict[str, str] = {}


class SweepPlan(NamedTuple):
    """A group that can begin: all recipes are resolved, all rows read."""

    options: TrainOptions
    task: Task
    metric: Metric
    points: list[Point]
    rows: list[Rows]

    def key(self) -> str:
        """The same for the same group: where an interrupted one is found again."""
        recipes = [p.recipe for p in self.points]
        drawn = [[rows.fingerprint(), fingerprint(rows.validation)] for rows in self.rows]
        base = self.options.base or recipes[0].base or ""
        weights = "" if recipes[0].objective == "tfidf" else find_base(base).sha256()
        seen = [self.task.name, self.task.version, base, weights, recipes, drawn, prompt_of(self.task)]
        return digest([*seen, hardware.versions()])[:12]


def plan_group(options: TrainOptions, sweeps: tuple[str, ...], seeds: int) -> SweepPlan:
    """Resolve every training of the group and read its rows. Raises UsageError for all that is wrong."""
    if options.out is not None:
        raise UsageError("--out takes one adapter: leave it out with --seeds and --sweep.")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("--seeds and --sweep train one after the other in one process: start them without a launcher.")
    task = options.load_task()
    points = grid(options.recipe or task.recipe, options.overrides, sweeps, seeds)
    first = points[0].recipe
    if first.objective == "tfidf" and seeds > 1:
        raise UsageError("a TF-IDF baseline on the same rows is the same for every seed: leave out --seeds.")
    metric = task.metrics[0]
    if metric.kind != "mean" or not first.validation_rows:
        missing = "it holds no validation rows back (--set validation_rows=..)"
        reason = missing if metric.kind == "mean" else f"task '{task.name}' has no score of single rows"
        raise UsageError(f"the trainings of a group are ranked on validation rows, but {reason}.")
    drawn = {_draw(point.recipe): point.recipe for point in points}
    chosen = {draw: choose_rows(task, options.data, recipe, options.limit) for draw, recipe in drawn.items()}
    rows = [chosen[_draw(point.recipe)] for point in points]
    if not rows[0].validation:
        raise UsageError("the trainings of a group are ranked on validation rows: there are too few rows to hold any.")
    return SweepPlan(options, task, metric, points, rows)


def _draw(recipe: Recipe) -> str:
    """The same for recipes that draw the same rows."""
    return repr((recipe.validation_rows, recipe.rows, recipe.best_by, recipe.drawn_by))


def train_group(plan: SweepPlan, train: Train, workspace: Workspace, console: Console) -> SweepResult:
    """Train what is not trained yet, rank all, and make the best adapter current.

    KeyboardInterrupt after Ctrl-C; the same command continues. A training whose loss becomes no number counts
    as tried and ranks last; raises its error where no training is left.
    """
    work = workspace.adapters / f".group-{plan.key()}"
    with lock_training_folder(work):
        started = _started(work, plan)
        done = _finished(workspace, started.id)
        if done or started.failed:
            _say(console, f"{len(done) + len(started.failed)} of {len(plan.points)} trainings are finished already")
        told = False
        for point, rows in zip(plan.points, plan.rows, strict=True):
            if point.number in done or str(point.number) in started.failed:
                continue
            _say(console, f"training {point.number} of {len(plan.points)}: {point.named()}")
            facts = {"id": started.id, "number": point.number, "of": len(plan.points), "settings": point.settings}
            options = replace(plan.options, overrides=point.overrides, group={**facts, "first": not told})
            told = True
            try:
                folder, _ = train(options, workspace, console, rows)
            except LossNotFiniteError as error:
                started.failed[str(point.number)] = str(error)
                write_json(work / GROUP, started)
                _say(console, f"given up: {error}")
            else:
                done[point.number] = folder
            gc.collect()  # a model and its optimiser are gone before the next ones are loaded
        result = _ranked(plan, started, done, workspace)
        shutil.rmtree(work)
    return result


def _say(console: Console, text: str) -> None:
    console.print(f"bench: {text}", markup=False, highlight=False, soft_wrap=True)


def _started(work: Path, plan: SweepPlan) -> Started:
    """The group's id and failures so far; a new id where it begins."""
    try:
        return msgspec.json.decode((work / GROUP).read_bytes(), type=Started)
    except OSError:
        now = utc_now()
        started = Started(id=f"{plan.task.name}-group-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
        write_json(work / GROUP, started)
        return started


def _finished(workspace: Workspace, group_id: str) -> dict[int, Path]:
    """Folders of the group's adapters by number: their manifests say whose they are."""
    found = {}
    for folder in adapter_folders(workspace):
        try:
            of = read_manifest(folder).selection.get("group", {})
        except UsageError:  # not ours to judge here: `bench adapter check` does
            continue
        if of.get("id") == group_id:
            found[int(of["number"])] = folder
    return found


def _ranked(plan: SweepPlan, started: Started, done: dict[int, Path], workspace: Workspace) -> SweepResult:
    """Rank, store the result with every adapter of the group, and mark the best one current."""
    manifests = {number: read_manifest(folder) for number, folder in done.items()}
    trainings = [_training(p, manifests.get(p.number), plan, started) for p in plan.points]
    candidates = rank(trainings, plan.metric.direction, proportion=plan.metric.proportion)
    best = best_seed(candidates[0], plan.metric.direction)
    if best is None or best.adapter is None:
        raise UsageError(f"none of the {len(trainings)} trainings ended with an adapter: {trainings[0].failed}")
    group = Group(
        id=started.id,
        task=plan.task.name,
        metric=plan.metric.name,
        direction=plan.metric.direction,
        seeds=tuple(dict.fromkeys(p.seed for p in plan.points)),
        swept=tuple(plan.points[0].settings),
        rows=len(plan.rows[0].validation),
        fingerprint=fingerprint(plan.rows[0].validation),
        evaluations=max(p.recipe.evaluations for p in plan.points),
        candidates=candidates,
        chosen=best.adapter,
    )
    costs = [usd for m in manifests.values() if (usd := m.training_cost_usd) is not None]
    for candidate in candidates:
        for training in candidate.trainings:
            if training.adapter is not None:
                folder, manifest = done[training.number], manifests[training.number]
                write_json(folder / GROUP, group)
                facts = {**_facts(group, candidate, training), "training_usd": costs}
                manifest = msgspec.structs.replace(manifest, selection={**manifest.selection, "group": facts})
                write_manifest(folder, manifest)
                manifests[training.number] = manifest
    chosen = manifests[best.number]
    mark_current(workspace, chosen)
    return SweepResult(done[best.number], chosen, group, [done[n] for n in sorted(done)])


def _training(point: Point, manifest: AdapterManifest | None, plan: SweepPlan, started: Started) -> Training:
    bare = Training(number=point.number, settings=point.settings, seed=point.seed)
    if manifest is None:
        return msgspec.structs.replace(bare, failed=started.failed[str(point.number)])
    score = manifest.metrics.get(f"validation_{plan.metric.name}")
    if score is None:
        return msgspec.structs.replace(bare, adapter=manifest.id, failed="no validation row could be answered")
    return msgspec.structs.replace(bare, adapter=manifest.id, score=score, step=manifest.selection.get("step"))


def _facts(group: Group, candidate: Candidate, training: Training) -> dict[str, Any]:
    """What an adapter's manifest says of its group; all of it is in the group file next to it."""
    return {
        "id": group.id,
        "number": training.number,
        "of": group.tried,
        "settings": training.settings,
        "candidates": len(group.candidates),
        "seeds": list(group.seeds),
        "rank": candidate.rank,
        "chosen": training.adapter == group.chosen,
        "chosen_on": f"{group.rows} validation rows taken from train, by {group.metric}",
        "mean": candidate.mean,
        "sd": candidate.sd,
        "interval": None if candidate.low is None else [candidate.low, candidate.high],
        "range": [candidate.least, candidate.most],
        "caution": group.caution(),
    }
