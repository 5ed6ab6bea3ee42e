"""Reasoning in a model's text is separated from its answer."""

import pytest

from harness.scoring.reasoning import BLOCKS, separate_reasoning


@pytest.mark.parametrize(("begin", "end"), BLOCKS)
def test_thoughts_in_front_are_separated(begin: str, end: str) -> None:
    text = f"{begin}\nEither Sports or World.\n{end}\n\nWorld"
    assert separate_reasoning(text) == ("World", "Either Sports or World.", True)


@pytest.mark.parametrize(("begin", "end"), BLOCKS)
def test_thoughts_that_never_end_leave_no_answer(begin: str, end: str) -> None:
    assert separate_reasoning(f"{begin}Sports? Or World, for") == ("", "Sports? Or World, for", False)


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("It is about a match.\n</think>\nSports", "Sports", "It is about a match."),  # the template opened the block
        ("<think></think>World", "World", ""),  # thinking switched off
        ("<think>\n\n</think>\n\nWorld", "World", ""),
        ("<THINK>a</Think>World", "World", "a"),
        ("World <think>was it?</think>", "World", "was it?"),
        ("<think>a</think>\n<think>b</think>World", "World", "a\nb"),
        ("<think>a <think> b </think> c </think> World", "World", "a <think> b\nc"),
        ("<think>a</think>World</think>", "World", "a"),
        ("<think>a</think>\n<answer>\nWorld\n</answer>", "World", "a"),
        ("<think>a</think><answer>World", "World", "a"),
        ("<think>a</think><answer>World</answer> indeed", "<answer>World</answer> indeed", "a"),
        (
            "<|channel|>analysis<|message|>Which?<|end|><|start|>assistant<|channel|>final<|message|>World",
            "World",
            "Which?",
        ),
        ("all thoughts </think>", "", "all thoughts"),
    ],
)
def test_shapes_of_thoughts(text: str, answer: str, reasoning: str) -> None:
    assert separate_reasoning(text) == (answer, reasoning, True)


@pytest.mark.parametrize(
    "text",
    [
        "World",
        "",
        " World\n",
        "I think <b>World</b>",
        "write it as <think> in the middle",
        '{"text": "she wrote </think> and left", "emotion": "joy"}',
        "<|end|>",
        "<answer>World</answer>",
    ],
)
def test_other_texts_come_back_as_they_are(text: str) -> None:
    assert separate_reasoning(text) == (text, "", True)


def test_an_envelope_that_the_prompt_asks_for_is_part_of_the_answer() -> None:
    text = "<think>a</think><answer>7</answer>"
    asked = ["Give the result as <answer>NUMBER</answer>."]
    assert separate_reasoning(text, prompt=asked).answer == "<answer>7</answer>"


def test_a_prompt_that_opened_the_block_is_told_apart_by_the_caller() -> None:
    assert separate_reasoning("Sports or World", opened=True) == ("", "Sports or World", False)
    assert separate_reasoning("Sports?</think>World", opened=True) == ("World", "Sports?", True)
    assert separate_reasoning("hm <think> hm</think>World", opened=True) == ("World", "hm <think> hm", True)
