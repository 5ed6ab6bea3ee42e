"""`bench quickstart`: train, run and report a small example, without network, key or GPU."""

import os
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from harness.cli.options import json_option, quiet_option

if TYPE_CHECKING:
    from rich.console import Console

    from harness.runs.run_log import RunLog

TASK = "agnews"
LOOPBACK = "loopback-tfidf"
PROBE_ROWS = 20
REAL_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


class QuickstartExample(NamedTuple):
    """What is trained and asked.

    plain, tuned: names of the two backends. limit, rows: training and evaluated rows; None: all of the embedded sample.
    """

    about: str
    base: str
    recipe: str
    plain: str
    tuned: str
    overrides: tuple[str, ...] = ()
    limit: int | None = None
    rows: int | None = None
    threads: int | None = None


def tiny_example() -> QuickstartExample:
    """The model that ships with Bench; one thread, as threads only wait for each other in a model this small."""
    base = str(resources.files("harness.adapters") / "tiny")
    return QuickstartExample(
        "a tiny Llama (1 million weights)", base, "tiny-agnews", plain="llama-base", tuned="llama-ft", threads=1
    )


def real_example() -> QuickstartExample:
    """SmolLM2-135M-Instruct: the copy of the real tier (docs/real-models.md) where there is one, else the Hub's."""
    folder = Path(os.environ.get("BENCH_REAL") or Path.home() / ".cache" / "bench-real") / "smollm2-135m-instruct"
    base = str(folder.resolve()) if (folder / "model.safetensors").is_file() else REAL_MODEL
    overrides = ("batch=8", "accumulate=1", "learning_rate=1e-3", "validation_rows=60", "evaluations=1")
    return QuickstartExample(
        "SmolLM2-135M-Instruct",
        base,
        "agnews-generate",
        plain="smollm2-base",
        tuned="smollm2-ft",
        overrides=overrides,
        limit=360,
        rows=150,
    )


@click.command()
@click.option("--real", is_flag=True, help="Tune SmolLM2-135M instead of the tiny model: minutes more on a CPU.")
@json_option
@quiet_option
def quickstart(real: bool, as_json: bool, quiet: bool) -> int:
    """Train a tiny model on the embedded news sample and compare it with two others: table and report.

    Everything it writes goes into the workspace (BENCH_HOME, default ./.bench); it spends nothing.
    """
    from rich.console import Console

    from harness import runner
    from harness.backends.local.base_files import missing_local_extra
    from harness.reports import run_page, terminal_table

    try:
        import sklearn  # noqa: F401  (the extra `local` brings it and all the others)
        import torch  # noqa: F401
    except ImportError:
        raise missing_local_extra() from None
    people = Console(stderr=True, quiet=quiet)
    example = real_example() if real else tiny_example()
    log = _train_and_ask(example, people, quiet)
    _say(people, "3/3 the result (embedded sample)")
    summary = log.summary()
    assert summary is not None
    report = run_page.write_report(log, log.path / "report.html")
    if as_json:
        sys.stdout.buffer.write((log.path / "summary.json").read_bytes())
    terminal_table.print_summary(summary, people if as_json else Console())
    for line in (f"run: {log.path}", f"report: {report}", *_next_steps(log, real)):
        _say(people, line)
    return int(runner.exit_code(summary))


def _train_and_ask(example: QuickstartExample, people: "Console", quiet: bool) -> "RunLog":
    """Train the adapter, and ask it, its base and the loopback server, which stands in for a paid API."""
    from harness import runner
    from harness.adapters import dispatch, loopback_server, train_options
    from harness.cli.run_display import observed
    from harness.data.rows import EMBEDDED
    from harness.reports import training_page
    from harness.workspace import Workspace

    names = (example.plain, example.tuned, LOOPBACK)
    workspace = Workspace.current()
    _say(people, f"1/3 training an adapter for {example.about} on the embedded sample")
    with loopback_server.loopback(TASK, EMBEDDED) as server:
        options = train_options.TrainOptions(
            TASK, example.base, example.recipe, example.overrides, EMBEDDED, limit=example.limit
        )
        folder, _ = dispatch.train(options, workspace, people)
        training_page.write_training_report(folder)
        _say(people, f"2/3 sending {', '.join(names)} the same prompts, on rows that none of them has seen")
        _say(people, f"    {LOOPBACK} is a server on this machine that stands in for the paid API")
        with observed(people, quiet=quiet) as observer:
            return runner.run(
                TASK,
                names,
                data=EMBEDDED,
                limit=example.rows,
                probe_rows=PROBE_ROWS,
                incumbent=LOOPBACK,
                candidate=example.tuned,
                settings=_settings(example, str(folder.resolve()), server.url()),
                workspace=workspace,
                observer=observer,
            )


def _say(people: "Console", text: str) -> None:
    people.print(text, markup=False, highlight=False, soft_wrap=True)


def _settings(example: QuickstartExample, adapter: str, url: str) -> Any:
    """The three candidates."""
    from harness.settings import Settings

    local: dict[str, Any] = {"kind": "local", "model": example.base}
    if example.threads is not None:
        local["threads"] = example.threads
    return Settings(
        backends={
            example.plain: local,
            example.tuned: {**local, "adapter": adapter},
            LOOPBACK: {
                "kind": "openai",
                "model": "tfidf-logreg",
                "base_url": url,
                "api_key_env": "BENCH_LOOPBACK_KEY",  # never the key of a real provider
                "concurrency": 4,
            },
        }
    )


def _next_steps(log: "RunLog", real: bool) -> list[str]:
    """The next commands; with an API key set, the cost of a GPT run (nothing is spent here)."""
    steps = [] if real else ["next, a pretrained model on the same rows, in minutes: bench quickstart --real"]
    steps.append(
        "next, rows of your own: bench new-task NAME --from FILE.csv, then bench train, bench run and bench gate"
    )
    if not os.environ.get("OPENAI_API_KEY"):
        return steps
    model, usd = _gpt_cost(log)
    about = "unknown" if usd is None else f"about {usd:.2f} USD"
    return [
        *steps,
        f"with your OPENAI_API_KEY, {model} on these {log.manifest.rows} rows would cost {about}; nothing was spent. "
        "To start it:",
        f"  bench run --task {TASK} --data embedded --backends gpt4 --max-cost {max(usd or 0, 0.01) * 1.5:.2f}",
    ]


def _gpt_cost(log: "RunLog") -> tuple[str, float | None]:
    """The `gpt4` backend's model, and USD by its listed price: prompts at 4 bytes a token, answers at 4 tokens."""
    from harness.money.prices import price_table
    from harness.settings import load_settings

    model = str(load_settings().backend("gpt4")["model"])
    listed = price_table().find(model)
    if listed is None:
        return model, None
    prompts = sum(len(m.content.encode()) for row in log.rows() for m in row.request.messages) / 4
    return model, (prompts * listed.price.input + 4 * log.manifest.rows * listed.price.output) / 1e6
