"""Fuzzed log lines through `bench data import`: no line is lost, and none ends it.

    python -m benchmarks.abuse.log_lines --lines 1000000 --chunk 50000

Lines of every form are damaged (bytes, structure, types, sizes) and read in chunks, so that the memory of one chunk is
enough. Every record must end as a row or in `left-out.jsonl`; anything else, and any exception that is no sentence of
Bench's own, is a failure.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.data.traces.log_import import LogForm, LogImportOptions, import_log
from harness.errors import BenchError

FORMS: tuple[LogForm, ...] = ("openai-chat", "openai-stored", "langfuse", "otel")
JUNK: tuple[Any, ...] = (
    *(None, True, -1, 0, 1e308, 2**70, "", "x", "\x00", "\u202e", "\ud7ff", [], {}, [[]], [None]),
    *({"role": "user"}, {"content": [{"text": None}]}, {"role": [], "content": {}}, "{", "[" * 40, {"": {}}),
)
KEYS = (
    *("messages", "request", "response", "input", "output", "type", "choices", "usage", "attributes", "resourceSpans"),
    *("role", "content", "tool_calls", "created", "metadata", "observations", "startTime", "events", "spans", "data"),
)


def conversation(rng: random.Random) -> list[dict[str, Any]]:
    """One to five turns and an answer."""
    turns = [{"role": "system", "content": "Be brief."}] if rng.random() < 0.5 else []
    for _ in range(rng.randint(1, 3)):
        turns += [{"role": "user", "content": f"q{rng.random()} call +49 30 {rng.randint(10**6, 10**7)}"}]
        turns += [{"role": "assistant", "content": rng.choice(["yes", "no", '{"a": 1}'])}]
    return turns


def record(form: LogForm, rng: random.Random) -> dict[str, Any]:
    """A whole record of a form."""
    *asked, answer = conversation(rng)
    moment = 1_770_000_000 + rng.randint(0, 10**6)
    if form == "langfuse":
        return {
            "type": "GENERATION",
            "input": rng.choice([asked, json.dumps(asked), {"messages": asked}]),
            "output": rng.choice([answer, answer["content"], json.dumps(answer)]),
            "startTime": moment,
            "endTime": moment + 1,
            "sessionId": f"s{rng.randint(0, 99)}",
            "usageDetails": {"input": 5, "output": 1},
        }
    if form == "otel":
        values = {"gen_ai.input.messages": json.dumps(asked), "gen_ai.output.messages": json.dumps([answer])}
        attributes = [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
        span = {"spanId": "a", "startTimeUnixNano": str(moment * 10**9), "attributes": attributes}
        return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    body = {"choices": [{"message": answer, "finish_reason": "stop"}], "created": moment, "usage": {"prompt_tokens": 5}}
    return (
        {**body, "messages": asked} if form == "openai-stored" else {"request": {"messages": asked}, "response": body}
    )


def damaged(value: Any, rng: random.Random, depth: int = 0) -> Any:
    """The same value with a part of it replaced, removed, wrapped or repeated."""
    if rng.random() < 0.15 or depth > 6:
        return rng.choice(JUNK)
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        changed = {**value, key: damaged(value[key], rng, depth + 1)}
        if rng.random() < 0.2:
            changed.pop(key)
        if rng.random() < 0.2:
            changed[rng.choice(KEYS)] = rng.choice(JUNK)
        return changed
    if isinstance(value, list) and value:
        n = rng.randrange(len(value))
        return [*value[:n], damaged(value[n], rng, depth + 1), *value[n + (rng.random() < 0.5) :]]
    return rng.choice(JUNK)


def line(form: LogForm, rng: random.Random) -> bytes:
    """A line: whole in one case of ten, damaged as a value, as text or as bytes in the others."""
    value = record(form, rng)
    if rng.random() > 0.1:
        value = damaged(value, rng)
    raw = json.dumps(value).encode("utf-8", "surrogatepass")
    kind = rng.random()
    if kind < 0.15:
        return raw[: rng.randrange(len(raw) + 1)]
    if kind < 0.25:
        at = rng.randrange(len(raw) + 1)
        return raw[:at] + bytes(rng.randrange(256) for _ in range(3)).replace(b"\n", b" ") + raw[at:]
    return raw


def check_chunk(form: LogForm, lines: list[bytes], place: Path) -> tuple[int, int]:
    """Import a chunk; returns rows and records left out. Raises AssertionError where a record is lost."""
    log, out = place / "log.jsonl", place / "out"
    log.write_bytes(b"\n".join(lines) + b"\n")
    found = import_log(log, out, LogImportOptions(form, split="random", mask=True))
    rows = sum(found.rows.values()) + found.removed
    kept = [json.loads(one) for one in (out / "left-out.jsonl").open(encoding="utf-8")]
    whole = sum(1 for one in lines if one.strip())
    written = sum(1 for side in ("train", "test") for _ in (out / f"{side}.jsonl").open())
    assert written == sum(found.rows.values()), "rows that were counted are not written"
    assert sum(found.left_out.values()) == len(kept), "records that were left out are not kept"
    assert rows + len(kept) >= found.records >= whole, f"{found.records} of {whole} records"
    assert rows + len({one["record"] for one in kept}) >= whole, "a line is neither a row nor left out"
    return rows, len(kept)


def main() -> None:
    """Run and print what happened."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--chunk", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    rows = left = done = 0
    begun = time.perf_counter()
    while done < given.lines:
        form = FORMS[(done // given.chunk) % len(FORMS)]
        lines = [line(form, rng) for _ in range(min(given.chunk, given.lines - done))]
        with tempfile.TemporaryDirectory() as place:
            try:
                more, less = check_chunk(form, lines, Path(place))
            except BenchError as error:
                raise SystemExit(f"seed {given.seed}, line {done}, {form}: {error}") from error
        rows, left, done = rows + more, left + less, done + len(lines)
        print(f"{done:,} lines: {rows:,} rows, {left:,} left out", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{done:,} lines in {time.perf_counter() - begun:,.0f} s, peak {peak:,.0f} MB; none lost, nothing crashed")


if __name__ == "__main__":
    main()
