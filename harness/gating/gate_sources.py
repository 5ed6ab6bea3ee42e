"""One call from a run directory to a verdict: used by the command and by the pytest plugin alike."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import NotComparableError, UsageError
from harness.gating.baseline_file import read_baseline
from harness.gating.evaluate import GateSource, evaluate_gate, match_names
from harness.gating.gate_result import GateResult
from harness.gating.gate_settings import OnInconclusive, gate_settings
from harness.runs.run_log import RunLog
from harness.workspace import Workspace


def gate_run(
    path: Path,
    *,
    workspace: Workspace,
    table: Mapping[str, Any],
    where: str = "[gate]",
    baseline: str | None = None,
    candidate: str | None = None,
    reference: str | None = None,
    flags: Mapping[str, Mapping[str, float]] | None = None,
    on_inconclusive: OnInconclusive | None = None,
    latency_runs: Sequence[Path] = (),
) -> GateResult:
    """Judge the run at `path`. table: the raw `[gate]`; baseline: a file, or a run by path, short id or `last`.

    Raises UsageError (wrong settings, names or files), IncompleteRunError (a run has not ended),
    NotComparableError (no baseline, no common backend).
    """
    source = GateSource.of_run(RunLog.open(path))
    settings = gate_settings(table, source.evaluation.metrics, flags, on_inconclusive, where)
    other = source if baseline is None else open_reference(baseline, workspace)
    if baseline is None and (candidate is None or reference is None):
        raise NotComparableError(
            "there is nothing to compare with: name a baseline (--baseline FILE; make one with "
            "`bench baseline accept RUN`), or two backends of this run (--candidate A --reference B)."
        )
    names = match_names(source, other, candidate, reference)
    twice = [str(p) for p, count in Counter(p.resolve() for p in latency_runs).items() if count > 1]
    if twice:
        raise UsageError(f"--latency-run {twice[0]} is named twice: a run counts once.")
    return evaluate_gate(source, other, names, settings, [RunLog.open(p) for p in latency_runs], other.first())


def is_baseline(word: str) -> bool:
    """Whether a word names a baseline file (there or not) rather than a run."""
    return Path(word).is_file() or Path(word).suffix == ".json"


def open_reference(word: str, workspace: Workspace) -> GateSource:
    """A baseline file, or a run. Raises NotComparableError for a file that is not there, UsageError, and
    IncompleteRunError for a run that has not ended."""
    if not is_baseline(word):
        return GateSource.of_run(RunLog.open(workspace.find_run(word)))
    baseline = read_baseline(Path(word))
    return GateSource.of_baseline(baseline, baseline.evaluation(Path(word)))
