"""`decode = "head"` against vLLM's `/classify`: what is sent, what its answers mean."""

import math

import pytest

from harness.backends.openai.answer_parsing import BadBodyError
from harness.backends.openai.classification import classify_url, head_scores, read_classification
from harness.backends.openai.openai_settings import OpenAISettings
from harness.backends.openai.request_body import BodyBuilder, family_of
from harness.records import InputSpan, Message, Request

LABELS = ("cold", "warm", "hot")
BODY = (
    b'{"id": "classify-1", "object": "list", "model": "m", "data": [{"index": 0, "label": "warm", '
    b'"probs": [0.2, 0.7, 0.1], "num_classes": 3}], "usage": {"prompt_tokens": 9, "total_tokens": 9}}'
)


def test_the_address_lies_beside_v1() -> None:
    assert classify_url("http://gpu1:8000/v1") == "http://gpu1:8000/classify"
    assert classify_url("http://gpu1:8000/v1/") == "http://gpu1:8000/classify"
    assert classify_url("http://gpu1/models/a") == "http://gpu1/models/a/classify"


def test_only_the_rows_own_texts_are_sent() -> None:
    text = "Is it warm? The tea boils."
    spans = (InputSpan(message=0, start=12, end=len(text)),)
    request = Request(id="1", messages=(Message(role="user", content=text),), passages=spans, labels=LABELS)
    settings = OpenAISettings(model="m", base_url="http://gpu1:8000/v1", decode="head")
    builder = BodyBuilder("head", settings, "m", "head", family_of("m"))
    assert builder.fields(request) == {"model": "m", "input": "The tea boils."}
    assert builder.fields(builder.control(request))["input"], "a request without passages is sent its messages"


def test_the_label_and_its_log_probabilities_are_read() -> None:
    answer = read_classification(BODY)
    assert (answer.text, answer.finish) == ("warm", "stop")
    assert answer.usage is not None and answer.usage.prompt_tokens == 9
    scores = head_scores(answer, LABELS)
    assert scores is not None and scores == pytest.approx(
        {"cold": math.log(0.2), "warm": math.log(0.7), "hot": math.log(0.1)}
    )


def test_of_labels_in_another_order_only_the_answered_one_has_a_known_probability() -> None:
    answer = read_classification(BODY)
    assert head_scores(answer, ("warm", "cold", "hot")) == pytest.approx({"warm": math.log(0.7)})
    assert head_scores(answer, ("red", "blue")) is None


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": []}', b'{"data": [{"label": 3}]}', b'{"data": "warm"}'])
def test_a_body_without_a_label_is_no_answer(body: bytes) -> None:
    with pytest.raises(BadBodyError):
        read_classification(body)
