"""Ten ways to break a deployment, each against a server that has it: `bench parity` catches and names them all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the `local` extra")

from harness.deployment.parity_result import ParityResult  # noqa: E402
from harness.deployment.parity_run import ParityOptions, run_parity  # noqa: E402
from harness.errors import UsageError  # noqa: E402
from harness.settings import load_settings  # noqa: E402
from harness.workspace import Workspace  # noqa: E402
from tests.support.served_model import Deployment, serve  # noqa: E402
from tests.support.tiny_llama import CHAT_TEMPLATE, make_adapter, make_base, sentences  # noqa: E402

ROWS = 24
RANK = 8


class Scene:
    """A base, an adapter and rows, in a workspace of their own."""

    def __init__(self, folder: Path, max_tokens: int = 12) -> None:
        torch.set_num_threads(1)
        self.folder = folder
        self.workspace = Workspace(folder / "home")
        self.base = make_base(folder / "base", bos=True, chat=True, seed=7)
        self.adapter = make_adapter(self.workspace, self.base, "tuned", rank=RANK, task="sections")
        rows = [{"text": text, "label": "court"} for text in sentences(ROWS, seed=3, longest=60)]
        (folder / "test.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
        (folder / "sections.toml").write_text(
            'system = "You sort news."\nprompt = "Which word fits?\\n\\n{{ text }}"\nreference = "label"\n'
            f'labels = ["court", "market"]\ndata = "test.jsonl"\nmax_tokens = {max_tokens}\n',
            "utf-8",
        )

    def parity(self, deployment: Deployment, model: str = "tuned", **options: Any) -> ParityResult:
        """The result of asking a deployment."""
        with serve(deployment) as url:
            return self.ask(url, model, **options)

    def ask(self, url: str, model: str = "tuned", **options: Any) -> ParityResult:
        """The result of asking a server."""
        toml = self.folder / "bench.toml"
        toml.write_text(f'[backends.served]\nkind = "openai"\nmodel = "{model}"\nbase_url = "{url}"\n', "utf-8")
        asked = ParityOptions(
            served="served", task=str(self.folder / "sections.toml"), rows=ROWS, probe_rows=0, **options
        )
        result, run = run_parity(str(self.adapter), asked, settings=load_settings(toml), workspace=self.workspace)
        assert (run / "parity.json").is_file()
        return result


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("parity"))


def in_linear_layers(change: Callable[[Any], Any]) -> Callable[[Any], None]:
    """A change of the base's matrices, in place."""

    def changed(model: Any) -> None:
        seen = set()
        for name, module in model.named_modules():
            weight: Any = getattr(module, "weight", None)
            plain = isinstance(module, torch.nn.Linear | torch.nn.Embedding) and "lora_" not in name
            if plain and id(weight) not in seen:
                seen.add(id(weight))
                weight.copy_(change(weight))

    return changed


def four_bits(weight: Any) -> Any:
    """Blocks of 32 with 16 levels each, the extreme one exact."""
    blocks = weight.reshape(-1, 32)
    extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scale = (extreme / -8).half().float()
    levels = torch.where(extreme == 0, 8.0, (blocks / (extreme / -8) + 8.5).floor().clamp(0, 15))
    return ((levels - 8) * scale).reshape(weight.shape)


def merged_in_four_bits(model: Any) -> None:
    model.merge_adapter()
    in_linear_layers(four_bits)(model)


def cut_rank(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter[:, RANK // 2 :] = 0


def another_revision(model: Any) -> None:
    torch.manual_seed(5)
    in_linear_layers(lambda weight: weight + 0.5 * weight.std() * torch.randn_like(weight))(model)


OTHER_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}[answer]{% endif %}"
)

LORA = [{"id": "base", "parent": None}, {"id": "tuned", "parent": "base"}]

TEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "adapter not applied": ({"adapter": None}, "tuned", "adapter not applied"),
    "base asked instead of adapter": ({"models": LORA, "base_id": "base"}, "base", "base asked"),
    "wrong template": ({"template": OTHER_TEMPLATE}, "tuned", "chat template"),
    "system prompt dropped": ({"keep_system": False}, "tuned", "system prompt"),
    "no end token": ({"end": False}, "tuned", "end token"),
    "another quantisation": ({"change": merged_in_four_bits}, "tuned", "quantisation"),
    "rank cut": ({"change": cut_rank}, "tuned", "reduced rank"),
    "another revision of the base": ({"change": another_revision}, "tuned", "other weights"),
    "truncated context": ({"context": 60}, "tuned", "truncation"),
    "temperature 0.7": ({"temperature": 0.7}, "tuned", "sampling"),
}


