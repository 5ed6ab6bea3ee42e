"""`bench data import`: from a log of production calls to rows, a task, and a recording of the model that answered.

Two passes over the calls: the first reads the log, writes every call aside and keeps a few numbers of each; the second
puts each call on its side of the split. What makes no row is kept with its reason in `left-out.jsonl`.
"""

import random
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import msgspec

from harness.data.contamination import Signatures, find_overlap
from harness.data.personal_data import masked
from harness.data.row import DataWarning
from harness.data.shared_text import SharedText
from harness.data.traces import langfuse_logs, log_file, openai_logs, otel_logs
from harness.data.traces.call import Found, LeftOut, LoggedCall, Turn
from harness.data.traces.log_file import LogRecord, read_json_log, read_table_log
from harness.data.traces.sides import Places, Sides, Split, assign_sides
from harness.data.traces.task_of_log import AnswerKinds, LogTask, write_task
from harness.errors import DataError, UsageError
from harness.hashing import digest
from harness.records import Record
from harness.text_format import count_noun

LogForm = Literal["openai-chat", "openai-stored", "langfuse", "otel", "csv"]
FORMS: dict[str, Callable[[dict[str, Any]], Iterator[Found]]] = {
    "openai-chat": openai_logs.read_record,
    "openai-stored": openai_logs.read_record,
    "langfuse": langfuse_logs.read_record,
    "otel": otel_logs.read_record,
}

LEFT_OUT = "left-out.jsonl"
RECORDING = "recording.jsonl"
CUT_OFF = ("length", "content_filter", "max_tokens", "max_output_tokens")

NEAR_TEST, NEAR_TRAIN = 2_000, 4_000
"""Rows of each side that are compared for near duplicates; of longer logs a seeded sample."""

LONGEST_COMPARED = 600
"""Characters of a text that are compared for near duplicates."""


class LogImportOptions(NamedTuple):
    """form: of the log. split: how rows are divided; None: by time where the log has it. share: of the test rows.
    mask: replace personal data. columns: of a table, by what they hold. delimiter: of a table.
    """

    form: LogForm
    split: Split | None = None
    share: float = 0.2
    seed: int = 0
    mask: bool = False
    columns: dict[str, str] = {}
    delimiter: str | None = None


