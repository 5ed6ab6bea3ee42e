"""4-bit weights on a CPU with the real bitsandbytes: trained for two steps, resumed, asked."""

import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.real.cli import LIMIT_S, backend_of, bench
from tests.real.conftest import need
from tests.support.processes import BENCH


def test_nf4_trains_resumes_and_is_asked_on_a_cpu(work: Path, smollm2: Path) -> None:
    need("model", "bitsandbytes")
    train = (
        "train", "--task", "agnews", "--recipe", "agnews-generate", "--base", str(smollm2), "--data", "embedded",
        "--limit", "12", "--set", "quantization=nf4", "--set", "batch=2", "--set", "accumulate=1",
        "--set", "validation_rows=4", "--set", "evaluations=1", "--set", "max_steps=3", "--out", "adapter",
    )  # fmt: skip
    assert "CPU" in _interrupted(*train), "its speed is said"
    assert "continuing after checkpoint at step" in bench(*train)
    (work / "bench.toml").write_text(f'[backends.tuned]\nkind = "local"\nadapter = "{work / "adapter"}"\n', "utf-8")
    bench("run", "--task", "agnews", "--data", "embedded", "--limit", "4", "--backends", "tuned", "--out", "run")
    assert backend_of(work / "run", "tuned").answered == 4


def _interrupted(*words: str) -> str:
    """What a training prints that is stopped by Ctrl-C after its first step."""
    with subprocess.Popen([*BENCH, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = []
        sent = False  # once: a second Ctrl-C stops without a checkpoint
        for line in process.stdout:
            lines.append(line)
            if line.startswith("training: step") and not sent:
                process.send_signal(signal.SIGINT)
                sent = True
        assert process.wait(LIMIT_S) == 130, lines
    return "".join(lines)


def test_the_weights_are_really_4_bit(smollm2: Path) -> None:
    need("model", "bitsandbytes")
    import transformers

    from harness.backends.local.weight_loading import quantized, resolve_placement

    placement = resolve_placement("cpu", "auto", "auto", "nf4", None)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(smollm2, **quantized("nf4", placement))
    layer = model.model.layers[0].mlp.gate_proj
    assert type(layer).__name__ == "Linear4bit"
    assert layer.weight.quant_state.quant_type == "nf4"
    assert layer.weight.numel() * 2 == layer.in_features * layer.out_features
