"""Persona JSON: one array of {"text", "emotion"} and nothing else, or a format error with a name."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.rows import DataSource
from harness.errors import UsageError
from harness.records import Completion, Sample
from harness.task_loading import build_request, load_rows, load_task
from harness.tasks.persona_json import PersonaJson, canonical, read_answer
from tests.support.shared import SHARED, needs_shared
from tools.samples import personas

GOOD = '[{"text": "Hm.", "emotion": "wry"}, {"text": "No.", "emotion": "calm"}]'
PART = '{"text": "Hm.", "emotion": "wry"}'


@pytest.mark.parametrize(
    ("text", "kind", "recovered"),
    [
        (GOOD, None, 2),
        (f"\n {GOOD}\n", None, 2),
        ("", "empty", 0),
        ("[]", "empty", 0),
        ("I would rather not say.", "not JSON", 0),
        (f"[{PART}]\n[{PART}]", "several arrays", 2),
        (f"Sure! [{PART}]", "extra text", 1),
        (f"```json\n[{PART}]\n```", "extra text", 1),
        (f"[{PART}, " + '{"text": "and th', "cut off", 1),
        (PART, "wrong type", 1),
        ('["Hm."]', "wrong type", 0),
        ('[{"text": "Hm.", "emotion": 3}]', "wrong type", 0),
        ('{"parts": ' + GOOD + "}", "wrong type", 2),
        ('[{"text": "Hm."}]', "missing key", 0),
        ('[{"text": "Hm.", "emotion": "wry", "tone": "low"}]', "extra key", 1),
        ('[{"text": "Hm.", "text": "No.", "emotion": "wry"}]', "extra key", 1),
        (f"[{PART} {PART}]", "not JSON", 2),
        ('[{"text": "Hm.", "emotion": NaN}]', "not JSON", 0),
    ],
)
def test_format_errors_have_kinds_and_a_lenient_reader_recovers_what_it_can(
    text: str, kind: str | None, recovered: int
) -> None:
    reading = read_answer(text)
    assert reading.kind == kind
    assert len(reading.recovered) == recovered
    assert (reading.parts is None) == (kind is not None)


def test_an_answer_that_met_the_length_limit_is_cut_off_and_a_refusal_is_a_refusal() -> None:
    assert read_answer("well", cut=True).kind == "cut off"
    assert read_answer(GOOD, cut=True).kind is None
    score = PersonaJson().score(sample(), Completion(id="x", text=GOOD, finish="refusal"))
    assert (score.format, score.answer, score.values) == ("refusal", None, {"recovered": 0.0, "parts": 0.0})


@pytest.mark.parametrize("unit", ["[", '{"a":', '[{"text":"a","emotion":"b"},', '{"a":[1,', '"', "\\u0000[{", "{" * 9])
def test_a_hostile_answer_is_read_in_bounded_work(unit: str) -> None:
    assert read_answer(unit * 20_000).kind is not None


@given(st.text())
def test_no_answer_makes_the_reader_raise(text: str) -> None:
    check(text)


@given(st.text(alphabet='[]{}",:\\ atexemoion`\n0', max_size=60))
def test_nothing_that_looks_like_json_makes_the_reader_raise(text: str) -> None:
    check(text)


def check(text: str) -> None:
    reading = read_answer(text)
    assert (reading.kind is None) == (reading.parts is not None)
    if reading.parts is not None:  # lenient accepts all that strict accepts
        assert reading.recovered == reading.parts


@given(st.lists(st.fixed_dictionaries({"text": st.text(), "emotion": st.text()}), min_size=1))
def test_a_valid_answer_always_round_trips(parts: list[dict[str, str]]) -> None:
    assert read_answer(canonical(tuple(parts))).parts == tuple(parts)
    assert read_answer(json.dumps(parts, indent=2)).parts == tuple(parts)


@given(st.lists(st.sampled_from([PART, "[", "]", ",", " ", "x", '"']), max_size=12).map("".join))
def test_lenient_never_recovers_less_than_the_whole_objects_of_a_list(text: str) -> None:
    if text.count(PART) and '"' not in text.replace(PART, "") and "x" not in text:
        assert read_answer(text).recovered


def sample() -> Sample:
    return load_rows(PersonaJson(), DataSource(location="embedded"))[0]


def test_the_request_is_the_conversation_without_its_answer() -> None:
    task = load_task("persona-json")
    row = load_rows(task, DataSource(location="embedded"))[0]
    request = build_request(task, row)
    assert [m.role for m in request.messages] == ["system", "user"]
    assert request.passage_texts() == [row.inputs["user"]]
    assert row.reference not in request.messages[1].content
    assert request.schema is not None
    assert task.target(row) == row.reference


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "x"}', r'a\.jsonl:1: a conversation is \{"messages": \[\.\.\]\}; this row holds prompt'),
        ('{"messages": [{"role": "user", "content": "x"}]}', r"a\.jsonl:1: the roles are \['user'\]"),
        ('{"messages": ["x", "y"]}', r"a\.jsonl:1: the roles are \[None, None\]"),
        (
            '{"messages": [{"role": "user", "content": 3}, {"role": "assistant", "content": "y"}]}',
            r"a\.jsonl:1: the user message has no text",
        ),
        (
            '{"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "y"}]}',
            r"a\.jsonl:1: the user's message is empty",
        ),
    ],
)
def test_a_bad_conversation_is_told_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    with pytest.raises(UsageError, match=said):
        list(PersonaJson().samples(DataSource(location=str(tmp_path / "a.jsonl"))))


def test_the_embedded_sample_is_what_its_module_writes_and_shares_no_prompt() -> None:
    for split in ("train", "test"):
        assert (personas.OUT / f"{split}.jsonl").read_bytes() == personas.file_content(split)
    train, test = (load_rows(PersonaJson(), DataSource(location="embedded", split=s)) for s in ("train", "test"))
    assert not {r.inputs["user"] for r in train} & {r.inputs["user"] for r in test}
    assert all(read_answer(r.reference).kind is None for r in train + test)


@needs_shared("persona")
def test_the_published_answers_have_the_published_format_errors() -> None:
    def kinds(name: str) -> Counter[str | None]:
        rows = load_rows(PersonaJson(), DataSource(location=str(SHARED / "persona" / f"{name}.jsonl")))
        return Counter(read_answer(row.reference).kind for row in rows)

    untuned = kinds("recorded_llama-3.1-8b")
    assert sum(untuned.values()) - untuned[None] == 12
    assert untuned["several arrays"] == 8
    assert kinds("recorded_llama-3.1-8b-ft") == {None: 39}
    assert kinds("validation") == {None: 39}
    assert kinds("train") == {None: 151, "not JSON": 2}