class LogImport(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What became of a log.

    records: lines or elements of the file. calls: of a model. rows: by split. left_out: reason -> records or calls that
    make no row. duplicates: rows whose prompt occurred before. removed: training rows whose prompt is a test row's too.
    near_duplicates: test rows with a similar training row, among near_compared of them. personal_data: found, by kind.
    masked: whether it was replaced. system: the system prompt of all rows. system_prompts: different ones. models:
    calls by model. labels: of the answers, where they are a few short texts. split: how rows were divided. recorded:
    answers with usage, latency and cost. remarks: sentences on what a user must know.
    """

    records: int = 0
    calls: int = 0
    rows: dict[str, int] = {}
    left_out: dict[str, int] = {}
    duplicates: int = 0
    removed: int = 0
    near_duplicates: int = 0
    near_compared: int = 0
    personal_data: dict[str, int] = {}
    masked: bool = False
    system: str | None = None
    system_prompts: int = 0
    models: dict[str, int] = {}
    labels: tuple[str, ...] = ()
    split: str = ""
    recorded: dict[str, int] = {}
    remarks: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """The report in words."""
        left = ", ".join(f"{reason} {count:,}" for reason, count in self.left_out.items())
        lines = [
            f"{count_noun(self.records, 'record')}, {count_noun(self.calls, 'call')} of "
            f"{', '.join(f'{model} ({count:,})' for model, count in self.models.items())}",
            f"left out: {left} ({LEFT_OUT} has them)" if left else "left out: none",
            f"split: by {self.split}; {self.duplicates:,} prompts occurred before, {self.removed:,} training rows with "
            "a test row's prompt are removed",
            f"near duplicates: {self.near_duplicates:,} of {self.near_compared:,} compared test rows are like a "
            "training row",
        ]
        found = ", ".join(f"{kind} {count:,}" for kind, count in self.personal_data.items()) or "none found"
        how = " (masked)" if self.masked else " (--mask replaces it)" if self.personal_data else ""
        lines.append(f"personal data: {found}{how}")
        if self.system:
            lines.append(f"system prompt: the same in every call ({len(self.system):,} characters), now in task.toml")
        elif self.system_prompts > 1:
            lines.append(f"system prompt: {self.system_prompts:,} different ones, kept with the rows")
        if self.labels:
            lines.append(
                f"answers: {len(self.labels)} labels ({', '.join(self.labels[:8])}{', ..' * (len(self.labels) > 8)})"
            )
        facts = {"usage": "usage", "latency_s": "latency", "cost_usd": "cost"}
        logged = ", ".join(f"{name} {self.recorded.get(key, 0):,}" for key, name in facts.items())
        return [*lines, f"recorded answers with {logged}", *self.remarks]


class StoredCall(Record, frozen=True, kw_only=True):
    """A call as written aside: system prompts apart, the other turns as role and text, the answer."""

    number: int
    system: str = ""
    turns: tuple[tuple[str, str], ...]
    answer: str
    calls: tuple[dict[str, Any], ...] = ()
    session: str | None = None
    time: float | None = None
    model: str = ""
    expected: str | None = None
    facts: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """What was asked, as a hash."""
        return digest([self.system, self.turns])


def import_log(file: Path, out: Path, options: LogImportOptions) -> LogImport:
    """Read a log and write `out`: `train.jsonl`, `test.jsonl`, `recording.jsonl`, `task.toml`, `bench.toml`.

    Raises UsageError where the file cannot be read, no record makes a row, or `out` is not an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} is not an empty folder: name another.")
    if not file.is_file():
        raise DataError(f"{file}: there is no such file.")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        done = _Importer(file, aside, options).run()
        if out.exists():
            out.rmdir()
        aside.rename(out)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    write_task(out, done.task)
    return done.report


class _Done(NamedTuple):
    report: LogImport
    task: Any


