"""`generate`: the tokens of `model.generate` one row at a time, whatever the batch."""

from pathlib import Path

import pytest

from harness.workspace import Workspace
from tests.local.asking import Plain, ask
from tests.support.tiny_llama import news_requests


@pytest.mark.parametrize("kind", ["base", "bos_base", "chat_base"])
def test_texts_equal_model_generate_one_row_at_a_time(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(kind)
    plain = Plain(folder)
    requests = news_requests(24, max_tokens=8)
    answers = ask(Workspace(tmp_path), requests, model=str(folder))
    for asked in requests:
        ids = plain.generate(plain.prompt(asked), 8)
        assert answers[asked.id].text == plain.renderer.decode(ids)
        assert answers[asked.id].usage.completion_tokens == len(ids)
        assert answers[asked.id].finish == ("stop" if plain.renderer.end_id in ids else "length")
