"""`bench serve`: an installed engine with the right flags, for a try on this machine."""

import contextlib
import signal
from pathlib import Path
from typing import Any

import click

from harness.cli.options import json_option, quiet_option
from harness.cli.output import print_json
from harness.cli.shell_completion import adapters
from harness.errors import BenchError


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name", metavar="ADAPTER", shell_complete=adapters)
@click.argument("options", metavar="[-- ENGINE OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.option("--engine", type=click.Choice(["vllm", "llama.cpp", "transformers"]), required=True, help="What serves.")
@click.option("--port", metavar="N", type=click.IntRange(1, 65535), help="Port on loopback (default: a free one).")
@click.option("--program", metavar="FILE", help="The engine's executable (default: from PATH).")
@click.option(
    "--wait",
    "wait_s",
    metavar="SECONDS",
    type=click.FloatRange(min=1),
    default=600,
    show_default=True,
    help="How long the engine may take to answer.",
)
@json_option
@quiet_option
def serve(
    name: str,
    options: tuple[str, ...],
    engine: Any,
    port: int | None,
    program: str | None,
    wait_s: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Serve ADAPTER on loopback for a try, until Ctrl-C; prints the bench.toml table that asks it.

    \b
    bench serve my-adapter --engine llama.cpp
    bench serve my-adapter --engine vllm -- --max-model-len 1024 --enforce-eager
    """
    import shlex

    from harness.adapter_manifest import find_adapter
    from harness.workspace import Workspace

    workspace = Workspace.current()
    folder = find_adapter(workspace, name)
    from harness.adapters import engine_server

    work: Path = workspace.root / "serve" / f"{folder.resolve().name}-{engine}"
    launch = engine_server.prepare(folder, engine, work, port=port, program=program, options=options)
    if not quiet:
        click.echo(f"bench: {shlex.join(launch.command)}", err=True)
    for sign in (signal.SIGINT, signal.SIGTERM):  # the engine ends with this process, also as a background job
        signal.signal(sign, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), engine_server.running(launch, wait_s) as process:
        if as_json:
            print_json({"model": launch.model, "base_url": launch.base_url, "table": launch.table()})
        else:
            click.echo(launch.table(), nl=False)
        if not quiet:
            click.echo(f"bench: serving at {launch.base_url}; Ctrl-C ends it", err=True)
        code = process.wait()
        raise BenchError(f"{launch.command[0]} ended by itself with code {code}.")
