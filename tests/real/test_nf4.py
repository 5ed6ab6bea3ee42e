"""4-bit weights on a CPU with the real bitsandbytes: trained for two steps, resumed, asked."""

from pathlib import Path
from typing import Any

from tests.real.cli import backend_of, bench
from tests.real.conftest import need


def test_nf4_trains_resumes_and_is_asked_on_a_cpu(work: Path, smollm2: Path) -> None:
    need("model", "bitsandbytes")
    train = (
        "train", "--task", "agnews", "--recipe", "agnews-generate", "--base", str(smollm2), "--data", "embedded",
        "--limit", "12", "--set", "quantization=nf4", "--set", "batch=2", "--set", "accumulate=1",
        "--set", "validation_rows=4", "--set", "evaluations=1", "--out", "adapter",
    )  # fmt: skip
    text = bench(*train, "--set", "max_steps=2")
    assert "CPU" in text or "cpu" in text, "its speed is said"
    (work / "bench.toml").write_text(f'[backends.tuned]\nkind = "local"\nadapter = "{work / "adapter"}"\n', "utf-8")
    bench("run", "--task", "agnews", "--data", "embedded", "--limit", "4", "--backends", "tuned", "--out", "run")
    assert backend_of(work / "run", "tuned").answered == 4


def test_the_weights_are_really_4_bit(smollm2: Path) -> None:
    need("model", "bitsandbytes")
    import transformers

    from harness.backends.local.weight_loading import place, quantized

    placement = place("cpu", "auto", "auto", "nf4", None)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(smollm2, **quantized("nf4", placement))
    layer = model.model.layers[0].mlp.gate_proj
    assert type(layer).__name__ == "Linear4bit"
    assert layer.weight.quant_state.quant_type == "nf4"
    assert layer.weight.numel() * 2 == layer.in_features * layer.out_features
