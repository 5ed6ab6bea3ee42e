"""The runs of a leaderboard: what each is known by, and the names of their pages."""

import re
from collections.abc import Iterable

import msgspec

from harness.gating.gate_result import GateResult
from harness.reports.exports import summary_of
from harness.runs.run_log import RunLog
from harness.summary.candidate_history import RunFacts


def run_facts(logs: Iterable[RunLog]) -> list[tuple[RunLog, RunFacts]]:
    """The runs, the newest first, each with a page of its own (two of one id as well).

    Raises IncompleteRunError for a run without summary.
    """
    found: list[tuple[RunLog, RunFacts]] = []
    pages: set[str] = set()
    for log in sorted(logs, key=lambda x: (x.manifest.created, x.manifest.id), reverse=True):
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", log.manifest.id).strip(".") or "run"
        page, k = f"runs/{stem}.html", 1
        while page in pages:
            k += 1
            page = f"runs/{stem}-{k}.html"
        pages.add(page)
        found.append((log, RunFacts(log.manifest, summary_of(log), gate_result(log), page)))
    return found


def gate_result(log: RunLog) -> GateResult | None:
    """What `bench gate` last wrote into the run directory; None where it never did, or in another version's form."""
    try:
        return msgspec.json.decode((log.path / "gate.json").read_bytes(), type=GateResult)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
