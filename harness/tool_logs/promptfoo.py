"""promptfoo: the JSON of `promptfoo eval -o results.json`, one evaluation a provider and prompt."""

from pathlib import Path
from typing import Any

import msgspec

from harness.errors import DataError
from harness.records import Failure, Message, Usage
from harness.tool_logs.evaluation import LoggedAnswer, LoggedEvaluation, as_text, metric_name, short_name

ERROR = 2
"""promptfoo's `failureReason` where no answer came back (1: an assertion failed)."""

ROLES = ("system", "user", "assistant")


def find_logs(path: Path) -> list[Path]:
    """The JSON files of a folder, or the file itself."""
    return sorted(path.glob("*.json")) if path.is_dir() else [path]


def read_log(path: Path) -> list[LoggedEvaluation]:
    """One file. Raises UsageError for what promptfoo did not write."""
    try:
        whole = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path}: not readable ({error}).") from None
    summary = _table(whole.get("results"))
    rows = [row for row in summary.get("results") or [] if isinstance(row, dict)]
    if not rows or "provider" not in rows[0]:
        raise DataError(f"{path}: not results of promptfoo: write them with promptfoo eval -o results.json.")
    columns: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        columns.setdefault((_provider(row), int(row.get("promptIdx") or 0)), []).append(row)
    prompts = {name: [p for p, _ in columns].count(name) for name, _ in columns}
    task = str(_table(whole.get("config")).get("description") or path.stem)
    return [
        LoggedEvaluation(
            tool="promptfoo",
            version=str(_table(whole.get("metadata")).get("promptfooVersion") or ""),
            task=task,
            model=provider,
            backend=short_name(provider.replace(":", "/")) + (f"-prompt{number}" if prompts[provider] > 1 else ""),
            metrics=_metrics(found),
            figures=_figures(summary, number),
            created=str(summary.get("timestamp") or ""),
            source=str(path),
            answers=_answers(found),
        )
        for (provider, number), found in columns.items()
    ]


def _provider(row: dict[str, Any]) -> str:
    provider = _table(row.get("provider"))
    return str(provider.get("label") or provider.get("id") or "provider")


def _metrics(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    named = (metric_name(str(name)) for row in rows for name in _table(row.get("namedScores")))
    return tuple(dict.fromkeys(["pass", "score", *named]))


def _figures(summary: dict[str, Any], number: int) -> dict[str, float]:
    """promptfoo's own pass rate of a column, errors left out as Bench leaves them out."""
    columns = [p for p in summary.get("prompts") or [] if isinstance(p, dict)]
    counts = _table(columns[number].get("metrics")) if number < len(columns) else {}
    passed, failed = counts.get("testPassCount"), counts.get("testFailCount")
    if not isinstance(passed, int) or not isinstance(failed, int) or not passed + failed:
        return {}
    return {"pass": passed / (passed + failed)}


def _answers(rows: list[dict[str, Any]]) -> tuple[LoggedAnswer, ...]:
    seen: dict[str, int] = {}
    answers = []
    for row in rows:
        test = str(row.get("testIdx"))
        seen[test] = seen.get(test, -1) + 1
        response = _table(row.get("response"))
        usage = _table(response.get("tokenUsage"))
        variables = _table(row.get("vars")) or _table(_table(row.get("testCase")).get("vars"))
        failed = row.get("failureReason") == ERROR or (row.get("error") and not response.get("output"))
        output = "" if response.get("output") is None else as_text(response["output"])
        latency, cost = row.get("latencyMs"), row.get("cost")
        answers.append(
            LoggedAnswer(
                row=test,
                repeat=seen[test],
                inputs={str(k): as_text(v) for k, v in sorted(variables.items())} or {"test": test},
                messages=_messages(_table(row.get("prompt")).get("raw")),
                reference=_expected(row),
                text=output,
                values=_values(row),
                usage=Usage(
                    prompt_tokens=int(usage.get("prompt") or 0), completion_tokens=int(usage.get("completion") or 0)
                ),
                service_s=latency / 1000 if isinstance(latency, int | float) and not response.get("cached") else None,
                cost=float(cost) if isinstance(cost, int | float) and cost else None,
                error=Failure(kind="provider error", message=str(row.get("error"))[:500]) if failed else None,
            )
        )
    return tuple(answers)


def _values(row: dict[str, Any]) -> dict[str, float]:
    found = {"pass": float(bool(row.get("success")))}
    if isinstance(row.get("score"), int | float):
        found["score"] = float(row["score"])
    named = _table(row.get("namedScores"))
    return found | {metric_name(str(k)): float(v) for k, v in named.items() if isinstance(v, int | float)}


def _expected(row: dict[str, Any]) -> str:
    """The value of the only assertion of equality, where there is one."""
    checks = _table(row.get("testCase")).get("assert") or []
    equal = [
        c.get("value") for c in checks if isinstance(c, dict) and c.get("type") in ("equals", "icontains", "contains")
    ]
    return as_text(equal[0]) if len(equal) == 1 and equal[0] is not None else ""


def _messages(raw: Any) -> tuple[Message, ...]:
    """The prompt as sent: chat messages where it is a JSON list of them, else one message of the user."""
    text = raw if isinstance(raw, str) else as_text(raw or "")
    try:
        turns = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        turns = None
    if isinstance(turns, list) and turns and all(isinstance(t, dict) and t.get("role") in ROLES for t in turns):
        return tuple(Message(role=t["role"], content=as_text(t.get("content") or "")) for t in turns)
    return (Message(role="user", content=text),)


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
