"""From options to a run directory: rows, requests, backends, manifest. Nothing is sent yet."""

import errno
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness import hardware
from harness.adapter_manifest import whole_task_spec
from harness.backend import Backend, RunContext, RunRequirements
from harness.data.record_store import SpooledRecords
from harness.data.rows import EMBEDDED, DataSource
from harness.data.sampling import ORDER, ORDER_VERSION, Fingerprint, draw
from harness.errors import UsageError
from harness.execution.backend_setup import backend_tables, make_backends
from harness.hashing import digest, digest_each
from harness.prompting.prompt_variants import make_requests
from harness.records import BackendIdentity, Request, Row, Sample
from harness.run_options import RunOptions
from harness.runs.run_log import Manifest, RunLog
from harness.settings import Settings
from harness.task import Task, samples_of, target_of
from harness.task_loading import build_request, collect_data_warnings, load_rows, load_task, require_rows
from harness.text_format import utc_now, utc_text


class _RequestLength(msgspec.Struct):
    """The one field of a request that is looked at in every row; left out where it is the usual one."""

    max_tokens: int = next(f.default for f in msgspec.structs.fields(Request) if f.name == "max_tokens")


class _RowLength(msgspec.Struct):
    request: _RequestLength


class RunPlan(NamedTuple):
    """What is about to be asked: the task, the rows with their requests, and where the answers will go.

    `log` is the run that is being finished, or None for a new one: nothing is written before `open`.
    The rows may be millions: SpooledRecords reads each from its file when it is looked at.
    """

    task: Task
    manifest: Manifest
    rows: Sequence[Row]
    path: Path
    log: RunLog | None = None

    @property
    def requirements(self) -> RunRequirements:
        """What the backends must be able to do."""
        return RunRequirements(
            task=self.task.name,
            rows=len(self.rows) * self.manifest.repeats,
            labels=self.rows[0].request.labels if self.rows else (),
            schema=self.rows[0].request.schema if self.rows else None,
            max_tokens=max(self._answer_lengths(), default=0),
            data_fingerprint=str(self.manifest.data.get("fingerprint", "")),
            messages=self.rows[0].request.messages if self.rows else (),
            tools=self.rows[0].request.tools if self.rows else (),
        )

    def _answer_lengths(self) -> Iterator[int]:
        if isinstance(self.rows, SpooledRecords):
            return (row.request.max_tokens for row in self.rows.each(msgspec.json.Decoder(_RowLength).decode))
        return (row.request.max_tokens for row in self.rows)

    def requests_with_targets(self) -> Iterator[tuple[Request, str | None]]:
        """What is asked about every row, with its target where the task can make one."""
        return ((row.request, target_of(self.task, row.sample)) for row in self.rows)

    def open(self, identities: dict[str, BackendIdentity]) -> RunLog:
        """The run directory, once every backend has said that it is ready. Raises UsageError.

        A new one is written; a resumed one must not mix the answers of two models.
        """
        manifest = msgspec.structs.replace(self.manifest, backends=identities)
        if self.log is None:
            if isinstance(self.rows, SpooledRecords):
                return RunLog.create(self.path, manifest, self.rows)
            return RunLog.create(self.path, manifest, ((row.sample, row.request) for row in self.rows))
        for name, recorded_identity in self.manifest.backends.items():
            for field in ("model", "decode", "adapter_sha256", "base_sha256", "quantization"):
                recorded, current = _identity_field(recorded_identity, field), _identity_field(identities[name], field)
                if recorded != current:
                    raise UsageError(
                        f"{self.path}: '{name}' has answered with {field} {recorded} and now has {current}: "
                        "start a new run, or restore the old one."
                    )
        self.log.update_manifest(manifest)
        return self.log


def _identity_field(identity: BackendIdentity, field: str) -> Any:
    return getattr(identity, field, identity.settings.get(field))


