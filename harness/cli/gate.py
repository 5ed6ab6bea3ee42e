"""`bench gate`: decide by exit code whether the candidate may ship."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.cli.options import config_option, json_option, quiet_option
from harness.cli.shell_completion import runs

if TYPE_CHECKING:
    from harness.gating.gate_result import GateResult

F = TypeVar("F", bound=Callable[..., Any])
TERMS = ("margin", "at_most", "at_least", "ratio")


def _term(flag: str, help_text: str) -> Callable[[F], F]:
    return click.option(flag, nargs=2, type=(str, float), multiple=True, metavar="FIGURE X", help=help_text)


@click.command()
@click.argument("run", metavar="RUN", shell_complete=runs)
@click.option("--baseline", metavar="FILE|RUN", help="A baseline (bench baseline accept) or another run.")
@click.option("--candidate", metavar="A", help="The backend of RUN to evaluate (default: all by name).")
@click.option("--reference", metavar="B", help="The backend to compare with; without --baseline, of RUN itself.")
@_term("--margin", "Largest acceptable loss: --margin accuracy 0.02.")
@_term("--at-most", "Limit for the upper 95 % bound: --at-most format_error_rate 0.02.")
@_term("--at-least", "Limit for the lower 95 % bound: --at-least accuracy 0.9.")
@_term("--ratio", "Candidate / reference, for cost_per_1000, latency_p50, latency_p95.")
@click.option("--on-inconclusive", type=click.Choice(["warn", "block"]), help="Exit code 0 or 5 (default: warn).")
@click.option(
    "--latency-run",
    "latency_runs",
    metavar="RUN",
    shell_complete=runs,
    multiple=True,
    help="A run that probes both sides; five or more.",
)
@click.option("--markdown", "markdown_file", metavar="FILE", type=click.Path(path_type=Path), help="Write Markdown.")
@click.option("--junit", "junit_file", metavar="FILE", type=click.Path(path_type=Path), help="Write JUnit XML.")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the result is written (default: gate.json in RUN, where `bench leaderboard` finds it).",
)
@config_option
@json_option
@quiet_option
def gate(
    run: str,
    baseline: str | None,
    candidate: str | None,
    reference: str | None,
    on_inconclusive: Any,
    latency_runs: tuple[str, ...],
    markdown_file: Path | None,
    junit_file: Path | None,
    out: Path | None,
    config: Path | None,
    as_json: bool,
    quiet: bool,
    **terms: tuple[tuple[str, float], ...],
) -> int:
    """Decide whether a candidate may ship: pass, fail, inconclusive, or not comparable.

    \b
    bench gate last --baseline main.json
    bench gate last --candidate llama-ft --reference gpt4 --margin accuracy 0.02

    Exit codes: 0 pass, 1 fail, 2 usage, 3 run incomplete, 4 not comparable or no baseline,
    5 inconclusive with --on-inconclusive block.
    """
    from rich.console import Console

    from harness.files import write_json
    from harness.gating.ci_outputs import show
    from harness.gating.gate_sources import gate_run
    from harness.settings import load_settings
    from harness.workspace import Workspace

    workspace = Workspace.current()
    path = workspace.find_run(run)
    settings = load_settings(config)
    result = gate_run(
        path,
        workspace=workspace,
        table=settings.gate,
        where=f"{settings.path} [gate]" if settings.path else "[gate]",
        baseline=baseline,
        candidate=candidate,
        reference=reference,
        flags=_by_figure(terms),
        on_inconclusive=on_inconclusive,
        latency_runs=[workspace.find_run(word) for word in latency_runs],
    )
    write_json(out or path / "gate.json", result)
    _write_pages(result, markdown_file, junit_file)
    _tell_machines(result, as_json)
    if not quiet or result.exit_code:
        show(result, Console(stderr=as_json))
    return result.exit_code


def _by_figure(terms: dict[str, tuple[tuple[str, float], ...]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for term in TERMS:
        for name, value in terms[term]:
            found.setdefault(name, {})[term] = value
    return found


def _write_pages(result: "GateResult", markdown_file: Path | None, junit_file: Path | None) -> None:
    from harness.files import write_whole
    from harness.gating.ci_outputs import junit_xml, markdown

    if markdown_file is not None:
        write_whole(markdown_file, markdown(result).encode("utf-8", "replace"))
    if junit_file is not None:
        write_whole(junit_file, junit_xml(result))


def _tell_machines(result: "GateResult", as_json: bool) -> None:
    """JSON on standard output; annotations there too on GitHub, unless JSON needs it for itself."""
    import msgspec

    from harness.gating.ci_outputs import annotations

    if os.environ.get("GITHUB_ACTIONS"):
        for line in annotations(result):
            print(line, file=sys.stderr if as_json else sys.stdout)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
