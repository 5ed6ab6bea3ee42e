"""The `bench` command: finds a verb by name, imports it when called, and maps errors to exit codes."""

import errno
import importlib
import io
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
from click.shell_completion import CompletionItem

from harness.errors import BenchError, ExitCode, did_you_mean

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Patient(io.FileIO):
    """A file whose reader may close it (`bench list runs | head`): later output is dropped.

    Not left to the callers: click and rich end the process with code 1 then, in the middle of a run or in the place
    of a gate's own exit code.
    """

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError):
                return memoryview(data).nbytes
            raise


def prepare_streams() -> None:
    """Put such streams in the place of `sys.stdout` and `sys.stderr`."""
    sys.stdout, sys.stderr = _prepared(sys.stdout), _prepared(sys.stderr)


def _prepared(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed by the caller: `bench run >&-`
        return Path(os.devnull).open("w", encoding="utf-8")
    if type(stream) is not io.TextIOWrapper or not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
        return stream  # a test's, or a console of Windows
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Patient(stream.fileno(), "wb", closefd=False)),
        encoding="utf-8",  # whatever the locale encodes: an unknown character must not end a run
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )


VERBS: dict[str, tuple[str, str]] = {
    "quickstart": ("harness.cli.quickstart:quickstart", "Train, run and report a small example, offline, in minutes."),
    "train": ("harness.cli.train:train", "Fine-tune an adapter on a task's training rows."),
    "run": ("harness.cli.run:run", "Send every candidate the same prompts; one run directory."),
    "import": (
        "harness.cli.import_results:import_results",
        "Import results of lm-eval, Inspect, promptfoo or DeepEval.",
    ),
    "report": ("harness.cli.report:report", "Report a run: a page, a table, figures for other tools."),
    "export": ("harness.cli.export:export", "Write a run's answers row by row: CSV, Parquet, JSON lines."),
    "leaderboard": (
        "harness.cli.leaderboard:leaderboard",
        "Write a board of many runs: a static site, badges, a table.",
    ),
    "view": ("harness.cli.view:view", "Follow the runs of the workspace in a browser, locally."),
    "compare": ("harness.cli.compare:compare", "Compare two runs on the rows they share."),
    "cascade": ("harness.cli.cascade:cascade", "Combine a small and a large model at a certified threshold."),
    "gate": ("harness.cli.gate:gate", "Decide by exit code whether the candidate may ship."),
    "baseline": ("harness.cli.baseline:baseline", "Accept a run as the baseline of later ones."),
    "monitor": ("harness.cli.monitor:monitor", "Monitor a candidate over runs on new rows."),
    "power": ("harness.cli.power:power", "Plan sample sizes; show what the present rows can detect."),
    "parity": ("harness.cli.parity:parity", "Show whether a served copy answers as the model did."),
    "serve": ("harness.cli.serve:serve", "Serve an adapter on loopback by an installed engine."),
    "adapter": ("harness.cli.adapter:adapter", "Import, show, check, merge, export, push or remove adapters."),
    "judge": ("harness.cli.judge:judge", "Compare answers pairwise with a judge model, in both orders."),
    "data": ("harness.cli.data:data", "Inspect, split, import and generate rows."),
    "new-task": ("harness.cli.new_task:new_task", "Create a task with example rows and a passing test."),
    "ask": ("harness.cli.ask:ask", "Send one prompt to several backends, side by side."),
    "estimate": ("harness.cli.estimate:estimate", "Estimate the cost and duration of a run."),
    "cache": ("harness.cli.cache:cache", "Show or clear the answer cache."),
    "doctor": ("harness.cli.doctor:doctor", "Check the installation: missing packages, keys and devices."),
    "list": ("harness.cli.list:listing", "List tasks, backends, recipes, adapters or runs."),
}
"""Verb -> (where it is, one line for `bench --help`). Order is the order of the help page."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""A full disk names no file."""


class LazyGroup(click.Group):
    """A group whose commands are imported when called; its help page needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the table's order."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one verb."""
        if name not in VERBS:
            return None
        module, _, attribute = VERBS[name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Common first words are accepted as the corresponding options."""
        return super().parse_args(ctx, meant(args))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb that was typed; an unknown one is reported with the nearest name."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            raise click.UsageError(f"there is no verb '{args[0]}'{did_you_mean(args[0], VERBS)}.")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs and options for the tab key, again from the table alone."""
        verbs = [CompletionItem(name, help=line) for name, (_, line) in VERBS.items() if name.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs and their lines, from the table alone."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


def meant(words: list[str]) -> list[str]:
    """`version`, `help`, `help run` and `--help run` as `--version`, `--help` and `run --help`; else the words."""
    first, rest = (words[0], words[1:]) if words else ("", [])
    if first == "version" and not rest:
        return ["--version"]
    if first in ("help", "--help", "-h"):
        return [*rest, "--help"] if rest and rest[0] in VERBS else ["--help"]
    return words


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bench-harness", prog_name="bench")
def cli() -> None:
    """Can a small model that we fine-tune replace the paid API, and how sure are we?

    \b
    bench train  --task agnews
    bench run    --task agnews --backends llama-ft,gpt4
    bench report RUN
    bench gate   RUN --baseline main.json
    """


def main(argv: list[str] | None = None) -> None:
    """Run a verb and end the process with its exit code."""
    prepare_streams()
    _quiet_libraries()
    sys.exit(_run(sys.argv[1:] if argv is None else argv))


def _quiet_libraries() -> None:
    """Warnings of libraries are hidden unless requested (python -W, PYTHONWARNINGS)."""
    if sys.warnoptions:
        return
    for kind in (FutureWarning, DeprecationWarning, PendingDeprecationWarning):
        warnings.simplefilter("ignore", kind)
    libraries = "torch|transformers|peft|accelerate|bitsandbytes|huggingface_hub"
    warnings.filterwarnings("ignore", category=UserWarning, module=rf"({libraries})(\.|$)")


def _run(argv: list[str]) -> int:
    try:
        result: Any = cli.main(argv, prog_name="bench", standalone_mode=False)
        sys.stdout.flush()
        return int(result or ExitCode.DONE)
    except BenchError as error:
        return _tell(str(error), error.exit_code)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _tell("interrupted.", ExitCode.INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:  # `bench`, `bench data`: the page is the answer
        print(error.format_message(), file=sys.stderr)
        return ExitCode.USAGE
    except click.ClickException as error:
        return _tell(error.format_message(), ExitCode.USAGE)
    except Exception as error:
        if isinstance(error, OSError) and (error.filename is not None or error.errno in FULL):
            where = (
                "" if error.filename is None else f"{error.filename}: "
            )  # a disk, a permission, a folder that was removed
            return _tell(f"{where}{error.strerror}. What was written before is still there.", ExitCode.USAGE)
        from harness.registry import fault_of_users_code  # importlib.metadata: a third of the start of `bench`

        fault = fault_of_users_code(error)
        if fault is not None:
            return _tell(f"{fault}. The error is in that file, not in Bench.", ExitCode.USAGE)
        import traceback

        traceback.print_exc()
        return _tell("internal error (a bug in Bench): please report the lines above.", ExitCode.CRASH)


def _tell(message: str, code: int) -> int:
    print(f"bench: {message}", file=sys.stderr)
    return code
