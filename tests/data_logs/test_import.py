"""`bench data import`: rows, a task that runs, recorded answers that cost nothing, and not one record lost."""

import gzip
import json
import random
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.data.personal_data import masked, passes_luhn
from harness.data.traces.call import seconds_of
from harness.data.traces.log_import import LogForm, LogImport, LogImportOptions, import_log
from harness.data.traces.sides import Places, assign_sides
from harness.errors import UsageError
from tests.support.command import bench

SYSTEM = "Sort the letter into one of: praise, complaint, question."
LABELS = ("praise", "complaint", "question")
NOUNS = ["kettle", "attic", "ferry", "orchard", "violin", "lantern", "bakery", "saddle"]


def letter(n: int) -> str:
    rng = random.Random(n)
    return " ".join(rng.choices(NOUNS, k=12)).capitalize() + f" no. {n}{rng.choice('.!?')}"


def openai_line(n: int, **changes: Any) -> dict[str, Any]:
    """A chat completion beside its request, as a proxy logs it."""
    line = {
        "request": {
            "model": "gpt-x",
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": f"A letter came:\n{letter(n)}\nWhich one?"},
            ],
        },
        "response": {
            "id": f"chatcmpl-{n}",
            "model": "gpt-x-2026",
            "created": 1_770_000_000 + 60 * n,
            "choices": [{"message": {"role": "assistant", "content": LABELS[n % 3]}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 40, "completion_tokens": 3},
        },
        "latency_ms": 250,
        "cost_usd": 0.0004,
        "session_id": f"s{n // 2}",
    }
    return line | changes


def langfuse_line(n: int) -> dict[str, Any]:
    """An observation of type GENERATION, input and output as JSON text as its exports have them."""
    asked = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": letter(n)}]
    return {
        "id": f"o{n}",
        "traceId": f"t{n // 2}",
        "type": "GENERATION",
        "startTime": f"2026-02-{1 + n // 1000:02}T10:{n // 60 % 60:02}:{n % 60:02}.000Z",
        "endTime": f"2026-02-{1 + n // 1000:02}T10:{n // 60 % 60:02}:{n % 60:02}.500Z",
        "model": "gpt-x",
        "input": json.dumps(asked),
        "output": json.dumps({"role": "assistant", "content": LABELS[n % 3]}),
        "usageDetails": {"input": 30, "input_cached_tokens": 10, "output": 3, "total": 43},
        "costDetails": {"total": 0.0004},
        "sessionId": f"s{n // 2}",
    }


def attribute(key: str, value: Any) -> dict[str, Any]:
    kind = "intValue" if isinstance(value, int) else "stringValue"
    return {"key": key, "value": {kind: str(value) if kind == "intValue" else value}}


def otel_line(n: int) -> dict[str, Any]:
    """A batch of OTLP with one span of a model and one that is none; three generations of conventions take turns."""
    asked = [("system", SYSTEM), ("user", letter(n))]
    own = [attribute("gen_ai.request.model", "gpt-x")]
    events = []
    if n % 3 == 0:
        own += [
            attribute(
                "gen_ai.input.messages",
                json.dumps([{"role": "user", "parts": [{"type": "text", "content": letter(n)}]}]),
            ),
            attribute("gen_ai.system_instructions", json.dumps([{"type": "text", "content": SYSTEM}])),
            attribute(
                "gen_ai.output.messages",
                json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": LABELS[n % 3]}]}]),
            ),
            attribute("gen_ai.usage.input_tokens", 40),
            attribute("gen_ai.usage.output_tokens", 3),
        ]
    elif n % 3 == 1:
        for k, (role, content) in enumerate(asked):
            own += [attribute(f"gen_ai.prompt.{k}.role", role), attribute(f"gen_ai.prompt.{k}.content", content)]
        own += [attribute("gen_ai.completion.0.content", LABELS[n % 3]), attribute("gen_ai.usage.prompt_tokens", 40)]
    else:
        events = [
            {"name": f"gen_ai.{role}.message", "attributes": [attribute("content", content)]} for role, content in asked
        ]
        choice = json.dumps({"role": "assistant", "content": LABELS[n % 3]})
        events.append({"name": "gen_ai.choice", "attributes": [attribute("message", choice)]})
    begun = (1_770_000_000 + 60 * n) * 10**9
    span = {
        "traceId": f"t{n}",
        "spanId": f"a{n}",
        "startTimeUnixNano": str(begun),
        "endTimeUnixNano": str(begun + 400_000_000),
        "attributes": own,
        "events": events,
    }
    other = {"traceId": f"t{n}", "spanId": f"b{n}", "attributes": [attribute("http.method", "POST")]}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span, other]}]}]}


