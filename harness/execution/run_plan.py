"""From what a person asked to a run directory: rows, requests, backends, manifest. Nothing is sent yet."""

import errno
import re
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness import hardware
from harness.adapter_manifest import whole_task_spec
from harness.backend import Backend, RunContext, RunRequirements
from harness.data.record_store import SpooledRecords
from harness.data.rows import EMBEDDED, DataSource, DataWarning
from harness.data.sampling import ORDER, ORDER_VERSION, Fingerprint, draw
from harness.errors import BenchError, UsageError
from harness.hashing import digest_each
from harness.prompting.prompt_variants import Questions, make_requests
from harness.records import BackendIdentity, Record, Request, Row, Sample, number_repeats
from harness.registry import BACKENDS, TASKS, find
from harness.runs.run_log import Manifest, RunLog
from harness.settings import Settings, decode_table
from harness.task import Task, request_of, samples_of, target_of
from harness.timestamps import utc_now
from harness.user_code import fault_of_users_code

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class RunOptions(Record, frozen=True, kw_only=True):
    """What `bench run` was asked.

    task: name or path; backends: names from the settings; data: path, "embedded" or None (the Hub);
    limit: at most so many rows; base: replaces the model of every local backend; repeats: how often each row
    is asked; probe_rows: rows of the latency probe; batch: paid backends use their batch API;
    executor, workers: where local models run, and how many Ray workers hold each;
    questions: another prompt, examples, a probe for leaks;
    fail_on_contamination: rows that also stand in a candidate's training rows are refused.
    """

    task: str
    backends: tuple[str, ...]
    data: str | None = None
    split: str = "test"
    limit: int | None = None
    seed: int = 0
    base: str | None = None
    repeats: int = 1
    probe_rows: int = 0
    batch: bool = False
    executor: str | None = None
    workers: int | None = None
    questions: Questions = Questions()
    fail_on_contamination: bool = False


def load_task(spec: str) -> Task:
    """The task a person means: a name, a class by path, or a TOML file.

    Raises UsageError for an unknown name, a class that is no task, or a file that is not right.
    """
    if spec.endswith(".toml"):
        from harness.task_file import FileTask  # brings jinja2 and jsonschema

        return FileTask(Path(spec))
    kind = find(TASKS, spec)
    try:
        task = kind()
    except BenchError:
        raise
    except Exception as error:
        where = fault_of_users_code(error) or f"{type(error).__name__}: {error}"
        raise UsageError(f"task '{spec}' cannot be made: {where}.") from error
    if not isinstance(task, Task):
        asked = [*Task.__annotations__, *(n for n in vars(Task) if not n.startswith("_"))]
        wanted = [n for n in asked if not hasattr(task, n)]
        raise UsageError(f"'{spec}' is not a task: it has no {', '.join(wanted)} (see docs/write-a-task.md).")
    return task


def load_rows(task: Task, source: DataSource) -> list[Sample]:
    """All rows of a split, ids numbered. Raises UsageError where there are none."""
    samples = list(number_repeats(samples_of(task, source)))
    _refuse_none(len(samples), task, source)
    return samples


def _refuse_none(rows: int, task: Task, source: DataSource) -> None:
    if not rows:
        where = source.location or "the data set"
        raise UsageError(f"{where}: the split '{source.split}' of task '{task.name}' holds no rows.")


def read_rows(task: Task, source: DataSource) -> tuple[list[Sample], list[str]]:
    """All rows of a split, and what its reader had to say of rows that it left out."""
    with _remarks_of_reader() as remarks:
        rows = load_rows(task, source)
    return rows, remarks


@contextmanager
def _remarks_of_reader() -> Iterator[list[str]]:
    """What a reader warns of meanwhile: filled when the block ends."""
    remarks: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        yield remarks
    for warning in caught:
        if issubclass(warning.category, DataWarning):
            remarks.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def ask(task: Task, sample: Sample) -> Request:
    """The request for a row. The task sees the row without its reference: no gold text can reach a prompt.

    Raises UsageError for a request under another id: its answer would be taken for another row's.
    """
    return request_of(task, msgspec.structs.replace(sample, reference="", columns={}))


build_request = ask


