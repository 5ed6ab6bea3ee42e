"""`bench new-task`: create a task with example rows and a passing test."""

import re
from importlib import resources
from pathlib import Path

import click

from harness.cli.options import json_option, quiet_option
from harness.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


@click.command("new-task")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["python", "toml"]),
    default="python",
    show_default=True,
    help="A class, for any rule of scoring; or a file, for labels, a pattern or a JSON schema.",
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder (default: this).",
)
@json_option
@quiet_option
def new_task(name: str, kind: str, out: Path, as_json: bool, quiet: bool) -> None:
    """Write a task called NAME, a few rows and a test.

    \b
    bench new-task tickets --kind toml
    """
    import json

    files = starter_files(name, kind)
    taken = [path for path in files if (out / path).exists()]
    if taken:
        raise UsageError(f"{out / taken[0]} already exists: choose another name, or another --out.")
    for path, content in files.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(content, "utf-8")
    spec = f"./{out / task_spec(name, kind)}" if not out.is_absolute() else str(out / task_spec(name, kind))
    if as_json:
        click.echo(json.dumps({"task": spec, "files": [str(out / path) for path in files]}))
        return
    for path in files:
        click.echo(str(out / path))
    if quiet:
        return
    click.echo(f"next: python -m pytest {out / f'test_{_module(name)}.py'}")
    click.echo(f"then: bench run --task {spec} --backends gpt4")


def task_spec(name: str, kind: str) -> str:
    """The value of `--task`, relative to the folder of the files."""
    return f"{_module(name)}.toml" if kind == "toml" else f"{_module(name)}.py:{_class(name)}"


def starter_files(name: str, kind: str) -> dict[str, str]:
    """Relative path -> content. Raises UsageError for a name that cannot name a file and a class."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot name a task: use small letters, digits, '-' and '_', a letter first.")
    module = _module(name)
    words = {"name": name, "module": module, "cls": _class(name), "spec": task_spec(name, kind)}
    suffix = "toml" if kind == "toml" else "py"
    return {
        f"{module}.{suffix}": _starter(f"task.{suffix}.txt").format(**words),
        f"{module}_rows/train.jsonl": _starter("train.jsonl"),
        f"{module}_rows/test.jsonl": _starter("test.jsonl"),
        f"test_{module}.py": _starter("test_task.py.txt").format(**words),
    }


def _starter(name: str) -> str:
    return resources.files("harness").joinpath("starters", name).read_text("utf-8")


def _module(name: str) -> str:
    return name.replace("-", "_")


def _class(name: str) -> str:
    return "".join(part.capitalize() for part in _module(name).split("_"))
