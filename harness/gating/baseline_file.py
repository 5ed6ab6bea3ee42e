"""A baseline: one run's outcomes row by row, as a small file made to be committed.

One line a row, sorted by id (`"3f2a9c0d1e4b5a67 7c1"`: id, then a cell for each backend), so that two baselines
differ where the outcomes differ. A cell names one of the backend's distinct outcomes by the beginning of its
hash; repeats are joined by dots, "-" is no answer, and numbers that are not 0 or 1 follow a colon. A hash over
all guards it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness.data.sampling import fingerprint, order_version
from harness.errors import IncompleteRunError, NotComparableError, UsageError
from harness.files import write_json
from harness.gating.comparability import refusals
from harness.gating.gate_result import ArmInfo
from harness.gating.gate_settings import MAX_ERROR_RATE
from harness.gating.pairing import Arm, Evaluation, prompt_fingerprint, read_ids, run_arm, run_summary
from harness.gating.row_ids import RowIds
from harness.hashing import digest, digest_fields
from harness.metrics import Metric
from harness.records import Key, Lenient, Record, Score
from harness.results import Latency
from harness.runs.run_log import RunLog, decode_schema
from harness.summary.outcomes import OutcomeBuilder

SCHEMA = 1
KIND = "bench baseline"
NO_ANSWER = "-"
ABSENT = "~"
READ = "+"
"""Stands for whatever a lenient reader read: open answers are too long for a baseline, that there is one matters."""
CODE = 3
"""Characters of an outcome's code, more where two would be alike."""


class BaselineBackend(Record, frozen=True, kw_only=True, omit_defaults=False):
    """One backend of a baseline. numbers: names of the values in the cells, in their order there."""

    info: ArmInfo
    asked: int
    errors: int
    cost_per_1000: float | None
    cost_basis: str
    tokens_per_answer: float | None
    probe: Latency | None
    numbers: tuple[str, ...]
    outcomes: dict[str, Score]


class BackendAdditions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Further facts of a backend: ids of rows that its model may have learned from (None: not known), whether it was
    fine-tuned, and the SHA-256 of all its texts."""

    contaminated: tuple[str, ...] | None = None
    trained: bool = False
    answers_sha256: str | None = None


class Additions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a baseline holds beyond schema 1: facts of its backends, and the first baseline that was accepted under this
    file's name, whole but without its own first one.

    It is inside `data`, which every version reads and hashes without looking into it: older versions read such a
    file as before, and files without it still load. Keys that are not known are passed over.
    """

    backends: dict[str, BackendAdditions] = {}
    first: dict[str, Any] | None = None


ADDITIONS = "additions"


class Baseline(Record, frozen=True, kw_only=True, omit_defaults=False):
    """The file. `backends` are in the order of the cells of each row; sha256 is over all but itself."""

    schema: int = SCHEMA
    kind: str = KIND
    task: str
    run: str
    created: str
    git: str | None
    data: dict[str, Any]
    fingerprint: str
    prompts: str
    parser: str
    labels: tuple[str, ...]
    metrics: tuple[Metric, ...]
    repeats: int
    backends: dict[str, BaselineBackend]
    sha256: str = ""
    rows: tuple[str, ...]

    def seal(self) -> str:
        """What `sha256` must be."""
        return digest_fields({f: getattr(self, f) for f in self.__struct_fields__ if f != "sha256"})

    @property
    def additions(self) -> Additions:
        """What it holds beyond schema 1; all unknown in a baseline of an older version."""
        return msgspec.convert(self.data.get(ADDITIONS, {}), Additions)

    @property
    def first(self) -> "Baseline | None":
        """The first baseline accepted under this file's name; None where this is the first."""
        found = self.additions.first
        return None if found is None else msgspec.convert(found, Baseline)

    def with_first(self, first: "Baseline") -> "Baseline":
        """This baseline with the first accepted one beside it."""
        additions = msgspec.structs.replace(first.additions, first=None)
        bare = msgspec.structs.replace(first, data={**first.data, ADDITIONS: msgspec.to_builtins(additions)})
        mine = msgspec.structs.replace(self.additions, first=msgspec.to_builtins(bare))
        made = msgspec.structs.replace(self, data={**self.data, ADDITIONS: msgspec.to_builtins(mine)})
        return msgspec.structs.replace(made, sha256=made.seal())

    def ids(self) -> RowIds:
        """The ids of its rows."""
        return RowIds.of(line.split(" ", 1)[0] for line in self.rows)

    def evaluation(self, path: Path) -> Evaluation:
        """What this baseline was measured on."""
        return Evaluation(
            source=str(path),
            task=self.task,
            data=self.fingerprint,
            prompts=self.prompts,
            parser=self.parser,
            labels=self.labels,
            metrics=self.metrics,
            order=order_version(self.data),
        )


