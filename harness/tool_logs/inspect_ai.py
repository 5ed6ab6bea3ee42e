"""Inspect: `.eval` (a ZIP of JSON) and `.json` logs. Written against inspect_ai 0.3.285, version 2 of the log.

Entries of a ZIP may be compressed by Zstandard (method 93), which Python's zipfile does not know.
"""

import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from harness.errors import DataError
from harness.records import Failure, Finish, Message, Usage
from harness.tool_logs.evaluation import LoggedAnswer, LoggedEvaluation, as_text, metric_name, short_name

ZSTANDARD = 93
_LOCAL_HEADER = struct.Struct("<26xHH")
"""Of an entry: the lengths of its name and of its extra field, behind 26 bytes (APPNOTE.TXT, 4.3.7)."""


class ZipEntries:
    """A ZIP file, opened for reading."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path}: not a readable log ({error}).") from None
        self._entries = {info.filename: info for info in self._zip.infolist()}

    def __enter__(self) -> "ZipEntries":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def names(self) -> list[str]:
        """The names of all entries, in the order of the file."""
        return list(self._entries)

    def read(self, name: str) -> bytes | None:
        """An entry's bytes; None where there is none of this name. Raises UsageError for a damaged one."""
        info = self._entries.get(name)
        if info is None:
            return None
        try:
            return self._zstandard(info) if info.compress_type == ZSTANDARD else self._zip.read(info)
        except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, struct.error) as error:
            raise DataError(f"{self._path}: its entry {name} is damaged ({error}).") from None

    def _zstandard(self, info: zipfile.ZipInfo) -> bytes:
        try:
            import pyarrow as pa
        except ImportError:
            raise DataError(
                f"{self._path}: reading Zstandard needs pyarrow: python -m pip install pyarrow, or write the log as "
                "JSON (inspect log convert --to json)."
            ) from None
        with self._path.open("rb") as file:
            file.seek(info.header_offset)
            name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            file.seek(name + extra, 1)
            raw = file.read(info.compress_size)
        return bytes(pa.decompress(raw, decompressed_size=info.file_size, codec="zstd", asbytes=True))


SAMPLE = re.compile(r"samples/.+\.json")

LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""Inspect's marks for correct, incorrect, partial and no answer, as its `value_to_float` reads them."""

MEANS = ("accuracy", "mean")
"""Inspect's metrics that are means of a score's values over the rows."""

FINISH: dict[str, Finish] = {
    "max_tokens": "length",
    "model_length": "context_too_long",
    "content_filter": "content_filter",
}

ATTACHMENT = "attachment://"


def find_logs(path: Path) -> list[Path]:
    """The logs below a folder, or the file itself."""
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.rglob("*") if one.suffix in (".eval", ".json") and one.is_file())


def read_log(path: Path) -> LoggedEvaluation:
    """One log. Raises UsageError for what is none, or for an evaluation that did not end."""
    if path.suffix == ".eval":
        with ZipEntries(path) as entries:
            head = _object(entries.read("header.json"), f"{path}: header.json")
            found = [
                _object(entries.read(name), f"{path}: {name}") for name in entries.names() if SAMPLE.fullmatch(name)
            ]
    else:
        head = _object(path.read_bytes(), str(path))
        found = [one for one in head.get("samples") or [] if isinstance(one, dict)]
    about = _table(head.get("eval"))
    if "task" not in about or "model" not in about:
        raise DataError(f"{path}: not a log of Inspect: it has no evaluation with a task and a model.")
    if not found:
        raise DataError(
            f"{path}: holds no samples (status {head.get('status')}): run the evaluation with its samples logged."
        )
    model = str(about["model"])
    scores = [one for one in _table(head.get("results")).get("scores") or [] if isinstance(one, dict)]
    answers = tuple(_answers(found, model))
    return LoggedEvaluation(
        tool="Inspect",
        version=str(_table(about.get("packages")).get("inspect_ai") or ""),
        task=str(about["task"]).rpartition("/")[2],
        task_version=str(about.get("task_version") or "0"),
        model=model,
        backend=short_name(model),
        metrics=tuple(dict.fromkeys([*(metric_name(str(s["name"])) for s in scores), *_value_names(answers)])),
        figures=_figures(scores),
        created=str(about.get("created") or ""),
        source=str(path),
        answers=answers,
        remarks=_remarks(head, found),
    )


