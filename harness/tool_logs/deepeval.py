"""DeepEval: a test run as JSON (`.deepeval/.latest_test_run.json`, or a file of DEEPEVAL_RESULTS_FOLDER)."""

from pathlib import Path
from typing import Any

import msgspec

from harness.errors import DataError
from harness.records import Failure, Message
from harness.tool_logs.evaluation import LoggedAnswer, LoggedEvaluation, as_text, metric_name, short_name


def find_logs(path: Path) -> list[Path]:
    """The test runs of a folder, or the file itself."""
    if not path.is_dir():
        return [path]
    latest = path / ".latest_test_run.json"
    return [latest] if latest.is_file() else sorted(one for one in path.iterdir() if one.is_file())


def read_log(path: Path) -> LoggedEvaluation:
    """One test run. Raises UsageError for what is none."""
    try:
        whole = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path}: not readable ({error}).") from None
    run = _table(whole.get("testRunData")) or whole
    cases = [case for case in run.get("testCases") or [] if isinstance(case, dict)]
    if not cases or "metricsData" not in cases[0]:
        raise DataError(f"{path}: not a test run of DeepEval: it has no testCases with metricsData.")
    settings = _table(run.get("hyperparameters"))
    model = next((str(settings[key]) for key in ("model", "Model", "model_name") if settings.get(key)), path.stem)
    answers = tuple(_answer(case, number) for number, case in enumerate(cases))
    return LoggedEvaluation(
        tool="DeepEval",
        task=str(run.get("identifier") or run.get("testFile") or "deepeval").rpartition("/")[2].removesuffix(".py"),
        model=model,
        backend=short_name(model.lstrip(".")),
        metrics=tuple(dict.fromkeys(["success", *(name for answer in answers for name in answer.values)])),
        figures=_figures(run),
        source=str(path),
        answers=answers,
    )


def _figures(run: dict[str, Any]) -> dict[str, float]:
    """DeepEval's share of test cases that passed."""
    passed, failed = run.get("testPassed"), run.get("testFailed")
    if not isinstance(passed, int) or not isinstance(failed, int) or not passed + failed:
        return {}
    return {"success": passed / (passed + failed)}


def _answer(case: dict[str, Any], number: int) -> LoggedAnswer:
    values: dict[str, float] = {}
    errors = []
    for metric in case.get("metricsData") or []:
        score = _table(metric).get("score")
        if isinstance(score, int | float):
            values[metric_name(str(metric.get("name")))] = float(score)
        elif _table(metric).get("error"):
            errors.append(str(metric["error"]))
    if isinstance(case.get("success"), bool):
        values["success"] = float(case["success"])
    asked, seconds, cost = as_text(case.get("input") or ""), case.get("completionTime"), case.get("tokenCost")
    failed = bool(errors) and not values.keys() - {"success"}
    return LoggedAnswer(
        row=str(case.get("name") or number),
        inputs={"input": asked},
        messages=(Message(role="user", content=asked),),
        reference=as_text(case.get("expectedOutput") or ""),
        text=as_text(case.get("actualOutput") or ""),
        values=values,
        service_s=float(seconds) if isinstance(seconds, int | float) else None,
        cost=float(cost) if isinstance(cost, int | float) else None,
        error=Failure(kind="metric error", message=errors[0][:500]) if failed else None,
    )


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