def make_baseline(log: RunLog, names: tuple[str, ...] | None = None) -> Baseline:
    """A baseline of a run's backends (all, where none is named).

    Raises IncompleteRunError where the run has not ended or lacks more answers than MAX_ERROR_RATE,
    UsageError for an unknown backend or rows of one id.
    """
    summary = run_summary(log)
    rows = log.stored_rows()
    ids = read_ids(rows, log)
    manifest = log.manifest
    cells: dict[str, list[str]] = {}
    backends: dict[str, BaselineBackend] = {}
    facts: dict[str, BackendAdditions] = {}
    for name in names or tuple(summary.backends):
        side = run_arm(log, name, ids, summary)
        if side.early is not None:
            raise IncompleteRunError(f"{log.path}: '{name}' stopped early; a baseline needs every row.")
        if side.unanswered > MAX_ERROR_RATE * side.asked:
            raise IncompleteRunError(
                f"{log.path}: '{name}' lacks {side.unanswered} of {side.asked} answers, too many for a baseline; "
                f"finish it with `bench run --resume {log.path}`."
            )
        backends[name], cells[name] = _encode(log, name, side, len(ids), manifest.repeats)
        seen = None if side.contaminated is None else tuple(sorted(ids[n] for n in side.contaminated))
        facts[name] = BackendAdditions(contaminated=seen, trained=side.trained, answers_sha256=side.answers_sha256)
    lines = sorted(" ".join((row_id, *(cells[name][n] for name in backends))) for n, row_id in enumerate(ids))
    del cells
    made = Baseline(
        task=manifest.task,
        run=manifest.id,
        created=manifest.created,
        git=manifest.git,
        data={**manifest.data, ADDITIONS: msgspec.to_builtins(Additions(backends=facts))},
        fingerprint=fingerprint(row.sample for row in rows),
        prompts=prompt_fingerprint(rows),
        parser=manifest.parser,
        labels=manifest.labels,
        metrics=summary.metrics,
        repeats=manifest.repeats,
        backends=backends,
        rows=tuple(lines),
    )
    return msgspec.structs.replace(made, sha256=made.seal())


def _encode(log: RunLog, name: str, side: Arm, rows: int, repeats: int) -> tuple[BaselineBackend, list[str]]:
    labels = set(log.manifest.labels)
    # The log is read twice: which values a cell must hold is known only at its end, and scores are large to keep.
    numbers = sorted({k for _, score in _scores(log, name) for k, v in score.values.items() if v not in (0, 1)})
    codes = np.full((rows, repeats), -1, dtype=np.int32)  # into `keys`; -1: no answer
    own = np.full((rows, repeats, len(numbers)), np.nan)  # NaN, which a log cannot hold, is "absent"
    keys: dict[str, int] = {}
    distinct: dict[str, Score] = {}
    for key, score in _scores(log, name):
        shared = _split(score, numbers, labels)
        code = digest(shared)
        codes[key] = keys.setdefault(code, len(keys))
        distinct.setdefault(code, shared)
        own[key] = [score.values.get(k, np.nan) for k in numbers]
    length = _code_length(list(distinct))
    texts = [*(code[:length] for code in keys), NO_ANSWER]  # -1 is the last

    def cell(n: int, repeat: int) -> str:
        text = texts[int(codes[n, repeat])]
        if not numbers or text is NO_ANSWER:
            return text
        return f"{text}:{','.join(_number(v) for v in own[n, repeat].tolist())}"

    backend = BaselineBackend(
        info=msgspec.structs.replace(side.info, source=""),  # the run's id says enough; folders are private
        asked=side.asked,
        errors=side.errors,
        cost_per_1000=side.cost_per_1000,
        cost_basis=side.cost_basis,
        tokens_per_answer=side.tokens_per_answer,
        probe=side.probe,
        numbers=tuple(numbers),
        outcomes={key[:length]: distinct[key] for key in sorted(distinct)},
    )
    # A dot joins the repeats; a decimal point inside a number would be ambiguous, so these use "|".
    joint = "|" if numbers else "."
    return backend, [joint.join(cell(n, r) for r in range(repeats)) for n in range(rows)]


def _scores(log: RunLog, name: str) -> Iterator[tuple[Key, Score]]:
    """The answers of a backend that have a score."""
    for line in log.backend_log(name).each_last():
        if line.score is not None:
            yield Key(line.n, line.repeat), line.score


def _split(score: Score, numbers: list[str], labels: set[str]) -> Score:
    """What of an outcome many rows share: without the row's own numbers and without texts of open answers."""
    return Score(
        answer=score.answer if score.answer in labels else None,
        correct=score.correct,
        format=score.format,
        lenient=Lenient(answer=score.lenient.answer and READ, correct=score.lenient.correct),
        values=dict(sorted((k, v) for k, v in score.values.items() if k not in numbers)),
    )


