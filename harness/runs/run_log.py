"""The run directory: the one class that writes rows of a run and the one through which all of them are read.

Files are append-only; the last line per (n, repeat) wins; a torn last line (a kill in the middle of a
write) is cut off before anything is appended.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness import results
from harness.data.record_store import SpooledRecords
from harness.errors import UsageError
from harness.files import read_record, write_json
from harness.metrics import Metric
from harness.records import BackendIdentity, Key, LogLine, Record, Request, Row, Sample
from harness.results import Summary, VerdictTerms
from harness.runs import backend_log
from harness.runs.backend_log import Log, SegmentWriter
from harness.runs.log_lines import LogWriter, cut_torn_tail, decode_line, read_lines

FILE = "likeness.json"
NAME = "embedding"


class EmbeddingScores(Record, frozen=True, kw_only=True, omit_defaults=False):
    """`likeness.json`.

    model: the embedding model as named; sha256: of its weights; most_tokens: longer texts are compared by their
    beginning. values: backend -> (n, repeat, cosine of answer and reference); an answer without text has 0.
    why_not: in a sentence, why nothing could be measured (then there are no values).
    """

    schema: int = 1
    model: str
    sha256: str = ""
    most_tokens: int | None = None
    values: dict[str, tuple[tuple[int, int, float], ...]] = {}
    why_not: str = ""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metric; none where nothing was measured. Its version is the weights': values of two models never meet."""
        if self.why_not:
            return ()
        version = int(self.sha256[:7], 16)
        return (
            Metric(
                name=NAME,
                row_value=NAME,
                proportion=False,
                version=version,
                model=self.model,
                low=-1.0,
                high=1.0,
            ),
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the summary must know."""
        return (f"{NAME} was not computed: {self.why_not}",) if self.why_not else ()


def write_embedding_scores(run: Path, likeness: EmbeddingScores) -> None:
    """Keep in a run directory what was measured."""
    write_json(run / FILE, likeness)


def read_likeness(run: Path) -> EmbeddingScores | None:
    """What was measured; None where nobody asked. Raises UsageError for a file that is not readable."""
    path = run / FILE
    if not path.is_file():
        return None
    return read_record(path, EmbeddingScores, "file of embedding scores", "remove it, and run again with --embedding")


SCHEMA = 1
T = TypeVar("T")


class Manifest(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Everything asked and everything it ran on.

    schema: version of the file. id: of the run. task: its name. task_spec: what names it from any folder. labels: the
    closed set of answers. created: ISO time, UTC. rows: of the run. seed: of the sample. shots: solved rows before each
    question. backends: what answered, by name. data: {"source", "split", "fingerprint", "limit", "order", "label"},
    order being the version of the order in which rows are drawn (absent: 1); request_hash: over the hashes of all
    requests in order; options: those of the run as given, but for those at their default.
    backend_settings: as resolved, for `--resume` (never a secret: keys are named, not held);
    repeats: how often each row is asked; probe_rows: rows of the latency probe; early_stop: the question after whose
    answer no more is asked ({"reference", "metric", "margin"}); versions, hardware, git: the machine; embedding: the
    model by which answers are compared with their references, where one was asked for; verdict: incumbent, candidate
    and margin as far as they were named; parser: the task's version; metric_versions: name to version.
    """

    schema: int = SCHEMA
    id: str
    task: str
    task_spec: str
    parser: str
    metric_versions: dict[str, int] = {}
    labels: tuple[str, ...] = ()
    created: str = ""
    rows: int = 0
    seed: int = 0
    repeats: int = 1
    shots: int = 0
    probe_rows: int = 0
    data: dict[str, Any] = {}
    request_hash: str = ""
    backends: dict[str, BackendIdentity] = {}
    backend_settings: dict[str, dict[str, Any]] = {}
    versions: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    git: str | None = None
    early_stop: dict[str, Any] | None = None
    embedding: str | None = None
    verdict: VerdictTerms | None = None
    options: dict[str, Any] = {}


EARLY_STOP = "early_stop"
"""The kind under which a session notes that its backend stopped early: the question was answered."""


class Session(Record, frozen=True, kw_only=True):
    """One uninterrupted stretch of work of one backend, as noted when it ended (a killed one leaves none).

    rows: completions of this session that were not cached; counters: what the backend says of its own work;
    stopped: {"kind", "message"} where the backend could not continue.
    """

    started: str
    wall_s: float
    rows: int
    counters: dict[str, float] = {}
    stopped: dict[str, str] | None = None


class RunLog:
    """A run directory, opened. Reading never changes it; `writer` appends."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def create(
        cls, path: Path, manifest: Manifest, rows: SpooledRecords[Row] | Iterable[tuple[Sample, Request]]
    ) -> "RunLog":
        """A new run directory with its rows; the manifest is written last and makes it a run."""
        if (path / "manifest.json").exists():
            raise UsageError(f"{path} already holds a run: continue it with --resume {path}, or name another --out.")
        path.mkdir(parents=True, exist_ok=True)
        encoder = msgspec.json.Encoder()
        with (path / "samples.jsonl").open("wb") as file:
            if isinstance(rows, SpooledRecords):
                rows.copy_to(file)
            else:
                for n, (sample, request) in enumerate(rows):
                    file.write(encoder.encode(Row(n=n, sample=sample, request=request)) + b"\n")
        (path / "state").mkdir(exist_ok=True)
        write_json(path / "manifest.json", manifest)
        return cls(path, manifest)

    @classmethod
    def open(cls, path: Path) -> "RunLog":
        """An existing run. Raises UsageError for no run, a broken manifest, or a newer schema."""
        file = path / "manifest.json"
        try:
            raw = file.read_bytes()
        except OSError:
            raise UsageError(f"{path} is not a run directory: it holds no manifest.json.") from None
        return cls(path, decode_schema(raw, Manifest, SCHEMA, str(file)))

    def update_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest (identities complete after `check`)."""
        self.manifest = manifest
        write_json(self.path / "manifest.json", manifest)

    def state_dir(self, backend: str) -> Path:
        """The folder of a backend's own notes (batch ids, job ids)."""
        path = self.path / "state" / backend
        path.mkdir(parents=True, exist_ok=True)
        return path

    def stored_rows(self) -> SpooledRecords[Row]:
        """The rows and their requests, by position."""
        return SpooledRecords.of_file(Row, self.path / "samples.jsonl")

    def rows(self) -> Iterator[Row]:
        """The rows and their requests, in position order."""
        decoder = msgspec.json.Decoder(Row)
        with (self.path / "samples.jsonl").open("rb") as file:
            for number, line in enumerate(file, 1):
                yield decode_line(decoder, line, f"{self.path / 'samples.jsonl'}:{number}")

    def log_path(self, backend: str, *, probe: bool = False) -> Path:
        """`<backend>.jsonl`, or `<backend>.probe.jsonl`."""
        return self.path / f"{backend}{'.probe' if probe else ''}.jsonl"

    def backend_log(self, backend: str, *, probe: bool = False) -> Log:
        """A backend's log, for runs of any size."""

        def complete(lines: Iterable[LogLine]) -> Iterable[LogLine]:
            return lines if probe else _with_likeness(self.path, backend, lines)

        path = self.log_path(backend, probe=probe)
        return Log(
            path,
            path.with_suffix("") if probe else self._segments(backend),
            self.manifest.rows,
            self.manifest.repeats,
            complete,
        )

    def lines(self, backend: str, *, probe: bool = False) -> dict[Key, LogLine]:
        """The last line of every (n, repeat), by position, all in memory."""
        return self.backend_log(backend, probe=probe).last()

    def incurred(self, backend: str) -> float:
        """USD paid for a backend: every line ever written, superseded ones and the probe's too."""
        return self.backend_log(backend).incurred() + self.backend_log(backend, probe=True).incurred()

    def answered(self, backend: str, *, probe: bool = False) -> set[Key]:
        """What needs no further asking, as a set: for runs of ordinary size (else `backend_log(..).answered()`)."""
        rows, repeats = self.backend_log(backend, probe=probe).answered().nonzero()
        return {Key(*key) for key in zip(rows.tolist(), repeats.tolist(), strict=True)}

    def writer(self, backend: str, *, probe: bool = False) -> LogWriter | SegmentWriter:
        """Append lines to a backend's log: one file, or segments where more than SEGMENT_LINES are asked for. Only one
        process may hold it."""
        path = self.log_path(backend, probe=probe)
        folder = self._segments(backend)
        many = self.manifest.rows * self.manifest.repeats > backend_log.SEGMENT_LINES and not path.exists()
        if not probe and (many or backend_log.segment_files(folder)):
            return SegmentWriter(folder)
        return LogWriter(path)

    def _segments(self, backend: str) -> Path:
        return self.path / backend

    def compact(self, backend: str) -> None:
        """Turn the segments of a log that has ended, where it has any, into Parquet. Raises OSError for a full disk."""
        if backend_log.segment_files(self._segments(backend)):
            backend_log.compact(self._segments(backend))

    def note_session(self, backend: str, session: Session) -> None:
        """Add one line to `state/<backend>/sessions.jsonl`."""
        with (self.state_dir(backend) / "sessions.jsonl").open("ab+", buffering=0) as file:
            cut_torn_tail(file)
            file.write(msgspec.json.encode(session) + b"\n")

    def sessions(self, backend: str) -> list[Session]:
        """The sessions that ended, oldest first."""
        path = self.path / "state" / backend / "sessions.jsonl"
        if not path.is_file():
            return []
        return list(read_lines(path, msgspec.json.Decoder(Session)))

    def summary(self) -> Summary | None:
        """`summary.json`, or None while the run has not ended."""
        path = self.path / "summary.json"
        if not path.is_file():
            return None
        return decode_schema(path.read_bytes(), Summary, results.SCHEMA, str(path))

    def write_summary(self, summary: Summary) -> None:
        """Write `summary.json`, whole or not at all."""
        write_json(self.path / "summary.json", summary)


def _with_likeness(run: Path, backend: str, lines: Iterable[LogLine]) -> Iterable[LogLine]:
    """Give each scored line the value that was measured for it once all had answered."""
    measured = read_likeness(run)
    if measured is None or not measured.values.get(backend):
        return lines
    values = {(n, repeat): value for n, repeat, value in measured.values[backend]}

    def with_value(line: LogLine) -> LogLine:
        value = values.get((line.n, line.repeat))
        if value is None or line.score is None:
            return line
        score = msgspec.structs.replace(line.score, values={**line.score.values, NAME: value})
        return msgspec.structs.replace(line, score=score)

    return map(with_value, lines)


def decode_schema(raw: bytes, kind: type[T], newest: int, name: str) -> T:
    """Decode JSON that carries a "schema" number; a newer one, or anything else, is a UsageError."""
    try:
        plain = msgspec.json.decode(raw)
        if not isinstance(plain, dict) or not isinstance(plain.get("schema"), int):
            raise UsageError(f"{name} has no schema number: it was not written by Bench.")
        if plain["schema"] > newest:
            raise UsageError(
                f"{name} is of schema {plain['schema']}, this Bench reads up to {newest}: update Bench to read it."
            )
        return msgspec.convert(plain, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{name} is not readable ({error}).") from None