def backend_tables(options: RunOptions, settings: Settings) -> dict[str, dict[str, Any]]:
    """The raw settings of every backend of the run, with `--base`, `--batch`, `--executor` and `--workers` applied."""
    tables = {}
    for name in options.backends:
        if not _NAME.fullmatch(name) or name.endswith(".probe"):
            raise UsageError(f"'{name}' cannot name a backend: use letters, digits, '-', '_' and '.'.")
        table = dict(settings.backend(name))
        if options.base is not None and table.get("kind") == "local":
            table["model"] = str(Path(options.base).resolve()) if Path(options.base).exists() else options.base
        if options.batch and table.get("kind") == "openai":
            table["batch"] = True
        if table.get("kind") == "local":
            table |= {"executor": options.executor} if options.executor is not None else {}
            if options.workers is not None:
                table["ray"] = {**table.get("ray", {}), "workers": options.workers}
        tables[name] = table
    _check_kinds(options, tables)
    return tables


def _check_kinds(options: RunOptions, tables: dict[str, dict[str, Any]]) -> None:
    """Options that would change nothing are refused."""
    taped = next((name for name, table in tables.items() if table.get("kind") == "replay"), None)
    if options.questions.probe is not None and taped is not None:
        raise UsageError(
            f"--probe {options.questions.probe} asks other texts than the rows', and '{taped}' answers from a "
            "recording, by row: probe the model itself."
        )
    places = {table.get("executor", "process") for table in tables.values() if table.get("kind") == "local"}
    if options.executor is not None and not places:
        raise UsageError(f"--executor {options.executor} is for local models, and none of the backends is local.")
    if options.workers is not None and "ray" not in places:
        raise UsageError(f"--workers {options.workers} is for local models on Ray: say --executor ray too.")


def make_backends(tables: dict[str, dict[str, Any]], task_name: str, context: RunContext) -> dict[str, Backend]:
    """Construct backends from their tables (cheap: no network, no weights). Raises UsageError."""
    made: dict[str, Backend] = {}
    for name, table in tables.items():
        where = f"{context.config}: [backends.{name}]" if context.config else f"[backends.{name}]"
        if "kind" not in table:
            raise UsageError(f'{where} names no kind: say kind = "local", "openai" or "replay".')
        kind = find(BACKENDS, str(table["kind"]))
        made[name] = kind(name, decode_table(table, kind.Settings, where), task_name, context)
    return made


class _RequestLength(msgspec.Struct):
    """The one field of a request that is looked at in every row; left out where it is the usual one."""

    max_tokens: int = next(f.default for f in msgspec.structs.fields(Request) if f.name == "max_tokens")


class _RowLength(msgspec.Struct):
    request: _RequestLength


class RunPlan(NamedTuple):
    """What is about to be asked: the task, the rows with their requests, and where the answers will go.

    `log` is the run that is being finished, or None for a new one: nothing is written before `open`.
    `clean_only`: rows that also stand in a candidate's training rows are refused.
    The rows may be millions: a Shelf, which reads each anew when it is looked at.
    """

    task: Task
    manifest: Manifest
    rows: Sequence[Row]
    path: Path
    log: RunLog | None = None
    clean_only: bool = False

    @property
    def needs(self) -> RunRequirements:
        """What the backends must be able to do."""
        return RunRequirements(
            task=self.task.name,
            rows=len(self.rows) * self.manifest.repeats,
            labels=self.rows[0].request.labels if self.rows else (),
            schema=self.rows[0].request.schema if self.rows else None,
            max_tokens=max(self._answer_lengths(), default=0),
            data_fingerprint=str(self.manifest.data.get("fingerprint", "")),
            messages=self.rows[0].request.messages if self.rows else (),
        )

    def _answer_lengths(self) -> Iterator[int]:
        if isinstance(self.rows, SpooledRecords):
            return (row.request.max_tokens for row in self.rows.each(msgspec.json.Decoder(_RowLength).decode))
        return (row.request.max_tokens for row in self.rows)

    def solved(self) -> Iterator[tuple[Request, str | None]]:
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
        for name, before in self.manifest.backends.items():
            for what in ("model", "decode", "adapter_sha256", "base_sha256", "quantization"):
                was, is_now = _of(before, what), _of(identities[name], what)
                if was != is_now:
                    raise UsageError(
                        f"{self.path}: '{name}' has answered with {what} {was} and now has {is_now}: "
                        "start a new run, or put the old one back."
                    )
        self.log.update_manifest(manifest)
        return self.log