def _code_length(keys: list[str]) -> int:
    """The shortest prefix, at least CODE characters, that distinguishes all hashes."""
    return next(n for n in range(CODE, 65) if len({key[:n] for key in keys}) == len(keys))


def _number(value: float) -> str:
    return ABSENT if np.isnan(value) else repr(value).removesuffix(".0")


def keep_first(made: Baseline, path: Path) -> tuple[Baseline, str]:
    """`made` with the first baseline that was accepted at `path`, and a sentence about it ("" where there is none).

    A file that cannot be read, or was accepted for other rows, prompts or rules, is no first one.
    """
    if not path.is_file():
        return made, ""
    try:
        previous = read_baseline(path)
    except UsageError:
        return made, "the file there could not be read as a baseline; drift is counted from this one on."
    first = previous.first or previous
    ids = made.ids(), first.ids()
    if refusals(made.evaluation(path), first.evaluation(path), ids):
        return made, "it was accepted for other rows, prompts or rules; drift is counted from this one on."
    if first.run == made.run:
        return made, ""
    return made.with_first(first), (
        f"the first accepted one ({first.run}, {first.created[:10]}) is kept beside it, and the gate looks for drift "
        "since. Delete the file before accepting to start over."
    )


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write the file whole or not at all."""
    write_json(path, baseline)


def read_baseline(path: Path) -> Baseline:
    """A baseline as accepted.

    Raises NotComparableError where there is no such file; UsageError for a truncated, edited or foreign file,
    one of a newer schema, or one that names a row twice.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise NotComparableError(
            f"there is no baseline {path}: accept a run that you trust with "
            f"`bench baseline accept RUN --out {path}` and commit the file."
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from None
    again = "accept it again with `bench baseline accept`, or restore it from version control"
    try:
        baseline = decode_schema(raw, Baseline, SCHEMA, str(path))
    except UsageError as error:
        raise UsageError(f"{str(error).rstrip('.')}: if it should be a baseline, {again}.") from None
    del raw  # a large file is not held beside its rows
    if baseline.kind != KIND or baseline.seal() != baseline.sha256:
        raise UsageError(f"{path} is not as it was accepted (its hash does not match): {again}.")
    twice = baseline.ids().repeated()
    if twice is not None:
        raise UsageError(f"{path}: the row {twice} occurs twice: {again}.")
    return baseline


def baseline_arm(baseline: Baseline, name: str, path: Path | str, ids: RowIds) -> Arm:
    """One backend of a baseline, rows in the file's order, which are called `ids`. Raises UsageError for a damaged
    cell."""
    backend = baseline.backends[name]
    facts = baseline.additions.backends.get(name, BackendAdditions())
    column = list(baseline.backends).index(name) + 1
    builder = OutcomeBuilder(
        backend.info.decode, baseline.metrics, baseline.labels, len(baseline.rows), baseline.repeats
    )
    unanswered = 0
    for n, line in enumerate(baseline.rows):
        parts = line.split(" ")
        try:
            scores = list(_decode(parts[column], backend, baseline.repeats))
        except (LookupError, ValueError):
            raise UsageError(f"{path}: the line '{line}' cannot be read; accept the baseline again.") from None
        for repeat, score in enumerate(scores):
            if score is None:
                unanswered += 1
            else:
                builder.add_score(n, repeat, score)
    return Arm(
        info=msgspec.structs.replace(backend.info, source=str(path)),
        ids=ids,
        outcomes=builder.build(),
        asked=backend.asked,
        unanswered=unanswered,
        errors=backend.errors,
        cost_per_1000=backend.cost_per_1000,
        cost_basis=backend.cost_basis,
        tokens_per_answer=backend.tokens_per_answer,
        probe=backend.probe,
        contaminated=_positions(facts.contaminated, ids),
        trained=facts.trained,
        answers_sha256=facts.answers_sha256,
    )


def _positions(named: tuple[str, ...] | None, ids: RowIds) -> tuple[int, ...] | None:
    wanted = frozenset(named or ())
    return None if named is None else tuple(n for n, name in enumerate(ids) if name in wanted)


def _decode(cell: str, backend: BaselineBackend, repeats: int) -> Iterator[Score | None]:
    answers = cell.split("|" if backend.numbers else ".")
    if len(answers) != repeats:
        raise ValueError(cell)
    for answer in answers:
        if answer == NO_ANSWER:
            yield None
            continue
        code, _, numbers = answer.partition(":")
        outcome = backend.outcomes[code]
        if backend.numbers:
            own = dict(zip(backend.numbers, numbers.split(","), strict=True))
            values = {k: float(v) for k, v in own.items() if v != ABSENT}
            if not all(np.isfinite(v) for v in values.values()):
                raise ValueError(cell)
            outcome = msgspec.structs.replace(outcome, values={**outcome.values, **values})
        yield outcome
