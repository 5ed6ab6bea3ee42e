"""`bench ask`: one prompt, several backends, side by side."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.backend import Backend, RunRequirements
from harness.cli.options import config_option, json_option, quiet_anyway
from harness.cli.output import print_json
from harness.cli.shell_completion import backends, tasks
from harness.errors import BackendStopped, ExitCode, UnreachableError, UsageError
from harness.records import BackendIdentity, Completion, Failure, Record, Request
from harness.text_format import split_names

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.argument("prompt")
@click.option(
    "--backends", metavar="A,B", shell_complete=backends, required=True, help="Names from bench.toml or built in."
)
@click.option("--system", metavar="TEXT", help="A system message before the prompt.")
@click.option("--labels", metavar="A,B", help="The closed set of answers, for backends that choose among labels.")
@click.option(
    "--task", metavar="TASK", shell_complete=tasks, default="", help="Task whose current adapter local backends use."
)
@click.option(
    "--max-tokens",
    metavar="N",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Maximum tokens of an answer.",
)
@click.option(
    "--temperature",
    metavar="T",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Above 0, answers are sampled.",
)
@click.option("--max-cost", metavar="USD", type=click.FloatRange(min=0), help="Refuse a request that could cost more.")
@click.option("--no-cache", is_flag=True, help="Do not use cached answers.")
@config_option
@json_option
@quiet_anyway
def ask(
    prompt: str,
    backends: str,
    system: str | None,
    labels: str | None,
    task: str,
    max_tokens: int,
    temperature: float,
    max_cost: float | None,
    no_cache: bool,
    config: Path | None,
    as_json: bool,
) -> int:
    """Send one prompt to several backends and show the answers side by side; `-` reads the prompt from a pipe.

    \b
    bench ask "Which section: 'Rates rise again'?" --backends llama-base,gpt4
    """
    import asyncio

    from rich.console import Console

    from harness.backend import RunContext
    from harness.execution.backend_setup import backend_tables, make_backends
    from harness.hashing import digest
    from harness.money.prices import Budget
    from harness.records import Message, Request
    from harness.run_options import RunOptions
    from harness.settings import load_settings
    from harness.workspace import Workspace

    text = _piped() if prompt == "-" else prompt
    if not text.strip():
        raise UsageError("the prompt is empty.")
    before = (Message(role="system", content=system),) if system else ()
    request = Request(
        id=digest([system, text])[:16],
        messages=(*before, Message(role="user", content=text)),
        labels=tuple(split_names(labels, "--labels")) if labels else (),
        max_tokens=max_tokens,
        temperature=temperature,
    )
    options = RunOptions(task=task, backends=tuple(split_names(backends, "--backends")))
    context = RunContext(Workspace.current(), budget=Budget(ceiling=max_cost), use_cache=not no_cache)
    made = make_backends(backend_tables(options, load_settings(config)), task, context)
    replies = asyncio.run(ask_all(made, request))
    if as_json:
        print_json(replies)
    else:
        _show(Console(), replies)
    return ExitCode.INCOMPLETE if any(r.completion.error for r in replies) else ExitCode.DONE


def _piped() -> str:
    try:
        return sys.stdin.buffer.read().decode() if sys.stdin else ""
    except UnicodeDecodeError as error:
        raise UsageError(f"the prompt on standard input is not UTF-8 (byte {error.start}).") from None


def _show(console: "Console", replies: "list[AskReply]") -> None:
    """Model output may contain control codes of the terminal: they are shown, not interpreted."""
    from rich.columns import Columns
    from rich.panel import Panel
    from rich.text import Text

    from harness import text_sanitize

    visible, one_line = text_sanitize.visible, text_sanitize.visible_line
    width = max(30, console.width // max(1, min(len(replies), 3)) - 2)
    panels = [
        Panel(
            Text(visible(_said(r))),
            title=Text(one_line(f"{r.backend} ({r.identity.model})")),
            subtitle=Text(one_line(_facts(r))),
            border_style="red" if r.completion.error else "",
            width=width,
        )
        for r in replies
    ]
    console.print(Columns(panels))


def _said(reply: "AskReply") -> str:
    error = reply.completion.error
    return reply.completion.text if error is None else f"{error.kind}: {error.message}"


def _facts(reply: "AskReply") -> str:
    done = reply.completion
    cost = "cost unknown" if done.cost.list is None else f"{done.cost.list:.6f} USD"
    seconds = "from the cache" if done.cached else f"{done.timing.service_s:.2f} s"
    finish = done.finish if done.finish not in (None, "stop") else ""
    return ", ".join(filter(None, (finish, seconds, f"{done.usage.completion_tokens} tokens", cost)))


class AskReply(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What one backend said."""

    backend: str
    identity: BackendIdentity
    completion: Completion


async def ask_all(backends: dict[str, Backend], request: Request) -> list[AskReply]:
    """Check all backends, then ask them at the same time; one that stops, or cannot be reached, does not keep the
    others from answering.

    Raises UsageError before anything is sent.
    """
    needs = RunRequirements(
        task="",
        rows=1,
        labels=request.labels,
        schema=request.schema,
        max_tokens=request.max_tokens,
        messages=request.messages,
    )
    try:
        down = await _unreachable(backends, needs)
        return list(
            await asyncio.gather(*(_ask(name, backend, request, down.get(name)) for name, backend in backends.items()))
        )
    finally:
        for backend in backends.values():
            await backend.aclose()


async def _unreachable(backends: dict[str, Backend], needs: RunRequirements) -> dict[str, UnreachableError]:
    """Check all; the backends whose server cannot be reached, where others' can."""
    down = {}
    for name, backend in backends.items():
        try:
            await backend.check(needs)
        except UnreachableError as error:
            down[name] = error
    if down and len(down) == len(backends):
        raise next(iter(down.values()))
    return down


async def _ask(name: str, backend: Backend, request: Request, down: UnreachableError | None) -> AskReply:
    async def only() -> AsyncIterator[Request]:
        yield request

    completion = Completion(id=request.id, error=Failure(kind="no answer", message="the backend gave no answer"))
    if down is not None:
        completion = Completion(id=request.id, error=Failure(kind="connection", message=str(down)))
        return AskReply(backend=name, identity=backend.identity(), completion=completion)
    with tempfile.TemporaryDirectory() as folder:
        try:
            async for answer in backend.stream(only(), Path(folder)):
                completion = answer
        except BackendStopped as stop:
            completion = Completion(id=request.id, error=Failure(kind=stop.kind, message=str(stop)))
    return AskReply(backend=name, identity=backend.identity(), completion=completion)