def log_of(form: LogForm, path: Path, count: int = 60) -> Path:
    """A log in one of the forms."""
    if form == "csv":
        head = "Prompt;System Prompt;Answer;Created At;Latency ms;Session ID\n"
        rows = (f"{letter(n)};{SYSTEM};{LABELS[n % 3]};2026-02-01T10:{n:02}:00;250;s{n // 2}" for n in range(count))
        path.write_text(head + "\n".join(rows) + "\n")
        return path
    makers = {"openai-chat": openai_line, "openai-stored": stored, "langfuse": langfuse_line, "otel": otel_line}
    path.write_text("".join(json.dumps(makers[form](n)) + "\n" for n in range(count)))
    return path


def stored(n: int) -> dict[str, Any]:
    """A stored completion with its messages, as the API gives them."""
    line = openai_line(n)
    return {**line["response"], "messages": line["request"]["messages"], "metadata": {"session_id": f"s{n // 2}"}}


FORMS: tuple[LogForm, ...] = ("openai-chat", "openai-stored", "langfuse", "otel", "csv")


def done(file: Path, out: Path, form: LogForm, **options: Any) -> LogImport:
    return import_log(file, out, LogImportOptions(form, **options))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows_and_a_task_that_runs(form: LogForm, tmp_path: Path) -> None:
    suffix = "csv" if form == "csv" else "jsonl"
    found = done(log_of(form, tmp_path / f"calls.{suffix}"), tmp_path / "out", form)
    assert (found.calls, found.rows, found.left_out, found.split) == (60, {"train": 48, "test": 12}, {}, "time")
    assert sorted(found.labels) == sorted(LABELS)
    train, test = (lines_of(tmp_path / f"out/{side}.jsonl") for side in ("train", "test"))
    assert {row["input"] for row in train} == {letter(n) for n in range(48)}
    assert [row["answer"] for row in test] == [LABELS[n % 3] for n in range(48, 60)]
    task = tomllib.loads((tmp_path / "out/task.toml").read_text())
    wrapped = "A letter came:\n{{ input }}\nWhich one?" if form.startswith("openai") else None
    assert (
        (task["system"], task["prompt"]) == (SYSTEM, wrapped or "{{ input }}") if wrapped else task["system"] == SYSTEM
    )


def test_the_recorded_answers_are_the_incumbent_and_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_of("openai-chat", tmp_path / "calls.jsonl")
    assert bench("data", "import", str(log), "--as", "openai-chat", "--out", str(tmp_path / "out")) == 0
    said = capsys.readouterr().out
    assert "recorded answers with usage 60, latency 60, cost 60" in said
    assert "right on every row by definition" in said
    monkeypatch.chdir(tmp_path / "out")
    run = harness.run("./task.toml", "production", workspace=tmp_path / "w", progress=False)
    result = run.summary.backends["production"]
    assert (result.answered, result.metrics["accuracy"].value, result.model) == (12, 1.0, "gpt-x-2026")
    assert result.cost.per_1000 == pytest.approx(0.4) and result.cost.incurred == 0
    assert result.usage["prompt_tokens"] == 12 * 40
    assert result.load.service is not None and result.load.service.p50_s == pytest.approx(0.25)


def test_a_constant_system_prompt_with_braces_stays_as_it_is(tmp_path: Path) -> None:
    odd = 'Answer as {"topic": ..}; {{ never }} {% mind %} this.'
    log = tmp_path / "calls.jsonl"
    turns = [
        {"role": "system", "content": odd},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A"},
    ]
    lines = []
    for n in range(20):
        own = json.loads(json.dumps(turns))
        own[1]["content"], own[2]["content"] = letter(n), f"Answer {n}"
        lines.append(json.dumps({"messages": own}))
    log.write_text("\n".join(lines))
    assert done(log, tmp_path / "out", "openai-chat").system == odd
    from harness.data.rows import DataSource
    from harness.task_loading import build_request, load_rows, load_task

    task = load_task(str(tmp_path / "out/task.toml"))
    row = load_rows(task, DataSource(split="test"))[0]
    assert build_request(task, row).messages[0].content == odd


