"""Models of the local tests: made once a session, read by all."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the `local` extra")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small are slower with more, and the machine is shared."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model without BOS and chat template."""
    from tests.support.tiny_llama import make_base

    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def chat_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instruct model whose template adds BOS itself, and whose tokenizer would add another."""
    from tests.support.tiny_llama import make_base

    return make_base(tmp_path_factory.mktemp("chat"), bos=True, chat=True, seed=7)


@pytest.fixture(scope="session")
def bos_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model whose tokenizer begins every text with BOS."""
    from tests.support.tiny_llama import make_base

    return make_base(tmp_path_factory.mktemp("bos"), bos=True, seed=3)
