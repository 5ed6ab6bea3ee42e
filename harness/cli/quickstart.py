"""`bench quickstart`: the whole story on one's own machine, without network, key or GPU."""

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
    from harness.cli.progress import observed
    from harness.cli.rooms import TABLE, load
    from harness.local.base import missing_extra
    from harness.rows import EMBEDDED
    from harness.workspace import Workspace

    try:
        import sklearn  # noqa: F401  (the extra `local` brings it and all the others)
        import torch  # noqa: F401
    except ImportError:
        raise missing_extra() from None
    people = Console(stderr=True, quiet=quiet)
    base = str(resources.files("harness.adapters") / "tiny")
    workspace = Workspace.current()
    _say(people, "1/3 training an adapter for a tiny Llama (1 million weights) on the embedded sample")
    with load("harness.adapters.loopback:loopback")(TASK, EMBEDDED) as server:
        options = load("harness.adapters.train:TrainOptions")(TASK, base, "tiny-agnews", (), EMBEDDED)
        folder, _ = load("harness.adapters.train:train")(options, workspace, people)
        _say(people, f"2/3 asking {', '.join(BACKENDS)} the same prompts, on rows that none of them has seen")
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
    report = load("harness.reports.page:write_report")(log, log.path / "report.html")
    if as_json:
        sys.stdout.buffer.write((log.path / "summary.json").read_bytes())
    load(TABLE)(summary, people if as_json else Console())
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
    """What to type next; with a key at hand, what a GPT run would cost (nothing is spent here)."""
    real = f"bench train --task {TASK} && bench run --task {TASK} --backends llama-ft,gpt4"
    if not os.environ.get("OPENAI_API_KEY"):
        return [f"next: {real}   (gpt4 needs OPENAI_API_KEY)"]
    return [f"next: {real}"]
