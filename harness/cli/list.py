"""`bench list`: tasks, backends, recipes, adapters, runs."""

from collections.abc import Callable
from typing import Any

import click

from harness.cli.options import json_option, quiet_option
from harness.cli.output import print_json
from harness.errors import BenchError, did_you_mean

Rows = list[dict[str, str]]


class ListName(click.Choice[str]):
    """The name of a list, also in the singular (`bench list run`)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises click.BadParameter with the nearest name."""
        if value not in self.choices and f"{value}s" in self.choices:
            return f"{value}s"
        if value not in self.choices:
            self.fail(f"there is no list '{value}'{did_you_mean(str(value), self.choices)}.", param, ctx)
        return str(value)


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
    widths = {key: max(len(row[key]) for row in rows) for key in rows[0]}
    for row in rows:
        click.echo("  ".join(value.ljust(widths[key]) for key, value in row.items()).rstrip())


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
        rows.append({"id": m.id, "task": m.task, "base": m.base, "recipe": m.recipe_name, "made": m.created})
    return rows


def _runs() -> Rows:
    from harness.runs.run_log import RunLog
    from harness.workspace import Workspace

    rows = []
    for path in sorted(Workspace.current().runs.glob("*/manifest.json")):
        try:
            manifest = RunLog.open(path.parent).manifest
        except BenchError as error:
            rows.append({"id": path.parent.name, "task": "?", "rows": "?", "backends": f"unreadable: {error}"})
            continue
        backends = ", ".join(manifest.backend_settings)
        rows.append({"id": manifest.id, "task": manifest.task, "rows": str(manifest.rows), "backends": backends})
    return rows


LISTS: dict[str, Callable[[], Rows]] = {
    "tasks": _tasks,
    "backends": _backends,
    "recipes": _recipes,
    "adapters": _adapters,
    "runs": _runs,
}