def _object(raw: bytes | None, name: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw or b"", type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise DataError(f"{name}: not readable ({error}).") from None


def _remarks(head: dict[str, Any], found: list[dict[str, Any]]) -> tuple[str, ...]:
    status = str(head.get("status"))
    planned = _table(_table(head.get("eval")).get("dataset")).get("samples")
    epochs = int(_table(_table(head.get("eval")).get("config")).get("epochs") or 1)
    if status == "success" and planned in (None, len(found) // epochs):
        return ()
    return (f"Inspect's log has the status {status}: {len(found)} of {int(planned or 0) * epochs} answers are in it.",)


def _figures(scores: list[dict[str, Any]]) -> dict[str, float]:
    figures = {}
    for score in scores:
        metrics = _table(score.get("metrics"))
        value = next((_table(metrics[name]).get("value") for name in MEANS if name in metrics), None)
        if isinstance(value, int | float):
            figures[metric_name(str(score["name"]))] = float(value)
    return figures


def _value_names(answers: tuple[LoggedAnswer, ...]) -> list[str]:
    return list(dict.fromkeys(name for answer in answers for name in answer.values))


def _answers(samples: list[dict[str, Any]], model: str) -> Iterator[LoggedAnswer]:
    for sample in samples:
        output, scores = _table(sample.get("output")), _table(sample.get("scores"))
        first = _table(next(iter(scores.values()), None))
        error = sample.get("error")
        messages = _asked(sample)
        choices = sample.get("choices") or []
        usage = _table(_table(sample.get("model_usage")).get(model))
        stop = _table(next(iter(output.get("choices") or []), None)).get("stop_reason")
        seconds = sample.get("working_time")
        cost = usage.get("total_cost")
        yield LoggedAnswer(
            row=str(sample.get("id")),
            repeat=int(sample.get("epoch") or 1) - 1,
            inputs={"id": str(sample.get("id")), "input": "\n\n".join(m.content for m in messages if m.role == "user")},
            messages=messages,
            reference=_target(sample.get("target")),
            text=_text(output.get("completion"), sample),
            answer=None if first.get("answer") is None else as_text(first["answer"]),
            values=_values(scores),
            labels=tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(choices)]),
            columns={k: v for k, v in _table(sample.get("metadata")).items() if isinstance(v, str) and len(v) <= 80},
            usage=Usage(
                prompt_tokens=int(usage.get("input_tokens") or 0),
                cached_tokens=int(usage.get("input_tokens_cache_read") or 0),
                completion_tokens=int(usage.get("output_tokens") or 0),
                reasoning_tokens=int(usage.get("reasoning_tokens") or 0),
            ),
            service_s=float(seconds) if isinstance(seconds, int | float) else None,
            cost=float(cost) if isinstance(cost, int | float) else None,
            finish=FINISH.get(str(stop), "stop"),
            error=Failure(kind="sample error", message=str(_table(error).get("message"))[:500]) if error else None,
        )


def _values(scores: dict[str, Any]) -> dict[str, float]:
    """Every score as a number, under its scorer's name; a scorer of several values under theirs."""
    found = {}
    for name, score in scores.items():
        value = _table(score).get("value")
        inner = value.items() if isinstance(value, dict) else [(name, value)]
        for key, one in inner:
            number = LETTERS.get(one) if isinstance(one, str) else one
            if isinstance(number, bool | int | float):
                found[metric_name(str(key))] = float(number)
    return found


def _asked(sample: dict[str, Any]) -> tuple[Message, ...]:
    """What the model was first asked: the conversation up to its first own message."""
    found = []
    for message in sample.get("messages") or []:
        if not isinstance(message, dict) or (message.get("role") == "assistant" and message.get("source") != "input"):
            break
        if message.get("role") in ("system", "user", "assistant"):
            found.append(Message(role=message["role"], content=_text(message.get("content"), sample)))
    given = sample.get("input")
    if not found and isinstance(given, str):
        found = [Message(role="user", content=_text(given, sample))]
    return tuple(found)


def _text(content: Any, sample: dict[str, Any]) -> str:
    """A message's text; long texts are kept once a sample, and referred to."""
    if isinstance(content, list):
        return "".join(_text(part.get("text"), sample) for part in content if isinstance(part, dict))
    text = content if isinstance(content, str) else ""
    if text.startswith(ATTACHMENT):
        return str(_table(sample.get("attachments")).get(text.removeprefix(ATTACHMENT), text))
    return text


def _target(target: Any) -> str:
    return (
        str(target[0])
        if isinstance(target, list) and len(target) == 1
        else as_text(target if target is not None else "")
    )


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
