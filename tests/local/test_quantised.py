"""4-bit weights (NF4) answer through the same engine, adapters and heads included, wherever bitsandbytes runs."""

from pathlib import Path

import pytest

from harness.workspace import Workspace
from tests.local.asking import ask
from tests.support.tiny_llama import make_adapter, make_base, news_requests

pytest.importorskip("bitsandbytes", reason="4-bit weights need bitsandbytes")


@pytest.mark.parametrize("settings", [{"decode": "choose"}, {"adapter": "topics"}, {"adapter": "writer"}])
def test_four_bit_weights_answer_nearly_as_whole_ones(tmp_path: Path, settings: dict[str, str]) -> None:
    workspace = Workspace(tmp_path)
    base = make_base(tmp_path / "base", hidden_size=64, intermediate_size=128)
    make_adapter(workspace, base, "topics", head=True)
    make_adapter(workspace, base, "writer", decode="choose")
    requests = news_requests(20)
    whole = ask(workspace, requests, model=str(base), **settings)
    small = ask(workspace, requests, model=str(base), quantization="nf4", **settings)
    assert sum(small[r.id].text == whole[r.id].text for r in requests) >= 14
    assert small["row-0"].label_scores != whole["row-0"].label_scores, "the weights must be quantised"
