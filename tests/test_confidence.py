"""How sure an answer is, by the source that says so; stored with the row, read from logs of every version."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.backends.openai.label_logprobs import TokenLogprob, answer_logprobs
from harness.confidence import answer_confidence, label_confidence, task_confidence
from harness.errors import UsageError
from harness.metrics import ACCURACY
from harness.records import Completion, Failure, LogLine, Score, TokenLogprobs
from harness.runs.log_lines import LogWriter
from harness.summary.answer_columns import AnswersBuilder, agreement
from tests.support.fakes import Parity

SCORES = {"even": math.log(0.8), "odd": math.log(0.2)}


def answer(**fields: object) -> Completion:
    return Completion(**{"id": "r", "text": "even", "finish": "stop", **fields})  # type: ignore[arg-type]


def test_a_labels_confidence_is_its_share_of_all_labels() -> None:
    assert label_confidence(SCORES, "even", 2) == pytest.approx(0.8)
    assert label_confidence({"even": -1.0, "odd": -3.0}, " Even ", 2) == pytest.approx(1 / (1 + math.exp(-2)))
    assert label_confidence(SCORES, "neither", 2) is None


def test_a_temperature_flattens_scores_and_changes_no_order() -> None:
    hot, cold = label_confidence(SCORES, "even", 2, 4.0), label_confidence(SCORES, "even", 2, 0.25)
    assert hot is not None and cold is not None
    assert 0.5 < hot < 0.8 < cold
    assert label_confidence(SCORES, "odd", 2, 4.0) == pytest.approx(1 - hot)


def test_scores_of_some_labels_only_are_a_servers_probabilities() -> None:
    assert label_confidence({"even": math.log(0.6)}, "even", 2) == pytest.approx(0.6)
    assert label_confidence({"a": math.log(0.3), "b": math.log(0.1)}, "a", 4, 9.0) == pytest.approx(0.3)


def test_generated_answers_have_the_mean_and_the_least_probability_of_their_tokens() -> None:
    line = answer(token_logprobs=TokenLogprobs(mean=-0.5, least=-2.0, tokens=4))
    assert answer_confidence(line, "mean log-probability", 0) == pytest.approx(math.exp(-0.5))
    assert answer_confidence(line, "least log-probability", 0) == pytest.approx(math.exp(-2.0))
    assert answer_confidence(line, "label scores", 2) is None
    failed = answer(error=Failure(kind="timeout", message="x"), token_logprobs=line.token_logprobs)
    assert answer_confidence(failed, "mean log-probability", 0) is None


def tokens(*pairs: tuple[str, float]) -> list[TokenLogprob]:
    return [TokenLogprob(text, logprob, {}) for text, logprob in pairs]


def test_tokens_of_thoughts_and_wrapping_are_left_out() -> None:
    found = answer_logprobs(tokens(("<think>Blue", -3.0), ("</think>", -1.0), ("\nBl", -0.1), ("ue", -0.3)), "Blue")
    assert found == TokenLogprobs(mean=pytest.approx(-0.2), least=-0.3, tokens=2)  # type: ignore[arg-type]
    wrapped = answer_logprobs(tokens(('{"answer": "', -0.01), ("odd", -0.7), ('"}', 0.0)), "odd")
    assert wrapped == TokenLogprobs(mean=-0.7, least=-0.7, tokens=1)
    assert answer_logprobs(tokens(("yes", -0.1)), "no") is None
    assert answer_logprobs([], "no") is None
    assert answer_logprobs(tokens((" ", -0.1)), "") is None


class Stated(Parity):
    """A task whose answers state how sure they are: "even 0.7"."""

    value: object = 0.7

    def confidence(self, completion: Completion) -> object:
        return self.value


def test_a_task_may_say_itself_how_sure_an_answer_is() -> None:
    task = Stated()
    assert task_confidence(task, answer()) == 0.7
    assert task_confidence(Parity(), answer()) is None
    task.value = "high"
    with pytest.raises(UsageError, match=r"confidence\(\): returns str, not a number"):
        task_confidence(task, answer())


def test_agreement_is_the_share_of_a_rows_repeats_with_the_same_answer() -> None:
    hashes = np.array([[3, 3, 5], [7, 0, 7], [0, 0, 0]], dtype=np.uint64)
    found = agreement(hashes)
    assert found[0] == pytest.approx([2 / 3, 2 / 3, 1 / 3])
    assert (found[1, 0], found[1, 2]) == (1.0, 1.0)
    assert np.isnan(found[1, 1]) and np.isnan(found[2]).all()


def test_columns_name_the_sources_that_answers_have() -> None:
    builder = AnswersBuilder(ACCURACY, rows=3, repeats=1, labels=2)
    builder.add(LogLine.of(0, answer(label_scores=SCORES), Score(correct=True)))
    builder.add(LogLine.of(1, answer(), Score(correct=False)))
    builder.add(LogLine.of(2, answer(error=Failure(kind="timeout", message="x")), None))
    found = builder.build()
    assert found.source == "label scores"
    assert found.confidence["label scores"][0, 0] == pytest.approx(0.8)
    assert np.isnan(found.confidence["label scores"][1:]).all()
    assert found.values[:2, 0].tolist() == [1.0, 0.0] and np.isnan(found.values[2, 0])


def test_lines_of_earlier_versions_are_read_and_odd_numbers_are_left_out(tmp_path: Path) -> None:
    plain = msgspec.to_builtins(LogLine.of(0, answer(), Score(answer="even", correct=True)))
    del plain["token_logprobs"]
    plain["score"].pop("confidence", None)
    read = msgspec.convert(plain, LogLine)
    assert read.token_logprobs is None and read.score is not None and read.score.confidence is None
    odd = answer(token_logprobs=TokenLogprobs(mean=math.nan, least=-1.0, tokens=1))
    with LogWriter(tmp_path / "a.jsonl") as writer:
        line = writer.append(0, odd, Score(correct=True, confidence=math.inf))
    assert line.token_logprobs is None and line.score is not None and line.score.confidence is None


def test_parquet_keeps_what_json_keeps(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from harness.runs import log_parquet

    with LogWriter(tmp_path / "a.jsonl") as writer:
        known = TokenLogprobs(mean=-0.5, least=-2.0, tokens=4)
        lines = [
            writer.append(0, answer(token_logprobs=known), Score(correct=True, confidence=0.25)),
            writer.append(1, answer(label_scores=SCORES), None),
        ]
    log_parquet.write(tmp_path / "a.jsonl", tmp_path / "a.parquet")
    assert list(log_parquet.read(tmp_path / "a.parquet")) == lines
