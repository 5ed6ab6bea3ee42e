"""`choose`: the answer is the label of the highest log-likelihood, exactly as plain transformers computes it."""

from pathlib import Path

import pytest

from harness.backends.local.label_scoring import LabelTree
from harness.records import Message, Request
from harness.workspace import Workspace
from tests.local.asking import Plain, ask
from tests.support.tiny_llama import LABELS, news_requests


@pytest.mark.parametrize("kind", ["base", "bos_base", "chat_base"])
def test_label_scores_equal_a_plain_unbatched_forward_pass(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(kind)
    plain = Plain(folder)
    requests = news_requests(24)
    answers = ask(Workspace(tmp_path), requests, model=str(folder), decode="choose")
    for asked in requests:
        prompt = plain.prompt(asked)
        scores = {label: plain.log_likelihood(prompt, plain.renderer.encode_answer(label)) for label in LABELS}
        answer = answers[asked.id]
        assert answer.label_scores == pytest.approx(scores, abs=1e-4)
        assert answer.text == max(scores, key=scores.__getitem__)
        assert answer.finish == "stop"


def test_mean_normalisation_divides_by_the_scored_tokens(base: Path, tmp_path: Path) -> None:
    plain = Plain(base)
    requests = news_requests(5)
    answers = ask(Workspace(tmp_path), requests, model=str(base), decode="choose", normalisation="mean")
    for asked in requests:
        prompt = plain.prompt(asked)
        tokens = {label: plain.renderer.encode_answer(label) for label in LABELS}
        means = {label: plain.log_likelihood(prompt, ids) / len(ids) for label, ids in tokens.items()}
        assert answers[asked.id].label_scores == pytest.approx(means, abs=1e-4)


NESTED = ("court", "court market", "court team", "shares chip minister goal profit", "in")


def test_labels_that_share_beginnings_get_the_end_token_where_one_is_the_beginning_of_another(
    base: Path, tmp_path: Path
) -> None:
    plain = Plain(base)
    requests = news_requests(12, labels=NESTED)
    answers = ask(Workspace(tmp_path), requests, model=str(base), decode="choose")
    tokens = {label: [*plain.renderer.encode_answer(label), plain.renderer.end_id] for label in NESTED}
    assert tokens["court market"][: len(tokens["court"]) - 1] == tokens["court"][:-1]
    for asked in requests:
        prompt = plain.prompt(asked)
        scores = {label: plain.log_likelihood(prompt, ids) for label, ids in tokens.items()}
        assert answers[asked.id].label_scores == pytest.approx(scores, abs=1e-4)


def test_the_tree_feeds_a_shared_beginning_once_and_no_last_token() -> None:
    tree = LabelTree.of([[5, 6, 7], [5, 6, 8], [9]], end_id=0)
    assert tree.tail.tokens == [5, 6]
    assert tree.tail.depths == [0, 1]
    assert tree.lookups == [[(0, 5), (1, 6), (2, 7)], [(0, 5), (1, 6), (2, 8)], [(0, 9)]]
    assert tree.tail.sees == [[True, False], [True, True]]


@pytest.mark.parametrize("budget", [1, 300, 100_000])
def test_answers_do_not_depend_on_batch_size_window_or_order(base: Path, tmp_path: Path, budget: int) -> None:
    requests = news_requests(40)
    usual = ask(Workspace(tmp_path), requests, model=str(base), decode="choose")
    other = ask(
        Workspace(tmp_path), requests[::-1], model=str(base), decode="choose", max_batch_tokens=budget, window=7
    )
    for asked in requests:
        assert other[asked.id].text == usual[asked.id].text
        assert other[asked.id].label_scores == pytest.approx(usual[asked.id].label_scores, abs=1e-4)


def test_an_empty_message_is_answered(base: Path, tmp_path: Path) -> None:
    empty = [Request(id="empty", messages=(Message(role="user", content=""),), labels=LABELS)]
    plain = Plain(base)
    answer = ask(Workspace(tmp_path), empty, model=str(base), decode="choose")["empty"]
    prompt = [plain.renderer.end_id]  # this tokenizer has no BOS
    scores = {label: plain.log_likelihood(prompt, plain.renderer.encode_answer(label)) for label in LABELS}
    assert answer.label_scores == pytest.approx(scores, abs=1e-4)
