"""Deployment as Python functions: `export_adapter` and `parity`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.api_arguments import observer_of, run_path, settings_of, workspace_of
from harness.runs.run_handle import Run

if TYPE_CHECKING:
    from harness.adapters.adapter_export import ExportManifest
    from harness.deployment.parity_result import ParityResult
    from harness.settings import Settings
    from harness.workspace import Workspace


def export_adapter(
    name: Path | str,
    target: Literal["merged", "gguf", "ollama", "vllm", "sglang"],
    out: Path | str,
    *,
    quantization: Literal["f16", "q8_0", "q4_0", "q4_k_m"] = "f16",
    lora: bool = False,
    rows: int = 20,
    task: str | None = None,
    workspace: "Path | str | Workspace | None" = None,
) -> "ExportManifest":
    """Write an adapter for a server, and return the manifest that lies beside it as `export.json`.

    name: an adapter of the workspace by id, or a folder.
    target: what will serve it: a merged model, a GGUF file, an Ollama Modelfile, or LoRA for vLLM and SGLang.
    out: the folder of the export, which does not exist or is empty.
    quantization: type of the weights, for "gguf" and "ollama".
    lora: the adapter alone as a GGUF LoRA, with target "gguf".
    rows: training rows that the merged model and the adapter are both asked; the manifest's `merged` counts the equal
    answers, and the export is written whatever they are.
    task: the adapter's task, if its file has moved.
    workspace: as in `run`.

    Raises UsageError for an unknown adapter, a folder that is not empty, and what a target cannot hold, and
    MissingExtraError where a package that writes it is not installed.
    """
    from harness.adapter_manifest import find_adapter
    from harness.adapters import adapter_export

    folder = find_adapter(workspace_of(workspace), str(name))
    return adapter_export.export_adapter(
        folder, target, Path(out), quantization=quantization, rows=rows, task=task, lora=lora
    )


def parity(
    reference: Path | str,
    served: str,
    *,
    task: str | None = None,
    data: Path | str | None = None,
    rows: int = 500,
    margin: float = 1.0,
    seed: int = 0,
    latency_probe: int = 5,
    on_inconclusive: Literal["warn", "block"] = "warn",
    run: Run | Path | str | None = None,
    max_cost: float | None = None,
    out: Path | str | None = None,
    redact: bool = False,
    config: "Path | str | Settings | None" = None,
    workspace: "Path | str | Workspace | None" = None,
    progress: bool | None = None,
) -> "ParityResult":
    """Ask a model and its served copy the same rows, one after the other, and say whether they answer alike.

    reference: an adapter (id or folder), or the name of a backend.
    served: the backend of the copy that is judged.
    task: the task whose rows are asked; None: the adapter's.
    data: rows, as in `run`; None: the adapter's own.
    rows: rows to ask.
    margin: largest difference of a metric, either way, that counts as alike, in points of 100.
    seed: of the sample of rows.
    latency_probe: rows of each side that are asked one at a time first.
    on_inconclusive: what `exit_code` is for "not shown yet": 0 for "warn", 5 for "block".
    run: use the served answers of this run, and finish it where some are missing.
    max_cost: USD that the served answers may cost; asking stops before more is spent.
    out: the page; None: `parity.html` beside the answers.
    redact: leave rows and answers out of the page, for sharing.
    config, workspace, progress: as in `run`.

    The answers of a local reference are kept in the workspace and used again for the same rows. The result is written
    as `parity.json` into the run directory of the served copy (`result.served.run`). A copy that is not alike raises
    nothing: `verdict` says it. Raises UsageError for wrong names and options, IncompleteRunError where more than one in
    a hundred rows has no answer, and NotComparableError where a given run asked something else.
    """
    from harness.deployment.parity_run import ParityOptions, run_parity
    from harness.reports.parity_page import write_parity

    place = workspace_of(workspace)
    options = ParityOptions(
        served=served,
        task=task,
        data=None if data is None else str(data),
        rows=rows,
        seed=seed,
        margin=margin / 100,
        on_inconclusive=on_inconclusive,
        probe_rows=latency_probe,
        max_cost=max_cost,
        run=None if run is None else run_path(run, place),
    )
    with observer_of(progress) as observer:
        result, folder = run_parity(
            str(reference), options, settings=settings_of(config), workspace=place, observer=observer
        )
    write_parity(result, folder / "parity.html" if out is None else Path(out), redact=redact)
    return result