def plan_run(
    options: RunOptions,
    settings: Settings,
    context: RunContext,
    out: Path | None,
    check: Callable[[Iterable[Backend]], None] = lambda backends: None,
) -> RunPlan:
    """Read the rows and draw the sample. check: what is asked of the backends before any row is read.

    Raises UsageError; nothing is written.
    """
    task = load_task(options.task)
    tables = backend_tables(options, settings)
    check(make_backends(tables, task.name, context).values())  # wrong settings are reported before any row is read
    rows, request_hash, data = _rows_of(options, task, _nearest_folder(out or context.workspace.runs))
    now = utc_now()
    run_id = f"{task.name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    path = out or context.workspace.runs / run_id
    if (path / "manifest.json").exists():
        raise UsageError(f"{path} already holds a run: continue it with --resume {path}, or name another --out.")
    manifest = Manifest(
        id=run_id,
        task=task.name,
        task_spec=whole_task_spec(options.task),
        parser=task.version,
        metric_versions={m.name: m.version for m in task.metrics},
        labels=task.labels,
        created=now.isoformat(timespec="seconds"),
        rows=len(rows),
        seed=options.seed,
        repeats=options.repeats,
        shots=options.shots,
        probe_rows=min(options.probe_rows, len(rows)),
        data=data,
        request_hash=request_hash,
        backend_settings=tables,
        options=msgspec.to_builtins(options),
        versions=hardware.versions(),
        hardware=hardware.hardware(),
        git=hardware.git_commit(),
    )
    return RunPlan(task, manifest, rows, path)


def _rows_of(options: RunOptions, task: Task, spool_folder: Path) -> tuple[SpooledRecords[Row], str, dict[str, Any]]:
    """The rows drawn with their requests, the hash of all requests, and the manifest's entry on the data."""
    source = DataSource(location=options.data)
    with _disk_space_for_rows(spool_folder):
        with collect_data_warnings() as remarks:
            sampled = draw(samples_of(task, source), options.seed, options.limit, spool_folder)
        require_rows(sampled.total, task, source)

        def training() -> list[Sample]:
            return load_rows(task, DataSource(location=options.data, split="train"))

        requests, notes = make_requests(options, task, build_request, sampled, training)
        rows, request_hash, fingerprint = _lay_out(sampled, requests, spool_folder)
    data = {
        "source": _source_name(task, options.data),
        "split": source.split,
        "label": _label(options),
        "rows_of_split": sampled.total,
        "limit": options.limit,
        ORDER: ORDER_VERSION,
        "fingerprint": fingerprint,
        "remarks": remarks,
        **notes,
    }
    return rows, request_hash, data


def _label(options: RunOptions) -> str:
    """What every figure of the run must be read with."""
    labels = ["embedded sample"] if options.data == EMBEDDED else []
    if options.probe is not None:
        labels.append(f"leak probe ({options.probe})")
    return ", ".join(labels)


def _lay_out(
    samples: Iterable[Sample], requests: Iterable[Request], folder: Path
) -> tuple[SpooledRecords[Row], str, str]:
    """The rows of a run as stored in it, the hash of their requests, the fingerprint of their data."""
    rows, data = SpooledRecords(Row, folder), Fingerprint(folder)

    def hashes() -> Iterator[str]:
        for n, (sample, request) in enumerate(zip(samples, requests, strict=True)):
            rows.append(Row(n=n, sample=sample, request=request))
            data.add(sample)
            yield request.hash()

    return rows, digest_each(hashes()), data.digest()


@contextmanager
def _disk_space_for_rows(folder: Path) -> Iterator[None]:
    """Raises UsageError where the disk on which many rows are kept aside is full."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UsageError(
            f"{folder} has not enough space for the rows of this run: free the space, or name another --out."
        ) from None


def _nearest_folder(path: Path) -> Path:
    """The first folder from here upwards that exists: large splits are kept aside on the disk of their run."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def plan_resume(path: Path) -> RunPlan:
    """What an existing run was asked. Raises UsageError where the task's rules have changed since."""
    log = RunLog.open(path)
    task = load_task(log.manifest.task_spec)
    if task.version != log.manifest.parser:
        raise UsageError(
            f"{path} was scored by version {log.manifest.parser} of task '{task.name}', "
            f"this is version {task.version}: start a new run."
        )
    return RunPlan(task, log.manifest, log.stored_rows(), path, log)


def _source_name(task: Task, location: str | None) -> str:
    if location is not None:
        return location
    hub = getattr(task, "hub", None)
    return f"hub:{hub.path}" if hub is not None else "the task's own rows"


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
