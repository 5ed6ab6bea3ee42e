"""Whatever a model writes, every reader of answers gives a verdict: quickly, and lenient takes what strict takes."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import Completion, Score
from harness.scoring.answer_forms import PatternForm, SchemaForm, TextForm
from harness.scoring.label_parsing import score_label
from harness.tasks.persona_json import score_answer
from harness.tasks.qqp import score_verdict

Reader = Callable[[Completion], Score]

READERS: dict[str, Reader] = {
    "label": lambda c: score_label(c, "Sports", ("World", "Sports", "Sci/Tech", "Straße", "İ")),
    "verdict": lambda c: score_verdict(c, "1", explained=False),
    "explained verdict": lambda c: score_verdict(c, "1", explained=True),
    "persona": score_answer,
    "text": lambda c: TextForm().score(c, "Sports"),
    "pattern": lambda c: PatternForm.compiled(r"([A-Z]{2})-\d+", "x").score(c, "AB"),
    "any JSON": lambda c: SchemaForm({}).score(c, "[1]"),
    "JSON object": lambda c: SchemaForm({"type": "object", "required": ["a"]}).score(c, '{"a": 1}'),
}

WORDS = ("Sports", "sci/tech", "STRASSE", "i̇", "0", "1", "Label: 1", "label:0", "not similar", "AB-12")
JSON = (*'[]{}"\\,:-', "1e999", "NaN", "\\ud800", '{"text": "a", "emotion": "b"}', '{"a": 1}')
CHARACTERS = ("\n", " ", "\t", "\r\n", "```", "\0", "\ud800", "\udfff", "\u2028", "\ufeff", "\u202e")
PIECES = st.sampled_from(WORDS + JSON + CHARACTERS)
ANYTHING = st.text(alphabet=st.characters()) | st.lists(PIECES, max_size=12).map("".join)
MEGABYTES = ("[", '{"a":', "1", "Label:", "\0", "not ", "AB-", "x{", "\ud800", " \t", '[{"text": "a", "emotion": "b"},')
FINISHES = st.sampled_from(["stop", "length", "refusal", "content_filter", "context_too_long", None])


@pytest.mark.parametrize("name", READERS)
@given(text=ANYTHING, finish=FINISHES)
def test_a_verdict_is_consistent(name: str, text: str, finish: str | None) -> None:
    score = READERS[name](Completion(id="x", text=text, finish=finish))  # type: ignore[arg-type]
    assert (score.format is None) == (score.answer is not None)
    if score.answer is not None:
        assert score.lenient.answer == score.answer, "lenient takes what strict takes"
    if score.correct:
        assert score.format is None and score.lenient.correct
    if finish in ("refusal", "content_filter", "context_too_long"):
        assert score.answer is None and score.lenient.answer is None and not score.correct


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("unit", MEGABYTES, ids=repr)
def test_a_megabyte_of_nonsense_is_read(name: str, unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    assert READERS[name](Completion(id="x", text=text, finish="length")).answer is None or name == "text"


@pytest.mark.parametrize("name", ["any JSON", "persona"])
def test_json_nested_to_any_depth_is_read(name: str) -> None:
    for depth in (100, *range(850, 1010), 5_000):  # Python reads about as deep as its stack, and writes a little less
        score = READERS[name](Completion(id="x", text="[" * depth + "]" * depth, finish="stop"))
        assert (score.format is None) == (score.answer is not None)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x), max_leaves=8))
def test_json_round_trips(value: object) -> None:
    text = json.dumps(value)
    score = SchemaForm({}).score(Completion(id="x", text=text, finish="stop"), text)
    assert score.correct and score.answer is not None and json.loads(score.answer) == value


@pytest.mark.parametrize(
    ("text", "right"), [("true", False), ("1", True), ("1.0", True), ("[true]", False), ('{"a": false}', False)]
)
def test_true_is_not_one(text: str, right: bool) -> None:
    for reference in ("1", "[1]", '{"a": 0}'):
        score = SchemaForm({}).score(Completion(id="x", text=text, finish="stop"), reference)
        assert score.correct == (right and reference == "1")
