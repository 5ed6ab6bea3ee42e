"""A CPU computes in bfloat16 where the weights are stored so and the processor says, and shows, that it can."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from harness.backends.local import weight_loading
from harness.backends.local.architecture import stored_dtype
from harness.backends.local.base_files import find_base
from harness.backends.local.decode_job import resolve_model
from harness.backends.local.model_spec import ModelSpec
from harness.backends.local.weight_loading import computes_bfloat16, cpu_dtype, resolve_placement
from tests.support.tiny_architectures import tiny_model
from tests.support.tiny_llama import tokenizer


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """What this machine's processor has answered plays no part, and what a test's stand-in answers is forgotten."""
    computes_bfloat16.cache_clear()
    yield
    computes_bfloat16.cache_clear()


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that has AVX512-BF16 and is twice as fast with it."""
    processor(monkeypatch, "_is_avx512_bf16_supported", bfloat16_s=0.01)


def processor(monkeypatch: pytest.MonkeyPatch, has: str | None, bfloat16_s: float) -> None:
    """A stand-in for a processor that answers yes to one question at most; a float32 product takes it 0.02 s."""
    for name in weight_loading.QUESTIONS:
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == has, raising=False)
    seconds = {torch.bfloat16: bfloat16_s, torch.float32: 0.02}
    monkeypatch.setattr(weight_loading, "_seconds", seconds.__getitem__)


def saved(folder: Path, dtype: torch.dtype) -> str:
    """A tiny base whose weights are stored in a type."""
    made = tokenizer()
    tiny_model("llama", len(made)).to(dtype).save_pretrained(folder)
    made.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("has", "bfloat16_s", "computes"),
    [
        ("_is_avx512_bf16_supported", 0.01, True),
        ("_is_amx_tile_supported", 0.005, True),
        ("_is_amx_tile_supported", 0.05, False),
        (None, 0.01, False),
    ],
    ids=["AVX512-BF16", "AMX", "instructions that do not help", "no instructions"],
)
def test_a_processor_must_say_it_and_show_it(
    has: str | None, bfloat16_s: float, computes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(monkeypatch, has, bfloat16_s)
    assert computes_bfloat16() is computes
    assert cpu_dtype("bfloat16") == ("bfloat16" if computes else "float32")


def test_a_torch_that_cannot_be_asked_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in weight_loading.QUESTIONS:
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert cpu_dtype("bfloat16") == "float32"


def test_products_are_timed_once_and_only_where_the_instructions_are(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[torch.dtype] = []
    processor(monkeypatch, None, 0.01)

    def seconds(dtype: torch.dtype) -> float:
        timed.append(dtype)
        return 1.0

    monkeypatch.setattr(weight_loading, "_seconds", seconds)
    assert not computes_bfloat16() and timed == []
    computes_bfloat16.cache_clear()
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert computes_bfloat16() and computes_bfloat16()
    assert timed == [torch.bfloat16, torch.float32]


def test_the_fastest_product_counts() -> None:
    assert 0 < weight_loading._seconds(torch.float32) < 60


@pytest.mark.parametrize("stored", ["float32", "float16", None])
def test_weights_stored_otherwise_are_computed_in_float32(stored: str | None, fast: None) -> None:
    assert cpu_dtype(stored) == "float32"


def test_auto_follows_the_checkpoint_and_a_type_that_is_named_stays(tmp_path: Path, fast: None) -> None:
    half, whole = saved(tmp_path / "half", torch.bfloat16), saved(tmp_path / "whole", torch.float32)
    assert stored_dtype(find_base(half)) == "bfloat16"
    assert stored_dtype(find_base(whole)) == "float32"
    for base, dtype, placed in ((half, "auto", "bfloat16"), (whole, "auto", "float32"), (half, "float32", "float32")):
        _, placement, facts = resolve_model(ModelSpec(model=base, dtype=dtype, device="cpu"))
        assert placement.dtype == facts.placement["dtype"] == placed


def test_where_nothing_is_known_of_the_weights_a_cpu_computes_in_float32(fast: None) -> None:
    assert resolve_placement("cpu", "auto", "auto", "none", None).dtype == "float32"
