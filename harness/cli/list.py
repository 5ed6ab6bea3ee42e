"""`bench list`: tasks, backends, recipes, adapters, runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harness.cli.options import json_option, quiet_option
from harness.cli.output import print_json
from harness.errors import BenchError, did_you_mean

Rows = list[dict[str, Any]]


class ListName(click.Choice[str]):
    """The name of a list, also in the singular (`bench list run`)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises click.BadParameter with the nearest name."""
        if value not in self.choices and f"{value}s" in self.choices:
            return f"{value}s"
        if value not in self.choices:
            self.fail(f"there is no list '{value}'{did_you_mean(str(value), self.choices)}.", param, ctx)
        return str(value)


def _cells(row: dict[str, Any]) -> list[str]:
    return list(map(str, row.values()))


@click.command("list")
@click.argument("what", type=ListName(["tasks", "backends", "recipes", "adapters", "runs"]))
@json_option
@quiet_option
def listing(what: str, as_json: bool, quiet: bool) -> None:
    """List tasks, backends, recipes, adapters or runs."""
    rows = LISTS[what]()
    if as_json:
        print_json(rows)
        return
    if not rows:
        if not quiet:
            click.echo(f"no {what} here yet.", err=True)
        return
    lines = [list(SHOWN.get(what, _cells)(row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _tasks() -> Rows:
    from harness.registry import TASKS, names
    from harness.task_loading import load_task

    rows = []
    for name, entry in names(TASKS).items():
        try:
            task = load_task(name)
            about = ", ".join(task.labels) or "open answers"
        except BenchError as error:  # a broken plugin is reported, never fatal
            about = f"broken: {error}"
        rows.append({"name": name, "about": about, "from": entry.value})
    return rows


def _backends() -> Rows:
    from harness.settings import load_settings

    return [
        {"name": name, "kind": str(table.get("kind", "?")), "model": _model(table)}
        for name, table in load_settings().backends.items()
    ]


def _model(table: dict[str, Any]) -> str:
    """A backend's model, and whether OpenAI has shut it down."""
    from harness.money.prices import price_table, today

    model = str(table.get("model", table.get("path", "")))
    asks_openai = table.get("kind") == "openai" and not any(
        table.get(key) for key in ("base_url", "base_url_file", "azure")
    )
    day = price_table().retired(model, today()) if asks_openai else None
    return f"{model} (shut down on {day}: name another model in bench.toml)" if day else model


def _recipes() -> Rows:
    from harness.adapters import recipe

    return [{"name": name, "about": about} for name, about in recipe.list_recipes().items()]


def _adapters() -> Rows:
    from harness.adapter_manifest import adapter_folders, read_manifest
    from harness.workspace import Workspace

    rows = []
    for folder in adapter_folders(Workspace.current()):
        try:
            m = read_manifest(folder)
        except BenchError as error:
            rows.append({"id": folder.name, "task": "?", "base": f"unreadable: {error}", "recipe": "?", "made": "?"})
            continue
        rows.append(
            {
                "id": m.id,
                "task": m.task or "?",
                "base": m.base,
                "recipe": m.recipe_name or "trained elsewhere",
                "made": m.created,
            }
        )
    return rows


def _runs() -> Rows:
    """The runs of the workspace, the newest first; `score` is the best headline figure, None while a run lacks it."""
    from harness.workspace import Workspace

    rows = [_run(path.parent) for path in Workspace.current().runs.glob("*/manifest.json")]
    return sorted(rows, key=lambda row: (str(row["created"]), str(row["id"])), reverse=True)


def _run(folder: Path) -> dict[str, Any]:
    from harness.runs.run_log import RunLog
    from harness.summary.stored_verdict import by_rank, headline_metric

    row: dict[str, Any] = {"id": folder.name, "created": "", "task": "?", "rows": None, "metric": None, "unit": None}
    row |= {"score": None, "best": None, "scores": {}, "complete": None, "commit": None, "backends": ""}
    try:
        log = RunLog.open(folder)
        manifest, summary = log.manifest, log.summary()
    except BenchError as error:
        return row | {"backends": f"unreadable: {error}"}
    row |= {"id": manifest.id, "created": manifest.created, "task": manifest.task, "rows": manifest.rows}
    row |= {"commit": manifest.git, "backends": ", ".join(manifest.backend_settings or manifest.backends)}
    if summary is None:
        return row | {"complete": False}
    metric = headline_metric(summary)
    figures = {name: summary.backends[name].metrics.get(metric.name) for name in by_rank(summary)}
    scores = {name: None if figure is None else figure.value for name, figure in figures.items()}
    best = next((name for name, value in scores.items() if value is not None), None)
    row |= {"metric": metric.name, "unit": "share" if metric.in_points else metric.unit}
    row |= {"score": None if best is None else scores[best], "best": best, "scores": scores}
    return row | {"complete": summary.complete}


def _run_cells(row: dict[str, Any]) -> list[str]:
    """A run as a line of a table."""
    from harness.metrics import title
    from harness.text_format import count_noun, to_the_second

    score = "not finished" if row["complete"] is False and row["metric"] is None else "-"
    if row["score"] is not None:
        shown = f"{100 * row['score']:.1f} %" if row["unit"] == "share" else f"{row['score']:.3g}"
        score = f"{title(row['metric'])} {shown} ({row['best']})"
    cells = [row["id"], to_the_second(row["created"]) or "?", row["task"]]
    cells += ["?" if row["rows"] is None else count_noun(row["rows"], "row"), score]
    return [*cells, (row["commit"] or "-")[:7], row["backends"]]


LISTS: dict[str, Callable[[], Rows]] = {
    "tasks": _tasks,
    "backends": _backends,
    "recipes": _recipes,
    "adapters": _adapters,
    "runs": _runs,
}

SHOWN: dict[str, Callable[[dict[str, Any]], list[str]]] = {"runs": _run_cells}
"""How a row of a list is shown to people, where not by its values."""
