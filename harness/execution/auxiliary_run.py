"""A run beside a run: the judge's or the teacher's own questions, kept, resumed and paid like any other."""

from pathlib import Path
from typing import Any

import msgspec

from harness import hardware
from harness.execution.run_plan import RunPlan
from harness.hashing import digest
from harness.records import Row
from harness.runs.run_log import Manifest, RunLog
from harness.task import Task
from harness.timestamps import utc_text


def plan_auxiliary_run(
    task: Task, rows: list[Row], folder: Path, name: str, tables: dict[str, dict[str, Any]], source: str
) -> RunPlan:
    """A plan whose run directory is `folder/<name>-<hash of the requests>`; the same requests find the same run again.

    tables: settings of its backends, as they are today; source: where its rows come from, in words.
    """
    request_hash = digest([row.request.hash() for row in rows])
    path = folder / f"{name}-{request_hash[:8]}"
    if (path / "manifest.json").is_file():
        existing = RunLog.open(path)
        return RunPlan(task, msgspec.structs.replace(existing.manifest, backend_settings=tables), rows, path, existing)
    manifest = Manifest(
        id=path.name,
        task=task.name,
        task_spec=task.name,
        parser=task.version,
        labels=task.labels,
        created=utc_text(),
        rows=len(rows),
        data={"source": source},
        request_hash=request_hash,
        backend_settings=tables,
        versions=hardware.versions(),
        hardware=hardware.hardware(),
        git=hardware.git_commit(),
    )
    return RunPlan(task, manifest, rows, path)
