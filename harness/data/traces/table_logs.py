"""A table of calls: a column with what was asked, one with the answer, and others by their usual names."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from harness.data.logged_usage import read_usage
from harness.data.row import value_text
from harness.data.traces.call import Found, LeftOut, LoggedCall, answer_of, decoded, number_of, seconds_of, turns_of
from harness.errors import UsageError, did_you_mean

NAMES: dict[str, tuple[str, ...]] = {
    "input": ("input", "prompt", "question", "query", "user", "request", "messages", "user_message", "text"),
    "output": ("output", "answer", "completion", "response", "assistant", "reply", "generation", "assistant_message"),
    "system": ("system", "system_prompt", "instructions"),
    "time": ("timestamp", "time", "created_at", "created", "start_time", "starttime", "date"),
    "session": ("session_id", "session", "conversation_id", "thread_id", "trace_id", "user_id"),
    "model": ("model", "model_name", "model_id"),
    "latency_s": ("latency_s", "latency", "duration_s", "duration", "seconds"),
    "latency_ms": ("latency_ms", "duration_ms", "ms"),
    "cost": ("cost_usd", "cost", "total_cost", "price"),
    "expected": ("expected", "expected_output", "reference", "gold", "label", "corrected"),
}
"""Names of columns, in the order of trust; compared without case, blanks and hyphens."""


class Columns(NamedTuple):
    """Which column holds what; None where there is none."""

    found: dict[str, str]

    def value(self, fields: dict[str, Any], what: str) -> Any:
        """The value of a column of this kind."""
        column = self.found.get(what)
        return None if column is None else fields.get(column)


def columns_of(names: Iterable[str], given: dict[str, str]) -> Columns:
    """Guess the columns; `given` names some. Raises UsageError where input or output is not found."""
    plain = {name.casefold().replace(" ", "_").replace("-", "_"): name for name in names}
    found = dict(given)
    for named in given.values():
        if named not in plain.values():
            raise UsageError(f"the log has no column '{named}'{did_you_mean(named, plain.values())}.")
    for what, usual in NAMES.items():
        column = next((plain[name] for name in usual if name in plain and plain[name] not in found.values()), None)
        if column is not None:
            found.setdefault(what, column)
    for what in ("input", "output"):
        if what not in found:
            listed = ", ".join(plain.values())
            raise UsageError(f"no column is called like an {what}: name it with --{what} COLUMN (columns: {listed}).")
    return Columns(found)


def read_row(fields: dict[str, Any], columns: Columns) -> Iterator[Found]:
    """The call of a row."""
    asked = turns_of(decoded(_text(columns.value(fields, "input"))))
    answer = answer_of(decoded(_text(columns.value(fields, "output"))))
    if not asked or not any(turn["content"].strip() for turn in asked):
        yield LeftOut("holds no messages")
        return
    if answer is None:
        yield LeftOut("holds no answer")
        return
    system = _text(columns.value(fields, "system"))
    seconds, milliseconds = (number_of(columns.value(fields, f"latency_{unit}")) for unit in ("s", "ms"))
    session, expected = (_text(columns.value(fields, what)) for what in ("session", "expected"))
    yield LoggedCall(
        turns=(
            *(({"role": "system", "content": system},) if isinstance(system, str) and system else ()),
            *asked,
            answer,
        ),
        time=seconds_of(columns.value(fields, "time")),
        session=session if isinstance(session, str) else None,
        model=str(columns.value(fields, "model") or ""),
        usage=read_usage({k: number_of(v) for k, v in fields.items() if "token" in k}),
        service_s=seconds if seconds is not None else None if milliseconds is None else milliseconds / 1000,
        cost=number_of(columns.value(fields, "cost")),
        expected=expected if isinstance(expected, str) else None,
    )


def _text(value: Any) -> Any:
    """A cell as text; a list or an object of a Parquet file as it is."""
    return value if isinstance(value, list | dict) else value_text(value)
