"""lm-evaluation-harness: `samples_<task>_<time>.jsonl` of `--log_samples`, and `results_<time>.json` beside it.

Written against 0.4.13; a line holds one document under one filter, with the value of each of its metrics.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import DataError
from harness.records import Message
from harness.tool_logs.evaluation import LoggedAnswer, LoggedEvaluation, as_text, metric_name, short_name

SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<time>\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl")

CHOOSES = ("multiple_choice",)
"""Kinds of output whose answer is the choice with the largest log-likelihood."""


def find_logs(path: Path) -> list[Path]:
    """The files of samples below a folder, or the file itself."""
    return sorted(path.rglob("samples_*.jsonl")) if path.is_dir() else [path]


def read_log(path: Path) -> LoggedEvaluation:
    """One file of samples with its results. Raises UsageError naming file and line of what is no such log."""
    match = SAMPLES.fullmatch(path.name)
    if match is None:
        raise DataError(f"{path}: lm-eval calls its files samples_TASK_TIME.jsonl (lm_eval --log_samples writes them).")
    task, time = match["task"], match["time"]
    results = _results(path.parent / f"results_{time}.json")
    lines = list(_lines(path))
    if not lines:
        raise DataError(f"{path}: holds no samples.")
    config = _table(_table(results.get("configs")).get(task))
    named = results.get("model_name") or _table(results.get("config")).get("model") or path.parent.name
    adapter = _argument(results, "peft")
    model = str((_argument(results, "pretrained") if adapter else None) or named)
    figures, lower = _figures(_table(_table(results.get("results")).get(task)), results, task)
    chat = bool(results.get("chat_template_sha") or results.get("chat_template"))
    chooses = config.get("output_type") in CHOOSES or _chooses(lines[0])
    return LoggedEvaluation(
        tool="lm-eval",
        version=str(results.get("lm_eval_version") or ""),
        task=task,
        task_version=str(_table(results.get("versions")).get(task, "1")),
        model=model,
        backend=short_name(model, adapter),
        adapter=adapter,
        metrics=tuple(dict.fromkeys(name for line in lines for name in _values(line))),
        lower=lower,
        figures=figures,
        decode="choose" if chooses else "generate",
        created=time.partition(".")[0],
        source=str(path),
        answers=tuple(_answers(lines, chat, chooses)),
        remarks=_remarks(results, chat, path),
    )


def _results(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path}: not readable ({error}).") from None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            try:
                line = msgspec.json.decode(raw, type=dict[str, Any])
            except msgspec.MsgspecError as error:
                raise DataError(f"{path}:{number}: not a line of lm-eval's samples ({error}).") from None
            if "doc_id" not in line or not isinstance(line.get("arguments"), dict | list):
                raise DataError(
                    f'{path}:{number}: not a line of lm-eval\'s samples: it has no "doc_id" or "arguments".'
                )
            yield line


def _answers(lines: list[dict[str, Any]], chat: bool, chooses: bool) -> Iterator[LoggedAnswer]:
    """One answer a document: the values of all filters together, the text of the first one."""
    documents: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        documents.setdefault(str(line["doc_id"]), []).append(line)
    for row, filters in documents.items():
        first = filters[0]
        asked = _arguments(first)
        document = as_text(first.get("doc"))
        prompt = document if chat else str(asked[0][0])
        choices = tuple(str(one[1]).strip() for one in asked) if chooses and len(asked) > 1 else ()
        text = _answer(first, choices)
        yield LoggedAnswer(
            row=row,
            inputs={"doc": document},
            messages=(Message(role="user", content=prompt),),
            reference=_reference(first.get("target"), choices),
            labels=choices,
            text=text,
            answer=text,
            values={name: value for line in filters for name, value in _values(line).items()},
        )


def _reference(target: Any, choices: tuple[str, ...]) -> str:
    """The right answer; of a choice its text, which the log names by its number (as text)."""
    text = as_text(target)
    numbered = text.isdecimal() and text not in choices and int(text) < len(choices)
    return choices[int(text)] if numbered else text


def _arguments(line: dict[str, Any]) -> list[list[Any]]:
    """The arguments of each request of a document: a list, or (0.4.3 and later) {"gen_args_0": {"arg_0": ..}}."""
    given = line["arguments"]
    requests = list(given.values()) if isinstance(given, dict) else given
    found = [
        list(one.values()) if isinstance(one, dict) else list(one) for one in requests if isinstance(one, dict | list)
    ]
    return [one for one in found if one] or [[""]]


def _chooses(line: dict[str, Any]) -> bool:
    """Whether a document was scored by log-likelihoods of several continuations."""
    asked = _arguments(line)
    return len(asked) > 1 and all(len(one) > 1 and isinstance(one[1], str) for one in asked)


def _answer(line: dict[str, Any], choices: tuple[str, ...]) -> str:
    """The choice with the largest log-likelihood, or the text after the filter."""
    found = line.get("filtered_resps") or [""]
    if choices and len(found) == len(choices):
        scores = [float(one[0]) if isinstance(one, list) else float("-inf") for one in found]
        return choices[max(range(len(scores)), key=scores.__getitem__)]
    one = found[0]
    while isinstance(one, list):
        one = one[0] if one else ""
    return as_text(one)


def _values(line: dict[str, Any]) -> dict[str, float]:
    """The row's numbers, under the names of the metric and its filter."""
    found = {}
    for name in line.get("metrics") or ():
        value = line.get(name)
        if isinstance(value, bool | int | float):
            found[metric_name(name, str(line.get("filter") or ""))] = float(value)
    return found


def _figures(own: dict[str, Any], results: dict[str, Any], task: str) -> tuple[dict[str, float], tuple[str, ...]]:
    """lm-eval's own figures under our names, and those of which less is better."""
    figures, lower = {}, []
    better = _table(_table(results.get("higher_is_better")).get(task))
    for key, value in own.items():
        name, _, filtered = key.partition(",")
        if isinstance(value, int | float) and not isinstance(value, bool) and not name.endswith("_stderr"):
            figures[metric_name(name, filtered)] = float(value)
            if better.get(name) is False:
                lower.append(metric_name(name, filtered))
    return figures, tuple(lower)


def _argument(results: dict[str, Any], name: str) -> str | None:
    """One of the model's arguments: `peft` names an adapter, `pretrained` the model."""
    given = _table(results.get("config")).get("model_args")
    if isinstance(given, dict):
        return str(given[name]) if given.get(name) else None
    match = re.search(rf"(?:^|,){name}=([^,]+)", str(given or ""))
    return match[1] if match else None


def _remarks(results: dict[str, Any], chat: bool, path: Path) -> tuple[str, ...]:
    if not results:
        return (f"{path.parent} holds no results file of that time: figures could not be held against lm-eval's own.",)
    if chat:
        return ("each model was asked by its own chat template: rows are matched by their documents.",)
    return ()


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