def _of(identity: BackendIdentity, what: str) -> Any:
    return getattr(identity, what, identity.settings.get(what))


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
    check(make_backends(tables, task.name, context).values())  # wrong settings are told before any row is read
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
        shots=options.questions.shots,
        probe_rows=min(options.probe_rows, len(rows)),
        data=data,
        request_hash=request_hash,
        backend_settings=tables,
        versions=hardware.versions(),
        hardware=hardware.hardware(),
        git=hardware.git_commit(),
    )
    return RunPlan(task, manifest, rows, path, clean_only=options.fail_on_contamination)


def _rows_of(options: RunOptions, task: Task, aside: Path) -> tuple[SpooledRecords[Row], str, dict[str, Any]]:
    """The rows drawn with their requests, the hash of all requests, and what the manifest says of the data."""
    source = DataSource(location=options.data, split=options.split)
    with _room_for_rows(aside):
        with _remarks_of_reader() as remarks:
            drawn = draw(samples_of(task, source), options.seed, options.limit, aside)
        _refuse_none(drawn.total, task, source)
        requests, notes = make_requests(
            options.questions,
            task,
            ask,
            drawn,
            lambda: load_rows(task, DataSource(location=options.data, split="train")),
            options.seed,
        )
        rows, request_hash, fingerprint = _lay_out(drawn, requests, aside)
    data = {
        "source": _source_name(task, options.data),
        "split": options.split,
        "label": _label(options),
        "rows_of_split": drawn.total,
        "limit": options.limit,
        ORDER: ORDER_VERSION,
        "fingerprint": fingerprint,
        "remarks": remarks,
        **notes,
    }
    return rows, request_hash, data


def _label(options: RunOptions) -> str:
    """What every figure of the run must be read with."""
    said = ["embedded sample"] if options.data == EMBEDDED else []
    if options.questions.probe is not None:
        said.append(f"leak probe ({options.questions.probe})")
    return ", ".join(said)


def _lay_out(
    samples: Iterable[Sample], requests: Iterable[Request], folder: Path
) -> tuple[SpooledRecords[Row], str, str]:
    """The rows of a run as they will stand in it, the hash of their requests, the fingerprint of their data."""
    rows, data = SpooledRecords(Row, folder), Fingerprint(folder)

    def hashes() -> Iterator[str]:
        for n, (sample, request) in enumerate(zip(samples, requests, strict=True)):
            rows.append(Row(n=n, sample=sample, request=request))
            data.add(sample)
            yield request.hash()

    return rows, digest_each(hashes()), data.digest()


@contextmanager
def _room_for_rows(folder: Path) -> Iterator[None]:
    """Raises UsageError where the disk on which many rows are kept aside is full."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UsageError(
            f"{folder} has no room for the rows of this run: free the space, or name another --out."
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
    return RunPlan(task, log.manifest, log.shelf(), path, log)


def _source_name(task: Task, location: str | None) -> str:
    if location is not None:
        return location
    hub = getattr(task, "hub", None)
    return f"hub:{hub.path}" if hub is not None else "the task's own rows"


def resumed_tables(manifest: Manifest, settings: Settings) -> dict[str, dict[str, Any]]:
    """Backend settings from the manifest; only limits are taken from today's settings.

    A local model goes on with the weights that have answered, whatever "auto" would choose today.
    """
    tables = {}
    for name, table in manifest.backend_settings.items():
        today = settings.backends.get(name, {})
        limits = {k: v for k, v in today.items() if k in LIMITS}
        tables[name] = {**table, **limits}
        answered = manifest.backends.get(name)
        if table.get("kind") == "local" and answered is not None and "quantization" in answered.settings:
            tables[name]["quantization"] = answered.settings["quantization"]
    return tables


LIMITS = frozenset(
    {"rpm", "tpm", "concurrency", "timeout_s", "deadline_s", "max_attempts", "poll_s", "max_batch_tokens", "proxy"}
    | {"executor", "ray", "reread_s"}
)
"""Settings that change how fast rows are asked, never what is answered."""
