"""JSON mode on servers: whole values count however they end, and label scores are read where the label stands."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.scoring.answer_forms import SchemaForm
from harness.scoring.label_parsing import score_label
from tests.openai.asking import LABELS, ask, row
from tests.support.scripted_server import Answer, ScriptedServer, chat


def answered(body: dict[str, Any], folder: Path, **settings: Any) -> Any:
    asked = row("r0", **settings.pop("fields", {}))
    with ScriptedServer(lambda call: Answer.json(body)) as server:
        return ask(server.url, folder, [asked], decode="json", max_attempts=1, **settings).by_id["r0"]


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": "World"}',
        '{\n\n  "answer"\n : \n "World"\n\n}',
        '{ "answer": "World" }\n\n\n   ',
        '<think>World? Sports?</think>\n{"answer":"World"}',
    ],
)
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_whole_value_counts_however_it_ended(tmp_path: Path, text: str, finish: str) -> None:
    answer = answered(chat(text, finish), tmp_path)
    score = score_label(answer, "World", LABELS)
    assert (answer.text, score.correct, score.format) == ("World", True, None)


def test_a_value_that_was_cut_is_cut_off(tmp_path: Path) -> None:
    answer = answered(chat('{\n"answer": "Wor', "length"), tmp_path)
    assert score_label(answer, "World", LABELS).format == "cut off"


def test_a_whole_object_counts_however_it_ended(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    answer = answered(chat('{"n": 3}', "length"), tmp_path, fields={"schema": schema, "labels": ()})
    assert SchemaForm(schema).score(answer, '{"n": 3}').correct is True


def tokens(*pieces: str, tops: dict[int, dict[str, float]] | None = None) -> dict[str, Any]:
    """Each piece a token at -0.1; `tops`: alternatives by position."""
    found = []
    for n, text in enumerate(pieces):
        top = [{"token": t, "logprob": p} for t, p in (tops or {}).get(n, {text: -0.1}).items()]
        found.append({"token": text, "logprob": -0.1, "top_logprobs": top})
    return {"content": found}


@pytest.mark.parametrize(
    ("pieces", "tops", "expected"),
    [
        (
            ("{", "\n\n", '"', "answer", '"', ":", ' "', "World", '"', "}"),
            {0: {"{": -0.1, "World": -9.0}, 7: {"World": -0.1, "Sports": -2.5, "Bus": -4.0}},
            {"World": -0.1, "Sports": -2.5, "Business": -4.0},
        ),
        (
            ('{"', "answer", '":', ' "Wor', "ld", '"}'),
            {3: {' "Wor': -0.1, ' "Sports': -3.0, " Sci": -4.0}},
            {"World": -0.2, "Sports": -3.0},
        ),
        (("<think>", "World", "</think>", '{"answer":"', "World", '"}'), {}, {"World": -0.1}),
        (("{", '"a"', "}"), {}, None),
    ],
)
def test_scores_are_read_where_the_label_stands(
    tmp_path: Path, pieces: tuple[str, ...], tops: dict[int, dict[str, float]], expected: dict[str, float] | None
) -> None:
    body = chat("".join(pieces), choice={"logprobs": tokens(*pieces, tops=tops)})
    scores = answered(body, tmp_path, logprobs=True).label_scores
    assert scores == (None if expected is None else pytest.approx(expected))


def test_an_answer_that_is_no_label_has_no_scores(tmp_path: Path) -> None:
    text = json.dumps({"answer": "Weather"})
    body = chat(text, choice={"logprobs": tokens(text, tops={0: {text: -0.1, "World": -1.0}})})
    assert answered(body, tmp_path, logprobs=True).label_scores is None
