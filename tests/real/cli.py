"""`bench` as a process of its own, and what a run says afterwards."""

import os
import subprocess
from pathlib import Path

from harness.results import BackendResult, Summary
from harness.runs.run_log import RunLog
from tests.support.processes import BENCH, ROOT

LIMIT_S = 840


def bench(*words: str, home: Path | None = None, code: int = 0) -> str:
    """What the command prints for people and for machines; fails where it ends with another exit code."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    if home is not None:
        environment["BENCH_HOME"] = str(home)
    ended = subprocess.run([*BENCH, *words], env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    text = ended.stdout + ended.stderr
    assert ended.returncode == code, text
    assert "Traceback" not in text, text
    assert "Warning" not in text, f"a library's own words reach the screen: {text}"
    return text


def summary_of(run: Path) -> Summary:
    """The summary of a run that has ended."""
    found = RunLog.open(run).summary()
    assert isinstance(found, Summary)
    return found


def backend_of(run: Path, name: str) -> BackendResult:
    """One backend's figures."""
    return summary_of(run).backends[name]


def texts_of(run: Path, name: str) -> dict[str, str]:
    """The answers of a backend by row id."""
    return {line.id: line.text for line in RunLog.open(run).lines(name).values() if line.error is None}