class _Importer:
    """One import: counters of the first pass, and where each call stands."""

    def __init__(self, file: Path, out: Path, options: LogImportOptions) -> None:
        self.file, self.out, self.options = file, out, options
        self.left_out: Counter[str] = Counter()
        self.personal: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self.recorded: Counter[str] = Counter()
        self.systems: Counter[str] = Counter()
        self.answers = AnswerKinds()
        self.shared = SharedText()
        self.places = Places()
        self.tools: dict[str, tuple[dict[str, Any], ...]] = {}
        self.remarks: list[str] = []
        self.turns_most = 0
        self.records = self.calls = self.expected = 0

    def run(self) -> _Done:
        """Both passes."""
        spool, left = self.out / ".calls.jsonl", self.out / LEFT_OUT
        encoder = msgspec.json.Encoder()
        with (
            spool.open("wb") as calls,
            left.open("wb") as rest,
            warnings.catch_warnings(record=True, category=DataWarning) as caught,
        ):
            warnings.simplefilter("always", DataWarning)
            for number, found, raw in self._found():
                stored = self._stored(number, found)
                if isinstance(stored, LeftOut):
                    self._leave_out(rest, number, stored, raw)
                else:
                    self._note(stored)
                    calls.write(encoder.encode(stored) + b"\n")
        if not len(self.places):
            self._refuse_nothing()
        self.remarks = [str(one.message) for one in caught]
        report, task = self._write(spool)
        spool.unlink()
        if not self.left_out:
            left.unlink()
        return _Done(report, task)

    def _found(self) -> Iterator[tuple[int, Found, bytes]]:
        read = FORMS.get(self.options.form)
        if read is not None:
            for record in read_json_log(self.file):
                self.records += 1
                yield from self._calls_of(record, read)
            return
        columns = None
        for record in read_table_log(self.file, self.options.delimiter):
            self.records += 1
            assert isinstance(record.value, dict)
            if columns is None:
                columns = log_file.columns_of(record.value, self.options.columns)
            for found in log_file.read_row(record.value, columns):
                yield record.number, found, b""

    def _calls_of(
        self, record: LogRecord, read: Callable[[dict[str, Any]], Iterator[Found]]
    ) -> Iterator[tuple[int, Found, bytes]]:
        if isinstance(record.value, LeftOut):
            yield record.number, record.value, record.raw
            return
        try:
            found = list(read(record.value))
        except RecursionError:
            found = [LeftOut("nested too deeply")]
        for one in found or [LeftOut("holds no call of a model")]:
            yield record.number, one, record.raw

    def _stored(self, number: int, call: Found) -> StoredCall | LeftOut:
        """A call as a row needs it, or why it is none."""
        if isinstance(call, LeftOut):
            return call
        self.calls += 1
        *asked, answer = call.turns
        system = "\n\n".join(turn["content"] for turn in asked if turn["role"] == "system")
        turns = [turn for turn in asked if turn["role"] != "system"]
        reason = _why_no_row(turns, answer, call.finish)
        if reason is not None:
            return LeftOut(reason)
        mask = self._mask if self.options.mask else self._count
        facts: dict[str, Any] = {
            "latency_s": call.service_s,
            "first_token_s": call.first_token_s,
            "cost_usd": call.cost,
        }
        if call.usage is not None:
            facts["usage"] = msgspec.to_builtins(call.usage)
        if call.tools:
            self.tools.setdefault(digest(call.tools), call.tools)
        return StoredCall(
            number=number,
            system=mask(system),
            turns=tuple((turn["role"], mask(turn["content"])) for turn in turns),
            answer=mask(answer["content"]),
            calls=tuple(answer.get("tool_calls") or ()),
            session=call.session,
            time=call.time,
            model=call.model,
            expected=None if call.expected is None else mask(call.expected),
            facts={key: value for key, value in facts.items() if value is not None},
        )

    def _mask(self, text: str) -> str:
        return masked(text, self.personal)

    def _count(self, text: str) -> str:
        masked(text, self.personal)
        return text

    def _note(self, call: StoredCall) -> None:
        self.models[call.model] += 1
        self.systems[call.system] += 1 if call.system in self.systems or len(self.systems) < 10_000 else 0
        self.recorded.update(call.facts.keys())
        self.expected += call.expected is not None
        self.turns_most = max(self.turns_most, len(call.turns))
        self.answers.add(call.answer if call.expected is None else call.expected, bool(call.calls))
        if len(call.turns) == 1:
            self.shared.add(call.turns[0][1])
        self.places.add(call.key, call.session, call.time)

    def _leave_out(self, file: BinaryIO, number: int, why: LeftOut, raw: bytes) -> None:
        self.left_out[why.reason] += 1
        kept = {"record": number, "reason": why.reason, "detail": why.detail, "text": raw.decode("utf-8", "replace")}
        file.write(msgspec.json.encode(kept) + b"\n")

    def _refuse_nothing(self) -> None:
        """Raise UsageError: no record makes a row; say which form would read the log, where one would."""
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in self.left_out.most_common(3))
        other = "" if self.options.form == "csv" else _other_form(self.file, self.options.form)
        raise DataError(
            f"{self.file}: none of its {count_noun(self.records, 'record')} makes a row as {self.options.form}: "
            f"{reasons or 'the file is empty'}.{other}"
        )

    def _write(self, spool: Path) -> tuple[LogImport, Any]:
        """The second pass."""
        sides = assign_sides(self.places, self.options.split, self.options.share, self.options.seed)
        kind = self.answers.kind()
        task = self.answers.task(
            name=self.file.name.partition(".")[0],
            systems=self.systems,
            around=self.shared.around() if self.turns_most == 1 else ("", ""),
            conversations=self.turns_most > 1,
            expected=self.expected == len(self.places),
            model=self.models.most_common(1)[0][0],
            tools=next(iter(self.tools.values()), ()),
        )
        counts, near = self._write_rows(spool, sides, task, kind)
        self._join_left_out()
        compared, similar = near.found()
        remarks = [*self.remarks, *sides.remarks, *task.remarks]
        return (
            LogImport(
                records=self.records,
                calls=self.calls,
                rows={side: counts[side] for side in ("train", "test")},
                left_out=dict(self.left_out.most_common()),
                duplicates=sides.duplicates,
                removed=counts["removed"],
                near_duplicates=similar,
                near_compared=compared,
                personal_data=dict(self.personal),
                masked=self.options.mask,
                system=task.system,
                system_prompts=len(self.systems),
                models={model or "an unnamed model": count for model, count in self.models.most_common(20)},
                labels=task.labels,
                split=sides.split,
                recorded=dict(self.recorded),
                remarks=tuple(remarks),
            ),
            task,
        )

    def _write_rows(self, spool: Path, sides: Sides, task: LogTask, kind: str) -> tuple[Counter[str], "_NearSample"]:
        """Write rows and recording call by call; the rows of each side, and the sample for near duplicates."""
        counts: Counter[str] = Counter()
        near = _NearSample(sides.counts, self.options.seed)
        encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(StoredCall)
        with ExitStack() as opened, spool.open("rb") as lines:
            files = {
                name: opened.enter_context((self.out / name).open("wb"))
                for name in ("train.jsonl", "test.jsonl", RECORDING, LEFT_OUT + ".2")
            }
            for position, line in enumerate(lines):
                call = decoder.decode(line)
                if bool(call.calls) != (kind == "calls"):
                    what = "an answer that calls a tool" if call.calls else "an answer without a call of a tool"
                    self._leave_out(files[LEFT_OUT + ".2"], call.number, LeftOut(what), b"")
                    continue
                side = sides.of[position]
                counts[side] += 1
                if side == "removed":
                    continue
                files[f"{side}.jsonl"].write(encoder.encode(task.row(call)) + b"\n")
                files[RECORDING].write(encoder.encode(task.recorded(call)) + b"\n")
                near.add(side, call)
        return counts, near

    def _join_left_out(self) -> None:
        second = self.out / (LEFT_OUT + ".2")
        with (self.out / LEFT_OUT).open("ab") as file, second.open("rb") as more:
            shutil.copyfileobj(more, file)
        second.unlink()