def test_system_prompts_that_differ_are_kept_with_the_rows(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    lines = [openai_line(n) for n in range(30)]
    for n, line in enumerate(lines):
        line["request"]["messages"][0]["content"] = f"Today is day {n}."
    log.write_text("\n".join(map(json.dumps, lines)))
    found = done(log, tmp_path / "out", "openai-chat")
    assert (found.system, found.system_prompts) == (None, 30)
    assert {row["system"] for row in lines_of(tmp_path / "out/test.jsonl")} == {
        f"Today is day {n}." for n in range(24, 30)
    }


def test_conversations_stay_conversations(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    lines = []
    for n in range(20):
        turns = [
            ("user", letter(n)),
            ("assistant", "Which shelf?"),
            ("user", f"Shelf {n}"),
            ("assistant", f"Then {n}."),
        ]
        lines.append(json.dumps({"messages": [{"role": r, "content": c, "weight": 1} for r, c in turns]}))
    log.write_text("\n".join(lines))
    done(log, tmp_path / "out", "openai-chat")
    task = tomllib.loads((tmp_path / "out/task.toml").read_text())
    assert task["messages"] == "messages" and "prompt" not in task
    row = lines_of(tmp_path / "out/test.jsonl")[0]
    assert [turn["role"] for turn in row["messages"]] == ["user", "assistant", "user", "assistant"]
    assert "weight" not in row["messages"][0]


ODD: list[tuple[str, str]] = [
    ("{broken", "not JSON"),
    ("[1, 2]", "no JSON object"),
    ('{"a": 1}', "holds no messages"),
    (json.dumps({"messages": [{"role": "user", "content": "Q"}]}), "holds no answer"),
    (
        json.dumps({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": " "}]}),
        "an empty answer",
    ),
    (json.dumps(openai_line(1, response={"status_code": 500, "body": {}})), "a request that failed"),
    (
        json.dumps(openai_line(1, response={"choices": [{"message": {"content": "pr"}, "finish_reason": "length"}]})),
        "an answer that was cut off",
    ),
    (json.dumps({"messages": [{"role": "ghost", "content": "Q"}]}), "holds no messages"),
]


def test_what_makes_no_row_is_counted_and_kept(tmp_path: Path) -> None:
    log = log_of("openai-chat", tmp_path / "calls.jsonl", 30)
    with log.open("a") as file:
        file.writelines(f"{text}\n" for text, _ in ODD)
    with log.open("ab") as binary:
        binary.write(b'{"messages": "\xff\xfe"}\n')
    found = done(log, tmp_path / "out", "openai-chat")
    assert found.left_out == dict(Counter([*(why for _, why in ODD), "not JSON"]))
    assert found.records == sum(found.rows.values()) + sum(found.left_out.values())
    kept = lines_of(tmp_path / "out/left-out.jsonl")
    assert [line["text"].strip() for line in kept[:-1]] == [text for text, _ in ODD]
    assert [line["record"] for line in kept] == list(range(31, 31 + len(ODD) + 1))


def test_a_log_of_another_form_is_told_with_the_form_that_reads_it(tmp_path: Path) -> None:
    log = log_of("langfuse", tmp_path / "calls.jsonl")
    with pytest.raises(UsageError, match=r"none of its 60 records makes a row as otel: .* --as langfuse"):
        done(log, tmp_path / "out", "otel")
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(UsageError, match="the file is empty"):
        done(tmp_path / "empty.jsonl", tmp_path / "out", "otel")


@pytest.mark.parametrize("shape", ["list", "page", "gzip", "indented"])
def test_lists_pages_and_compressed_files_are_read(shape: str, tmp_path: Path) -> None:
    records = [langfuse_line(n) for n in range(30)]
    path = tmp_path / "calls.json"
    if shape == "gzip":
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    else:
        whole: Any = {"data": records, "meta": {"page": 1}} if shape == "page" else records
        path.write_text(json.dumps(whole, indent=2 if shape != "list" else None))
    assert done(path, tmp_path / "out", "langfuse").calls == 30


def test_personal_data_is_counted_and_masked_on_request(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    lines = [openai_line(n) for n in range(20)]
    lines[19]["request"]["messages"][1]["content"] += " Write to ann.lee@post.example or +49 30 1234567."
    log.write_text("\n".join(map(json.dumps, lines)))
    found = done(log, tmp_path / "a", "openai-chat")
    assert found.personal_data == {"e-mail": 1, "phone": 1}
    assert "ann.lee@post.example" in (tmp_path / "a/test.jsonl").read_text()
    done(log, tmp_path / "b", "openai-chat", mask=True)
    for name in ("test.jsonl", "recording.jsonl"):
        text = (tmp_path / "b" / name).read_text()
        assert "[EMAIL]" in text and "[PHONE]" in text and "ann.lee" not in text and "1234567" not in text


TEXTS = {
    "mail a.b+c@mail.example.org, please": ("mail [EMAIL], please", {"e-mail": 1}),
    "call +44 20 7946 0958 or 030-1234-5678": ("call [PHONE] or [PHONE]", {"phone": 2}),
    "call (555) 010-2345 today": ("call [PHONE] today", {"phone": 1}),
    "card 4539 1488 0343 6467 expires 09/27": ("card [CARD] expires 09/27", {"card": 1}),
    "card 4539148803436468 fails its check": ("card 4539148803436468 fails its check", {}),
    "on 2026-03-14 at 10:15:22 it cost 1,234,567.89": ("on 2026-03-14 at 10:15:22 it cost 1,234,567.89", {}),
    "order 20260314 of 12345678 items": ("order 20260314 of 12345678 items", {}),
    "id 550e8400-e29b-41d4-a716-446655440000": ("id 550e8400-e29b-41d4-a716-446655440000", {}),
    "not@mail, @name, a@b": ("not@mail, @name, a@b", {}),
    "version 10.0.19041.1234": ("version 10.0.19041.1234", {}),
}


@pytest.mark.parametrize("text", TEXTS)
def test_personal_data_is_found_by_its_form(text: str) -> None:
    counts: Counter[str] = Counter()
    assert (masked(text, counts), dict(counts)) == TEXTS[text]


def test_the_check_digit_of_cards() -> None:
    assert passes_luhn("79927398713") and not passes_luhn("79927398710")


def test_equal_prompts_and_sessions_stay_on_one_side(tmp_path: Path) -> None:
    places = Places()
    rng = random.Random(3)
    rows = [(f"q{rng.randint(0, 200)}", f"s{rng.randint(0, 60)}", float(n)) for n in range(500)]
    for asked, session, time in rows:
        places.add(asked, session, time)
    for split in ("time", "session", "random", None):
        sides = assign_sides(places, split, 0.2, 7)
        assert set(sides.of) == {"train", "test", "removed"}
        of = {
            side: {row[k] for row, s in zip(rows, sides.of, strict=True) if s == side}
            for k in (0, 1)
            for side in ("train", "test")
        }
        assert not of["train"] & of["test"]
        sessions = {
            side: {row[1] for row, s in zip(rows, sides.of, strict=True) if s != "removed" and s == side}
            for side in ("train", "test")
        }
        assert not sessions["train"] & sessions["test"]
        assert assign_sides(places, split, 0.2, 7) == sides
    assert assign_sides(places, None, 0.2, 7).split == "time"


def test_the_latest_calls_are_the_test_rows_whatever_their_order(tmp_path: Path) -> None:
    places = Places()
    order = list(range(100))
    random.Random(1).shuffle(order)
    for n in order:
        places.add(f"q{n}", None, float(n))
    sides = assign_sides(places, "time", 0.2, 0)
    assert {n for n, side in zip(order, sides.of, strict=True) if side == "test"} == set(range(80, 100))


def test_a_split_that_the_log_cannot_give_is_refused(tmp_path: Path) -> None:
    places = Places()
    for n in range(20):
        places.add(f"q{n}", None, None)
    for split in ("time", "session"):
        with pytest.raises(UsageError, match=f"--by {split}: 100 % of the calls have no"):
            assign_sides(places, split, 0.2, 0)
    assert assign_sides(places, None, 0.2, 0).split == "random"


def test_answers_of_its_own_are_the_references_where_the_log_has_them(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    rows = [f"{letter(n)},{LABELS[n % 3]},{LABELS[(n + (n % 5 == 0)) % 3]}" for n in range(40)]
    path.write_text("question,reply,gold\n" + "\n".join(rows) + "\n")
    found = done(path, tmp_path / "out", "csv")
    assert not found.remarks
    run = harness.run(
        str(tmp_path / "out/task.toml"),
        "production",
        config=tmp_path / "out/bench.toml",
        workspace=tmp_path / "w",
        progress=False,
    )
    wrong = sum(row["input"] in {letter(n) for n in range(0, 40, 5)} for row in lines_of(tmp_path / "out/test.jsonl"))
    assert run.summary.backends["production"].metrics["accuracy"].value == pytest.approx(1 - wrong / 8)


def test_columns_can_be_named_and_a_missing_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("what,said\n" + "\n".join(f"{letter(n)},{LABELS[n % 3]}" for n in range(20)) + "\n")
    with pytest.raises(
        UsageError, match=r"no column is called like an input: name it with --input COLUMN \(columns: what, said\)"
    ):
        done(path, tmp_path / "out", "csv")
    assert done(path, tmp_path / "out", "csv", columns={"input": "what", "output": "said"}).calls == 20


TIMES = {
    1_770_000_000: 1_770_000_000.0,
    1_770_000_000_123: 1_770_000_000.123,
    1_770_000_000_123_456: 1_770_000_000.123456,
    1_770_000_000_123_456_789: 1_770_000_000.1234567,
    "2026-02-02T02:40:00Z": 1_770_000_000.0,
    "2026-02-02T02:40:00": 1_770_000_000.0,
    "1770000000": 1_770_000_000.0,
    "yesterday": None,
    True: None,
    -5: None,
}


@pytest.mark.parametrize("value", TIMES)
def test_times_are_read_in_every_unit(value: Any) -> None:
    assert seconds_of(value) == (None if TIMES[value] is None else pytest.approx(TIMES[value], abs=1e-3))


def test_hostile_records_lose_nothing_and_crash_nothing(tmp_path: Path) -> None:
    rng = random.Random(11)
    junk: list[Any] = [None, True, -1, 1e308, "", "x", [], {}, [[]], {"role": "user"}, {"content": [{"text": None}]}]
    keys = (
        "messages",
        "request",
        "response",
        "input",
        "output",
        "type",
        "choices",
        "usage",
        "attributes",
        "resourceSpans",
    )
    for form in ("openai-chat", "langfuse", "otel"):
        maker = {"openai-chat": openai_line, "langfuse": langfuse_line, "otel": otel_line}[form]
        path = tmp_path / f"{form}.jsonl"
        lines = [json.dumps(maker(n)) for n in range(20)]
        for n in range(400):
            record = maker(n)
            for key in rng.sample(keys, 3):
                record[key] = rng.choice(junk) if rng.random() < 0.7 else {rng.choice(keys): rng.choice(junk)}
            text = json.dumps(record)
            lines.append(text[: rng.randrange(len(text))] if rng.random() < 0.2 else text)
        path.write_text("\n".join(lines))
        found = done(path, tmp_path / f"out-{form}", form)
        kept = lines_of(tmp_path / f"out-{form}/left-out.jsonl")
        rows = sum(found.rows.values()) + found.removed
        assert rows + len(kept) >= found.records and found.calls >= rows >= 20
        assert len({line["record"] for line in kept}) + rows >= sum(bool(line.strip()) for line in lines)


def test_calls_of_tools_are_rows_of_a_tool_call_task(tmp_path: Path) -> None:
    tool = {"name": "shelf", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    lines = []
    for n in range(20):
        call = {"id": "c", "type": "function", "function": {"name": "shelf", "arguments": json.dumps({"n": n})}}
        turns = [{"role": "user", "content": letter(n)}, {"role": "assistant", "content": None, "tool_calls": [call]}]
        lines.append(json.dumps({"messages": turns, "tools": [{"type": "function", "function": tool}]}))
    lines.append(json.dumps({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}))
    (tmp_path / "calls.jsonl").write_text("\n".join(lines))
    found = done(tmp_path / "calls.jsonl", tmp_path / "out", "openai-chat")
    assert found.left_out == {"an answer without a call of a tool": 1}
    assert json.loads((tmp_path / "out/tools.json").read_text()) == [tool]
    run = harness.run(
        str(tmp_path / "out/task.toml"),
        "production",
        config=tmp_path / "out/bench.toml",
        workspace=tmp_path / "w",
        progress=False,
    )
    assert run.summary.backends["production"].metrics["accuracy"].value == 1.0
