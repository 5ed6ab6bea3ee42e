"""`bench quickstart`: train, run and report a small example, without network, key or GPU."""

import os
import sys
from importlib import resources
from typing import Any

import click

from harness.cli.options import json_option, quiet_option

TASK = "agnews"
LOOPBACK = "loopback-tfidf"
BACKENDS = ("llama-base", "llama-ft", LOOPBACK)
PROBE_ROWS = 20


@click.command()
@json_option
@quiet_option
def quickstart(as_json: bool, quiet: bool) -> int:
    """Train a tiny model on the embedded news sample and compare it with two others: table and report.

    Everything it writes goes into the workspace (BENCH_HOME, default ./.bench); it spends nothing.
    """
    from rich.console import Console

    from harness import runner
    from harness.adapters import dispatch, loopback_server, train_options
    from harness.backends.local.base_files import missing_local_extra
    from harness.cli.run_display import observed
    from harness.data.rows import EMBEDDED
    from harness.reports import run_page, terminal_table, training_page
    from harness.workspace import Workspace

    try:
        import sklearn  # noqa: F401  (the extra `local` brings it and all the others)
        import torch  # noqa: F401
    except ImportError:
        raise missing_local_extra() from None
    people = Console(stderr=True, quiet=quiet)
    base = str(resources.files("harness.adapters") / "tiny")
    workspace = Workspace.current()
    _say(people, "1/3 training an adapter for a tiny Llama (1 million weights) on the embedded sample")
    with loopback_server.loopback(TASK, EMBEDDED) as server:
        options = train_options.TrainOptions(TASK, base, "tiny-agnews", (), EMBEDDED)
        folder, _ = dispatch.train(options, workspace, people)
        training_page.write_training_report(folder)
        _say(people, f"2/3 sending {', '.join(BACKENDS)} the same prompts, on rows that none of them has seen")
        with observed(people, quiet=quiet) as observer:
            log = runner.run(
                TASK,
                BACKENDS,
                data=EMBEDDED,
                probe_rows=PROBE_ROWS,
                settings=_settings(base, str(folder.resolve()), server.url()),
                workspace=workspace,
                observer=observer,
            )
    _say(people, "3/3 the result (embedded sample)")
    summary = log.summary()
    assert summary is not None
    report = run_page.write_report(log, log.path / "report.html")
    if as_json:
        sys.stdout.buffer.write((log.path / "summary.json").read_bytes())
    terminal_table.print_summary(summary, people if as_json else Console())
    for line in (f"run: {log.path}", f"report: {report}", *_next_steps(log)):
        _say(people, line)
    return int(runner.exit_code(summary))


def _say(people: Any, text: str) -> None:
    people.print(text, markup=False, highlight=False, soft_wrap=True)


def _settings(base: str, adapter: str, url: str) -> Any:
    """The three candidates; one thread, as threads only wait for each other in a model this small."""
    from harness.settings import Settings

    tiny = {"kind": "local", "model": base, "threads": 1}
    return Settings(
        backends={
            "llama-base": tiny,
            "llama-ft": {**tiny, "adapter": adapter},
            LOOPBACK: {
                "kind": "openai",
                "model": "tfidf-logreg",
                "base_url": url,
                "api_key_env": "BENCH_LOOPBACK_KEY",  # never the key of a real provider
                "concurrency": 4,
            },
        }
    )


def _next_steps(log: Any) -> list[str]:
    """The next commands; with an API key set, the cost of a GPT run (nothing is spent here)."""
    if not os.environ.get("OPENAI_API_KEY"):
        return [f"next: bench train --task {TASK} && bench run --task {TASK} --backends llama-ft,gpt4"]
    model, usd = _gpt_cost(log)
    about = "unknown" if usd is None else f"about {usd:.2f} USD"
    return [
        f"with your OPENAI_API_KEY, {model} on these {log.manifest.rows} rows would cost {about}; nothing was spent. "
        "To start it:",
        f"  bench run --task {TASK} --data embedded --backends gpt4 --max-cost {max(usd or 0, 0.01) * 1.5:.2f}",
    ]


def _gpt_cost(log: Any) -> tuple[str, float | None]:
    """The `gpt4` backend's model, and USD by its listed price: prompts at 4 bytes a token, answers at 4 tokens."""
    from harness.money.prices import price_table
    from harness.settings import load_settings

    model = str(load_settings().backend("gpt4")["model"])
    listed = price_table().find(model)
    if listed is None:
        return model, None
    prompts = sum(len(m.content.encode()) for row in log.rows() for m in row.request.messages) / 4
    return model, (prompts * listed.price.input + 4 * log.manifest.rows * listed.price.output) / 1e6
