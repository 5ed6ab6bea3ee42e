"""`bench adapter`: manage trained adapters."""

from pathlib import Path
from typing import Any

import click

from harness.cli.options import PageFile, json_option, quiet_anyway
from harness.cli.output import print_json
from harness.cli.shell_completion import adapters, tasks
from harness.errors import ExitCode, UsageError
from harness.text_format import count_noun


@click.group()
def adapter() -> None:
    """Import, show, check, report, merge, export, push or remove adapters."""


@adapter.command()
@click.argument("name", metavar="ADAPTER", shell_complete=adapters)
@json_option
@quiet_anyway
def show(name: str, as_json: bool) -> None:
    """Show what ADAPTER (an id or a folder) is and how it was trained."""
    from harness.adapter_manifest import MANIFEST, find_adapter, read_manifest
    from harness.workspace import Workspace

    workspace = Workspace.current()
    folder = find_adapter(workspace, name)
    if as_json and (folder / MANIFEST).is_file():
        click.echo((folder / MANIFEST).read_text("utf-8"), nl=False)
    elif as_json:
        print_json(read_manifest(folder))
    else:
        from harness.adapters import inspection

        click.echo(inspection.described(workspace, folder))


@adapter.command()
@click.argument("name", metavar="ADAPTER", shell_complete=adapters)
@click.option("--for", "server", type=click.Choice(["vllm"]), help="Check whether this server can serve it, and how.")
@click.option("--max-lora-rank", metavar="R", type=int, help="The server's largest rank (vLLM's default: 16).")
@json_option
@quiet_anyway
def check(name: str, server: str | None, max_lora_rank: int | None, as_json: bool) -> int:
    """Verify that ADAPTER and its base are unchanged since the training.

    Of a PEFT folder trained elsewhere: that it can be read, and fits the base that it names.
    Exit code 2 where something is wrong, or where the server named by --for cannot serve it.
    """
    from harness.adapter_manifest import find_adapter, read_manifest
    from harness.workspace import Workspace

    folder = find_adapter(Workspace.current(), name)
    if server is not None:
        return _serving(folder, max_lora_rank or 16, as_json)
    if max_lora_rank is not None:
        raise UsageError("--max-lora-rank goes with --for vllm.")
    from harness.adapters import inspection

    wrong: list[str] = inspection.check(folder)
    note = inspection.contamination_note(folder) if read_manifest(folder).origin == "peft" else ""
    whole = f"{folder} is complete, and its base is the one it was trained on."
    if note:
        whole = f"{folder} fits the base that it names."
    lines = [*(wrong or [whole]), *([note] if note else [])]
    _tell({"path": str(folder), "wrong": wrong, "notes": [note] if note else []}, "\n".join(lines), as_json)
    return int(ExitCode.USAGE if wrong else ExitCode.DONE)


def _serving(folder: Path, max_rank: int, as_json: bool) -> int:
    from harness.adapters import serving

    found = serving.for_vllm(folder, max_rank)
    lines = [*(f"no: {line}" for line in found.problems), *(f"note: {line}" for line in found.notes)]
    text = "\n".join([*lines, *([found.command] if found.command else [])])
    _tell({"path": str(folder), **found._asdict()}, text, as_json)
    return int(ExitCode.USAGE if found.problems else ExitCode.DONE)


@adapter.command()
@click.argument("name", metavar="ADAPTER", shell_complete=adapters)
@click.argument("target", metavar="OWNER/NAME|URL|FILE.tar.gz|FOLDER")
@click.option("--public", is_flag=True, help="Make a repository of the Hub public (default: private).")
@json_option
@quiet_anyway
def push(name: str, target: str, public: bool, as_json: bool) -> None:
    """Upload ADAPTER. Rows are not uploaded.

    To the Hub (private, with a model card), to object storage, an archive or a folder.

    \b
    bench adapter push my-adapter owner/name
    bench adapter push my-adapter s3://bucket/adapters/mine
    bench adapter push my-adapter ./mine.tar.gz
    """
    from harness.adapter_manifest import find_adapter
    from harness.adapters import publishing
    from harness.workspace import Workspace

    folder = find_adapter(Workspace.current(), name)
    repo = publishing.hub_repository(target)
    if repo is None:
        if public:
            raise UsageError("--public is for repositories of the Hub.")
        place = publishing.push_files(folder, target)
        _tell({"url": place, "public": False}, place, as_json)
        return
    done = publishing.push(folder, repo, public=public)
    _tell(done._asdict(), f"{done.url} ({'public' if done.public else 'private'})", as_json)


@adapter.command()
@click.argument("source", metavar="hub:OWNER/NAME@REV|URL|FILE.tar.gz|FOLDER")
@json_option
@quiet_anyway
def pull(source: str, as_json: bool) -> None:
    """Fetch an adapter that was pushed.

    It is verified by its hashes, and becomes an adapter of the workspace.

    \b
    bench adapter pull hub:owner/name@main
    bench adapter pull s3://bucket/adapters/mine
    """
    from harness.adapters import publishing
    from harness.workspace import Workspace

    folder = publishing.pull(source, Workspace.current())
    _tell({"path": str(folder), "adapter": folder.name}, str(folder), as_json)


@adapter.command()
@click.argument("name", metavar="ADAPTER", shell_complete=adapters)
@click.option(
    "--out",
    metavar="FILE",
    type=PageFile(),
    help="Output file (default: report.html next to the weights).",
)
@click.option("--redact", is_flag=True, help="Leave out all rows and answers, for sharing.")
@json_option
@quiet_anyway
def report(name: str, out: Path | None, redact: bool, as_json: bool) -> None:
    """Write a report on the training of ADAPTER. It shows curves, lengths, seeds, examples."""
    from harness.adapter_manifest import find_adapter
    from harness.workspace import Workspace

    folder = find_adapter(Workspace.current(), name)
    target = out or (folder / "report-redacted.html" if redact else None)
    from harness.reports import training_page

    page = str(training_page.write_training_report(folder, target, redact=redact))
    _tell({"report": page}, page, as_json)


