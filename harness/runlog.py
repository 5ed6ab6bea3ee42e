"""The run directory: the one class that writes rows of a run and the one through which all of them are read.

Files are append-only; the last line per (n, repeat) wins; a torn last line (a kill in the middle of a
write) is cut off before anything is appended.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from harness import likeness, results
from harness.errors import UsageError
from harness.files import write_json
from harness.identity import Identity
from harness.records import Completion, Cost, Key, LogLine, Record, Request, Row, Sample, Score
from harness.results import Summary

SCHEMA = 1
T = TypeVar("T")


class Manifest(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Everything asked and everything it ran on.

    data: {"source", "split", "fingerprint", "limit", "label"}; request_hash: over the hashes of all requests
    in order; backend_settings: as resolved, for `--resume` (never a secret: keys are named, not held);
    repeats: how often each row is asked; probe_rows: rows of the latency probe; early_stop: the question after
    whose answer no more is asked ({"reference", "metric", "margin"}); versions, hardware, git: the machine;
    embedding: the model by which answers are compared with their references, where one was asked for;
    parser: the task's version; metric_versions: name to version.
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
    backends: dict[str, Identity] = {}
    backend_settings: dict[str, dict[str, Any]] = {}
    versions: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    git: str | None = None
    early_stop: dict[str, Any] | None = None
    embedding: str | None = None


class _Paid(msgspec.Struct):
    """The one field of a log line that a ledger needs."""

    cost: Cost = Cost()


class Session(Record, frozen=True, kw_only=True):
    """One uninterrupted stretch of work of one backend, as noted when it ended (a killed one leaves none).

    rows: completions of this session that were not cached; counters: what the backend says of its own work;
    stopped: {"kind", "message"} where the backend could not go on.
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
    def create(cls, path: Path, manifest: Manifest, rows: Iterable[tuple[Sample, Request]]) -> "RunLog":
        """A new run directory with its rows; the manifest is written last and makes it a run."""
        if (path / "manifest.json").exists():
            raise UsageError(f"{path} already holds a run: continue it with --resume {path}, or name another --out.")
        path.mkdir(parents=True, exist_ok=True)
        encoder = msgspec.json.Encoder()
        with (path / "samples.jsonl").open("wb") as file:
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

    def rows(self) -> Iterator[Row]:
        """The rows and their requests, in position order."""
        decoder = msgspec.json.Decoder(Row)
        with (self.path / "samples.jsonl").open("rb") as file:
            for number, line in enumerate(file, 1):
                yield _decode(decoder, line, f"{self.path / 'samples.jsonl'}:{number}")

    def log_path(self, backend: str, *, probe: bool = False) -> Path:
        """`<backend>.jsonl`, or `<backend>.probe.jsonl`."""
        return self.path / f"{backend}{'.probe' if probe else ''}.jsonl"

    def lines(self, backend: str, *, probe: bool = False) -> dict[Key, LogLine]:
        """The last line of every (n, repeat), by position. A torn last line is not a line."""
        decoder = msgspec.json.Decoder(LogLine)
        path = self.log_path(backend, probe=probe)
        found: dict[Key, LogLine] = {}
        if path.is_file():
            with path.open("rb") as file:
                for number, raw in enumerate(file, 1):
                    if raw.endswith(b"\n"):
                        line = _decode(decoder, raw, f"{path}:{number}")
                        found[Key(line.n, line.repeat)] = line
        measured = None if probe else likeness.read_likeness(self.path)
        if measured is not None:
            _add_values(found, measured.values.get(backend, ()))
        return dict(sorted(found.items()))

    def incurred(self, backend: str) -> float:
        """USD paid for a backend: every line ever written, superseded ones and the probe's too."""
        decoder = msgspec.json.Decoder(_Paid)
        total = 0.0
        for probe in (False, True):
            path = self.log_path(backend, probe=probe)
            if path.is_file():
                with path.open("rb") as file:
                    costs = (_decode(decoder, raw, str(path)).cost.incurred for raw in file if raw.endswith(b"\n"))
                    total += sum(cost or 0.0 for cost in costs)
        return total

    def answered(self, backend: str, *, probe: bool = False) -> set[Key]:
        """What needs no further asking: every (n, repeat) whose last line is an answer."""
        return {key for key, line in self.lines(backend, probe=probe).items() if line.error is None}

    def writer(self, backend: str, *, probe: bool = False) -> "LogWriter":
        """Append lines to a backend's log. Only one process may hold it."""
        return LogWriter(self.log_path(backend, probe=probe))

    def note_session(self, backend: str, session: Session) -> None:
        """Add one line to `state/<backend>/sessions.jsonl`."""
        with (self.state_dir(backend) / "sessions.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(session) + b"\n")

    def sessions(self, backend: str) -> list[Session]:
        """The sessions that ended, oldest first."""
        path = self.path / "state" / backend / "sessions.jsonl"
        if not path.is_file():
            return []
        decoder = msgspec.json.Decoder(Session)
        return [_decode(decoder, line, str(path)) for line in path.read_bytes().splitlines()]

    def summary(self) -> Summary | None:
        """`summary.json`, or None while the run has not ended."""
        path = self.path / "summary.json"
        if not path.is_file():
            return None
        return decode_schema(path.read_bytes(), Summary, results.SCHEMA, str(path))

    def write_summary(self, summary: Summary) -> None:
        """Write `summary.json`, whole or not at all."""
        write_json(self.path / "summary.json", summary)


def _add_values(lines: dict[Key, LogLine], values: Iterable[tuple[int, int, float]]) -> None:
    """Give each scored line the value that was measured for it once all had answered."""
    for n, repeat, value in values:
        line = lines.get(Key(n, repeat))
        if line is not None and line.score is not None:
            score = msgspec.structs.replace(line.score, values={**line.score.values, likeness.NAME: value})
            lines[Key(n, repeat)] = msgspec.structs.replace(line, score=score)


class LogWriter:
    """Appends whole lines, each with one write; a torn tail left by a kill is cut off first.

    Raises UsageError where another process is writing the same log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._encoder = msgspec.json.Encoder()
        self._file: BinaryIO = path.open("ab+", buffering=0)
        _lock(self._file, path)
        _cut_torn_tail(self._file)

    def append(self, n: int, completion: Completion, score: Score | None) -> LogLine:
        """Write one line; on return it has left this process (a later kill cannot lose it)."""
        line = LogLine.of(n, completion, score)
        try:
            data = self._encoder.encode(line) + b"\n"
        except UnicodeEncodeError:  # half a surrogate pair in an answer: UTF-8 has no such thing
            line = msgspec.structs.replace(line, text=_whole_characters(line.text), score=_whole_score(score))
            data = self._encoder.encode(line) + b"\n"
        written = self._file.write(data)
        if written != len(data):  # a full disk: take the torn line back, the caller says so
            raise OSError(f"{self.path}: only {written} of {len(data)} bytes could be written")
        return line

    def close(self) -> None:
        """Close the file and let the next writer in."""
        self._file.close()

    def __enter__(self) -> "LogWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _whole_characters(text: str) -> str:
    """Join surrogate pairs; a lone half becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _whole_score(score: Score | None) -> Score | None:
    if score is None:
        return None
    answers = [None if a is None else _whole_characters(a) for a in (score.answer, score.lenient.answer)]
    lenient = msgspec.structs.replace(score.lenient, answer=answers[1])
    return msgspec.structs.replace(score, answer=answers[0], lenient=lenient)


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: no advisory locks; one writer is then the person's own care
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UsageError(f"{path} is being written by another bench process: wait for it, or end it.") from None


def _cut_torn_tail(file: BinaryIO) -> None:
    """Truncate to the last line end."""
    end = file.seek(0, os.SEEK_END)
    position = end
    while position > 0:
        start = max(0, position - 65536)
        file.seek(start)
        newline = file.read(position - start).rfind(b"\n")
        if newline >= 0:
            position = start + newline + 1
            break
        position = start
    if position != end:
        file.truncate(position)


def decode_schema(raw: bytes, kind: type[T], newest: int, name: str) -> T:
    """Decode JSON that carries a "schema" number; a newer one, or anything else, is a UsageError."""
    try:
        plain = msgspec.json.decode(raw)
        if not isinstance(plain, dict) or not isinstance(plain.get("schema"), int):
            raise UsageError(f"{name} carries no schema number: it was not written by Bench.")
        if plain["schema"] > newest:
            raise UsageError(
                f"{name} is of schema {plain['schema']}, this Bench reads up to {newest}: update Bench to read it."
            )
        return msgspec.convert(plain, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{name} is not readable ({error}).") from None


def _decode(decoder: msgspec.json.Decoder[T], line: bytes, place: str) -> T:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{place}: not a line of this Bench ({error}).") from None