@pytest.mark.parametrize("way", TEN)
def test_a_broken_deployment_is_caught_and_named(scene: Scene, way: str) -> None:
    changes, model, kind = TEN[way]
    result = scene.parity(Deployment(**{"base": scene.base, "adapter": scene.adapter, **changes}), model)
    assert [finding.kind for finding in result.findings] == [kind]
    fault = kind != "quantisation"  # often wanted: the metrics judge it
    assert (result.verdict == "not alike") >= fault
    assert result.exit_code == (1 if result.verdict == "not alike" else 0)
    assert result.different or result.texts.value != 1.0
    assert result.examples, "rows that differ are shown"


def test_a_faithful_copy_does_not_drift(tmp_path: Path) -> None:
    scene = Scene(tmp_path, max_tokens=1)
    result = scene.parity(Deployment(scene.base, scene.adapter, models=of_bits(16)))
    assert result.findings == () and result.texts.value == 1.0
    assert result.drift is not None and result.drift.log_odds is not None and result.drift.eight_bits is not None
    assert result.drift.log_odds < 1e-3 < result.drift.eight_bits


def surer(model: Any) -> None:
    """The logits of another scale: the same answers, and other probabilities."""
    model.get_base_model().model.norm.weight.mul_(1.05)


def of_bits(bits: float) -> list[dict[str, Any]]:
    return [{"id": "tuned", "meta": {"n_params": 1000, "size": round(125 * bits)}}]


@pytest.mark.parametrize(("models", "kind"), [(of_bits(16), "other weights"), ([{"id": "tuned"}], "quantisation")])
def test_other_weights_with_equal_answers_show_in_the_probabilities(
    tmp_path: Path, models: list[dict[str, Any]], kind: str
) -> None:
    scene = Scene(tmp_path, max_tokens=1)  # a random model's longer texts are seldom its tokenizer's own tokens
    result = scene.parity(Deployment(scene.base, scene.adapter, change=surer, models=models))
    assert result.texts.value == 1.0
    drift = result.drift
    assert drift is not None and drift.log_odds is not None and drift.eight_bits and drift.four_bits
    assert 4 * drift.eight_bits < drift.log_odds < 4 * drift.four_bits
    assert [finding.kind for finding in result.findings] == [kind]
    assert (result.verdict == "not alike") == (kind == "other weights")


def test_a_faithful_deployment_has_no_finding(scene: Scene) -> None:
    result = scene.parity(Deployment(scene.base, scene.adapter))
    assert result.findings == ()
    assert result.agreement.value == 1.0
    assert result.prompts is not None and result.prompts.equal == ROWS
    assert result.verdict == "not shown yet", "24 rows cannot show a difference below one point"
    assert result.needed_rows is not None and result.needed_rows > 200


def test_the_references_answers_are_used_again(scene: Scene) -> None:
    first = scene.parity(Deployment(scene.base, scene.adapter))
    again = scene.parity(Deployment(scene.base, scene.adapter), margin=0.2)
    assert first.reference.run == again.reference.run
    assert first.served.run != again.served.run
    assert again.verdict == "alike" and again.exit_code == 0


def test_a_plain_prompt_is_named_as_one_without_template(scene: Scene) -> None:
    plain = "{% for m in messages %}{{ m['content'] }}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
    result = scene.parity(Deployment(scene.base, scene.adapter, template=plain))
    assert [finding.kind for finding in result.findings] == ["chat template"]
    assert result.prompts is not None and result.prompts.matches.startswith("without the chat template")


def test_without_token_counts_the_prompts_are_said_not_to_be_compared(scene: Scene) -> None:
    result = scene.parity(Deployment(scene.base, scene.adapter, usage=False))
    assert result.prompts is None
    assert any("no token counts" in note for note in result.notes)


def test_the_default_template_is_the_one_that_serves(scene: Scene) -> None:
    assert scene.parity(Deployment(scene.base, scene.adapter, template=CHAT_TEMPLATE)).findings == ()


def test_a_run_that_lacks_answers_is_finished_and_judged(scene: Scene) -> None:
    with serve(Deployment(scene.base, scene.adapter)) as url:
        whole = scene.ask(url)
        run = Path(whole.served.run)
        log = run / "served.jsonl"
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:10]))
        (run / "summary.json").unlink()
        again = scene.ask(url, run=run)
        with pytest.raises(UsageError, match="has no backend 'served'"):
            scene.ask(url, run=Path(whole.reference.run))
    assert again.served.run == str(run)
    assert (again.rows, again.agreement) == (ROWS, whole.agreement)
