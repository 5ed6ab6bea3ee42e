"""The adapter as a GGUF file on llama.cpp: served by `bench serve`'s own launch, and shown to answer alike."""

from pathlib import Path

import pytest

from harness.adapters import engine_server
from harness.deployment.parity_result import ParityResult
from harness.files import read_record
from tests.real.cli import bench
from tests.real.conftest import need


@pytest.mark.parametrize("quantization", ["f16", "q8_0"])
def test_a_gguf_copy_on_llama_cpp_answers_as_the_adapter(
    work: Path, adapter: Path, news: Path, quantization: str
) -> None:
    need("llamacpp")
    pytest.importorskip("gguf")
    words = ("--to", "gguf", "--quantization", quantization, "--out", "gguf", "--rows", "0")
    bench("adapter", "export", str(adapter), *words)
    port = engine_server.free_port()
    program = engine_server.engine_program("llama.cpp", None)
    model = str(next((work / "gguf").glob("*.gguf")))
    command = (*program, "--model", model, "--alias", "copy", "--host", "127.0.0.1", "--port", str(port))
    launch = engine_server.Launch(command, "copy", port)
    with engine_server.running(launch, wait_s=300):
        (work / "bench.toml").write_text(launch.table() + "concurrency = 1\ntimeout_s = 300\n", "utf-8")
        text = bench(
            "parity", str(adapter), "--served", "served", "--data", "embedded", "--rows", "12", "--latency-probe", "0"
        )
    (result,) = (work / "home" / "parity").glob("served-*/parity.json")
    found = read_record(result, ParityResult, "parity result")
    assert found.prompts is not None and found.prompts.equal == found.prompts.rows, "one tokenizer, one chat template"
    assert not [one for one in found.findings if one.level == "fault"], text
    assert found.texts.value is not None and found.texts.value >= 10 / 12