@adapter.command()
@click.argument("name", metavar="ADAPTER", shell_complete=adapters)
@json_option
@quiet_anyway
def rm(name: str, as_json: bool) -> None:
    """Remove ADAPTER from the disk."""
    from harness.adapter_manifest import find_adapter
    from harness.workspace import Workspace

    workspace = Workspace.current()
    folder = find_adapter(workspace, name)
    from harness.adapters import inspection

    inspection.remove(workspace, folder)
    _tell({"removed": str(folder)}, f"removed {folder}", as_json)


@adapter.command()
@click.argument("name", metavar="ADAPTER", shell_complete=adapters)
@click.option(
    "--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Folder of the merged model."
)
@click.option(
    "--rows", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="Rows to verify it with."
)
@click.option("--task", metavar="TASK", shell_complete=tasks, help="The adapter's task, if its file has moved.")
@click.option("--base", metavar="MODEL", help="The adapter's base, if it lies elsewhere.")
@json_option
@quiet_anyway
def merge(name: str, out: Path, rows: int, task: str | None, base: str | None, as_json: bool) -> None:
    """Merge ADAPTER into its base. The result must answer N rows as the adapter does."""
    from harness.adapter_manifest import find_adapter
    from harness.workspace import Workspace

    folder = find_adapter(Workspace.current(), name)
    from harness.adapters import merging

    done = merging.merge(folder, out, rows, task, base)
    message = f"{done.folder}: the merged model gave the adapter's answer on all of {count_noun(done.rows, 'row')}"
    _tell({"path": str(done.folder), "rows": done.rows}, message, as_json)


@adapter.command("import")
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path, exists=True))
@click.option("--task", metavar="TASK", shell_complete=tasks, help="The task that it was trained for.")
@click.option(
    "--trained-on",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True),
    help="The rows that it was trained on: rows of the task, or a chat file.",
)
@click.option("--base", metavar="MODEL", help="Its base model (default: as its configuration names it).")
@click.option("--labels", metavar="A,B", help="Labels of a classification head, in the order of its outputs.")
@json_option
@quiet_anyway
def take_in(
    path: Path, task: str | None, trained_on: Path | None, base: str | None, labels: str | None, as_json: bool
) -> None:
    """Import an adapter trained elsewhere: PATH is a PEFT folder. It is copied, and not changed.

    \b
    bench adapter import checkpoint-500 --task agnews --trained-on train.jsonl
    """
    from harness.adapters import importing, inspection
    from harness.text_format import split_names
    from harness.workspace import Workspace

    options = importing.ImportOptions(task, trained_on, base, tuple(split_names(labels, "--labels")) if labels else ())
    folder, manifest = importing.import_adapter(path, options, Workspace.current())
    note = inspection.contamination_note(folder)
    message = f"{manifest.id}: imported into {folder}" + (
        f", current for task {manifest.task}" if manifest.task else ""
    )
    record = {"id": manifest.id, "path": str(folder), "task": manifest.task, "notes": [note] if note else []}
    _tell(record, "\n".join(filter(None, [f"{message}.", note])), as_json)


def _tell(record: dict[str, Any], text: str, as_json: bool) -> None:
    import msgspec

    click.echo(msgspec.json.encode(record) if as_json else text)


@adapter.command()
@click.argument("name", metavar="ADAPTER", shell_complete=adapters)
@click.option(
    "--to",
    "target",
    type=click.Choice(["merged", "gguf", "ollama", "vllm", "sglang"]),
    required=True,
    help="What will serve it.",
)
@click.option("--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Folder of the export.")
@click.option(
    "--quantization",
    type=click.Choice(["f16", "q8_0", "q4_0", "q4_k_m"]),
    default="f16",
    show_default=True,
    help="Type of the weights, for gguf and ollama.",
)
@click.option("--lora", is_flag=True, help="The adapter alone as a GGUF LoRA, with --to gguf.")
@click.option(
    "--rows",
    metavar="N",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Training rows to compare the merged model by.",
)
@click.option("--task", metavar="TASK", shell_complete=tasks, help="The adapter's task, if its file has moved.")
@json_option
@quiet_anyway
def export(
    name: str,
    target: Any,
    out: Path,
    quantization: Any,
    lora: bool,
    rows: int,
    task: str | None,
    as_json: bool,
) -> None:
    """Write ADAPTER for a server.

    A merged model, a GGUF file, an Ollama Modelfile, or LoRA for vLLM and SGLang.

    \b
    bench adapter export my-adapter --to merged --out merged
    bench adapter export my-adapter --to gguf --quantization q8_0 --out gguf

    export.json beside it has the hashes, and the line that serves it.
    """
    from harness.adapter_manifest import find_adapter
    from harness.workspace import Workspace

    folder = find_adapter(Workspace.current(), name)
    from harness.adapters import adapter_export as exporting

    made = exporting.export_adapter(folder, target, out, quantization=quantization, rows=rows, task=task, lora=lora)
    lines = [str(out)]
    if made.merged is not None:
        lines.append(f"the merged model answers {made.merged.equal} of {made.merged.rows} rows as the adapter does")
    lines += [f"serve:  {made.serve}", "ask:    " + made.backend.strip().replace("\n", "\n        ")]
    import msgspec

    _tell({"path": str(out), **msgspec.to_builtins(made)}, "\n".join(lines), as_json)
