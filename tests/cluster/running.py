"""Runs of the tiny base, and what two runs have in common."""

from pathlib import Path
from typing import Any

from harness import runner
from harness.execution.executor import Observer
from harness.runs.run_log import RunLog
from harness.settings import Settings
from harness.workspace import Workspace

TINY = Path(__file__).parents[2] / "adapters" / "tiny"


def ask(rows: Path, out: Path, *, heard: list[str] | None = None, **table: Any) -> RunLog:
    """Run the news task over `rows` with one local backend, `tiny`."""
    settings = Settings(
        backends={"tiny": {"kind": "local", "model": str(TINY), "decode": "choose", "threads": 1, **table}}
    )
    observer = Observer(remark=heard.append) if heard is not None else None
    return runner.run(
        "agnews",
        ["tiny"],
        data=str(rows),
        out=out,
        settings=settings,
        workspace=Workspace(out.parent / "workspace"),
        observer=observer,
    )


def workers(address: str, count: int = 2, **table: Any) -> dict[str, Any]:
    """Settings for so many Ray workers."""
    return {"executor": "ray", "ray": {"workers": count, "address": address, "wait_s": 90.0, **table}}


def answers(log: RunLog) -> dict[tuple[int, int], str]:
    """(n, repeat) -> answer, and every one exactly once in the file itself."""
    lines = log.log_path("tiny").read_bytes().splitlines()
    found = {(n, r): line.text for (n, r), line in log.lines("tiny").items()}
    assert len(lines) == len(found), "a row occurs twice in the log"
    assert all(line.error is None for line in log.lines("tiny").values())
    return found
