"""No verb loads a library that it does not use: one line here for each verb and what it may load."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.main import VERBS
from harness.data.rows import DataSource
from harness.task_loading import load_rows, load_task
from tests.support.openai_server import OpenAIServer

HEAVY = (
    *("torch", "transformers", "peft", "accelerate", "datasets", "pandas", "pyarrow", "ray", "sklearn"),
    *("openai", "httpx", "httpx2", "aiohttp", "pydantic", "numpy", "scipy", "matplotlib", "jinja2", "jsonschema"),
    *("datasketch", "tiktoken", "altair"),
)
STATISTICS = {"numpy", "scipy"}
PAGES = {"numpy", "jinja2"}

ACTIONS: list[tuple[str, set[str]]] = [
    ("list tasks", set()),
    ("list backends", set()),
    ("list recipes", set()),
    ("list adapters", set()),
    ("list runs", set()),
    ("cache stats", set()),
    ("new-task tickets", set()),
    ("adapter show nothing", set()),
    ("ask hello --backends right", {"numpy"}),
    ("run --task agnews --data rows.jsonl --backends right,worse --out other", STATISTICS),  # scipy: the posterior
    ("report run", PAGES),
    ("report run --out figures.csv", set()),
    ("report run --out figures.md", set()),
    ("report run --vote right,worse", {"jinja2", "numpy"}),
    ("leaderboard run", PAGES),
    ("export run --out rows.csv", {"numpy"}),
    ("export run --out rows.parquet", {"numpy", "pyarrow", "pandas"}),  # pyarrow looks for pandas
    ("serve --help", set()),  # an engine is another program
    ("parity --help", set()),  # what it asks and compares loads what `run` and `gate` load
    ("view --help", set()),  # the server itself loads what reports load
    ("cascade run --small right --large worse", STATISTICS),
    ("compare run run --candidate right --reference worse", STATISTICS),
    ("gate run --candidate right --reference worse", STATISTICS),  # scipy: the exact interval of a rate
    ("baseline accept run --out main.json", {"numpy"}),
    ("monitor run --candidate right --at-least 0.5", STATISTICS),
    ("power --margin 0.02", {"numpy"}),
    ("data check --task agnews --data rows.jsonl", STATISTICS | {"datasketch"}),  # datasketch loads scipy
    ("estimate --task agnews --data rows.jsonl --backends gpt4", {"numpy"}),  # the seeded order
    ("estimate --task agnews --data rows.jsonl --backends gpt4 --batch --probe shuffle", {"numpy"}),
    ("judge run --judge right", {"numpy"}),
    ("train --task agnews --recipe no-such-recipe", {"numpy"}),
    ("quickstart --help", set()),
    ("import nothing --from inspect", STATISTICS | {"datasketch"}),
    ("doctor --help", set()),  # the diagnosis itself loads torch and every plugin: to say whether they work
]


def loaded(arguments: list[str], folder: Path) -> set[str]:
    """The heavy libraries that are in memory when `bench ARGUMENTS` ends."""
    code = (
        f"import sys\nfrom harness.cli.main import _run\n_run({arguments!r})\n"
        f"print(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 40 rows, two recordings of answers to them, and a run."""
    folder = tmp_path_factory.mktemp("imports")
    sample = Path(__file__).parents[2] / "tasks" / "data" / "news" / "test.jsonl"
    (folder / "rows.jsonl").write_text("".join(sample.read_text("utf-8").splitlines(keepends=True)[:40]), "utf-8")
    rows = load_rows(load_task("agnews"), DataSource(location=str(folder / "rows.jsonl")))
    tables = []
    for name, every in (("right", 40), ("worse", 3)):
        said = [{"id": row.id, "text": row.reference if n % every else "World"} for n, row in enumerate(rows)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in said), "utf-8")
        tables.append(f'[backends.{name}]\nkind = "replay"\npath = "{folder / name}.jsonl"\n')
    (folder / "bench.toml").write_text("".join(tables))
    loaded(["run", "--task", "agnews", "--data", "rows.jsonl", "--backends", "right,worse", "--out", "run"], folder)
    return folder


@pytest.mark.parametrize(("line", "allowed"), ACTIONS, ids=[line for line, _ in ACTIONS])
def test_a_verb_loads_only_what_it_uses(line: str, allowed: set[str], made: Path, tmp_path: Path) -> None:
    for path in made.iterdir():
        shutil.copytree(path, tmp_path / path.name) if path.is_dir() else shutil.copy(path, tmp_path)
    assert not loaded(line.split(), tmp_path) - allowed


def test_a_run_at_a_server_loads_an_http_client_and_no_more(made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "rows.jsonl", tmp_path)
    with OpenAIServer() as server:
        table = f'[backends.server]\nkind = "openai"\nmodel = "m"\nbase_url = "{server.url}"\n'
        (tmp_path / "bench.toml").write_text(table)
        line = "run --task agnews --data rows.jsonl --backends server --out other"
        assert loaded(line.split(), tmp_path) == {"aiohttp", "numpy"}
        assert server.stats().answered == 40


def test_every_verb_is_looked_at() -> None:
    assert {line.split()[0] for line, _ in ACTIONS} == set(VERBS), "say here what a new verb may load"


def test_help_of_every_verb_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom harness.cli.main import VERBS, _run\n"
        f"for verb in VERBS:\n    _run([verb, '--help'])\n"
        f"    assert not [m for m in {HEAVY!r} if m in sys.modules], verb"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
