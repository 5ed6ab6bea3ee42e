"""`bench new-task`: create a task with example rows and a passing test."""

import re
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import click

from harness.cli.options import json_option, quiet_option
from harness.errors import UsageError

FORM_NAMES = (
    "text", "label", "multi-label", "ordinal", "number", "pattern", "json", "fields", "tool-call", "spans",
)  # fmt: skip

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
@click.option("--form", "form", metavar="FORM", type=click.Choice(tuple(FORM_NAMES)), help="A task file of this form.")
@click.option(
    "--from",
    "source",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True),
    help="A task file for the rows of FILE: columns are guessed, rows split.",
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
def new_task(
    name: str, kind: str, form: str | None, source: Path | None, out: Path, as_json: bool, quiet: bool
) -> None:
    """Write a task called NAME, a few rows and a test.

    \b
    bench new-task tickets --kind toml
    bench new-task invoices --form fields
    bench new-task reviews --from reviews.csv
    """
    import json

    remarks: tuple[str, ...] = ()
    if form is not None and source is not None:
        raise UsageError("--form and --from exclude each other: the form of --from is guessed from the rows.")
    if source is not None:
        kind, files, remarks = "toml", *from_rows(name, source)
    elif form is not None:
        kind, files = "toml", form_files(name, form)
    else:
        files = starter_files(name, kind)
    taken = [path for path in files if (out / path).exists()]
    if taken:
        raise UsageError(f"{out / taken[0]} already exists: choose another name, or another --out.")
    for path, content in files.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(content, "utf-8")
    spec = f"./{out / task_spec(name, kind)}" if not out.is_absolute() else str(out / task_spec(name, kind))
    if as_json:
        click.echo(json.dumps({"task": spec, "files": [str(out / path) for path in files], "remarks": remarks}))
        return
    for sentence in remarks:
        click.echo(sentence)
    for path in files:
        click.echo(str(out / path))
    if quiet:
        return
    steps = [f"bench data check --task {spec}", f"bench run --task {spec} --backends {_backends_here()}"]
    if find_spec("pytest") is not None:
        steps.insert(0, f"python -m pytest {out / f'test_{_module(name)}.py'}")
    for word, step in zip(("next", *["then"] * len(steps)), steps, strict=False):
        click.echo(f"{word}: {step}")


def _backends_here() -> str:
    """The backends that bench.toml of this folder defines, for the command to type next; without any, the API's."""
    from harness.settings import builtin_backends, load_settings

    try:
        own = [name for name in load_settings().backends if name not in builtin_backends()]
    except UsageError:  # of bench.toml, which is not this verb's business
        own = []
    return ",".join(own[:2]) or "gpt4"


def task_spec(name: str, kind: str) -> str:
    """The value of `--task`, relative to the folder of the files."""
    return f"{_module(name)}.toml" if kind == "toml" else f"{_module(name)}.py:{_class(name)}"


def starter_files(name: str, kind: str) -> dict[str, str]:
    """Relative path -> content. Raises UsageError for a name that cannot name a file and a class."""
    module = _checked(name)
    words = {"name": name, "module": module, "cls": _class(name), "spec": task_spec(name, kind)}
    suffix = "toml" if kind == "toml" else "py"
    return {
        f"{module}.{suffix}": _starter(f"task.{suffix}.txt").format(**words),
        f"{module}_rows/train.jsonl": _starter("train.jsonl"),
        f"{module}_rows/test.jsonl": _starter("test.jsonl"),
        f"test_{module}.py": _starter("test_task.py.txt").format(**words),
    }


def form_files(name: str, form: str) -> dict[str, str]:
    """A small task of a form: relative path -> content. Raises UsageError for a name that cannot name a file."""
    import msgspec

    starter = msgspec.toml.decode(_starter("forms.toml"))[form]
    rows = starter["rows"].strip().splitlines(keepends=True)
    head = f"# Run it with: bench run --task ./{_module(name)}.toml --backends ...\n"
    keys = _with_data(starter["task"].lstrip(), f"{_module(name)}_rows")
    return _task_files(name, head + keys, "".join(rows) + "\n", "".join(rows[:3]))


def _with_data(keys: str, folder: str) -> str:
    """The keys with `data` before their first table."""
    top, bracket, tables = keys.partition("\n[")
    return f'{top.rstrip()}\ndata = "{folder}"\n' + (f"{bracket}{tables}" if bracket else "")


def _task_files(name: str, task: str, train: str, test: str) -> dict[str, str]:
    module = _checked(name)
    words = {"name": name, "spec": task_spec(name, "toml")}
    return {
        f"{module}.toml": task,
        f"{module}_rows/train.jsonl": train,
        f"{module}_rows/test.jsonl": test,
        f"test_{module}.py": _starter("test_form.py.txt").format(**words),
    }


def from_rows(name: str, source: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """A task file for the rows of a file or a folder: relative path -> content, and what was guessed, in words.

    Raises UsageError for a file that cannot be read, or of which nothing can be guessed.
    """
    from harness.task_from_rows import guessed_task

    found = guessed_task(source, f"{_checked(name)}_rows")
    return _task_files(name, found.task, found.train, found.test), found.remarks


def _checked(name: str) -> str:
    """The name as that of a file. Raises UsageError for one that cannot name a file and a class."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot name a task: use small letters, digits, '-' and '_', a letter first.")
    return _module(name)


def _starter(name: str) -> str:
    return resources.files("harness").joinpath("starters", name).read_text("utf-8")


def _module(name: str) -> str:
    return name.replace("-", "_")


def _class(name: str) -> str:
    return "".join(part.capitalize() for part in _module(name).split("_"))