def _why_no_row(turns: list[Turn], answer: Turn, finish: str) -> str | None:
    if any(turn["role"] == "tool" or turn.get("tool_calls") for turn in turns):
        return "calls of tools before the answer"
    if answer["role"] != "assistant":
        return "holds no answer"
    if not turns or turns[-1]["role"] != "user" or not turns[-1]["content"].strip():
        return "no text of a user before the answer"
    if not answer["content"].strip() and not answer.get("tool_calls"):
        return "an empty answer"
    return "an answer that was cut off" if finish in CUT_OFF else None


def _other_form(file: Path, form: str) -> str:
    """The sentence that names the form in which the first records can be read."""
    records = []
    for record in read_json_log(file):
        if isinstance(record.value, dict):
            records.append(record.value)
        if len(records) == 20:
            break
    for name, read in FORMS.items():
        if name not in (form, "openai-stored") and any(
            isinstance(found, LoggedCall) for record in records for found in read(record)
        ):
            return f" It can be read with --as {name}."
    return ""


class _NearSample:
    """Texts of both sides, of long logs a seeded sample, compared for near duplicates."""

    def __init__(self, counts: dict[str, int], seed: int) -> None:
        self._random = random.Random(seed)
        self._rate = {
            side: min(1.0, most / max(1, counts.get(side, 0)))
            for side, most in (("test", NEAR_TEST), ("train", NEAR_TRAIN))
        }
        self._texts: dict[str, list[str]] = {"test": [], "train": []}

    def add(self, side: str, call: StoredCall) -> None:
        """Take a row's texts in, or not."""
        if self._rate[side] == 1.0 or self._random.random() < self._rate[side]:
            self._texts[side].append("\n".join(text for _, text in call.turns)[:LONGEST_COMPARED])

    def found(self) -> tuple[int, int]:
        """How many test rows were compared, and how many have a similar training row."""
        test, train = (Signatures.of([text] for text in self._texts[side]) for side in ("test", "train"))
        return len(test.exact), len(find_overlap(test, train, "").rows)
